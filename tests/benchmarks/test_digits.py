"""The digits are scikit-learn's, and their test split is fixed."""

import numpy as np

from nas.benchmarks.images import digits
from tests.helpers.small_images import contents, equal


def test_digits_are_the_1797_of_scikit_learn():
    data = digits.load()
    assert (len(data.train_labels), len(data.valid_labels), len(data.test_labels)) == (
        1150,
        287,
        360,
    )
    assert data.image_shape == (8, 8, 1)
    assert data.classes == 10
    every = np.concatenate([data.train_images, data.valid_images, data.test_images])
    assert every.sum() == 15 * 561718  # scikit-learn's sum of ink
    assert every.max() == 240
    assert not contents(data, "valid") & contents(data, "test")
    assert data.split == "7661e47c5281c6c5"  # changes only where validation changes
    assert equal(data, digits.load())


def test_the_test_split_of_digits_is_fixed():
    small = digits.load(valid_size=100, train_size=50)
    assert np.array_equal(small.test_images, digits.load().test_images)
    assert len(small.train_labels) == 50
