"""Trains the shared weights of ENAS' macro space in PyTorch, for scripts/bench/enas_pytorch.py.

It is a straightforward implementation of what the project computes (the form "search" in
search_spaces/papers/enas_macro, and nas/oneshot/image_weights.py). There are modules for all
operations, and a step calls the chosen ones. A tensor is halved where a later layer reads it.
Images are cropped at random and flipped. SGD has Nesterov's momentum and weight decay of kernels.
What a step has not chosen has no gradient and keeps its value.

The script needs PyTorch and NumPy, and nothing of the project. It reads lines of architectures,
[steps][choices], and answers each with the seconds of those steps: wall time, and CPU time of all
cores.
"""

import argparse
import json
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F


class ConvBN(nn.Sequential):
    def __init__(self, inputs: int, filters: int, kernel: int = 1):
        conv = nn.Conv2d(inputs, filters, kernel, padding=kernel // 2, bias=False)
        super().__init__(conv, nn.BatchNorm2d(filters))


class Operation(nn.Sequential):
    """1x1 convolution, normalization, ReLU; then, but for poolings, the same around a kernel."""

    def __init__(self, filters: int, kind: str, size: int):
        parts: list[nn.Module] = [ConvBN(filters, filters), nn.ReLU()]
        if kind == "avg":
            parts.append(nn.AvgPool2d(size, 1, size // 2, count_include_pad=False))
        elif kind == "max":
            parts.append(nn.MaxPool2d(size, 1, size // 2))
        elif kind == "sep":
            parts += [
                nn.Conv2d(filters, filters, size, padding=size // 2, groups=filters, bias=False),
                nn.Conv2d(filters, filters, 1, bias=False),
            ]
        else:
            parts.append(nn.Conv2d(filters, filters, size, padding=size // 2, bias=False))
        if kind in ("conv", "sep"):
            parts += [nn.BatchNorm2d(filters, eps=1e-3), nn.ReLU()]
        super().__init__(*parts)


class Reduction(nn.Module):
    """Two strided 1x1 convolutions, which read the even and the odd pixels."""

    def __init__(self, filters: int):
        super().__init__()
        self.even = nn.Conv2d(filters, filters - filters // 2, 1, stride=2, bias=False)
        self.odd = nn.Conv2d(filters, filters // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(filters)

    def forward(self, x):
        return self.norm(torch.cat([self.even(x), self.odd(x[:, :, 1:, 1:])], 1))


class Macro(nn.Module):
    KINDS = (("conv", 3), ("sep", 3), ("conv", 5), ("sep", 5), ("avg", 3), ("max", 3))

    def __init__(self, layers: int, filters: int, classes: int = 10, dropout: float = 0.1):
        super().__init__()
        third = layers // 3
        self.reduced = (third - 1, 2 * third - 1)
        self.stem = ConvBN(3, filters, 3)
        self.layers = nn.ModuleList(
            nn.ModuleList(Operation(filters, *kind) for kind in self.KINDS) for _ in range(layers)
        )
        self.joins = nn.ModuleList(nn.BatchNorm2d(filters) for _ in range(layers - 1))
        self.reductions = nn.ModuleDict(
            {f"{i}_{j}": Reduction(filters) for i in self.reduced for j in range(i + 2)}
        )
        self.dropout = nn.Dropout(dropout)
        self.logits = nn.Linear(filters, classes, bias=False)

    def forward(self, x, rows):
        """rows: of each layer, its operation and a bit for each older tensor."""
        tensors = [self.stem(x)]
        for i, (operation, *bits) in enumerate(rows):
            x = self.layers[i][operation](tensors[-1])
            if i:
                for tensor, bit in zip(tensors, bits, strict=False):
                    if bit:
                        x = x + tensor
                x = self.joins[i - 1](x)
            tensors.append(x)
            if i in self.reduced:
                read = {i + 1} | {
                    j for _, *later in rows[i + 1 :] for j in range(i + 1) if later[j]
                }
                tensors = [
                    self.reductions[f"{i}_{j}"](t) if j in read else t
                    for j, t in enumerate(tensors)
                ]
        return self.logits(self.dropout(tensors[-1].mean((2, 3))))


def augmented(x):
    """Random crops of the images within 4 pixels of zeros, and flips. x: [batch, 3, 32, 32]."""
    batch, size = len(x), x.shape[-1]
    x = F.pad(x, (4, 4, 4, 4)).permute(0, 2, 3, 1)
    rows = torch.randint(0, 9, (batch, 1)) + torch.arange(size)
    columns = torch.randint(0, 9, (batch, 1)) + torch.arange(size)
    columns = torch.where(torch.rand(batch, 1) < 0.5, columns, columns.flip(1))
    x = x[torch.arange(batch)[:, None, None], rows[:, :, None], columns[:, None, :]]
    return x.permute(0, 3, 1, 2)


def rows_of(arch: list[int]) -> list[list[int]]:
    rows, first = [], 0
    while first < len(arch):
        rows.append(arch[first : first + len(rows) + 1])
        first += len(rows)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("layers", "filters", "batch", "threads", "images"):
        parser.add_argument(f"--{name}", type=int, required=True)
    parser.add_argument("--channels-last", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.integers(0, 256, (args.images, 3, 32, 32), dtype=np.uint8))
    labels = torch.from_numpy(rng.integers(0, 10, args.images))
    layout = torch.channels_last if args.channels_last else torch.contiguous_format
    net = Macro(args.layers, args.filters).to(memory_format=layout)
    kernels = [p for p in net.parameters() if p.dim() > 1]
    others = [p for p in net.parameters() if p.dim() == 1]
    groups = [{"params": kernels, "weight_decay": 5e-4}, {"params": others}]
    optimizer = torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True)
    print(json.dumps(sum(p.numel() for p in net.parameters())), flush=True)
    for line in sys.stdin:
        archs = json.loads(line)
        wall, cpu = time.perf_counter(), time.process_time()
        for arch in archs:
            index = torch.randint(0, args.images, (args.batch,))
            x = augmented((images[index].float() / 255 - 0.5) / 0.25)
            logits = net(x.contiguous(memory_format=layout), rows_of(arch))
            loss = F.cross_entropy(logits, labels[index])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        loss.item()
        print(json.dumps([time.perf_counter() - wall, time.process_time() - cpu]), flush=True)


if __name__ == "__main__":
    main()
