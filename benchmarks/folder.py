"""Your own images as files: a folder for each class, .png or .jpg in it.

    mine/cat/1.png  mine/dog/7.jpg ...               the test split is carved by hash
    mine/train/cat/1.png ...  mine/test/cat/2.png    the test split is yours

    nas search dataset=folder dataset.path=mine dataset.image_size=32

Every image is brought to one size. Files of other kinds and hidden ones are left alone.
"""

import concurrent.futures
from pathlib import Path

import numpy as np

from nas.data import Found, ImageData, make_image_data
from nas.trial import ConfigError

SUFFIXES = (".png", ".jpg", ".jpeg")


def load(
    *,
    path: str | None = None,
    image_size: int = 32,
    channels: int = 3,
    valid_size: int | float = 0.1,
    test_size: int | float = 0.2,
    train_size: int | None = None,
) -> ImageData:
    """Decodes every file to [image_size, image_size, channels]; proportions are not kept.

    Args:
        image_size: pixels, both sides.
        channels: 3 for colour, 1 for grey.
        test_size: of a folder without test/; the images of test/ are used as they are.
    """
    if not isinstance(image_size, int) or image_size < 1:
        raise ConfigError(f"dataset.image_size must be an int of at least 1, got {image_size}")
    if channels not in (1, 3):
        raise ConfigError(f"dataset.channels must be 1 (grey) or 3 (colour), got {channels}")
    images, labels, class_names, given = read_classes(
        path, image_size=image_size, channels=channels
    )
    return make_image_data(
        Path(path or "").resolve().name,
        images,
        labels,
        class_names=class_names,
        valid_size=valid_size,
        test=given,
        test_size=test_size,
        train_size=train_size,
    )


def read_classes(
    path: str | Path | None, *, image_size: int, channels: int
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...], tuple[np.ndarray, np.ndarray] | None]:
    """Images [n, image_size, image_size, channels] uint8, labels [n], names of the classes, and
    images and labels of test/, None where there is none. Raises ConfigError."""
    train, test = _parts(path)
    classes = _classes(train)
    class_names = tuple(folder.name for folder in classes)
    if len(class_names) < 2:
        raise ConfigError(
            f"dataset.path must have a folder for each of at least 2 classes, "
            f"got {list(class_names)} in {train}"
        )
    given = None
    if test is not None:
        unknown = [folder.name for folder in _classes(test) if folder.name not in class_names]
        if unknown:
            raise ConfigError(f"{test} must have the classes of {train}, got also {unknown}")
        given = _read(_classes(test), class_names, image_size, channels)
    return *_read(classes, class_names, image_size, channels), class_names, given


def look(*, path: str | None = None, **settings) -> Found:
    """Counts files, opens none."""
    if path is None:
        return Found(ready=False, place="a folder of yours", hint="set dataset.path=FOLDER")
    try:
        train, test = _parts(path)
        files = [len(_files(folder)) for folder in _classes(train)]
    except ConfigError as error:
        return Found(ready=False, place=path, hint=str(error))
    return Found(ready=True, place=path, contents=f"{sum(files):,} files, {len(files)} classes")


def _parts(path: str | Path | None) -> tuple[Path, Path | None]:
    """The folder of training classes, and that of test classes where there is one."""
    root = None if path is None else Path(path).expanduser()
    if root is None or not root.is_dir():
        raise ConfigError(
            f"dataset.path must be a folder that exists, got {path}; set dataset.path=FOLDER"
        )
    inside = {folder.name for folder in _folders(root)}
    if not inside & {"train", "test"}:
        return root, None
    if "train" not in inside or inside - {"train", "test"}:
        raise ConfigError(
            f"dataset.path must have class folders, or train/ and perhaps test/ with class folders "
            f"in them and nothing else, got {sorted(inside)} in {path}"
        )
    return root / "train", root / "test" if "test" in inside else None


def _folders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _classes(root: Path) -> list[Path]:
    """The class folders, by name. Raises ConfigError for one without images."""
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
    with concurrent.futures.ThreadPoolExecutor() as threads:  # Pillow lets go of the lock
        decoded = threads.map(lambda entry: _decode(entry[0], image_size, channels), files)
        for i, image in enumerate(decoded):
            images[i] = image
    return images, np.array([label for _, label in files])


def _decode(file: Path, image_size: int, channels: int) -> np.ndarray:
    """[image_size, image_size, channels] uint8, turned as the camera says."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            if opened.mode[0] in "IF":  # Pillow would clip them at 255
                raise ConfigError(f"images must have 8 bits a channel, got {opened.mode} in {file}")
            image = ImageOps.exif_transpose(opened).convert("L" if channels == 1 else "RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:  # a torn PNG: SyntaxError
        raise ConfigError(f"{file} must be an image that can be read, got {error}") from error
    resized = image.resize((image_size, image_size), Image.Resampling.BILINEAR)
    return np.asarray(resized).reshape(image_size, image_size, channels)
