"""TensorOps writes a network as plain operations of the graph that is being traced.

A network of Keras layers takes longer to build and to trace than many a candidate is trained for.
Here a layer is its few raw operations, and it computes what the layer of KerasOps does.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import tensorflow as tf

from nas.core.ops import BN_EPSILON, KERNEL_INITIALIZER, Pair, Shape
from nas.ops import pixels
from nas.ops.count import paddings

raw = tf.raw_ops
# tf.compat.v1.nn.fused_batch_norm, which trains the Keras model, takes no smaller epsilon.
MIN_EPSILON = 1.001e-5
DRAWS = 1 << 20  # keeps dropout's stream apart from others that are drawn from a step's seed


class BatchMoments(NamedTuple):
    """The moments of a batch in a normalization, and the number of pixels of an image."""

    mean: tf.Tensor  # [channels]
    variance: tf.Tensor  # [channels], divided by count - 1
    pixels: int

    @property
    def channels(self) -> int:
        return int(self.mean.shape[0])


class TensorOps:
    """Writes a network once; tensors are those of a graph, in the images' dtype.

    Args:
      images: [batch, height, width, channels].
      weights: tensors by "layer/weight".
      training: normalises by the moments of the batch, which are then in `moments`, and drops.
      seed: [2] int32, of dropout, in training.
      paths: the factor [batch, 1, 1, 1] of each path that may be dropped, in training.
    """

    def __init__(
        self,
        images: tf.Tensor,
        weights: Mapping[str, tf.Tensor],
        *,
        training: bool = False,
        seed: tf.Tensor | None = None,
        paths: Sequence[tf.Tensor] = (),
    ):
        self.images, self.weights, self.training = images, weights, training
        self.seed, self.paths = seed, iter(paths)
        self.moments: dict[str, BatchMoments] = {}
        self.auxiliary_logits: list[tf.Tensor] = []
        self._draws = DRAWS

    def image(self) -> tf.Tensor:
        return self.images

    def shape(self, x: tf.Tensor) -> Shape:
        return x.shape[1], x.shape[2], x.shape[3]

    def conv(
        self,
        x: tf.Tensor,
        filters: int,
        kernel: Pair,
        *,
        strides: Pair = (1, 1),
        dilation: int = 1,
        padding: str = "same",
        bias: bool = False,
        initializer: str = KERNEL_INITIALIZER,
        name: str,
    ) -> tf.Tensor:
        weight = self._weight(f"{name}/kernel", x)
        if kernel == (1, 1) and strides != (1, 1):
            x, strides = pixels.every(x, strides), (1, 1)
        if dilation > 1:  # the raw operation's gradients know no dilation on a CPU
            y = tf.nn.convolution(x, weight, strides, padding.upper(), dilations=dilation)
        else:
            y = raw.Conv2D(
                input=x, filter=weight, strides=[1, *strides, 1], padding=padding.upper()
            )
        return self._biased(y, name) if bias else y

    def depthwise(
        self, x: tf.Tensor, kernel: Pair, *, strides: int = 1, dilation: int = 1, name: str
    ) -> tf.Tensor:
        weight = self._weight(f"{name}/kernel", x)
        steps = [1, strides, strides, 1]
        if dilation > 1:  # the raw operation knows no dilation on a CPU
            return tf.nn.depthwise_conv2d(x, weight, steps, "SAME", dilations=[dilation, dilation])
        return raw.DepthwiseConv2dNative(input=x, filter=weight, strides=steps, padding="SAME")

    def batch_norm(
        self, x: tf.Tensor, *, name: str, epsilon: float = BN_EPSILON, affine: bool = True
    ) -> tf.Tensor:
        y, mean, variance, *_ = raw.FusedBatchNormV3(
            x=x if x.shape.rank == 4 else raw.Reshape(tensor=x, shape=[-1, 1, 1, x.shape[-1]]),
            scale=self.weights[f"{name}/gamma"] if affine else tf.ones(x.shape[-1:]),
            offset=self.weights[f"{name}/beta"] if affine else tf.zeros(x.shape[-1:]),
            mean=[] if self.training else self.weights[f"{name}/moving_mean"],
            variance=[] if self.training else self.weights[f"{name}/moving_variance"],
            epsilon=max(epsilon, MIN_EPSILON) if self.training else epsilon,
            is_training=self.training,
        )
        if self.training:
            self.moments[name] = BatchMoments(mean, variance, math.prod(x.shape[1:-1]))
        return y if x.shape.rank == 4 else raw.Reshape(tensor=y, shape=[-1, x.shape[-1]])

    def relu(self, x: tf.Tensor) -> tf.Tensor:
        return raw.Relu(features=x)

    def max_pool(
        self, x: tf.Tensor, size: int, *, strides: int, padding: str = "same"
    ) -> tf.Tensor:
        return raw.MaxPool(
            input=x,
            ksize=[1, size, size, 1],
            strides=[1, strides, strides, 1],
            padding=padding.upper(),
        )

    def avg_pool(
        self, x: tf.Tensor, size: int, *, strides: int, padding: str = "same"
    ) -> tf.Tensor:
        return raw.AvgPool(
            value=x,
            ksize=[1, size, size, 1],
            strides=[1, strides, strides, 1],
            padding=padding.upper(),
        )

    def shift(self, x: tf.Tensor) -> tf.Tensor:
        return pixels.shifted(x)

    def pad_end(self, x: tf.Tensor, rows: int, columns: int) -> tf.Tensor:
        return raw.Pad(input=x, paddings=[[0, 0], [0, rows], [0, columns], [0, 0]])

    def add(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        if len(inputs) == 2:
            return raw.AddV2(x=inputs[0], y=inputs[1])
        return raw.AddN(inputs=list(inputs)) if len(inputs) > 2 else inputs[0]

    def concatenate(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        if len(inputs) == 1:
            return inputs[0]
        pads = paddings([x.shape[1:3] if x.shape.rank == 4 else (1, 1) for x in inputs])
        padded = [
            raw.Pad(input=x, paddings=[(0, 0), *pad, (0, 0)]) if pad else x
            for x, pad in zip(inputs, pads, strict=True)
        ]
        return raw.ConcatV2(values=padded, axis=-1)

    def average(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        if len(inputs) == 1:
            return inputs[0]
        return raw.Mul(x=self.add(inputs), y=tf.constant(1 / len(inputs), inputs[0].dtype))

    def first(self, x: tf.Tensor, channels: int, after: int = 0) -> tf.Tensor:
        if x.shape[3] == channels:
            return x
        return raw.Slice(input=x, begin=[0, 0, 0, after], size=[-1, -1, -1, channels])

    def zeros(self, x: tf.Tensor) -> tf.Tensor:
        return raw.ZerosLike(x=x)

    def drop_path(self, x: tf.Tensor, rate: float) -> tf.Tensor:
        if not (rate and self.training):
            return x
        return raw.Mul(x=x, y=tf.cast(next(self.paths), x.dtype))

    def dropout(self, x: tf.Tensor, rate: float) -> tf.Tensor:
        if not (rate and self.training):
            return x
        seed = tf.random.fold_in(self.seed, self._draws)
        self._draws += 1
        return tf.nn.experimental.stateless_dropout(x, rate, seed=seed)

    def dense(self, x: tf.Tensor, units: int, *, name: str, dtype: str | None = None) -> tf.Tensor:
        if x.shape.rank > 2:
            x = raw.Reshape(tensor=x, shape=[-1, math.prod(x.shape[1:])])
        return self._dense(tf.cast(x, dtype) if dtype else x, name)

    def auxiliary(self, head: Callable[[], tf.Tensor]) -> None:
        if self.training:
            self.auxiliary_logits.append(head())

    def classifier(
        self, x: tf.Tensor, classes: int, *, dropout: float, bias: bool = True, name: str = "logits"
    ) -> tf.Tensor:
        x = self.dropout(raw.Mean(input=x, axis=[1, 2]), dropout)
        return self._dense(tf.cast(x, tf.float32), name, bias)

    def _dense(self, x: tf.Tensor, name: str, bias: bool = True) -> tf.Tensor:
        y = raw.MatMul(a=x, b=self._weight(f"{name}/kernel", x))
        return self._biased(y, name) if bias else y

    def _biased(self, x: tf.Tensor, name: str) -> tf.Tensor:
        return raw.BiasAdd(value=x, bias=self._weight(f"{name}/bias", x))

    def _weight(self, name: str, x: tf.Tensor) -> tf.Tensor:
        weight = self.weights[name]
        return weight if weight.dtype == x.dtype else tf.cast(weight, x.dtype)
