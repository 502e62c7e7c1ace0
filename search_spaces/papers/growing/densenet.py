"""DenseNet-BC networks that grow: blocks of slots, each empty or a layer with its own growth rate.

EAS searches this space from a DenseNet start (Cai et al. 2018, arXiv:1707.04873; code han-cai/EAS,
models/dense_net.py). A layer is batch normalization, ReLU, a 1x1 convolution of `bottleneck` times
its growth rate, batch normalization, ReLU and a 3x3 convolution of its growth rate, concatenated
behind the layer's input (Huang et al. 2017, DenseNet-BC). Between blocks stand batch normalization,
ReLU, a 1x1 convolution that keeps the share `reduction` of the channels, and a 2x2 mean. The first
convolution has `first_ratio` times the mean growth rate (code, widen_transition).

A layer keeps its slot, and therefore its name, in all networks that contain it, so a network that
grew inherits its weights (`nas/morphism/inheritance.py`). A wider layer gets copies of its
channels. A new layer is a copy of the layer before it; later layers then read these channels from
both.

Departures: when a network grows, the code widens the first convolution and those between blocks and
never makes them narrower. Here their width depends on the architecture alone, and `only_grow`
leaves out the changes that would make the first convolution narrower. There is no dropout inside
the network (the code has none if images are augmented).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.image_space import ImageSpace


class DenseNet(ImageSpace):
    """The growth rate of each slot; 0: the slot is empty.

    Args:
      blocks: the number of dense blocks.
      slots: the places for a layer in each block.
      growth_rates: choices of a layer, rising, multiplied by the skeleton's width.
      bottleneck: filters of the 1x1 convolutions, in growth rates.
      first_ratio: filters of the first convolution, in mean growth rates.
      reduction: the share of the channels that is kept between blocks.
      start_layers: the layers in each block of `start`, spread over its slots.
      start_growth: the growth rate of each of these layers.
      only_grow: mutations only add a layer or make one wider, which preserves what the network
        computes. A network that cannot grow stays as it is.
    """

    def __init__(
        self,
        *,
        blocks: int = 3,
        slots: int = 4,
        growth_rates: Sequence[int] = (4, 8, 12, 16, 24),
        bottleneck: int = 4,
        first_ratio: float = 2,
        reduction: float = 0.5,
        start_layers: int = 1,
        start_growth: int = 4,
        only_grow: bool = False,
    ):
        _check(blocks, slots, growth_rates, bottleneck, first_ratio, reduction)
        if not 1 <= start_layers <= slots:
            raise ConfigError(
                f"space.start_layers must be in [1, space.slots={slots}], got {start_layers}; "
                "set space.start_layers=1"
            )
        if start_growth not in growth_rates:
            raise ConfigError(
                f"space.start_growth must be one of space.growth_rates={list(growth_rates)}, "
                f"got {start_growth}; set space.start_growth={growth_rates[0]}"
            )
        self.blocks, self.slots, self.only_grow = blocks, slots, only_grow
        self.bottleneck, self.first_ratio, self.reduction = bottleneck, first_ratio, reduction
        self.start_layers, self.start_growth = start_layers, start_growth
        self.pool_after = tuple(slots * block for block in range(1, blocks))
        self.growth_rates = tuple(growth_rates)
        rates = (0, *growth_rates)
        self.decisions = tuple(
            Decision(f"slot{i}/growth", rates, node=i) for i in range(blocks * slots)
        )

    def start(self) -> Arch:
        """The small network from which a search grows."""
        filled = {i * self.slots // self.start_layers for i in range(self.start_layers)}
        choice = self.decisions[0].choices.index(self.start_growth)
        return tuple(choice if i % self.slots in filled else 0 for i in range(len(self.decisions)))

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Gives a slot another value; with only_grow, adds a layer or makes one wider."""
        if not self.only_grow:
            return super().mutate(arch, rng)
        kinds = [kind for kind in self._growths(arch) if kind]
        if not kinds:
            return arch
        options = kinds[int(rng.random() * len(kinds))]
        return options[int(rng.random() * len(options))]

    def key(self, arch: Arch) -> Arch:
        """The block and growth rate of each layer; empty slots change nothing."""
        return tuple(n for i, rate in enumerate(self._rates(arch)) if rate
                     for n in (i // self.slots, rate))  # fmt: skip

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        self.check(arch)
        rates = [skeleton.filters(rate) if rate else 0 for rate in self._rates(arch)]
        mean = _mean(rates) or skeleton.filters(self.decisions[0].choices[1])
        first = int(mean * self.first_ratio)
        x = ops.conv(ops.image(), first, (3, 3), name="first_conv")
        for block in range(self.blocks):
            for i in range(block * self.slots, (block + 1) * self.slots):
                if rates[i]:
                    x = ops.concatenate([x, self._layer(ops, x, rates[i], f"slot{i}")])
            if block < self.blocks - 1:
                name = f"between{block}"
                x = ops.relu(ops.batch_norm(x, name=f"{name}_bn"))
                filters = max(1, int(ops.shape(x)[2] * self.reduction))
                x = ops.conv(x, filters, (1, 1), name=f"{name}_conv")
                x = ops.avg_pool(x, 2, strides=2)
        x = ops.relu(ops.batch_norm(x, name="last_bn"))
        return ops.classifier(x, skeleton.classes, dropout=skeleton.dropout)

    def graph(self, arch: Arch) -> Graph:
        nodes, edges, rates = [("image", "image", "input")], [], self._rates(arch)
        read = ["image"]
        for block in range(self.blocks):
            name = f"between{block - 1}" if block else "first"
            nodes.append(
                (name, "1x1, 2x2 mean" if block else "3x3", "avg_pool" if block else "3x3")
            )
            edges += [(one, name) for one in read]
            read = [name]
            for i in range(block * self.slots, (block + 1) * self.slots):
                if rates[i]:
                    nodes.append((f"slot{i}", f"growth {rates[i]}", "dense layer"))
                    edges += [(one, f"slot{i}") for one in read]
                    read.append(f"slot{i}")
        nodes.append(("classifier", "classifier", "classifier"))
        return Graph(tuple(nodes), (*edges, *((one, "classifier") for one in read)))

    def _layer(self, ops: Ops, x: Any, growth: int, name: str) -> Any:
        x = ops.relu(ops.batch_norm(x, name=f"{name}_first_bn"))
        x = ops.conv(x, self.bottleneck * growth, (1, 1), name=f"{name}_bottleneck")
        x = ops.relu(ops.batch_norm(x, name=f"{name}_bn"))
        return ops.conv(x, growth, (3, 3), name=f"{name}_conv")

    def _rates(self, arch: Arch) -> list[int]:
        """The growth rate of each slot; 0 if it is empty."""
        return [self.decisions[i].choices[choice] for i, choice in enumerate(arch)]

    def _growths(self, arch: Arch) -> tuple[list[Arch], list[Arch]]:
        """The networks with one more layer, and those with a wider layer."""
        deeper, wider = [], []
        for i, choice in enumerate(arch):
            if choice:
                others = range(choice + 1, len(self.decisions[i].choices))
                wider += [(*arch[:i], other, *arch[i + 1 :]) for other in others]
                continue
            before = [c for c in arch[i - i % self.slots : i] if c]
            if before:  # the added layer is a copy of the last of them
                deeper.append((*arch[:i], before[-1], *arch[i + 1 :]))
        mean = _mean(self._rates(arch))
        return [child for child in deeper if _mean(self._rates(child)) >= mean], wider


def _mean(rates: list[int]) -> float:
    """The mean growth rate of the filled slots; 0 if all are empty."""
    filled = [rate for rate in rates if rate]
    return sum(filled) / max(1, len(filled))


def _check(
    blocks: int,
    slots: int,
    growth_rates: Sequence[int],
    bottleneck: int,
    first_ratio: float,
    reduction: float,
) -> None:
    """Raises ConfigError for settings that make no network."""
    for name, value in (("blocks", blocks), ("slots", slots), ("bottleneck", bottleneck)):
        if value < 1:
            raise ConfigError(f"space.{name} must be at least 1, got {value}; set space.{name}=4")
    if not growth_rates or list(growth_rates) != sorted({r for r in growth_rates if r >= 1}):
        raise ConfigError(
            "space.growth_rates must be whole numbers from 1, rising, got "
            f"{list(growth_rates)}; set space.growth_rates=[4,8]"
        )
    if not first_ratio >= 1:
        raise ConfigError(
            f"space.first_ratio must be at least 1, got {first_ratio}; set space.first_ratio=2"
        )
    if not 0 < reduction <= 1:
        raise ConfigError(
            f"space.reduction must be in (0, 1], got {reduction}; set space.reduction=0.5"
        )
