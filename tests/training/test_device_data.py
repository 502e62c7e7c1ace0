"""The images on the device: batches by hand, and each image counted once in an evaluation."""

import numpy as np
import pytest
import tensorflow as tf

from nas.data.images import normalize
from nas.training.device_data import DeviceData, padded_batches
from tests.helpers.small_images import make, some


def test_a_batch_is_gathered_and_normalised():
    data = make(*some(60, shape=(8, 8, 3)))
    images, labels = DeviceData(data, ["train"]).batch("train", tf.constant([3, 0]))
    expected = (data.train_images[[3, 0]] / 255.0 - data.mean) / data.std
    np.testing.assert_allclose(images, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(labels, data.train_labels[[3, 0]])


def test_arrays_and_tensors_are_normalised_alike():
    data = make(*some(60, shape=(8, 8, 3)))
    pixels = data.train_images.astype(np.float32)
    array = normalize(pixels, data.mean, data.std)
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, normalize(tf.constant(pixels), data.mean, data.std))


def test_training_and_validation_images_can_be_one_part():
    data = make(*some(60, shape=(8, 8, 3)))
    held = DeviceData(data, ["train+valid"])
    first = len(data.train_images)
    assert held.counts == {"train+valid": first + len(data.valid_images)}
    _, labels = held.batch("train+valid", tf.constant([first - 1, first]))
    assert labels.numpy().tolist() == [data.train_labels[-1], data.valid_labels[0]]


@pytest.mark.parametrize("size", [2, 3, 5, 9])
def test_padding_has_no_weight(size):
    index, weight = padded_batches(5, size)
    assert index.shape == weight.shape and index.shape[1] == min(size, 5)
    assert sorted(index[weight == 1].tolist()) == [0, 1, 2, 3, 4]
    assert weight.sum() == 5
