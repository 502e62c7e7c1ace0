"""A network as plain data: layers with their inputs, which transforms (nas/morphism) change.

A Recorder (nas/ops/recorder.py) describes the network of a space. `Description.write` writes the
description to another `ops` (nas/core/ops.py), which builds or counts it. Weights are kept apart, a
dict of arrays by "layer/weight", named as Keras names them. No TensorFlow is imported.
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.ops import Shape

Weights = dict[str, np.ndarray]  # "layer/kernel" -> array, with the axes of Keras
Moments = tuple[np.ndarray, np.ndarray]  # mean and variance of each channel, [channels]

# Layers that mix channels, and the setting that is the number of their output channels.
WIDTHS = {"conv": "filters", "dense": "units", "classifier": "classes"}
# Layers whose output channel i depends on input channel i alone.
PASSING = (
    "batch_norm", "relu", "depthwise", "max_pool", "avg_pool", "dropout", "drop_path",
)  # fmt: skip
# The weights of a batch normalization, each [channels].
NORM_WEIGHTS = ("gamma", "beta", "moving_mean", "moving_variance")
_WINDOWS = ("conv", "depthwise", "max_pool", "avg_pool")
_SEVERAL = ("add", "average", "concatenate")


@dataclasses.dataclass(frozen=True)
class Layer:
    """One call of an ops: kind is the method, inputs are names of layers, settings the rest."""

    name: str
    kind: str
    inputs: tuple[str, ...]
    settings: tuple[tuple[str, Any], ...] = ()  # in the order of their names

    def __getitem__(self, setting: str) -> Any:
        return dict(self.settings)[setting]

    def replace(self, **settings: Any) -> "Layer":
        return make_layer(self.name, self.kind, self.inputs, **(dict(self.settings) | settings))

    @property
    def width(self) -> int:
        """The number of filters, units or classes of a layer that mixes channels."""
        return self[WIDTHS[self.kind]]


def make_layer(name: str, kind: str, inputs: Sequence[str], **settings: Any) -> Layer:
    return Layer(name, kind, tuple(inputs), tuple(sorted(settings.items())))


def conv_layer(name: str, source: str, filters: int, kernel, **settings: Any) -> Layer:
    """A convolution with the defaults of the ops."""
    defaults = {
        "strides": (1, 1),
        "dilation": 1,
        "padding": "same",
        "bias": False,
        "initializer": "he_normal",
    }
    settings = defaults | settings | {"filters": filters, "kernel": tuple(kernel)}
    return make_layer(name, "conv", [source], **settings)


@dataclasses.dataclass(frozen=True)
class Description:
    """Layers, inputs before their readers. output: the name of the layer that gives the logits."""

    image_shape: Shape
    layers: tuple[Layer, ...]
    output: str

    def __getitem__(self, name: str) -> Layer:
        if name not in self._by_name:
            raise ValueError(f"the network has no layer {name}; it has {', '.join(self._by_name)}")
        return self._by_name[name]

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def readers(self, name: str) -> tuple[Layer, ...]:
        return tuple(layer for layer in self.layers if name in layer.inputs)

    def position(self, name: str) -> int:
        return self.layers.index(self[name])

    def write(self, ops) -> Any:
        """Calls `ops` for every layer in turn and returns its tensor of the output."""
        tensors: dict[str, Any] = {}
        for layer in self.layers:
            inputs = [tensors[name] for name in layer.inputs]
            settings = dict(layer.settings)
            if is_named(layer.kind):
                settings["name"] = layer.name
            arguments = [inputs] if layer.kind in _SEVERAL else inputs
            tensors[layer.name] = getattr(ops, layer.kind)(*arguments, **settings)
        return tensors[self.output]

    def insert(
        self, after: str, new: Sequence[Layer], of: str, readers: Sequence[str] | None = None
    ) -> "Description":
        """This description with the layers `new` behind the layer `after`.

        The readers of `of` read the last of them instead. readers: those that do; None: all.

        Raises ValueError if a name is taken.
        """
        taken = [layer.name for layer in new if layer.name in self]
        if taken:
            raise ValueError(f"a new layer must have a name of its own, got {', '.join(taken)}")
        last = new[-1].name

        def rewired(layer: Layer) -> Layer:
            if readers is not None and layer.name not in readers:
                return layer
            inputs = tuple(last if name == of else name for name in layer.inputs)
            return dataclasses.replace(layer, inputs=inputs)

        at = self.position(after) + 1
        behind = (rewired(layer) for layer in self.layers[at:])
        output = last if of == self.output else self.output
        return Description(self.image_shape, (*self.layers[:at], *new, *behind), output)

    def with_layers(self, changed: dict[str, Layer]) -> "Description":
        """This description with other layers under the same names."""
        layers = tuple(changed.get(layer.name, layer) for layer in self.layers)
        return Description(self.image_shape, layers, self.output)

    @functools.cached_property
    def _by_name(self) -> dict[str, Layer]:
        return {layer.name: layer for layer in self.layers}

    @functools.cached_property
    def shapes(self) -> dict[str, Shape]:
        """Each layer's output shape (height, width, channels); a dense layer has (1, 1, units)."""
        shapes: dict[str, Shape] = {}
        for layer in self.layers:
            shapes[layer.name] = shape_of(
                layer, [shapes[i] for i in layer.inputs], self.image_shape
            )
        return shapes

    def is_flat(self, name: str) -> bool:
        """Whether a layer's output is [batch, units], not [batch, height, width, channels]."""
        layer = self[name]
        if layer.kind in WIDTHS:
            return layer.kind != "conv"
        return any(self.is_flat(i) for i in layer.inputs)

    def is_non_negative(self, name: str) -> bool:
        """Whether a layer's output cannot be below zero, whatever the weights."""
        layer = self[name]
        if layer.kind == "relu":
            return True
        if layer.kind in (*_SEVERAL, "max_pool", "avg_pool", "dropout", "first", "pad_end"):
            return all(self.is_non_negative(i) for i in layer.inputs)
        return False

    def keys(self, *, widths: bool) -> dict[str, Any]:
        """A key of what each layer computes, without the names of layers that have no weights.

        If the keys of two outputs are equal, the networks are the same but for dropout, and weights
        of one fit the other. widths: whether numbers of filters and units count.
        """
        keys: dict[str, Any] = {}
        for layer in self.layers:
            left_out = {"initializer"} | (set() if widths else {WIDTHS.get(layer.kind)})
            settings = tuple((k, v) for k, v in layer.settings if k not in left_out)
            name = layer.name if is_named(layer.kind) else None
            inputs = tuple(keys[i] for i in layer.inputs)
            if layer.kind == "dropout":  # the identity, but in training
                keys[layer.name] = inputs[0]
                continue
            # A hash, because comparing nested tuples would visit every path through the network.
            keys[layer.name] = hash((layer.kind, name, settings, inputs))
        return keys


