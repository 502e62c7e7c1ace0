"""Measures images a second of ENAS' macro weight steps against PyTorch, side by side in one run.

    python scripts/bench/enas_pytorch.py --torch PYTHON [--turns 6] [--steps 3]

PYTHON belongs to an environment with PyTorch and NumPy (`pip install torch numpy`). It runs
scripts/bench/enas_macro_pytorch.py: the same network, the same random architecture in each step,
the same augmentation and optimiser. The width is the paper's: 12 layers, 36 filters, batches of 128
images [32, 32, 3]. PyTorch gets one process for each memory layout of its images, and as many
threads as there are cores. All sides take turns. Each turn has other architectures, the same for
all sides; the first turn warms up. The script prints images a second, by wall time and by the CPU
time of all cores.
"""

import nas.onednn  # noqa: F401  it comes before TensorFlow

# isort: split
import argparse
import json
import math
import os
import subprocess
import time
from pathlib import Path

import numpy as np

from nas.core.skeleton import ImageSkeleton
from nas.data.images import make_image_data
from nas.oneshot.image_weights import ImageWeights
from nas.search_spaces.papers.enas_macro.space import ENASMacro
from nas.training import devices
from nas.training.recipe import Recipe

IMAGES = 1280


class Theirs:
    """A process of PyTorch. weights: how many its network has."""

    def __init__(self, python: str, args: argparse.Namespace, *more: str):
        sizes = {name: getattr(args, name) for name in ("layers", "filters", "batch")}
        sizes |= {"threads": os.cpu_count(), "images": IMAGES}
        flags = [text for name, value in sizes.items() for text in (f"--{name}", str(value))]
        script = Path(__file__).parent / "enas_macro_pytorch.py"
        self.process = subprocess.Popen(
            [python, str(script), *flags, *more],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.weights = self._answer()

    def __call__(self, archs: list) -> list[float]:
        print(json.dumps(archs), file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self):
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit("PyTorch's process has ended; what it said stands above")
        return json.loads(line)

    def end(self) -> None:
        self.process.communicate()


class Ours:
    def __init__(self, args: argparse.Namespace):
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, [IMAGES + 20, 32, 32, 3], dtype=np.uint8)
        data = make_image_data(
            "random", images, rng.permutation(len(images)) % 10, class_names=tuple("0123456789"),
            valid_size=10, test_size=10,
        )  # fmt: skip
        recipe = Recipe(epochs=100, batch_size=args.batch, weight_decay=5e-4, pad_crop=4, flip=True)
        skeleton = ImageSkeleton(
            image_shape=(32, 32, 3), classes=10, channels=args.filters, dropout=0.1, form="search"
        )
        devices.prepare()
        self.shared = ImageWeights(
            ENASMacro(layers=args.layers), skeleton, data, recipe, seed=0, batch_statistics=False
        )
        self.batch, self.rng = args.batch, rng
        groups = self.shared.supernet.groups.values()
        self.weights = sum(math.prod(v.shape) for group in groups for v in group)

    def __call__(self, archs: list) -> list[float]:
        order = self.rng.integers(0, IMAGES, [len(archs), self.batch])
        rates = np.full(len(archs), 0.05, np.float32)
        wall, cpu = time.perf_counter(), time.process_time()
        self.shared.train(order, rates, archs, 0)
        return [time.perf_counter() - wall, time.process_time() - cpu]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--torch", required=True, help="the python of PyTorch's environment")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--filters", type=int, default=36)
    parser.add_argument("--batch", type=int, default=128, help="images")
    parser.add_argument("--steps", type=int, default=3, help="of a turn")
    parser.add_argument("--turns", type=int, default=6, help="behind the one that warms up")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    theirs = [Theirs(args.torch, args), Theirs(args.torch, args, "--channels-last")]
    sides = {"ours": Ours(args), "PyTorch": theirs[0], "PyTorch, channels last": theirs[1]}
    print("weights: " + ", ".join(f"{name} {side.weights}" for name, side in sides.items()))
    space, rng = ENASMacro(layers=args.layers), np.random.default_rng(args.seed)
    taken = np.zeros([len(sides), 1 + args.turns, 2])
    for turn in range(1 + args.turns):
        archs = [[int(c) for c in space.sample(rng)] for _ in range(args.steps)]
        for i, side in enumerate(sides.values()):
            taken[i, turn] = side(archs)
        print(
            f"turn {turn}, wall s: " + ", ".join(f"{s:.2f}" for s in taken[:, turn, 0]), flush=True
        )
    for one in theirs:
        one.end()
    speeds = args.steps * args.batch / taken[:, 1:]
    for k, clock in enumerate(("wall", "all cores")):
        for i, name in enumerate(sides):
            whole = args.turns * args.steps * args.batch / taken[i, 1:, k].sum()
            ratios = speeds[0, :, k] / speeds[i, :, k]
            print(
                f"{clock:9} {name:22} {whole:7.1f} images a second; ours is "
                f"{taken[i, 1:, k].sum() / taken[0, 1:, k].sum():.2f} times that "
                f"(turns {ratios.min():.2f} to {ratios.max():.2f})"
            )
    traces = sides["ours"].shared.epoch_graph.experimental_get_tracing_count()
    print(f"bar: 1.2 times PyTorch; traces of ours {traces}")


if __name__ == "__main__":
    main()
