"""Keras' batch normalisation, trained by TensorFlow's fused kernel.

Keras 3 computes the moments and normalises in about thirty operations, forward and backward. The
kernel needs two, which are faster to trace and to run. Outputs, gradients and moving averages equal
Keras' own up to rounding, and a test compares them. A model is saved with the plain layer in its
place, so that Keras alone can load it.
"""

import keras
import tensorflow as tf


class BatchNormalization(keras.layers.BatchNormalization):
    """Keras' layer, with the fused kernel in training for [batch, height, width, channels]."""

    def call(self, inputs, training=None, mask=None):
        if not (training and self.trainable) or len(inputs.shape) != 4:
            return super().call(inputs, training=training, mask=mask)
        x = tf.convert_to_tensor(inputs)
        channels = x.shape[-1]
        scale = self.gamma.value if self.scale else tf.ones([channels])
        offset = self.beta.value if self.center else tf.zeros([channels])
        y, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            x, scale, offset, epsilon=self.epsilon, is_training=True
        )
        # The kernel's variance is divided by count - 1, the one that Keras averages by count.
        values = x.shape.num_elements()
        if values is None:
            count = tf.cast(tf.size(x) // channels, tf.float32)
            share = tf.maximum(count - 1, 1) / count
        else:
            share = max(values // channels - 1, 1) / (values // channels)
        self._move(self.moving_mean, mean)
        self._move(self.moving_variance, variance * share)
        return y

    def _move(self, average: keras.Variable, value: tf.Tensor) -> None:
        average.assign(average * self.momentum + value * (1 - self.momentum))


# Keras writes this name into a saved model: that of its own layer, which this one equals.
BatchNormalization.__module__ = "keras.layers"
