"""The networks that Auto-Keras grows: convolutions with skips, then a hidden dense layer.

Jin, Song & Hu 2019 (arXiv:1806.10282; code 0.3.7, nn/generator.py and net_transformer.py).
A slot is batch normalization, a convolution, the skip that ends there, and ReLU; a ReLU stands
before the first slot. So each normalization reads what ReLU gives, as in the code, whose blocks are
ReLU, normalization and convolution. Poolings, global average pooling, dropout, a hidden dense layer
and the logits follow. Skips are those of slots.py.

`starts` has two of the three networks with which the code begins: that of its CnnGenerator, and
that of its ResNetGenerator in slots.

Departures: the DenseNetGenerator's network has no place in slots with one skip each; convolution,
normalization and ReLU are inserted together, where the code inserts one of them at a time; a ReLU
stands before global pooling; convolutions have no bias; dropout is not inserted; the last
convolution, too, can become wider. Of the residual network: poolings stand where the code has
strides of 2, and skips read what the block's normalization has not changed. In `as_chain` dense
layers differ by their units, as in the paper; in the code all are equal.
"""

from collections.abc import Sequence
from typing import Any

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Chain, ChainLayer, ChainSkip
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.papers.growing.settings import GrowthSettings
from nas.search_spaces.papers.growing.slots import SlotSpace, joined

GROWTH = GrowthSettings(
    only_grow=True, doubling=True, start_filters=((64,), (64,), (64,), ()), start_units=(64,)
)
DROPOUT = 0.25  # before the hidden layer: constant.py, CONV_DROPOUT_RATE


class AutoKerasSpace(SlotSpace):
    """A row of at most `slots` convolutions with skips, and `hidden` dense layers.

    Args:
      slots, kernels, filters, pool_after, filled, growth: those of SlotSpace.
      hidden: the places for a dense layer before the logits.
      units: choices of a dense layer's units, multiplied by the skeleton's width.
      residual_blocks: blocks in each stage of the second start, whose first stage has filters[0]
        filters, the next filters[1] and so on, at most the last; 0: there is no second start.
    """

    def __init__(
        self,
        *,
        slots: int = 24,
        kernels: Sequence[int] = (1, 3, 5),
        filters: Sequence[int] = (64, 128, 256, 512),
        pool_after: Sequence[int] = (6, 12, 18),
        hidden: int = 1,
        units: Sequence[int] = (64, 128, 256, 512),
        residual_blocks: int = 2,
        filled: float = 0.5,
        growth: GrowthSettings = GROWTH,
    ):
        super().__init__(
            slots=slots, kernels=kernels, filters=filters, skips=True, pool_after=pool_after,
            filled=filled, growth=growth,
        )  # fmt: skip
        self.place_hidden(hidden, units)
        edges = (0, *pool_after, slots)
        room = min(end - first - (not first) for first, end in zip(edges, edges[1:], strict=False))
        if not 0 <= 2 * residual_blocks <= room or (residual_blocks and 3 not in kernels):
            raise ConfigError(
                "space.residual_blocks needs two slots a block in each stage, one more in the "
                f"first, and space.kernels with 3, got {residual_blocks}; set "
                "space.residual_blocks=0"
            )
        self.residual_blocks = residual_blocks

    def starts(self) -> tuple[Arch, ...]:
        """The networks that are trained first."""
        return (self.start(), self._residual()) if self.residual_blocks else (self.start(),)

    def _residual(self) -> Arch:
        """A convolution, then blocks of two with a skip, `residual_blocks` in each stage."""
        chosen = {decision.name: decision.choices[0] for decision in self.decisions}
        rising = sorted(self.decisions[1].choices)
        source = 0
        for stage, first in enumerate((0, *self.pool_after)):
            length = 2 * self.residual_blocks + (not first)
            for i in range(first, first + length):
                chosen[f"slot{i}/kernel"] = 3
                chosen[f"slot{i}/filters"] = rising[min(stage, len(rising) - 1)]
                if i and (first + length - i) % 2:  # the second of a block
                    chosen[f"slot{i}/skip"] = "add", source
                    source = i
        return self.encode(chosen)

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        self.check(arch)
        x, shrunk = ops.relu(ops.image()), 1
        outputs: dict[int, tuple[Any, int]] = {}  # slot -> its output, and the divisor of its size
        for i in range(self.slots):
            if i in self.pool_after:
                x, shrunk = ops.max_pool(x, 2, strides=2), shrunk * 2
            slot = self.slot(arch, i)
            if slot is None:
                continue
            x = ops.batch_norm(x, name=f"slot{i}_bn")
            x = ops.conv(
                x, skeleton.filters(slot.filters), (slot.kernel,) * 2, name=f"slot{i}_conv"
            )
            if slot.skip:
                kind, j = slot.skip
                source, source_shrunk = outputs[j]
                x = joined(ops, x, kind, source, shrunk // source_shrunk, f"slot{i}_skip")
            x = ops.relu(x)
            outputs[i] = x, shrunk
        size = max(ops.shape(x)[:2])  # the mean ignores what lies outside of the image
        x = ops.avg_pool(x, size, strides=size)
        hidden = self.hidden(arch)
        if hidden:
            x = ops.dropout(x, DROPOUT)
        for i, units in hidden.items():
            x = ops.relu(ops.dense(x, skeleton.filters(units), name=f"hidden{i}_dense"))
        return ops.dense(x, skeleton.classes, name="logits", dtype="float32")

    def as_chain(self, arch: Arch) -> Chain:
        """All layers that the code's descriptor counts, and skips by the tensors that they join."""
        layers: list[ChainLayer] = []
        skips: list[ChainSkip] = []
        tensor_of: dict[int, int] = {}  # slot -> the number of layers up to its output, before ReLU
        for i in range(self.slots):
            if i in self.pool_after:
                layers.append(("max_pool", (0, 2, 2)))  # padding, size, stride
            slot = self.slot(arch, i)
            if slot is None:
                continue
            layers += [("relu", ()), ("batch_norm", ())]
            layers.append(("conv", (slot.filters, slot.kernel, slot.stride)))
            if slot.skip:
                kind, j = slot.skip
                layers.append((kind, ()))
                skips.append((tensor_of[j], len(layers), kind))
                if kind == "concat":
                    layers.append(("conv", (slot.filters, 1, 1)))
            tensor_of[i] = len(layers)
        layers.append(("global_pool", ()))
        hidden = self.hidden(arch)
        if hidden:
            layers.append(("dropout", ()))
        for units in hidden.values():
            layers += [("dense", (units,)), ("relu", ())]
        return Chain((*layers, ("classifier", ())), tuple(skips))
