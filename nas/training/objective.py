"""What a network's numbers are for: classes, or a number to be foretold.

Both are functions of each example, so that the image loop adds them up alike: a loss, and a score
whose mean is the accuracy of classes and the coefficient of determination (R^2) of numbers.
"""

import dataclasses

import numpy as np
import tensorflow as tf


class Classes:
    """labels [batch] int32, logits [batch, classes]."""

    def loss(self, labels, logits, smoothing: float) -> tf.Tensor:
        """Cross entropy, [batch] float32."""
        return cross_entropy(labels, logits, smoothing)

    def score(self, labels, logits) -> tf.Tensor:
        """1 where the largest logit is the label's, [batch] float32."""
        return tf.cast(tf.equal(tf.argmax(logits, -1, tf.int32), labels), tf.float32)


@dataclasses.dataclass(frozen=True)
class Numbers:
    """labels [batch] float32, standardised; logits [batch, 1]."""

    variance: float  # of all labels that are scored

    def loss(self, labels, logits, smoothing: float) -> tf.Tensor:
        """Squared error, [batch] float32; there is nothing to smooth."""
        return tf.square(tf.cast(logits[:, 0], tf.float32) - labels)

    def score(self, labels, logits) -> tf.Tensor:
        """[batch] float32, of mean R^2."""
        return 1.0 - self.loss(labels, logits, 0.0) / self.variance


def objective(labels: np.ndarray) -> "Classes | Numbers":
    """Of examples with such labels, [n]: numbers where they are float."""
    if labels.dtype.kind != "f":
        return Classes()
    return Numbers(max(float(labels.var()), 1e-12))


def cross_entropy(labels, logits, smoothing: float):
    """labels [batch] int32, logits [batch, classes] -> [batch] float32."""
    logits = tf.cast(logits, tf.float32)
    if not smoothing:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    classes = logits.shape[-1]
    target = tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
    return tf.nn.softmax_cross_entropy_with_logits(target, logits)
