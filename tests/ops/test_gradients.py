"""Convolutions and their gradients, by the kernels that TensorFlow has for this machine.

The reference adds up shifted images. oneDNN's gradient of a strided 1x1 kernel is wrong on CPUs
with AVX2 alone, so no network may hold such a convolution.
"""

import numpy as np
import pytest
import tensorflow as tf

from nas.ops.keras import KerasOps
from nas.ops.tensors import TensorOps
from nas.search_spaces.supernet.ops import SupernetOps

FILTERS = 6


def by_keras(images, kernel, size, strides):
    ops = KerasOps(images.shape[1:])
    model = ops.model(ops.conv(ops.image(), FILTERS, size, strides=strides, name="conv"))
    ops.made["conv"].kernel.assign(kernel)
    with tf.GradientTape() as tape:
        tape.watch(images)
        y = model(images)
    return y, tape, ops.made["conv"].kernel.value


def by_tensors(images, kernel, size, strides):
    with tf.GradientTape() as tape:
        tape.watch([images, kernel])
        ops = TensorOps(images, {"conv/kernel": kernel})
        y = ops.conv(images, FILTERS, size, strides=strides, name="conv")
    return y, tape, kernel


def by_supernet(images, kernel, size, strides):
    ops = SupernetOps(images.shape[1:])
    ops.conv(ops.image(), FILTERS, size, strides=strides, name="conv")
    ops.made["conv"].kernel.assign(kernel)
    with tf.GradientTape() as tape:
        tape.watch(images)
        y = ops.conv(images, FILTERS, size, strides=strides, name="conv")
    return y, tape, ops.made["conv"].kernel.value


def by_shifts(images, kernel, size, strides):
    """`same` padding: the output has size / strides pixels, rounded up."""
    pads, out = [(0, 0)], []
    for n, k, s in zip(images.shape[1:3], size, strides, strict=True):
        out.append(-(-n // s))
        missing = max((out[-1] - 1) * s + k - n, 0)
        pads.append((missing // 2, missing - missing // 2))
    with tf.GradientTape() as tape:
        tape.watch([images, kernel])
        padded = tf.pad(images, [*pads, (0, 0)])
        y = tf.zeros([len(images), *out, FILTERS])
        for i, j in np.ndindex(*size):
            rows = slice(i, i + (out[0] - 1) * strides[0] + 1, strides[0])
            columns = slice(j, j + (out[1] - 1) * strides[1] + 1, strides[1])
            y += tf.einsum("bhwi,io->bhwo", padded[:, rows, columns], kernel[i, j])
    return y, tape, kernel


@pytest.mark.parametrize("way", [by_keras, by_tensors, by_supernet])
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (1, 2), (3, 3)])
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (5, 5), (1, 7)])
def test_convolutions_and_their_gradients_are_right(way, size, strides):
    rng = np.random.default_rng(0)
    for shape in ((6, 8, 8, 4), (3, 7, 5, 16)):
        images = tf.constant(rng.normal(size=shape), tf.float32)
        kernel = tf.constant(rng.normal(size=(*size, shape[-1], FILTERS)), tf.float32)
        expected, exact, of = by_shifts(images, kernel, size, strides)
        ahead = tf.constant(rng.normal(size=expected.shape), tf.float32)
        wanted = [expected, *exact.gradient(expected, [images, of], ahead)]
        for _ in range(3):  # what is wrong is not always so
            y, tape, of = way(images, kernel, size, strides)
            found = [y, *tape.gradient(y, [images, of], ahead)]
            for one, other in zip(found, wanted, strict=True):
                np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way", [by_keras, by_tensors, by_supernet])
@pytest.mark.parametrize("strides", [(2, 2), (1, 2)])
def test_no_network_holds_a_strided_1x1_convolution(way, strides):
    with tf.Graph().as_default() as graph:
        way(tf.zeros([1, 8, 8, 4]), tf.zeros([1, 1, 4, FILTERS]), (1, 1), strides)
    found = [op for op in graph.get_operations() if op.type == "Conv2D"]
    assert found and all(op.get_attr("strides") == [1, 1, 1, 1] for op in found)
