"""Image data sets in memory: checked, and split into training, validation and test images.

A data set is one file in `benchmarks/` with up to three functions that take the same keywords:

    load(**settings) -> ImageData    reads it, never downloads; ConfigError if data are missing
    look(**settings) -> Found        what `nas data` shows, without loading
    prepare(**settings) -> None      downloads it; left out if nothing can be downloaded

Splits go by the hash of an image's content. So they depend neither on a seed nor on the order of a
file, and if images are added to a data set, its validation images stay nearly the same.
"""

import dataclasses
import hashlib
from typing import Any

import numpy as np

from nas.core.trial import ConfigError

PARTS = ("train", "valid", "test")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Found:
    """What `nas data` shows of one data set."""

    ready: bool
    place: str  # where it is, or where it should be
    contents: str = ""  # how many images, their size, how many classes
    hint: str = ""  # if it is not ready: the command or setting that makes it so


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ImageData:
    """A classification data set in three parts.

    A search uses train and valid only; test is for the networks that are retrained at the end.

    Attributes:
      images: [n, height, width, channels] uint8, of each part.
      labels: [n] int32 in [0, classes), of each part.
      mean, std: [channels] float32, of train_images / 255; std is 1 for a constant channel.
      split: hex digest of the validation images and labels; equal splits have equal digests.

    Raises ConfigError if an array breaks these rules.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    valid_images: np.ndarray
    valid_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    class_names: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    split: str

    def __post_init__(self):
        if self.classes < 2:
            raise ConfigError(
                f"data set {self.name} must have at least 2 classes, got {self.class_names}"
            )
        for part in PARTS:
            images, labels = getattr(self, f"{part}_images"), getattr(self, f"{part}_labels")
            _check_part(f"data set {self.name}, {part} part", images, labels, self.classes)
            if images.shape[1:] != self.image_shape:
                raise ConfigError(
                    f"data set {self.name}: {part} images must be {list(self.image_shape)} as the "
                    f"training images are, got {list(images.shape[1:])}"
                )

    def part(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Images and labels of "train", "valid" or "test", or of several: "train+valid"."""
        names = name.split("+")
        images = [getattr(self, f"{part}_images") for part in names]
        labels = [getattr(self, f"{part}_labels") for part in names]
        if len(names) == 1:
            return images[0], labels[0]
        return np.concatenate(images), np.concatenate(labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels)."""
        height, width, channels = self.train_images.shape[1:]
        return height, width, channels

    @property
    def classes(self) -> int:
        return len(self.class_names)


def normalize(pixels: Any, mean: Any, std: Any) -> Any:
    """(pixels / 255 - mean) / std, of float32 arrays or tensors alike.

    pixels: [..., channels] in [0, 255]; mean, std: [channels], as in `ImageData`.
    """
    return (pixels / 255.0 - mean) / std


def split_by_hash(
    images: np.ndarray, labels: np.ndarray, valid_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Sorts images by the hash of their bytes; the first `valid_size` are for validation.

    Equal images are neighbours in this order, so at most one group of them is divided between the
    two parts.

    Args:
      images: [n, height, width, channels].
      labels: [n].

    Returns: (train, valid), positions in sorted order. Whatever the order of a file, they select
      the same images in the same order.
    """
    order = np.lexsort((labels, _hashes(images)))  # by hash; equal images by label
    return order[valid_size:], order[:valid_size]


