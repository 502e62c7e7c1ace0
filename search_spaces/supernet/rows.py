"""Layers with a row of weights for each choice of a decision, such as each state of an ENAS cell.

The layers that run one after another on a branch keep their weights in three common variables
[rows, numbers]: kernels; scales and offsets; moving averages. One read of each returns the weights
of the chosen row. The gradient of the other rows is zero, and nas/oneshot/optimizer.py moves only
the chosen row.
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
    """The layers of one branch, with `count` rows of weights.

    Args:
      decision: the question whose answer is the row.

    kernels, trainable_variables and variables are empty until `pack` has created the variables.
    """

    def __init__(self, decision: int, count: int):
        self.decision, self.count = decision, count
        self.layers: dict[str, keras.layers.Layer] = {}  # of the first row, by name
        self.settings: dict[str, dict[str, Any]] = {}
        self.shapes: dict[str, tuple] = {}  # of the layers' inputs
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
        """The function that runs one of the layers. The first pass, before `pack`, creates it."""
        if name not in self.layers:
            self.layers[name] = kind(name=name, **settings)
            self.settings[name] = settings
        return functools.partial(self._run, name)

    def pack(self) -> None:
        """Creates the variables: the weights of the first row, and initial ones of the others."""
        rows = [[w.numpy() for w in self._weights()]]
        rows += [
            [self._initial_value(*pair) for pair in self._named()] for _ in range(1, self.count)
        ]
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
        """Writes back the moving averages that the pass has changed."""
        values = [self.moved.get(name, parts[_AVERAGES]) for name, parts in self.read.items()]
        if self.moved:
            flat = [tf.reshape(value, [-1]) for each in values for value in each]
            row = tf.expand_dims(tf.concat(flat, 0), 0)
            table = self.tables[-1].value
            table.scatter_update(tf.IndexedSlices(row, tf.expand_dims(self.row, 0)))

    def split(self, rows: list[Any]) -> dict[str, list[list[Any]]]:
        """Weights by layer, as lists of kernels, scales and averages.

        rows: one row of each variable, [numbers].
        """
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
        """By name, layers with a copy of the weights of one row."""
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

    def _initial_value(self, layer: str, weight: keras.Variable) -> np.ndarray:
        """A further draw of the initial value of a weight."""
        for name in ("kernel_initializer", "depthwise_initializer"):
            if name in self.settings[layer]:
                initializer = keras.initializers.get(self.settings[layer][name])
                return np.asarray(initializer.clone()(weight.shape))
        return weight.numpy()  # all rows start from the same value


def _part(weight: keras.Variable) -> int:
    if not weight.trainable:
        return _AVERAGES
    return _KERNELS if len(weight.shape) > 1 else _SCALES


@tf.custom_gradient
def _row(table: tf.Tensor, row: tf.Tensor) -> Any:
    """table [rows, numbers] -> [numbers]. TensorFlow's own gradient needs many more operations."""

    def gradient(dy):
        return tf.scatter_nd(tf.reshape(row, [1, 1]), tf.expand_dims(dy, 0), table.shape), None

    return tf.gather(table, row), gradient
