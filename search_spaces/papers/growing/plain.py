"""Networks that grow: convolutions between poolings, then hidden dense layers.

EAS searches this space from a plain start (Cai et al. 2018, arXiv:1707.04873, section 3; code
han-cai/EAS, models/convnet.py); Auto-Keras' is auto_keras.py. The convolutions and skips are those
of slots.py. They are followed by global average pooling, the hidden layers and the logits; a hidden
layer is dense, batch normalization and ReLU. A layer keeps its slot, and therefore its name, in all
networks that contain it, so wider and deeper networks inherit its weights
(`nas/morphism/inheritance.py`).

Departure: a hidden layer has a bias, which its normalization cancels.
"""

from collections.abc import Sequence
from typing import Any

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.papers.growing.settings import GrowthSettings
from nas.search_spaces.papers.growing.slots import SlotSpace

GROWTH = GrowthSettings(start_units=(64,))


class Plain(SlotSpace):
    """A row of at most `slots` convolutions and `hidden` dense layers.

    Args:
      slots, kernels, filters, skips, pool_after, filled: those of SlotSpace.
      hidden: the places for a dense layer before the logits.
      units: choices of a dense layer's units, multiplied by the skeleton's width.
      growth: as of SlotSpace, with the hidden layers of the first network.
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
            filled=filled, growth=growth,
        )  # fmt: skip
        if not 0 <= conv_dropout < 1:
            raise ConfigError(
                f"space.conv_dropout must be in [0, 1), got {conv_dropout}; set "
                "space.conv_dropout=0.2"
            )
        self.conv_dropout = conv_dropout
        self.place_hidden(hidden, units)

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        self.check(arch)
        x = self.convolutions(ops, arch, skeleton)
        size = max(ops.shape(x)[:2])  # the mean ignores what lies outside of the image
        x = ops.avg_pool(x, size, strides=size)
        for i, units in self.hidden(arch).items():
            x = ops.dense(x, skeleton.filters(units), name=f"hidden{i}_dense")
            x = ops.relu(ops.batch_norm(x, name=f"hidden{i}_bn"))
        return self.classified(ops, x, skeleton)