def make_image_data(
    name: str,
    images: np.ndarray,
    labels: np.ndarray,
    *,
    class_names: tuple[str, ...],
    valid_size: int | float,
    test: tuple[np.ndarray, np.ndarray] | None = None,
    test_size: int | float | None = None,
    train_size: int | None = None,
) -> ImageData:
    """Checks a data set and splits it by hash into test (unless given), validation and training.

    Args:
        images: [n, height, width, channels] uint8.
        labels: [n] integers.
        valid_size: a number of images (int), or a share of those that are not test (float).
        test: images and labels of the data set's own test split.
        test_size: if `test` is None: a number of images (int) or a share of all (float).
        train_size: keep only this many training images, the first by hash; None keeps all.

    Raises ConfigError for arrays that break the rules of ImageData, or sizes that leave no image.
    """
    _check_part(f"data set {name}", images, labels, len(class_names))
    if test is None:
        count = _count(test_size, len(labels), "test_size")
        rest, test_idx = split_by_hash(images, labels, count)
        test = images[test_idx], labels[test_idx]
        images, labels = images[rest], labels[rest]
    else:
        _check_part(f"data set {name}, test part", *test, len(class_names))
        by_hash, _ = split_by_hash(*test, 0)
        test = test[0][by_hash], test[1][by_hash]
    count = _count(valid_size, len(labels), "valid_size")
    train_idx, valid_idx = split_by_hash(images, labels, count)
    if train_size is not None:
        _check_train_size(train_size, len(train_idx))
        train_idx = train_idx[:train_size]
    train_images, valid_images = images[train_idx], images[valid_idx]
    mean, std = _mean_and_std(train_images)
    return ImageData(
        name=name,
        train_images=train_images,
        train_labels=labels[train_idx].astype(np.int32),
        valid_images=valid_images,
        valid_labels=labels[valid_idx].astype(np.int32),
        test_images=test[0],
        test_labels=test[1].astype(np.int32),
        class_names=class_names,
        mean=mean,
        std=std,
        split=_digest(valid_images, labels[valid_idx]),
    )


def _check_part(where: str, images: np.ndarray, labels: np.ndarray, classes: int) -> None:
    """Raises ConfigError, its message starting with `where`, for arrays not as in ImageData."""
    if images.ndim != 4 or images.dtype != np.uint8 or 0 in images.shape:
        raise ConfigError(
            f"{where}: images must be uint8 [n, height, width, channels] and not empty, "
            f"got {images.dtype} {list(images.shape)}"
        )
    if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu":
        raise ConfigError(
            f"{where}: labels must be integers [{len(images)}], one per image, "
            f"got {labels.dtype} {list(labels.shape)}"
        )
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high >= classes:
        raise ConfigError(
            f"{where}: labels must be in [0, {classes - 1}] for {classes} classes, "
            f"got {low} to {high}"
        )


def _count(size: int | float | None, total: int, setting: str) -> int:
    """The number of images that `size` asks for; at least one other image must remain."""
    rule = f"dataset.{setting} must be a number of images (int) or a share in (0, 1) (float)"
    if size is None or isinstance(size, bool) or not isinstance(size, int | float):
        raise ConfigError(f"{rule}, got {size}")
    count = round(size * total) if isinstance(size, float) and 0 < size < 1 else size
    if isinstance(count, float) or not 1 <= count < total:
        raise ConfigError(f"{rule}, at least 1 image of the {total} and not all, got {size}")
    return count


def _check_train_size(train_size: int, available: int) -> None:
    if not isinstance(train_size, int) or not 1 <= train_size <= available:
        raise ConfigError(
            f"dataset.train_size must be null (all) or an int in [1, {available}], the images that "
            f"validation and test leave, got {train_size}"
        )


def _hashes(images: np.ndarray) -> np.ndarray:
    """[n, ...] -> [n] uint64, blake2b of each image's bytes."""
    digests = (hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in images)
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


def _digest(images: np.ndarray, labels: np.ndarray) -> str:
    """16 hex digits that identify these images with these labels, in this order."""
    hashed = hashlib.blake2b(_hashes(images).astype("<u8").tobytes(), digest_size=8)
    hashed.update(labels.astype("<i4").tobytes())
    return hashed.hexdigest()


def _mean_and_std(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[n, height, width, channels] uint8 -> mean and std of images / 255, each [channels] float32.

    The sums are exact integers, so the order of the images does not change the last bit.
    """
    sums = np.zeros(images.shape[1:], np.uint64)
    squares = np.zeros(images.shape[1:], np.uint64)
    for i in range(0, len(images), 1000):  # chunks that fit into the cache
        chunk = images[i : i + 1000]
        sums += chunk.sum(axis=0, dtype=np.uint64)
        squares += np.square(chunk, dtype=np.uint16).sum(axis=0, dtype=np.uint64)  # 255^2 < 2^16
    pixels = images[..., 0].size
    mean = sums.sum(axis=(0, 1)) / pixels
    variance = squares.sum(axis=(0, 1)) / pixels - mean**2
    std = np.where(variance > 1e-9, np.sqrt(np.maximum(variance, 0)), 255)
    return (mean / 255).astype(np.float32), (std / 255).astype(np.float32)
