"""What a described network computes, at inference, straight from its weights: no model is built."""

import numpy as np
import tensorflow as tf

from nas.morphism.transforms import BN_EPSILON, Moments
from nas.ops.description import Description, Weights


def outputs(
    network: Description, weights: Weights, images: np.ndarray, name: str | None = None
) -> np.ndarray:
    """images: [batch, height, width, channels] float32 -> what layer `name` gives; None: logits."""
    if name is not None:
        upto = network.layers[: network.position(name) + 1]
        network = Description(network.image_shape, upto, name)
    return network.write(_Values(weights, images)).numpy()


def moments(network: Description, weights: Weights, images: np.ndarray, name: str) -> Moments:
    """Mean and variance of each channel of layer `name` over `images`."""
    given = outputs(network, weights, images, name)
    axes = tuple(range(given.ndim - 1))
    return given.mean(axes), given.var(axes)


class _Values:
    """An ops whose tensors are values."""

    def __init__(self, weights: Weights, images: np.ndarray):
        self.weights, self.images = weights, tf.constant(images, tf.float32)

    def image(self):
        return self.images

    def conv(self, x, filters, kernel, *, strides, dilation, padding, bias, name, initializer=None):
        x = tf.nn.conv2d(
            x, self.weights[f"{name}/kernel"], strides, padding.upper(), dilations=dilation
        )
        return x + self.weights[f"{name}/bias"] if bias else x

    def depthwise(self, x, kernel, *, strides, dilation, name):
        kernel = self.weights[f"{name}/kernel"]
        strides = [1, strides, strides, 1]
        return tf.nn.depthwise_conv2d(x, kernel, strides, "SAME", dilations=[dilation, dilation])

    def batch_norm(self, x, *, name):
        gamma, beta, mean, variance = (
            self.weights[f"{name}/{weight}"]
            for weight in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, BN_EPSILON)

    def relu(self, x):
        return tf.nn.relu(x)

    def max_pool(self, x, size, *, strides, padding):
        return tf.nn.max_pool2d(x, size, strides, padding.upper())

    def avg_pool(self, x, size, *, strides, padding):
        return tf.nn.avg_pool2d(x, size, strides, padding.upper())

    def drop_path(self, x, rate):
        return x

    def dropout(self, x, rate):
        return x

    def zeros(self, x):
        return tf.zeros_like(x)

    def first(self, x, channels, after):
        return x[..., after : after + channels]

    def shift(self, x):
        height, width = x.shape[1:3]
        return tf.pad(x, [[0, 0], [0, height % 2], [0, width % 2], [0, 0]])[:, 1:, 1:]

    def add(self, inputs):
        return tf.add_n(inputs)

    def average(self, inputs):
        return tf.add_n(inputs) / len(inputs)

    def concatenate(self, inputs):
        if len(inputs[0].shape) == 2:
            return tf.concat(inputs, -1)
        height, width = (max(x.shape[axis] for x in inputs) for axis in (1, 2))
        padded = []
        for x in inputs:
            down, across = height - x.shape[1], width - x.shape[2]
            sides = [[down // 2, down - down // 2], [across // 2, across - across // 2]]
            padded.append(tf.pad(x, [[0, 0], *sides, [0, 0]]) if down or across else x)
        return tf.concat(padded, -1)

    def dense(self, x, units, *, name, dtype):
        x = tf.reshape(x, [x.shape[0], -1])
        return x @ self.weights[f"{name}/kernel"] + self.weights[f"{name}/bias"]

    def classifier(self, x, classes, *, dropout, bias, name):
        x = tf.reduce_mean(x, [1, 2]) @ self.weights[f"{name}/kernel"]
        return x + self.weights[f"{name}/bias"] if bias else x
