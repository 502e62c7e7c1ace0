"""The few layers that image spaces are made of: written once, built by Keras or only counted.

A space writes its network once, in terms of an `ops` (`Space.network`). KerasOps makes the layers;
CountOps follows the shapes without TensorFlow and adds up what they cost, so that the estimate
cannot drift from the model. Tensors are whatever the ops give: Keras tensors, or
(height, width, channels).
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import keras

Pair = tuple[int, int]  # of the height and the width
Shape = tuple[int, int, int]  # height, width, channels

# He et al. 2015 for convolutions before ReLUs; neither paper of this folder's first spaces says.
KERNEL_INITIALIZER = "he_normal"
# The same for one filter a channel, which sees height x width pixels: Keras' fan_in would count the
# channels too.
DEPTHWISE_INITIALIZER = {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"}
# PyTorch's defaults, which NAS-Bench-201's official code keeps. Keras' own momentum of 0.99 would
# need hundreds of steps before validation sees fair statistics: more than a short search has.
BN_MOMENTUM, BN_EPSILON = 0.9, 1e-5


class Ops(Protocol):
    """What a network may be written with. Padding is "same", sizes are divided rounding up, unless
    it is said to be "valid"."""

    def image(self) -> Any:
        """The input: images [batch, height, width, channels]."""

    def shape(self, x) -> Shape:
        """The height, width and channels of x."""

    def conv(
        self,
        x,
        filters: int,
        kernel: Pair,
        *,
        strides: Pair = (1, 1),
        dilation: int = 1,
        padding: str = "same",
        bias: bool = False,
        initializer: str = KERNEL_INITIALIZER,
        name: str,
    ) -> Any:
        """A convolution; without bias where a batch normalization follows it.

        One of 1x1 is made without strides, of the pixels it would read: TensorFlow 2.21's oneDNN
        adds up the gradient of a strided 1x1 kernel wrongly on CPUs with AVX2 alone
        (tests/test_gradients.py).
        """

    def depthwise(self, x, kernel: Pair, *, strides: int = 1, dilation: int = 1, name: str) -> Any:
        """One filter for each channel, without bias."""

    def batch_norm(self, x, *, name: str, epsilon: float = BN_EPSILON) -> Any: ...

    def relu(self, x) -> Any: ...

    def max_pool(self, x, size: int, *, strides: int, padding: str = "same") -> Any: ...

    def avg_pool(self, x, size: int, *, strides: int, padding: str = "same") -> Any:
        """The mean over the pixels inside the image: the padding does not count."""

    def shift(self, x) -> Any:
        """The image moved up and left by a pixel: what a stride of 2 reads of it are the pixels
        that it skips in x. Zeros come in where the height or the width is odd."""

    def add(self, inputs: Sequence) -> Any:
        """The sum of tensors of one shape; one alone passes as it is."""

    def concatenate(self, inputs: Sequence) -> Any:
        """Along channels. Smaller images are padded with zeros to the largest, centred; an odd
        pixel goes to the bottom or the right. One alone passes as it is."""

    def average(self, inputs: Sequence) -> Any:
        """The mean of tensors of one shape; one alone passes as it is."""

    def first(self, x, channels: int, after: int = 0) -> Any:
        """The first channels of x behind so many others; all of them pass as they are."""

    def zeros(self, x) -> Any:
        """Zeros of x's shape, through which the gradient is zero."""

    def drop_path(self, x, rate: float) -> Any:
        """x; in training, zeros for so large a share of the images, at the end of the training."""

    def dropout(self, x, rate: float) -> Any:
        """x; in training, each value is zero with so large a probability."""

    def dense(self, x, units: int, *, name: str, dtype: str | None = None) -> Any:
        """A dense layer with a bias over all values of x: [batch, units]."""

    def auxiliary(self, head: Callable[[], Any]) -> None:
        """A head that gives logits which only training uses: it is made in training alone."""

    def classifier(
        self, x, classes: int, *, dropout: float, bias: bool = True, name: str = "logits"
    ) -> Any:
        """Global average pooling, dropout, and a dense layer to logits [batch, classes] float32."""