def is_named(kind: str) -> bool:
    """Whether layers of this kind have weights, and so names that the space gives them."""
    return kind in WIDTHS or kind in ("batch_norm", "depthwise")


def shape_of(layer: Layer, inputs: list[Shape], image_shape: Shape) -> Shape:
    """The output shape of a layer whose inputs have these shapes."""
    if layer.kind == "image":
        return image_shape
    height, width, channels = inputs[0]
    if layer.kind in _WINDOWS:
        settings = dict(layer.settings)
        strides = settings["strides"]
        window = settings["kernel" if "kernel" in settings else "size"]
        down, across = (strides, strides) if isinstance(strides, int) else strides
        tall, wide = (window, window) if isinstance(window, int) else window
        if settings.get("padding") == "valid":
            height, width = height - tall + 1, width - wide + 1
        height, width = math.ceil(height / down), math.ceil(width / across)
        return height, width, layer.width if layer.kind == "conv" else channels
    if layer.kind in WIDTHS:
        return 1, 1, layer.width
    if layer.kind == "concatenate":
        return max(x[0] for x in inputs), max(x[1] for x in inputs), sum(x[2] for x in inputs)
    if layer.kind == "shift":
        return height + height % 2 - 1, width + width % 2 - 1, channels
    if layer.kind == "pad_end":
        return height + layer["rows"], width + layer["columns"], channels
    if layer.kind == "first":
        return height, width, layer["channels"]
    return height, width, channels
