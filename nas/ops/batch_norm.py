"""Keras' batch normalisation, trained by TensorFlow's fused kernel.

Keras 3 computes the moments and normalises in about thirty operations, forward and backward; the
kernel does it in two, which traces and runs faster. Outputs, gradients and moving averages are
Keras' own up to rounding, and a test compares them. A model is saved with the plain layer in its
place, so that whoever has Keras can load it.
"""

import keras
import tensorflow as tf


class BatchNormalization(keras.layers.BatchNormalization):
    """As its parent, for [batch, height, width, channels] and the moving averages of training."""

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
        # The kernel's variance is the sample's, over count - 1; Keras averages the one over count.
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


# What Keras writes into a saved model: the layer of its own that this one equals.
BatchNormalization.__module__ = "keras.layers"