class KerasOps:
    """Makes stock Keras layers, functional API.

    reuse: layers with weights, by name, to take instead of making them (see `made`).
    """

    def __init__(self, image_shape: Shape, reuse: "dict[str, keras.layers.Layer] | None" = None):
        import keras

        self.layers = keras.layers
        self.input = keras.Input(image_shape, name="image")
        self.reuse = reuse or {}
        self.made: dict[str, keras.layers.Layer] = {}

    def model(self, logits) -> "keras.Model":
        import keras

        return keras.Model(self.input, logits)

    def image(self):
        return self.input

    def shape(self, x) -> Shape:
        return x.shape[1], x.shape[2], x.shape[3]

    def conv(
        self,
        x,
        filters: int,
        kernel: Pair,
        *,
        strides: Pair = (1, 1),
        dilation: int = 1,
        padding: str = "same",
        bias: bool = False,
        initializer: str = KERNEL_INITIALIZER,
        name: str,
    ):
        if kernel == (1, 1) and strides != (1, 1):
            x, strides = self.every(x, strides), (1, 1)
        settings = {
            "filters": filters,
            "kernel_size": kernel,
            "strides": strides,
            "dilation_rate": dilation,
            "padding": padding,
            "use_bias": bias,
            "kernel_initializer": initializer,
        }
        return self._weighted(self.layers.Conv2D, name, settings)(x)

    def every(self, x, strides: Pair):
        """The pixels of x that a strided 1x1 convolution reads, for one without strides to read."""
        return self.layers.MaxPooling2D((1, 1), strides=strides, padding="same")(x)

    def depthwise(self, x, kernel: Pair, *, strides: int = 1, dilation: int = 1, name: str):
        import keras

        settings = {
            "kernel_size": kernel,
            "strides": strides,
            "dilation_rate": dilation,
            "padding": "same",
            "use_bias": False,
            "depthwise_initializer": keras.initializers.VarianceScaling(**DEPTHWISE_INITIALIZER),
        }
        return self._weighted(self.layers.DepthwiseConv2D, name, settings)(x)

    def batch_norm(self, x, *, name: str, epsilon: float = BN_EPSILON):
        from search_spaces.batch_norm import BatchNormalization

        settings = {"momentum": BN_MOMENTUM, "epsilon": epsilon}
        return self._weighted(BatchNormalization, name, settings)(x)

    def relu(self, x):
        return self.layers.ReLU()(x)

    def max_pool(self, x, size: int, *, strides: int, padding: str = "same"):
        return self.layers.MaxPooling2D(size, strides=strides, padding=padding)(x)

    def avg_pool(self, x, size: int, *, strides: int, padding: str = "same"):
        return self.layers.AveragePooling2D(size, strides=strides, padding=padding)(x)

    def shift(self, x):
        height, width, _ = self.shape(x)
        if height % 2 or width % 2:
            x = self.layers.ZeroPadding2D(((0, height % 2), (0, width % 2)))(x)
        return self.layers.Cropping2D(((1, 0), (1, 0)))(x)

    def add(self, inputs: Sequence):
        return self.layers.Add()(inputs) if len(inputs) > 1 else inputs[0]

    def concatenate(self, inputs: Sequence):
        if len(inputs) == 1:
            return inputs[0]
        pads = paddings([x.shape[1:3] if len(x.shape) == 4 else (1, 1) for x in inputs])
        return self.layers.Concatenate()(
            [
                self.layers.ZeroPadding2D(pad)(x) if pad else x
                for x, pad in zip(inputs, pads, strict=True)
            ]
        )

    def average(self, inputs: Sequence):
        return self.layers.Average()(inputs) if len(inputs) > 1 else inputs[0]

    def first(self, x, channels: int, after: int = 0):
        more = self.shape(x)[2] - channels
        if not more:
            return x
        # Told that channels come first, it crops the last two axes: width by nothing, channels.
        crop = (0, 0), (after, more - after)
        return self.layers.Cropping2D(crop, data_format="channels_first")(x)

    def zeros(self, x):
        # Not zeros_like: it has no gradient at all, and a training step wants one per weight.
        return self.layers.Rescaling(0.0)(x)

    def drop_path(self, x, rate: float):
        return x

    def dropout(self, x, rate: float):
        return self.layers.Dropout(rate)(x) if rate else x

    def dense(self, x, units: int, *, name: str, dtype: str | None = None):
        settings = {"units": units, "dtype": dtype}
        return self._weighted(self.layers.Dense, name, settings)(self.layers.Flatten()(x))

    def auxiliary(self, head: Callable[[], Any]) -> None:
        pass

    def classifier(
        self, x, classes: int, *, dropout: float, bias: bool = True, name: str = "logits"
    ):
        x = self.dropout(self.layers.GlobalAveragePooling2D()(x), dropout)
        # float32 under mixed precision too: a softmax over half precision logits loses accuracy.
        settings = {"units": classes, "use_bias": bias, "dtype": "float32"}
        return self._weighted(self.layers.Dense, name, settings)(x)

    def _weighted(self, kind, name: str, settings: dict[str, Any]) -> "keras.layers.Layer":
        if name not in self.reuse:
            self.made[name] = kind(name=name, **settings)
            return self.made[name]
        return self.reuse[name]


