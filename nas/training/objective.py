"""Training objectives: classification (cross-entropy, accuracy), regression (squared error, R^2).

An objective gives each example a loss and a score. The mean of the scores is the accuracy of a
classifier, or the coefficient of determination (R^2) of a regression.
"""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np
import tensorflow as tf


class Objective(Protocol):
    def loss(self, labels: tf.Tensor, logits: tf.Tensor, smoothing: float) -> tf.Tensor:
        """[batch] float32. smoothing: of the labels, in [0, 1)."""
        ...

    def score(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """[batch] float32, larger is better."""
        ...


class Classes:
    """Classification. labels: [batch] int32; logits: [batch, classes]."""

    def loss(self, labels: tf.Tensor, logits: tf.Tensor, smoothing: float) -> tf.Tensor:
        """Cross-entropy, [batch] float32."""
        return cross_entropy(labels, logits, smoothing)

    def score(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """1 for a correct prediction, otherwise 0: [batch] float32."""
        return is_correct(labels, logits)


@dataclasses.dataclass(frozen=True)
class Numbers:
    """Regression. labels: [batch] float32, standardised; logits: [batch, 1]."""

    variance: float  # of all labels of the part that is scored

    def loss(self, labels: tf.Tensor, logits: tf.Tensor, smoothing: float) -> tf.Tensor:
        """Squared error, [batch] float32. Smoothing does not apply."""
        return tf.square(tf.cast(logits[:, 0], tf.float32) - labels)

    def score(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """1 - squared error / variance, [batch] float32: R^2 is the mean."""
        return 1.0 - self.loss(labels, logits, 0.0) / self.variance


def objective(labels: np.ndarray) -> Objective:
    """Regression for float labels, classification for integers. labels: [n]."""
    if labels.dtype.kind != "f":
        return Classes()
    return Numbers(max(float(labels.var()), 1e-12))


def training_loss(
    aim: Objective,
    labels: tf.Tensor,
    heads: Sequence[tf.Tensor],
    *,
    smoothing: float,
    auxiliary_weight: float,
) -> tf.Tensor:
    """Mean loss of a batch, [] float32, with the weighted losses of auxiliary heads.

    heads: the network's logits, then those of each auxiliary head.
    """
    logits, *auxiliary = heads
    loss = tf.reduce_mean(aim.loss(labels, logits, smoothing))
    for head in auxiliary:
        loss += auxiliary_weight * tf.reduce_mean(aim.loss(labels, head, smoothing))
    return loss


def is_correct(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """1 where the largest logit is the label's, otherwise 0: [batch] float32."""
    return tf.cast(tf.equal(tf.argmax(logits, -1, tf.int32), labels), tf.float32)


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor, smoothing: float) -> tf.Tensor:
    """labels [batch] int32, logits [batch, classes] -> [batch] float32."""
    logits = tf.cast(logits, tf.float32)
    if not smoothing:
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
    classes = logits.shape[-1]
    target = tf.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
    return tf.nn.softmax_cross_entropy_with_logits(target, logits)
