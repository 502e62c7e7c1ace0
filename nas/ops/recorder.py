"""Recorder writes down the calls of a space as a Description (nas/ops/description.py).

So the network of every space that is written with ops can be described, and transformed.
"""

from collections.abc import Sequence
from typing import Any

from nas.core.ops import BN_EPSILON, Shape
from nas.ops.description import Description, Layer, conv_layer, make_layer, shape_of


def describe(space, arch, skeleton) -> Description:
    """The network of `arch`. Raises NotImplementedError if the space does not write `network`."""
    ops = Recorder(skeleton.image_shape)
    return ops.network(space.network(ops, arch, skeleton))


class Recorder:
    """An ops that records its calls; tensors are names of layers."""

    def __init__(self, image_shape: Sequence[int]):
        height, width, channels = image_shape
        self.image_shape = height, width, channels
        self.layers: list[Layer] = []
        self._shapes: dict[str, Shape] = {}

    def network(self, output: str) -> Description:
        """The recorded network. output: the layer that gives the logits."""
        return Description(self.image_shape, tuple(self.layers), output)

    def image(self) -> str:
        return self._add(make_layer("image", "image", []))

    def shape(self, x: str) -> Shape:
        return self._shapes[x]

    def conv(self, x: str, filters: int, kernel, *, name: str, **settings: Any) -> str:
        return self._add(conv_layer(name, x, filters, kernel, **settings))

    def depthwise(self, x: str, kernel, *, strides: int = 1, dilation: int = 1, name: str) -> str:
        settings = {"kernel": tuple(kernel), "strides": strides, "dilation": dilation}
        return self._add(make_layer(name, "depthwise", [x], **settings))

    def batch_norm(
        self, x: str, *, name: str, epsilon: float = BN_EPSILON, affine: bool = True
    ) -> str:
        chosen = {"epsilon": (epsilon, BN_EPSILON), "affine": (affine, True)}
        settings = {key: value for key, (value, default) in chosen.items() if value != default}
        return self._add(make_layer(name, "batch_norm", [x], **settings))

    def dense(self, x: str, units: int, *, name: str, dtype: str | None = None) -> str:
        return self._add(make_layer(name, "dense", [x], units=units, dtype=dtype))

    def classifier(
        self, x: str, classes: int, *, dropout: float, bias: bool = True, name: str = "logits"
    ) -> str:
        settings = {"classes": classes, "dropout": dropout, "bias": bias}
        return self._add(make_layer(name, "classifier", [x], **settings))

    def relu(self, x: str) -> str:
        return self._unnamed("relu", [x])

    def max_pool(self, x: str, size: int, *, strides: int, padding: str = "same") -> str:
        return self._unnamed("max_pool", [x], size=size, strides=strides, padding=padding)

    def avg_pool(self, x: str, size: int, *, strides: int, padding: str = "same") -> str:
        return self._unnamed("avg_pool", [x], size=size, strides=strides, padding=padding)

    def shift(self, x: str) -> str:
        return self._unnamed("shift", [x])

    def pad_end(self, x: str, rows: int, columns: int) -> str:
        return self._unnamed("pad_end", [x], rows=rows, columns=columns)

    def first(self, x: str, channels: int, after: int = 0) -> str:
        return self._unnamed("first", [x], channels=channels, after=after)

    def zeros(self, x: str) -> str:
        return self._unnamed("zeros", [x])

    def drop_path(self, x: str, rate: float) -> str:
        return self._unnamed("drop_path", [x], rate=rate)

    def dropout(self, x: str, rate: float) -> str:
        return self._unnamed("dropout", [x], rate=rate)

    def add(self, inputs: Sequence[str]) -> str:
        return self._unnamed("add", inputs) if len(inputs) > 1 else inputs[0]

    def average(self, inputs: Sequence[str]) -> str:
        return self._unnamed("average", inputs) if len(inputs) > 1 else inputs[0]

    def concatenate(self, inputs: Sequence[str]) -> str:
        return self._unnamed("concatenate", inputs) if len(inputs) > 1 else inputs[0]

    def auxiliary(self, head) -> None:
        pass

    def _unnamed(self, kind: str, inputs: Sequence[str], **settings: Any) -> str:
        return self._add(make_layer(f"{kind}{len(self.layers)}", kind, inputs, **settings))

    def _add(self, layer: Layer) -> str:
        inputs = [self._shapes[i] for i in layer.inputs]
        self._shapes[layer.name] = shape_of(layer, inputs, self.image_shape)
        self.layers.append(layer)
        return layer.name