class CountOps:
    """Adds up what the layers of KerasOps would cost for one image; tensors are shapes.

    parameters: trainable. flops: multiply-adds of convolutions and dense layers, forward.
    activations: values the backward pass reads again: what convolutions, ReLUs, poolings,
    concatenations and paddings give, and the image. (A normalization is kept as its input, a sum
    is not kept.)
    """

    def __init__(self, image_shape: Shape):
        self.image_shape = image_shape
        self.parameters = self.flops = self.activations = 0

    def image(self) -> Shape:
        return self._kept(*self.image_shape)

    def shape(self, x: Shape) -> Shape:
        return x

    def conv(
        self,
        x: Shape,
        filters: int,
        kernel: Pair,
        *,
        strides: Pair = (1, 1),
        dilation: int = 1,
        padding: str = "same",
        bias: bool = False,
        initializer: str = KERNEL_INITIALIZER,
        name: str,
    ) -> Shape:
        height = _size(x[0], kernel[0], strides[0], padding)
        width = _size(x[1], kernel[1], strides[1], padding)
        if kernel == (1, 1) and strides != (1, 1):
            self._kept(height, width, x[2])
        weights = kernel[0] * kernel[1] * x[2] * filters
        self.parameters += weights + bias * filters
        self.flops += weights * height * width
        return self._kept(height, width, filters)

    def depthwise(
        self, x: Shape, kernel: Pair, *, strides: int = 1, dilation: int = 1, name: str
    ) -> Shape:
        height, width = math.ceil(x[0] / strides), math.ceil(x[1] / strides)
        weights = kernel[0] * kernel[1] * x[2]
        self.parameters += weights
        self.flops += weights * height * width
        return self._kept(height, width, x[2])

    def batch_norm(self, x: Shape, *, name: str, epsilon: float = BN_EPSILON) -> Shape:
        self.parameters += 2 * x[2]
        return x

    def relu(self, x: Shape) -> Shape:
        return self._kept(*x)

    def max_pool(self, x: Shape, size: int, *, strides: int, padding: str = "same") -> Shape:
        height, width = (_size(n, size, strides, padding) for n in x[:2])
        return self._kept(height, width, x[2])

    def avg_pool(self, x: Shape, size: int, *, strides: int, padding: str = "same") -> Shape:
        height, width = (_size(n, size, strides, padding) for n in x[:2])
        return self._kept(height, width, x[2])

    def shift(self, x: Shape) -> Shape:
        height, width, channels = x
        if height % 2 or width % 2:
            self._kept(height + height % 2, width + width % 2, channels)
        return self._kept(height + height % 2 - 1, width + width % 2 - 1, channels)

    def add(self, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]

    def concatenate(self, inputs: Sequence[Shape]) -> Shape:
        if len(inputs) == 1:
            return inputs[0]
        height, width = max(x[0] for x in inputs), max(x[1] for x in inputs)
        for x, pad in zip(inputs, paddings([x[:2] for x in inputs]), strict=True):
            if pad:
                self._kept(height, width, x[2])
        return self._kept(height, width, sum(x[2] for x in inputs))

    def average(self, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]

    def first(self, x: Shape, channels: int, after: int = 0) -> Shape:
        return x if x[2] == channels else self._kept(x[0], x[1], channels)

    def zeros(self, x: Shape) -> Shape:
        return x

    def drop_path(self, x: Shape, rate: float) -> Shape:
        return x

    def dropout(self, x: Shape, rate: float) -> Shape:
        return x

    def dense(self, x: Shape, units: int, *, name: str, dtype: str | None = None) -> Shape:
        self.parameters += (math.prod(x) + 1) * units
        self.flops += math.prod(x) * units
        return self._kept(1, 1, units)

    def auxiliary(self, head: Callable[[], Shape]) -> None:
        pass

    def classifier(
        self, x: Shape, classes: int, *, dropout: float, bias: bool = True, name: str = "logits"
    ) -> Shape:
        self.parameters += (x[2] + bias) * classes
        self.flops += x[2] * classes
        self._kept(1, 1, x[2])
        return self._kept(1, 1, classes)

    def _kept(self, height: int, width: int, channels: int) -> Shape:
        self.activations += height * width * channels
        return height, width, channels


def _size(n: int, kernel: int, strides: int, padding: str) -> int:
    return math.ceil((n if padding == "same" else n - kernel + 1) / strides)


def paddings(sizes: Sequence[Pair]) -> list[tuple[Pair, Pair] | None]:
    """((top, bottom), (left, right)) that brings each (height, width) to the largest, centred.

    None where nothing is missing; an odd pixel goes to the bottom or the right.
    """
    height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)
    pads: list[tuple[Pair, Pair] | None] = []
    for h, w in sizes:
        down, across = height - h, width - w
        pad = (down // 2, down - down // 2), (across // 2, across - across // 2)
        pads.append(pad if down or across else None)
    return pads
