"""A supernet's network whose weights lie in two vectors: all kernels in one, the others in another.

One operation then moves or resets the weights of the whole supernet. A space needs nothing beyond
its supernet for this: what the supernet writes with Keras' layers runs on tensors here.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from nas.core.trial import Arch
from nas.ops.weights import MEAN, VARIANCE, WeightOps, draw
from nas.search_spaces.supernet.ops import SupernetOps
from nas.search_spaces.supernet.supernet import Supernet

KERNELS, OTHERS = "kernels", "others"  # what weight decay reaches, and what it does not


class Place(NamedTuple):
    """Where a weight lies: its vector, the index of its first number there, and its shape."""

    vector: str
    start: int
    shape: tuple[int, ...]

    @property
    def slice(self) -> slice:
        return slice(self.start, self.start + math.prod(self.shape))


class FlatSupernet(SupernetOps):
    """Runs what `supernet.write` writes on tensors that `take` cuts out of the vectors.

    Attributes:
      places: the place of each weight, by "layer/weight", with the layer names of
        `supernet.layers`.
      sizes: how many numbers each vector has.
      averages: the moving mean and variance of each normalization: [2, channels] float32.
    """

    def __init__(self, supernet: Supernet):
        self.places: dict[str, Place] = {}
        self.sizes = {KERNELS: 0, OTHERS: 0}
        self.averages: dict[str, tf.Variable] = {}
        self._tensors: dict[str, tf.Tensor] = {}
        self.supernet = supernet
        super().__init__(supernet.skeleton.image_shape)
        self._lists = True
        supernet.write(self)
        self._lists = False

    def take(self, kernels: tf.Tensor, others: tf.Tensor) -> None:
        """Sets the weights of the passes that follow. kernels, others: [sizes] float32."""
        for name, vector in ((KERNELS, kernels), (OTHERS, others)):
            places = {k: p for k, p in self.places.items() if p.vector == name}
            pieces = tf.split(vector, [math.prod(p.shape) for p in places.values()])
            for (key, place), piece in zip(places.items(), pieces, strict=True):
                self._tensors[key] = tf.reshape(piece, place.shape)

    def logits(
        self, images: tf.Tensor, arch: tf.Tensor, *, training: bool, seed: tf.Tensor | None = None
    ) -> tf.Tensor:
        """images [batch, height, width, channels], arch [decisions] int32 -> [batch, classes]."""
        self.begin(images, self.supernet.effective(arch), training=training, seed=seed)
        return self.supernet.write(self)

    def first_values(self, arch: Arch, seed: int) -> list[np.ndarray]:
        """The initial weights of the network that is built for `arch`, and zeros elsewhere.

        Returns the vector of kernels and that of the others, [sizes] float32 each.
        """
        space, skeleton = self.supernet.space, self.supernet.skeleton
        weight_ops = WeightOps(skeleton.image_shape)
        space.network(weight_ops, arch, skeleton)
        names = {static: layer.name for static, layer in self.supernet.layers(arch).items()}
        vectors = {kind: np.zeros(size, np.float32) for kind, size in self.sizes.items()}
        for name, value in draw(weight_ops.weights, seed).items():
            layer, _, weight = name.rpartition("/")
            if weight not in (MEAN, VARIANCE):
                place = self.places[f"{names[layer]}/{weight}"]
                vectors[place.vector][place.slice] = value.ravel()
        return list(vectors.values())

    def reset_averages(self) -> None:
        """Sets moving means to 0 and moving variances to 1, their initial values."""
        for average in self.averages.values():
            channels = average.shape[1]
            average.assign(tf.stack([tf.zeros(channels), tf.ones(channels)]))

    def weight(self, name: str, vector: str, shape: Sequence[int]) -> tf.Tensor:
        """The weight of that name. While the network is first written, gives it a place instead."""
        if self._lists:
            shape = tuple(int(n) for n in shape)
            self.places[name] = Place(vector, self.sizes[vector], shape)
            self.sizes[vector] += math.prod(shape)
            return tf.zeros(shape)
        return self._tensors[name]

    def _weighted(self, kind, name: str, settings: dict[str, Any]):
        return super()._weighted(functools.partial(_LAYERS[kind.__name__], self), name, settings)


class _Conv:
    def __init__(self, ops: FlatSupernet, *, name: str, **settings: Any):
        self.ops, self.name, self.settings = ops, name, settings

    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        s, ops = self.settings, self.ops
        shape = (*s["kernel_size"], x.shape[-1], s["filters"])
        kernel = ops.weight(f"{self.name}/kernel", KERNELS, shape)
        # tf.nn.conv2d's gradients have no dilation on a CPU.
        y = tf.nn.convolution(
            x, kernel, s["strides"], s["padding"].upper(), dilations=s["dilation_rate"]
        )
        if not s["use_bias"]:
            return y
        return tf.nn.bias_add(y, ops.weight(f"{self.name}/bias", OTHERS, shape[-1:]))


class _Depthwise(_Conv):
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        s = self.settings
        shape = (*s["kernel_size"], x.shape[-1], 1)
        kernel = self.ops.weight(f"{self.name}/kernel", KERNELS, shape)
        strides, dilation = s["strides"], s["dilation_rate"]
        return tf.nn.depthwise_conv2d(
            x, kernel, [1, strides, strides, 1], "SAME", dilations=[dilation, dilation]
        )


class _Dense(_Conv):
    def __call__(self, x: tf.Tensor) -> tf.Tensor:
        units = self.settings["units"]
        kernel = self.ops.weight(f"{self.name}/kernel", KERNELS, (x.shape[-1], units))
        y = tf.matmul(x, kernel)
        if not self.settings.get("use_bias", True):
            return y
        return tf.nn.bias_add(y, self.ops.weight(f"{self.name}/bias", OTHERS, (units,)))


class _BatchNormalization(_Conv):
    def __call__(self, x: tf.Tensor, training: bool = False) -> tf.Tensor:
        s, ops, channels = self.settings, self.ops, x.shape[-1]
        gamma, beta = tf.ones([channels]), tf.zeros([channels])
        if s.get("scale", True):
            gamma = ops.weight(f"{self.name}/gamma", OTHERS, (channels,))
            beta = ops.weight(f"{self.name}/beta", OTHERS, (channels,))
        if self.name not in ops.averages:
            ops.averages[self.name] = tf.Variable(tf.zeros([2, channels]), trainable=False)
        average = ops.averages[self.name]
        if not training:
            mean, variance = tf.unstack(average.read_value())
            y, *_ = tf.raw_ops.FusedBatchNormV3(
                x=x, scale=gamma, offset=beta, mean=mean, variance=variance,
                epsilon=s["epsilon"], is_training=False,
            )  # fmt: skip
            return y
        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            x, gamma, beta, epsilon=s["epsilon"], is_training=True
        )
        # As in nas/ops/batch_norm.py: the fused operation divides the variance by count - 1, but
        # Keras averages one that is divided by count.
        count = tf.cast(tf.size(x) // channels, tf.float32)
        moments = tf.stack([mean, variance * (tf.maximum(count - 1, 1) / count)])
        average.assign(average * s["momentum"] + moments * (1 - s["momentum"]))
        return y


_LAYERS = {
    "Conv2D": _Conv,
    "DepthwiseConv2D": _Depthwise,
    "Dense": _Dense,
    "BatchNormalization": _BatchNormalization,
}
