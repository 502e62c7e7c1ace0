"""Gates that are 0 or 1: only the branch with a 1 runs, as in GDAS' code.

Dong & Yang 2019 (arXiv:1910.04465, section 3.2); AutoDL-Projects, search_cells.py, forward_gdas. A
node is the sum of gate x output of the drawn branch, and of the other gates themselves, which are
0. So the gradient of a gate that was not drawn is the sum of the node's gradient, and that of the
drawn one is the sum of gradient x output.
"""

import dataclasses

import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class DrawnGates:
    """gates: [questions, choices] float32, one 1 in each row and zeros."""

    gates: tf.Tensor

    @property
    def drawn(self) -> tf.Tensor:
        """The branch of each question: [questions] int32."""
        return tf.argmax(self.gates, -1, tf.int32)


@tf.custom_gradient
def weigh(gates: tf.Tensor, drawn: tf.Tensor, y: tf.Tensor):
    """The output of the drawn branch, with gradients for all gates of its question.

    gates: [choices] float32, of which gates[drawn] is 1. y: the output of branch `drawn`.
    """

    def gradient(dy):
        own, others = tf.reduce_sum(dy * y), tf.reduce_sum(dy)
        is_drawn = tf.one_hot(drawn, gates.shape[0], own, others, dtype=y.dtype)
        return tf.cast(is_drawn, gates.dtype), None, dy

    return tf.identity(y), gradient
