"""Splits by hash, and one clear line for each wrong array or setting."""

import hashlib

import numpy as np
import pytest

from nas.core.trial import ConfigError
from nas.data.images import split_by_hash
from tests.helpers.small_images import contents, equal, make, some


def test_the_lowest_hashes_are_validation():
    images = np.arange(6, dtype=np.uint8).reshape(6, 1, 1, 1)
    ranked = sorted(range(6), key=lambda i: hashlib.blake2b(bytes([i]), digest_size=8).digest())
    train, valid = split_by_hash(images, np.zeros(6, int), 2)
    assert valid.tolist() == ranked[:2]
    assert train.tolist() == ranked[2:]


def test_the_order_of_the_file_changes_nothing():
    images, labels = some()
    images[7] = images[3]  # equal images with different labels too
    labels[7] = 1 - labels[3]
    shuffled = np.random.default_rng(1).permutation(40)
    assert equal(make(images, labels), make(images[shuffled], labels[shuffled]))
    test, test_shuffled = (images[:10], labels[:10]), (images[9::-1], labels[9::-1])
    assert equal(
        make(images[10:], labels[10:], test=test),
        make(images[10:], labels[10:], test=test_shuffled),
    )


def test_parts_do_not_overlap_and_lose_nothing():
    images, labels = some()
    data = make(images, labels)
    parts = [contents(data, part) for part in ("train", "valid", "test")]
    assert [len(part) for part in parts] == [25, 5, 10]
    assert set.union(*parts) == {image.tobytes() for image in images}


def test_labels_stay_with_their_images():
    images, labels = some()
    by_content = {image.tobytes(): label for image, label in zip(images, labels, strict=True)}
    data = make(images, labels)
    for part in ("train", "valid", "test"):
        pairs = zip(getattr(data, f"{part}_images"), getattr(data, f"{part}_labels"), strict=True)
        assert all(by_content[image.tobytes()] == label for image, label in pairs)


def test_train_size_keeps_the_first_and_leaves_validation_alone():
    images, labels = some()
    full, half = make(images, labels), make(images, labels, train_size=12)
    assert np.array_equal(half.train_images, full.train_images[:12])
    assert np.array_equal(half.valid_images, full.valid_images)
    assert half.split == full.split


def test_the_split_has_a_name_of_its_own():
    images, labels = some()
    names = {make(images, labels, valid_size=n).split for n in (4, 5, 6)}
    other = labels.copy()
    other[:] = 1 - labels
    names.add(make(images, other).split)
    assert len(names) == 4
    assert all(len(name) == 16 and int(name, 16) >= 0 for name in names)


def test_sizes_may_be_shares():
    images, labels = some()
    data = make(images, labels, test_size=0.25, valid_size=0.2)  # 10 of 40, then 6 of 30
    assert (len(data.test_labels), len(data.valid_labels), len(data.train_labels)) == (10, 6, 24)


def test_mean_and_std_are_those_of_training_pixels():
    images, labels = some(2500)
    data = make(images, labels)
    scaled = data.train_images / 255
    np.testing.assert_allclose(data.mean, scaled.mean((0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(data.std, scaled.std((0, 1, 2)), rtol=1e-6)
    assert data.mean.dtype == data.std.dtype == np.float32


def test_a_channel_that_never_changes_has_std_one():
    images, labels = some()
    images[..., 1] = 7
    assert make(images, labels).std[1] == 1


def test_types_are_those_promised():
    data = make(*some())
    assert data.train_images.dtype == np.uint8
    assert data.train_labels.dtype == data.valid_labels.dtype == data.test_labels.dtype == np.int32
    assert data.image_shape == (4, 5, 3)
    assert data.classes == 2


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"valid_size": 0}, r"dataset.valid_size must be .* at least 1 image of the 30 .* got 0"),
        ({"valid_size": 30}, r"dataset.valid_size must be .* not all, got 30"),
        ({"valid_size": 1.0}, r"dataset.valid_size must be .* got 1.0"),
        ({"valid_size": -0.1}, r"dataset.valid_size must be .* got -0.1"),
        ({"valid_size": float("nan")}, r"dataset.valid_size must be .* got nan"),
        ({"valid_size": "many"}, r"dataset.valid_size must be a number .* got many"),
        ({"valid_size": True}, r"dataset.valid_size must be a number .* got True"),
        ({"test_size": None}, r"dataset.test_size must be a number .* got None"),
        ({"train_size": 26}, r"dataset.train_size must be null .* int in \[1, 25\].* got 26"),
        ({"train_size": 0}, r"dataset.train_size must be .* got 0"),
        ({"train_size": 0.5}, r"dataset.train_size must be .* got 0.5"),
        ({"class_names": ("a",)}, r"labels must be in \[0, 0\] for 1 classes, got 0 to 1"),
    ],
)
def test_a_wrong_setting_is_named(settings, message):
    with pytest.raises(ConfigError, match=message):
        make(*some(), **settings)


def test_wrong_arrays_are_named():
    images, labels = some()
    with pytest.raises(ConfigError, match=r"images must be uint8 .* got float64 \[40, 4, 5, 3\]"):
        make(images / 255, labels)
    with pytest.raises(ConfigError, match=r"images must be .* not empty, got uint8 \[0, 4, 5, 3\]"):
        make(images[:0], labels[:0])
    with pytest.raises(ConfigError, match=r"labels must be integers \[40\], .* got int64 \[39\]"):
        make(images, labels[:39])
    with pytest.raises(ConfigError, match=r"labels must be integers .* got float64"):
        make(images, labels / 2)
    with pytest.raises(ConfigError, match=r"labels must be in \[0, 1\] .* got -1 to 1"):
        make(images, np.where(labels == 0, -1, labels))
    with pytest.raises(ConfigError, match=r"test part: labels must be in \[0, 1\] .* got 0 to 2"):
        make(images, labels, test=some(6, classes=3))
    with pytest.raises(ConfigError, match=r"test images must be \[4, 5, 3\] .* got \[5, 5, 3\]"):
        make(images, labels, test=some(6, shape=(5, 5, 3)))
    with pytest.raises(ConfigError, match="at least 2 classes"):
        make(images, labels * 0, class_names=("a",))
