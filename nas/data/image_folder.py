"""Reads images from files: a folder per class, or train/ and test/ with such folders in them."""

import collections
import concurrent.futures
import dataclasses
import struct
from pathlib import Path

import numpy as np

from nas.core.trial import ConfigError
from nas.data.images import class_counts
from nas.data.memory import check_fits

SUFFIXES = (".png", ".jpg", ".jpeg")
LARGEST = 4096  # pixels of a side that an image is brought to


@dataclasses.dataclass(frozen=True, eq=False)
class FolderImages:
    """What a folder holds.

    Attributes:
      images: [n, image_size, image_size, channels] uint8. labels: [n] class numbers.
      class_names: the names of the class folders.
      test: images and labels of test/, or None if there is no test/.
      read_as: one line on what was read and as what, and what was left out.
    """

    images: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    test: tuple[np.ndarray, np.ndarray] | None
    read_as: str


def read_classes(
    path: str | Path | None,
    *,
    image_size: int,
    channels: int,
    setting: str = "dataset.path",
    size_setting: str = "dataset.image_size",
) -> FolderImages:
    """Reads all images of the class folders, resized to a square.

    Args:
      image_size: pixels of a side.
      channels: 1 or 3.
      setting, size_setting: the settings of the folder and of image_size, for error messages.

    Raises ConfigError for fewer than two classes, unknown classes in test/, unreadable files, or an
    image_size that is none.
    """
    if isinstance(image_size, bool) or not isinstance(image_size, int):
        image_size = 0
    if not 1 <= image_size <= LARGEST:
        raise ConfigError(
            f"{size_setting} must be a whole number of pixels in [1, {LARGEST}], got {image_size}"
        )
    train, test = _parts(path, setting)
    classes = _classes(train)
    class_names = tuple(folder.name for folder in classes)
    if len(class_names) < 2:
        raise ConfigError(
            f"{setting} must have a folder for each of at least 2 classes, "
            f"got {list(class_names)} in {train}"
        )
    in_test = [] if test is None else _classes(test)
    if test is not None and not in_test:
        raise ConfigError(f"{test} must have class folders with images, got none")
    unknown = [folder.name for folder in in_test if folder.name not in class_names]
    if unknown:
        raise ConfigError(f"{test} must have the classes of {train}, got also {unknown}")
    files = sum(len(_files(folder)) for folder in [*classes, *in_test])
    check_fits(
        files * image_size**2 * channels, f"the {files:,} images", f"set a smaller {size_setting}"
    )
    sizes: collections.Counter = collections.Counter()
    images, labels = _read(classes, class_names, image_size, channels, sizes)
    test_part = None
    if in_test:
        test_part = _read(in_test, class_names, image_size, channels, sizes)
    return FolderImages(
        images, labels, class_names, test_part,
        f"{len(images):,} images of {class_counts(class_names, labels)}, "
        f"{_resized(sizes, image_size)}, read as {'grey' if channels == 1 else 'colour'}"
        + _left_out([folder for folder in (train, test) if folder is not None]),
    )  # fmt: skip


def _resized(sizes: collections.Counter, image_size: int) -> str:
    """What is done to the sizes of the images, in words. sizes: of (width, height)."""
    text = f"{image_size}x{image_size}"
    if set(sizes) == {(image_size, image_size)}:
        return f"of {text} pixels"
    low, high = min(sizes), max(sizes)
    held = f"{low[0]}x{low[1]}" + (f" to {high[0]}x{high[1]}" if len(sizes) > 1 else "")
    skewed = any(width != height for width, height in sizes)
    return f"of {held} pixels, resized to {text}" + (" without their proportions" if skewed else "")


def _left_out(roots: list[Path]) -> str:
    """How many files are no images or lie where none are read, by their endings; or nothing."""
    endings: collections.Counter = collections.Counter()
    for root in roots:
        read = {file for folder in _folders(root) for file in _files(folder)}
        endings.update(
            file.suffix.lower() or "without ending" if file.suffix.lower() not in SUFFIXES
            else f"{file.suffix.lower()} outside of a class folder"
            for file in root.rglob("*")
            if file.is_file() and file not in read
            and not any(part.startswith(".") for part in file.relative_to(root).parts)
        )  # fmt: skip
    listed = ", ".join(f"{count:,} {ending}" for ending, count in sorted(endings.items()))
    return f"; left out: {listed}" if listed else ""


def count(path: str | Path | None) -> tuple[int, int]:
    """How many training files and classes there are, without opening a file. Raises ConfigError."""
    train, _ = _parts(path, "dataset.path")
    classes = _classes(train)
    return sum(len(_files(folder)) for folder in classes), len(classes)


def _parts(path: str | Path | None, setting: str) -> tuple[Path, Path | None]:
    """The folder of the training classes, and that of the test classes or None."""
    root = None if path is None else Path(path).expanduser()
    if root is None or not root.is_dir():
        raise ConfigError(
            f"{setting} must be a folder that exists, got {path}; set {setting}=FOLDER"
        )
    inside = {folder.name for folder in _folders(root)}
    if not inside & {"train", "test"}:
        return root, None
    if "train" not in inside or inside - {"train", "test"}:
        raise ConfigError(
            f"{setting} must have class folders, or train/ and perhaps test/ with class folders "
            f"in them and nothing else, got {sorted(inside)} in {path}"
        )
    return root / "train", root / "test" if "test" in inside else None


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _classes(root: Path) -> list[Path]:
    """The class folders, sorted by name. Raises ConfigError for a folder without images."""
    for folder in _folders(root):
        if not _files(folder):
            raise ConfigError(
                f"every class folder must have at least one {', '.join(SUFFIXES)} file, "
                f"got none in {folder}"
            )
    return _folders(root)


def _files(folder: Path) -> list[Path]:
    return sorted(
        p
        for p in folder.iterdir()
        if p.suffix.lower() in SUFFIXES and p.is_file() and not p.name.startswith(".")
    )


def _read(
    folders: list[Path],
    class_names: tuple[str, ...],
    image_size: int,
    channels: int,
    sizes: collections.Counter,
) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, image_size, image_size, channels] uint8 and labels [n].

    sizes: counts the (width, height) that the files have.
    """
    files = [
        (file, class_names.index(folder.name)) for folder in folders for file in _files(folder)
    ]
    images = np.empty([len(files), image_size, image_size, channels], np.uint8)
    with concurrent.futures.ThreadPoolExecutor() as threads:  # Pillow releases the lock
        decoded = threads.map(lambda entry: _decode(entry[0], image_size, channels), files)
        for i, (image, size) in enumerate(decoded):
            images[i] = image
            sizes[size] += 1
    return images, np.array([label for _, label in files])


def _decode(file: Path, image_size: int, channels: int) -> tuple[np.ndarray, tuple[int, int]]:
    """[image_size, image_size, channels] uint8, upright according to the file's EXIF data.

    And the width and height that it had.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            mode = opened.mode
            image = ImageOps.exif_transpose(opened).convert("L" if channels == 1 else "RGB")
    except (
        OSError,
        SyntaxError,  # a bad PNG
        ValueError,
        EOFError,
        struct.error,
        Image.DecompressionBombError,
    ) as error:
        raise ConfigError(f"{file} must be an image that can be read, got {error}") from error
    if mode[0] in "IF":  # Pillow has clipped them at 255
        raise ConfigError(f"images must have 8 bits a channel, got {mode} in {file}")
    resized = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(image_size, image_size, channels), image.size
