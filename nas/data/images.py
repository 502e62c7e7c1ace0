"""Image data sets in memory: checked, and split into training, validation and test images.

A data set is one file in `benchmarks/` with up to three functions that take the same keywords:

    load(**settings) -> ImageData    reads it, never downloads; ConfigError if data are missing
    look(**settings) -> Found        what `nas data` shows, without loading
    prepare(**settings) -> None      downloads it; left out if nothing can be downloaded

Splits go by the hash of an image's content. So they depend neither on a seed nor on the order of a
file, and if images are added to a data set, its validation images stay nearly the same. Images that
a user brings are split by nas/data/split.py; `split_by_hash` is kept for the published data sets,
whose images all differ, so that their results can be compared.
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.trial import ConfigError
from nas.data.split import balanced_split, content_hashes, in_turn

SPLITS = ("balanced", "hash")
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
      read_as: one line on what was read and as what; empty for published data sets.

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
    read_as: str = ""

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
    order = np.lexsort((labels, content_hashes(images)))  # by hash; equal images by label
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
    valid: tuple[np.ndarray, np.ndarray] | None = None,
    split: str = "balanced",
    read_as: str = "",
) -> ImageData:
    """Checks a data set and splits it into test and validation, unless given, and training.

    Args:
        images: [n, height, width, channels] uint8.
        labels: [n] integers.
        valid_size: a number of images (int), or a share of those that are not test (float).
        test: images and labels of the data set's own test split.
        test_size: if `test` is None: a number of images (int) or a share of all (float).
        train_size: keep only this many training images; None keeps all.
        valid: images and labels that validate; then valid_size has no effect.
        split: "balanced" (nas/data/split.py): equal images on one side, classes in their shares;
            "hash": the first by hash, as runs of earlier versions have it.
        read_as: as in ImageData.

    Raises ConfigError for arrays that break the rules of ImageData, or sizes that leave no image.
    """
    parts = _divided(
        name, (images, labels), test, valid, len(class_names),
        split=split, test_size=test_size, valid_size=valid_size, train_size=train_size,
    )  # fmt: skip
    arrays = {}
    for part, (part_images, part_labels) in parts.items():
        arrays[f"{part}_images"] = part_images
        arrays[f"{part}_labels"] = part_labels.astype(np.int32)
    mean, std = _mean_and_std(parts["train"][0])
    if read_as:
        read_as += ": " + ", ".join(
            f"{len(parts[part][1]):,} {verb}"
            for part, verb in (("train", "train"), ("valid", "validate"), ("test", "test"))
        )
    return ImageData(
        name=name, class_names=class_names, mean=mean, std=std,
        split=_digest(*parts["valid"]), read_as=read_as, **arrays,
    )  # fmt: skip


def class_counts(names: Sequence[object], labels: np.ndarray) -> str:
    """How many examples each class has, in words. labels: [n] class numbers.

    >>> class_counts(("cat", "dog"), np.array([0, 1, 1]))
    '2 classes (cat 1, dog 2)'
    """
    counts = np.bincount(labels, minlength=len(names))
    if len(names) > 10:
        return f"{len(names):,} classes of {counts.min():,} to {counts.max():,}"
    each = ", ".join(f"{name} {count:,}" for name, count in zip(names, counts, strict=True))
    return f"{len(names)} classes ({each})"


Part = tuple[np.ndarray, np.ndarray]  # images and labels


def _divided(
    name: str,
    whole: Part,
    test: Part | None,
    valid: Part | None,
    classes: int,
    *,
    split: str,
    test_size: int | float | None,
    valid_size: int | float,
    train_size: int | None,
) -> dict[str, Part]:
    """The three parts by name, as `make_image_data` describes them."""
    if split not in SPLITS:
        raise ConfigError(
            f"dataset.split must be one of {', '.join(SPLITS)}, got {split}; "
            "set dataset.split=balanced"
        )
    divide = balanced_split if split == "balanced" else split_by_hash
    where = f"data set {name}"
    _check_part(where, *whole, classes)
    if test is None:
        rest, chosen = divide(*whole, _count(test_size, len(whole[1]), "test_size"))
        whole, test = _rows(whole, rest), _rows(whole, chosen)
    else:
        test = _in_order_of_hashes(f"{where}, test part", test, classes)
    if valid is None:
        rest, chosen = divide(*whole, _count(valid_size, len(whole[1]), "valid_size"))
        train, valid = _rows(whole, rest), _rows(whole, chosen)
    else:
        valid = _in_order_of_hashes(f"{where}, validation part", valid, classes)
        train = _in_order_of_hashes(where, whole, classes)
    if not len(test[1]) or not len(valid[1]):
        raise ConfigError(f"{where} must have classes of several images, so that it can be split")
    if split == "balanced":
        train = _rows(train, in_turn(train[1]))
    if train_size is not None:
        _check_train_size(train_size, len(train[1]))
        train = train[0][:train_size], train[1][:train_size]
    return {"train": train, "valid": valid, "test": test}


def _rows(part: Part, rows: np.ndarray) -> Part:
    return part[0][rows], part[1][rows]


def _in_order_of_hashes(where: str, part: Part, classes: int) -> Part:
    """A part that the data set has itself. Raises ConfigError as `_check_part` does."""
    _check_part(where, *part, classes)
    by_hash, _ = split_by_hash(*part, 0)
    return _rows(part, by_hash)


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


def _digest(images: np.ndarray, labels: np.ndarray) -> str:
    """16 hex digits that identify these images with these labels, in this order."""
    hashed = hashlib.blake2b(content_hashes(images).astype("<u8").tobytes(), digest_size=8)
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
