"""Recurrent cells of a language model: their interface, and the LSTM.

A cell is a Keras RNN cell, called with inputs and states. It consists of two parts, `project` and
`step`. `project` does not depend on the state, so one product serves all steps of a sequence. The
`noise` of a cell stays the same for a whole sequence in training: dropout masks and dropped
weights.
"""

import math
from typing import Any

import keras
import tensorflow as tf

from nas.core.language_skeleton import LanguageSkeleton
from nas.core.trial import ConfigError

States = tuple[tf.Tensor, ...]  # each [batch, units]
Noise = dict[str, tf.Tensor] | None  # None outside of training: nothing is dropped


class RecurrentCell(keras.layers.Layer):
    """Subclasses add weights in __init__, and write `project` and `step`.

    `drops` names the rates of the skeleton that the cell supports; the others must be 0.
    """

    drops: tuple[str, ...] = ()
    states = 1  # the number of states, of `units` numbers each
    is_written_out = True  # whether a known number of steps is written out, instead of a loop

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
        """What is drawn once for each sequence. seed: [2] int32."""
        return {}

    def project(self, inputs: tf.Tensor, noise: Noise = None) -> tf.Tensor:
        """inputs [..., batch, inputs] -> [..., batch, projected]."""
        raise NotImplementedError

    def step(self, projected: tf.Tensor, states: States, noise: Noise = None):
        """One step: projected [batch, projected] -> output [batch, units], the next states."""
        raise NotImplementedError

    def call(self, inputs, states):
        """One step, as keras.layers.RNN calls a cell. Nothing is dropped."""
        output, states = self.step(self.project(inputs), tuple(states))
        return output, list(states)

    def weights_of(self, name: str, *shape: int) -> keras.Variable:
        """A weight with uniform initial values, up to the limit that the skeleton sets."""
        limit = self.skeleton.init or 1 / math.sqrt(self.units)
        initializer = keras.initializers.RandomUniform(-limit, limit)
        return self.add_weight(name=name, shape=shape, initializer=initializer)


class LSTM(RecurrentCell):
    """Long short-term memory without peepholes (Zaremba et al. 2014, section 3; one bias).

    The gates stand in Keras' order: input, forget, candidate, output.

    forget_bias: a constant added to the trained bias of the forget gate. It is 0 in Zaremba et
      al.'s runs and in the TensorFlow tutorial.
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
    """Runs a cell: inputs [time, batch, inputs] -> outputs [time, batch, units], the last states.

    A known number of steps is written out, which is faster. An unknown number is a loop in the
    graph, and so is any number of steps of a cell whose steps take long to trace.
    """
    projected = cell.project(inputs, noise)
    if cell.is_written_out and projected.shape[0] is not None:
        outputs = []
        for projected_step in tf.unstack(projected):
            output, states = cell.step(projected_step, states, noise)
            outputs.append(output)
        return tf.stack(outputs), states
    time = tf.shape(projected)[0]
    # An array, because the gradient of a slice of `projected` is as large as all of `projected`.
    steps = tf.TensorArray(tf.float32, size=time, element_shape=projected.shape[1:])
    steps = steps.unstack(projected)

    def body(t, outputs, states):
        output, states = cell.step(steps.read(t), states, noise)
        return t + 1, outputs.write(t, output), states

    output_array = tf.TensorArray(tf.float32, size=time, element_shape=states[0].shape)
    _, output_array, states = tf.while_loop(
        lambda t, *_: t < time, body, (0, output_array, states), maximum_iterations=time
    )
    return output_array.stack(), states


def dropout(x: tf.Tensor, rate: float, seed: tf.Tensor, shape: tuple | None = None) -> tf.Tensor:
    """x with zeros at probability `rate`, and the rest divided by 1 - rate.

    shape: that of the mask, which is broadcast to x; None: the shape of x.
    """
    if not rate:
        return x
    return x * mask(tf.shape(x) if shape is None else shape, rate, seed)


def mask(shape: Any, rate: float, seed: tf.Tensor) -> tf.Tensor:
    """Zeros with probability `rate`, otherwise 1 / (1 - rate): float32 of that shape."""
    kept = tf.random.stateless_uniform(shape, seed) >= rate
    return tf.cast(kept, tf.float32) / (1 - rate)
