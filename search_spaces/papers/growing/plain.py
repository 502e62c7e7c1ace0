"""Networks that grow: convolutions between poolings, then hidden dense layers.

EAS searches this space from a plain start (Cai et al. 2018, arXiv:1707.04873, section 3; code
han-cai/EAS, models/convnet.py); Auto-Keras' is auto_keras.py. The convolutions and skips are those
of slots.py. They are followed by global average pooling, the hidden layers and the logits; a hidden
layer is dense, batch normalization and ReLU. A layer keeps its slot, and therefore its name, in all
networks that contain it, so wider and deeper networks inherit its weights
(`nas/morphism/inheritance.py`).

Departure: a hidden layer has a bias, which its normalization cancels.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Chain, Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.papers.growing.settings import GrowthSettings
from nas.search_spaces.papers.growing.slots import MorphismSpace

GROWTH = GrowthSettings(start_units=(64,))


class Plain(MorphismSpace):
    """A row of at most `slots` convolutions and `hidden` dense layers.

    Args:
      slots, kernels, filters, skips, pool_after, filled: those of MorphismSpace.
      hidden: the places for a dense layer before the logits.
      units: choices of a dense layer's units, multiplied by the skeleton's width.
      growth: as of MorphismSpace, with the hidden layers of the first network.
      conv_dropout: rate behind every convolution but the first (EAS).
    """

    def __init__(
        self,
        *,
        slots: int = 12,
        kernels: Sequence[int] = (1, 3, 5),
        filters: Sequence[int] = (16, 32, 64, 128),
        skips: bool = False,
        pool_after: Sequence[int] = (4, 8),
        hidden: int = 3,
        units: Sequence[int] = (64, 128, 256),
        conv_dropout: float = 0.0,
        filled: float = 0.5,
        growth: GrowthSettings = GROWTH,
    ):
        super().__init__(
            slots=slots, kernels=kernels, filters=filters, skips=skips, pool_after=pool_after,
            head="flatten", filled=filled, growth=dataclasses.replace(growth, start_units=()),
        )  # fmt: skip
        _check(hidden, units, growth.start_units, conv_dropout)
        self.conv_dropout, self.growth = conv_dropout, growth
        self._first_hidden = len(self.decisions)
        self.decisions += tuple(
            Decision(f"hidden{i}/units", (0, *units), slots + i) for i in range(hidden)
        )

    def allowed(self, prefix: Arch) -> tuple[int, ...]:
        if len(prefix) < self._first_hidden:
            return super().allowed(prefix)
        return tuple(range(len(self.decisions[len(prefix)].choices)))

    @property
    def size(self) -> int:
        size = super().size
        for decision in self.decisions[self._first_hidden :]:
            size *= len(decision.choices)
        return size

    def start(self) -> Arch:
        hidden = self.decisions[self._first_hidden :]
        start_units = self.growth.start_units
        units = (*start_units, *[0] * (len(hidden) - len(start_units)))
        chosen = (d.choices.index(n) for d, n in zip(hidden, units, strict=True))
        return (*super().start()[: self._first_hidden], *chosen)

    def key(self, arch: Arch) -> Arch:
        """Empty slots change nothing."""
        return (*super().key(arch), -1, *self.hidden(arch).values())

    def as_chain(self, arch: Arch) -> Chain:
        chain = super().as_chain(arch)
        *layers, classifier = chain.layers
        hidden = [("dense", (units,)) for units in self.hidden(arch).values()]
        return Chain((*layers, *hidden, classifier), chain.skips)

    def hidden(self, arch: Arch) -> dict[int, int]:
        """Slot of a hidden layer -> its units, before the skeleton's width; filled slots only."""
        chosen = zip(self.decisions[self._first_hidden :], arch[self._first_hidden :], strict=True)
        return {i: decision.choices[c] for i, (decision, c) in enumerate(chosen) if c}

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        self.check(arch)
        x = self.convolutions(ops, arch, skeleton)
        size = max(ops.shape(x)[:2])  # the mean ignores what lies outside of the image
        x = ops.avg_pool(x, size, strides=size)
        for i, units in self.hidden(arch).items():
            x = ops.dense(x, skeleton.filters(units), name=f"hidden{i}_dense")
            x = ops.relu(ops.batch_norm(x, name=f"hidden{i}_bn"))
        return self.classified(ops, x, skeleton)

    def graph(self, arch: Arch) -> Graph:
        graph = super().graph(arch)
        *nodes, classifier = graph.nodes
        *edges, (last, _) = graph.edges
        for i, units in self.hidden(arch).items():
            nodes.append((f"hidden{i}", f"dense, {units}", "dense"))
            edges.append((last, f"hidden{i}"))
            last = f"hidden{i}"
        return Graph((*nodes, classifier), (*edges, (last, classifier[0])))


def _check(
    hidden: int, units: Sequence[int], start_units: Sequence[int], conv_dropout: float
) -> None:
    """Raises ConfigError for wrong settings of the hidden layers and of dropout."""
    if not 0 <= conv_dropout < 1:
        raise ConfigError(
            f"space.conv_dropout must be in [0, 1), got {conv_dropout}; set space.conv_dropout=0.2"
        )
    if hidden < 0:
        raise ConfigError(f"space.hidden must be at least 0, got {hidden}; set space.hidden=1")
    if not units or min(units) < 1 or len(set(units)) < len(units):
        raise ConfigError(
            f"space.units must be different whole numbers from 1, got {list(units)}; "
            "set space.units=[64,128]"
        )
    if len(start_units) > hidden or not set(start_units) <= set(units):
        raise ConfigError(
            f"space.growth.start_units must be at most space.hidden={hidden} of space.units="
            f"{list(units)}, got {list(start_units)}; set space.growth.start_units=[]"
        )
