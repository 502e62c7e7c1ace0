"""Layers whose weights have a row for each choice of a decision, as ENAS' cells have for states.

The layers that run one after another on a branch keep their weights together, so that one read
gives those of the chosen row: kernels, scales and offsets, and moving averages, each a variable
[rows, numbers]. The gradient of the other rows is zero, and nas/oneshot/optimizer.py moves the
chosen one alone.
"""

import functools
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

_KERNELS, _SCALES, _AVERAGES = range(3)


class Rows:
    """The layers of one branch, `count` times.

    Args:
      decision: the question whose answer is the row.

    kernels, trainable_variables, variables: once `pack` has made them.
    """

    def __init__(self, decision: int, count: int):
        self.decision, self.count = decision, count
        self.layers: dict[str, keras.layers.Layer] = {}  # of the first row, by name
        self.settings: dict[str, dict[str, Any]] = {}
        self.shapes: dict[str, tuple] = {}  # of what the layers read
        self.tables: list[keras.Variable] = []

    @property
    def trainable_variables(self) -> list[keras.Variable]:
        return [table for table in self.tables if table.trainable]

    @property
    def variables(self) -> list[keras.Variable]:
        return self.tables

    @property
    def kernels(self) -> list[keras.Variable]:
        return [table for table in self.tables if table.name == "kernels"]

    def layer(self, kind, name: str, settings: dict[str, Any]) -> Callable:
        """What runs one of the layers; the first pass, before `pack`, makes it."""
        if name not in self.layers:
            self.layers[name] = kind(name=name, **settings)
            self.settings[name] = settings
        return functools.partial(self._run, name)

    def pack(self) -> None:
        """Makes the variables, with the weights of the first row and of all others."""
        rows = [[w.numpy() for w in self._weights()]]
        rows += [[self._start(*pair) for pair in self._named()] for _ in range(1, self.count)]
        for part, name in enumerate(("kernels", "scales", "averages")):
            places = [i for i, weight in enumerate(self._weights()) if _part(weight) == part]
            if places:
                flat = [np.concatenate([row[i].reshape(-1) for i in places]) for row in rows]
                self.tables.append(
                    keras.Variable(np.stack(flat), trainable=part != _AVERAGES, name=name)
                )

    def begin(self, choice: tf.Tensor) -> None:
        """Reads the chosen row. choice: [questions] int32."""
        self.row = choice[self.decision]
        self.read = self.split([_row(table.value, self.row) for table in self.tables])
        self.moved: dict[str, list[tf.Tensor]] = {}

    def end(self) -> None:
        """Writes the moving averages that the pass has moved."""
        values = [self.moved.get(name, own[2]) for name, own in self.read.items()]
        if self.moved:
            flat = [tf.reshape(value, [-1]) for each in values for value in each]
            row = tf.expand_dims(tf.concat(flat, 0), 0)
            table = self.tables[-1].value
            table.scatter_update(tf.IndexedSlices(row, tf.expand_dims(self.row, 0)))

    def split(self, rows: list[Any]) -> dict[str, list[list[Any]]]:
        """One row of each variable, [numbers], as weights by layer: kernels, scales, averages."""
        parts = iter(rows)
        pieces: dict[int, Any] = {}
        for part in range(3):
            sizes = [math.prod(w.shape) for w in self._weights() if _part(w) == part]
            pieces[part] = iter(tf.split(next(parts), sizes) if sizes else [])
        return {
            name: [
                [tf.reshape(next(pieces[p]), w.shape) for w in layer.weights if _part(w) == p]
                for p in range(3)
            ]
            for name, layer in self.layers.items()
        }

    def of(self, row: int) -> dict[str, keras.layers.Layer]:
        """Layers with a copy of the weights of one row, by name."""
        values = self.split([table.value[row] for table in self.tables])
        layers = {}
        for name, first in self.layers.items():
            layers[name] = type(first)(name=name, **self.settings[name])
            layers[name].build(self.shapes[name])
            layers[name].set_weights([w.numpy() for part in values[name] for w in part])
        return layers

    def _run(self, name: str, x: tf.Tensor, **arguments) -> tf.Tensor:
        layer = self.layers[name]
        if not self.tables:
            self.shapes[name] = tuple(x.shape)
            return layer(x, **arguments)
        kernels, scales, averages = self.read[name]
        y, moved = layer.stateless_call([*kernels, *scales], averages, x, **arguments)
        if arguments.get("training"):
            self.moved[name] = moved
        return y

    def _named(self) -> list[tuple[str, keras.Variable]]:
        return [(name, w) for name, layer in self.layers.items() for w in layer.weights]

    def _weights(self) -> list[keras.Variable]:
        return [weight for _, weight in self._named()]

    def _start(self, layer: str, weight: keras.Variable) -> np.ndarray:
        """Another draw of what a weight starts as."""
        for name in ("kernel_initializer", "depthwise_initializer"):
            if name in self.settings[layer]:
                given = keras.initializers.get(self.settings[layer][name])
                return np.asarray(given.clone()(weight.shape))
        return weight.numpy()  # the same for all


def _part(weight: keras.Variable) -> int:
    if not weight.trainable:
        return _AVERAGES
    return _KERNELS if len(weight.shape) > 1 else _SCALES


@tf.custom_gradient
def _row(table: tf.Tensor, row: tf.Tensor) -> Any:
    """table [rows, numbers] -> [numbers]. TensorFlow's own gradient takes many more operations."""

    def gradient(dy):
        return tf.scatter_nd(tf.reshape(row, [1, 1]), tf.expand_dims(dy, 0), table.shape), None

    return tf.gather(table, row), gradient
