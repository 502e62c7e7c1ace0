"""Recurrent cells: what they owe a language model, and the LSTM.

A cell is a Keras RNN cell, called with inputs and states, made of two parts so that what does not
depend on the state is one product for all steps of a sequence: `project` and `step`. Its `noise` is
what stays the same for a sequence in training, dropout masks and dropped weights.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from nas.core.language_skeleton import LanguageSkeleton
from nas.core.trial import ConfigError

States = tuple[tf.Tensor, ...]  # each [batch, units]
Noise = dict[str, tf.Tensor] | None  # None: no training, nothing is dropped


class RecurrentCell(keras.layers.Layer):
    """Subclasses add weights in __init__, and write `project` and `step`.

    `drops` names the rates of the skeleton that the cell honours; others must be 0.
    """

    drops: tuple[str, ...] = ()
    states = 1  # how many; each of `units` numbers
    is_written_out = True  # where the number of steps is known; else a loop in the graph

    def __init__(self, inputs: int, units: int, skeleton: LanguageSkeleton):
        super().__init__()
        for rate in ("dropout_cell_input", "dropout_cell_state", "weight_drop"):
            if getattr(skeleton, rate) and rate not in self.drops:
                raise ConfigError(
                    f"skeleton.{rate} must be 0 with a cell of {type(self).__name__}, got "
                    f"{getattr(skeleton, rate)}; set skeleton.{rate}=0"
                )
        self.inputs, self.units, self.skeleton = inputs, units, skeleton
        self.state_size = [units] * self.states
        self.output_size = units

    def noise(self, batch: int, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        """Drawn once a sequence from seed [2] int32."""
        return {}

    def project(self, inputs: tf.Tensor, noise: Noise = None) -> tf.Tensor:
        """inputs [..., batch, inputs] -> [..., batch, projected]."""
        raise NotImplementedError

    def step(self, projected: tf.Tensor, states: States, noise: Noise = None):
        """One step: projected [batch, projected] -> output [batch, units], the next states."""
        raise NotImplementedError

    def call(self, inputs, states):
        """As keras.layers.RNN calls a cell; nothing is dropped."""
        output, states = self.step(self.project(inputs), tuple(states))
        return output, list(states)

    def weights_of(self, name: str, *shape: int) -> keras.Variable:
        """Uniform as the skeleton says."""
        limit = self.skeleton.init or 1 / math.sqrt(self.units)
        start = keras.initializers.RandomUniform(-limit, limit)
        return self.add_weight(name=name, shape=shape, initializer=start)


class LSTM(RecurrentCell):
    """Long short-term memory without peepholes (Zaremba et al. 2014, section 3; one bias).

    Gates in Keras' order: input, forget, candidate, output. forget_bias is added to the forget
    gate's own bias: 0 in Zaremba et al.'s runs and the TensorFlow tutorial.
    """

    drops = ("weight_drop",)
    states = 2  # output h, memory c

    def __init__(
        self, inputs: int, units: int, skeleton: LanguageSkeleton, *, forget_bias: float = 0.0
    ):
        super().__init__(inputs, units, skeleton)
        self.forget_bias = forget_bias
        self.kernel = self.weights_of("kernel", inputs, 4 * units)
        self.recurrent_kernel = self.weights_of("recurrent_kernel", units, 4 * units)
        self.bias = self.weights_of("bias", 4 * units)

    def noise(self, batch: int, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        kernel = tf.convert_to_tensor(self.recurrent_kernel)
        return {"recurrent_kernel": dropout(kernel, self.skeleton.weight_drop, seed)}

    def project(self, inputs: tf.Tensor, noise: Noise = None) -> tf.Tensor:
        return tf.tensordot(inputs, self.kernel, 1) + self.bias

    def step(self, projected: tf.Tensor, states: States, noise: Noise = None):
        h, c = states
        recurrent_kernel = noise["recurrent_kernel"] if noise else self.recurrent_kernel
        gates = projected + tf.matmul(h, recurrent_kernel)
        i, f, g, o = tf.split(gates, 4, axis=-1)
        if self.forget_bias:
            f += self.forget_bias
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        h = tf.sigmoid(o) * tf.tanh(c)
        return h, (h, c)


def over_time(
    cell: RecurrentCell, inputs: tf.Tensor, states: States, noise: Noise
) -> tuple[tf.Tensor, States]:
    """inputs [time, batch, inputs] -> outputs [time, batch, units], the last states.

    A known number of steps is written out, which is faster; an unknown one is a loop in the graph,
    and so are those of a cell whose steps take long to trace.
    """
    projected = cell.project(inputs, noise)
    if cell.is_written_out and projected.shape[0] is not None:
        outputs = []
        for one in tf.unstack(projected):
            output, states = cell.step(one, states, noise)
            outputs.append(output)
        return tf.stack(outputs), states
    time = tf.shape(projected)[0]
    # Read from an array: the gradient of a slice of `projected` is as large as the whole of it.
    read = tf.TensorArray(tf.float32, size=time, element_shape=projected.shape[1:])
    read = read.unstack(projected)

    def body(t, written, states):
        output, states = cell.step(read.read(t), states, noise)
        return t + 1, written.write(t, output), states

    written = tf.TensorArray(tf.float32, size=time, element_shape=states[0].shape)
    _, written, states = tf.while_loop(
        lambda t, *_: t < time, body, (0, written, states), maximum_iterations=time
    )
    return written.stack(), states


def dropout(x: tf.Tensor, rate: float, seed: tf.Tensor, shape: tuple | None = None) -> tf.Tensor:
    """Zeros with probability `rate`, the rest / (1 - rate). shape: of the mask, broadcast to x."""
    if not rate:
        return x
    return x * mask(tf.shape(x) if shape is None else shape, rate, seed)


def mask(shape: Any, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """0 with probability `rate`, else 1 / (1 - rate)."""
    kept = tf.random.stateless_uniform(shape, seed) >= rate
    return tf.cast(kept, tf.float32) / (1 - rate)
