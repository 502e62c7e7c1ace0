"""One step of an LSTM layer (Hochreiter & Schmidhuber 1997, with forget gates)."""

import tensorflow as tf

State = tuple[tf.Tensor, tf.Tensor]  # (h, c): output and cell, [rows, units] each


def lstm_step(x: tf.Tensor, state: State, kernel: tf.Tensor, bias: tf.Tensor | None) -> State:
    """The state after reading x.

    Args:
      x: the input, [rows, inputs].
      state: (h, c) before the step.
      kernel: [inputs + units, 4 units], columns in the order input, forget, candidate, output.
      bias: [4 units], or None.
    """
    h, c = state
    gates = tf.concat([x, h], 1) @ kernel
    if bias is not None:
        gates += bias
    i, f, g, o = tf.split(gates, 4, 1)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c), c
