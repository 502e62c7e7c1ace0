"""Spaces of image networks, which are written once and then built, counted or trained quickly."""

from typing import TYPE_CHECKING, Any

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Cost, Space
from nas.core.trial import Arch
from nas.ops.count import CountOps

if TYPE_CHECKING:
    import keras


class ImageSpace(Space):
    """A space whose architectures are image classifiers.

    Subclasses set `decisions` and write `network`. A space whose network is not written with ops
    (nas/core/ops.py) writes `build` and `cost` instead.
    """

    domain = "images"

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        """Writes the network from `ops.image()` to the logits, which it returns."""
        raise NotImplementedError

    def cost(self, arch: Arch, skeleton: ImageSkeleton) -> Cost:
        """Parameters, multiply-adds and activations of `build`'s model, without building it."""
        count = CountOps(skeleton.image_shape)
        self.network(count, arch, skeleton)
        return Cost(count.parameters, count.flops, count.activations)

    def build(self, arch: Arch, skeleton: ImageSkeleton) -> "keras.Model":
        """images [batch, height, width, channels] float32 -> logits [batch, classes] float32."""
        from nas.ops.keras import KerasOps

        ops = KerasOps(skeleton.image_shape)
        return ops.model(self.network(ops, arch, skeleton))

    def build_for_search(
        self, arch: Arch, skeleton: ImageSkeleton, *, seed: int, dtype: str = "float32"
    ) -> Any:
        """The network of `build`, as a search trains it; creating it takes a fraction of the time.

        Args:
          seed: for the initial weights.
          dtype: of the arithmetic, "float32" or "bfloat16".

        Returns a QuickNetwork (nas/ops/quick_network.py), or the Keras model of a space that writes
        `build` and no `network`.
        """
        if type(self).network is ImageSpace.network:
            import keras

            keras.utils.set_random_seed(seed)
            keras.config.set_dtype_policy("mixed_bfloat16" if dtype == "bfloat16" else dtype)
            return self.build(arch, skeleton)
        from nas.ops.quick_network import QuickNetwork

        return QuickNetwork(
            lambda ops: self.network(ops, arch, skeleton), skeleton, seed=seed, dtype=dtype
        )
