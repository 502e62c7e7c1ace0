"""Reads images from files: a folder per class, or train/ and test/ with such folders in them."""

import concurrent.futures
from pathlib import Path

import numpy as np

from nas.core.trial import ConfigError

SUFFIXES = (".png", ".jpg", ".jpeg")


def read_classes(
    path: str | Path | None, *, image_size: int, channels: int, setting: str = "dataset.path"
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], tuple[np.ndarray, np.ndarray] | None]:
    """Reads all images of the class folders, resized to a square.

    Args:
      image_size: pixels of a side.
      channels: 1 or 3.
      setting: the setting that names the folder, for error messages.

    Returns: images [n, image_size, image_size, channels] uint8, labels [n], the names of the
      classes, and the images and labels of test/, or None if there is no test/.

    Raises ConfigError for fewer than two classes, unknown classes in test/, or unreadable files.
    """
    train, test = _parts(path, setting)
    classes = _classes(train)
    class_names = tuple(folder.name for folder in classes)
    if len(class_names) < 2:
        raise ConfigError(
            f"{setting} must have a folder for each of at least 2 classes, "
            f"got {list(class_names)} in {train}"
        )
    test_part = None
    if test is not None:
        unknown = [folder.name for folder in _classes(test) if folder.name not in class_names]
        if unknown:
            raise ConfigError(f"{test} must have the classes of {train}, got also {unknown}")
        test_part = _read(_classes(test), class_names, image_size, channels)
    return *_read(classes, class_names, image_size, channels), class_names, test_part


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
    folders: list[Path], class_names: tuple[str, ...], image_size: int, channels: int
) -> tuple[np.ndarray, np.ndarray]:
    """Images [n, image_size, image_size, channels] uint8 and labels [n]."""
    files = [
        (file, class_names.index(folder.name)) for folder in folders for file in _files(folder)
    ]
    images = np.empty([len(files), image_size, image_size, channels], np.uint8)
    with concurrent.futures.ThreadPoolExecutor() as threads:  # Pillow releases the lock
        decoded = threads.map(lambda entry: _decode(entry[0], image_size, channels), files)
        for i, image in enumerate(decoded):
            images[i] = image
    return images, np.array([label for _, label in files])


def _decode(file: Path, image_size: int, channels: int) -> np.ndarray:
    """[image_size, image_size, channels] uint8, upright according to the file's EXIF data."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            if opened.mode[0] in "IF":  # Pillow would clip them at 255
                raise ConfigError(f"images must have 8 bits a channel, got {opened.mode} in {file}")
            image = ImageOps.exif_transpose(opened).convert("L" if channels == 1 else "RGB")
    except (
        OSError,
        SyntaxError,
        Image.DecompressionBombError,
    ) as error:  # SyntaxError: bad PNG
        raise ConfigError(f"{file} must be an image that can be read, got {error}") from error
    resized = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(image_size, image_size, channels)
