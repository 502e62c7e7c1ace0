"""KerasOps builds the Keras model of a network, of stock layers by the functional API."""

from collections.abc import Callable, Sequence
from typing import Any

import keras

from nas.core.ops import (
    BN_EPSILON,
    BN_MOMENTUM,
    DEPTHWISE_INITIALIZER,
    KERNEL_INITIALIZER,
    Pair,
    Shape,
)
from nas.ops.batch_norm import BatchNormalization
from nas.ops.count import paddings


class KerasOps:
    """Builds a functional model of stock Keras layers; tensors are Keras tensors.

    reuse: layers with weights, by name, that are used again instead of being built.
    made: the layers with weights that were built, by name.
    """

    def __init__(self, image_shape: Shape, reuse: dict[str, keras.layers.Layer] | None = None):
        self.layers = keras.layers
        self.input = keras.Input(image_shape, name="image")
        self.reuse = reuse or {}
        self.made: dict[str, keras.layers.Layer] = {}

    def model(self, logits) -> keras.Model:
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
        """The pixels of x that a strided 1x1 convolution reads."""
        return self.layers.MaxPooling2D((1, 1), strides=strides, padding="same")(x)

    def depthwise(self, x, kernel: Pair, *, strides: int = 1, dilation: int = 1, name: str):
        settings = {
            "kernel_size": kernel,
            "strides": strides,
            "dilation_rate": dilation,
            "padding": "same",
            "use_bias": False,
            "depthwise_initializer": keras.initializers.VarianceScaling(**DEPTHWISE_INITIALIZER),
        }
        return self._weighted(self.layers.DepthwiseConv2D, name, settings)(x)

    def batch_norm(self, x, *, name: str, epsilon: float = BN_EPSILON, affine: bool = True):
        return self._weighted(BatchNormalization, name, norm_settings(epsilon, affine))(x)

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

    def pad_end(self, x, rows: int, columns: int):
        return self.layers.ZeroPadding2D(((0, rows), (0, columns)))(x)

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
        cropped = self.shape(x)[2] - channels
        if not cropped:
            return x
        # As if channels came first, it crops the last two axes: the width by 0, and the channels.
        crop = (0, 0), (after, cropped - after)
        return self.layers.Cropping2D(crop, data_format="channels_first")(x)

    def zeros(self, x):
        # Not zeros_like: it has no gradient at all, and a training step needs one per weight.
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
        # float32 in mixed precision too: a softmax of half-precision logits loses accuracy.
        settings = {"units": classes, "use_bias": bias, "dtype": "float32"}
        return self._weighted(self.layers.Dense, name, settings)(x)

    def _weighted(self, kind, name: str, settings: dict[str, Any]) -> keras.layers.Layer:
        if name not in self.reuse:
            self.made[name] = kind(name=name, **settings)
            return self.made[name]
        return self.reuse[name]


def norm_settings(epsilon: float, affine: bool) -> dict[str, Any]:
    """Of Keras' batch normalization."""
    learnt = {} if affine else {"center": False, "scale": False}
    return {"momentum": BN_MOMENTUM, "epsilon": epsilon, **learnt}
