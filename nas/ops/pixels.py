"""Selects pixels of images, by operations whose gradients are fast on a CPU.

A strided slice is one operation, but its gradient runs on a single core and takes longer than the
convolution that reads the slice. The gradients of a plain slice and of a reshape are fast.
"""

import tensorflow as tf

from nas.core.ops import Pair

raw = tf.raw_ops


def every(x: tf.Tensor, strides: Pair) -> tf.Tensor:
    """x[:, ::strides[0], ::strides[1]]. x: [batch, height, width, channels]."""
    (down, across), (_, height, width, channels) = strides, x.shape
    below, beside = -height % down, -width % across
    if below or beside:
        x = raw.Pad(input=x, paddings=[[0, 0], [0, below], [0, beside], [0, 0]])
    rows, columns = (height + below) // down, (width + beside) // across
    x = raw.Reshape(tensor=x, shape=[-1, rows, down, columns, across * channels])
    x = raw.Slice(input=x, begin=[0] * 5, size=[-1, rows, 1, columns, channels])
    return raw.Reshape(tensor=x, shape=[-1, rows, columns, channels])


def shifted(x: tf.Tensor) -> tf.Tensor:
    """x[:, 1:, 1:], with zeros at the bottom and the right if the height or the width is odd."""
    _, height, width, _ = x.shape
    x = raw.Slice(input=x, begin=[0, 1, 1, 0], size=[-1] * 4)
    if height % 2 or width % 2:
        x = raw.Pad(input=x, paddings=[[0, 0], [0, height % 2], [0, width % 2], [0, 0]])
    return x
