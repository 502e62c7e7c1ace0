"""Crops, flips and cutout by hand: every value they may take, and how often."""

import numpy as np
import pytest
import tensorflow as tf

from nas.training.augment import augment
from nas.training.recipe import Recipe

SEED = tf.constant([3, 14])
COUNT = 4000


def numbered(count=COUNT, height=4, width=5, channels=2):
    """Images of which every pixel has a number of its own, from 1; all images are equal."""
    image = np.arange(1, height * width * channels + 1, dtype=np.float32)
    return np.tile(image.reshape(1, height, width, channels), (count, 1, 1, 1))


def augmented(x, seed=SEED, **settings):
    return augment(tf.constant(x), Recipe(**settings), seed).numpy()


def shares(images, of):
    """How often each row of `of` is among `images`; every row of `images` must be one of them."""
    counts = {known.tobytes(): 0 for known in of}
    for image in images:
        counts[image.tobytes()] += 1
    return np.array(list(counts.values())) / len(images)


def is_uniform(frequencies, choices):
    """Within five standard deviations: about 6e-7 false failures for each choice."""
    p = 1 / choices
    return (abs(frequencies - p) < 5 * np.sqrt(p * (1 - p) / COUNT)).all()


def test_without_a_setting_nothing_changes():
    x = numbered(3)
    assert (augmented(x) == x).all()


def test_a_crop_is_any_window_of_the_padded_image_and_each_as_often():
    x, pad = numbered(), 2
    padded = np.pad(x[0], [(pad, pad), (pad, pad), (0, 0)])
    windows = [padded[i : i + 4, j : j + 5] for i in range(5) for j in range(5)]
    frequencies = shares(augmented(x, pad_crop=pad), [np.ascontiguousarray(w) for w in windows])
    assert is_uniform(frequencies, 25)


def test_a_flip_is_left_to_right_and_half_of_the_time():
    x = numbered()
    frequencies = shares(augmented(x, flip=True), [x[0], np.ascontiguousarray(x[0, :, ::-1])])
    assert is_uniform(frequencies, 2)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 20])
def test_cutout_is_a_square_about_any_pixel_clipped_at_the_border(size):
    """DeVries & Taylor 2017: the centre may be anywhere, so that part of the square may miss."""
    x = numbered()
    holes = []
    for row in range(4):
        for column in range(5):
            image = x[0].copy()
            top, left = row - size // 2, column - size // 2
            image[max(top, 0) : max(top + size, 0), max(left, 0) : max(left + size, 0)] = 0
            holes.append(image)
    different = np.unique(np.stack(holes), axis=0, return_counts=True)
    frequencies = shares(augmented(x, cutout=size), list(different[0]))
    expected = different[1] / 20
    deviation = np.sqrt(expected * (1 - expected) / COUNT)
    assert (abs(frequencies - expected) <= 5 * deviation).all()


def test_an_enlarged_image_is_cropped_to_its_size():
    """A constant image stays what it is; one with a gradient is enlarged, not shrunk."""
    constant = np.full((50, 4, 4, 1), 0.25, np.float32)
    assert np.allclose(augmented(constant, upsample_crop=6), 0.25)
    slope = np.tile(np.arange(4, dtype=np.float32)[None, None, :, None], (50, 4, 1, 1))
    enlarged = augmented(slope, upsample_crop=8)
    assert enlarged.shape == slope.shape
    steps = np.diff(enlarged[:, :, :, 0], axis=2)
    assert steps.max() <= 0.5 + 1e-6  # twice as large, half as steep
    assert len(np.unique(enlarged[:, 0, 0, 0])) > 1  # not always the same window


def test_the_parts_are_done_in_order_crop_flip_cutout():
    x = numbered(500)
    seen = augmented(x, pad_crop=1, flip=True, cutout=2)
    cropped = augmented(x, pad_crop=1)
    flipped = augmented(x, pad_crop=1, flip=True)
    assert ((flipped == cropped) | (flipped == cropped[:, :, ::-1])).all()
    assert ((seen == flipped) | (seen == 0)).all()
    holes = (seen != flipped).any(axis=(1, 2, 3))
    assert holes.mean() > 0.5  # the others lost only what was padding already


def test_equal_seeds_augment_alike_and_others_otherwise():
    x = numbered(200)
    settings = {"pad_crop": 1, "flip": True, "cutout": 2}
    first = augmented(x, **settings)
    assert (first == augmented(x, **settings)).all()
    for seed in ([3, 15], [4, 14]):
        other = augmented(x, seed=tf.constant(seed), **settings)
        assert (first != other).any(axis=(1, 2, 3)).mean() > 0.5
