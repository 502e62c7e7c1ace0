"""Your own images in one .npz file with arrays x and y, or x_train, y_train, x_test and y_test.

    np.savez("mine.npz", x=images, y=labels)
    nas search dataset=npz dataset.path=mine.npz

images: [n, height, width] or [n, height, width, channels], whole numbers in [0, 255], or floats in
[0, 255] or [0, 1]. labels: [n], whole numbers from 0; each class occurs at least once. Pickled
objects are refused, so nothing in the file can run code.
"""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from nas.core.trial import ConfigError
from nas.data.images import Found, ImageData, make_image_data

WHOLE = ("x", "y")
SPLIT = ("x_train", "y_train", "x_test", "y_test")


def load(
    *,
    path: str | None = None,
    valid_size: int | float = 0.1,
    test_size: int | float = 0.2,
    train_size: int | None = None,
) -> ImageData:
    """Reads, checks and splits the file. Floats are rounded to the 256 values of a byte.

    Args:
        path: of the file.
        valid_size: number or share of validation images.
        test_size: the same for test images, if the file has x and y; x_test and y_test are used as
            they are.
        train_size: number of training images to keep; None keeps all.

    Raises ConfigError for a file that is damaged or has other arrays.
    """
    arrays = _read(path)
    images = {key: _images(key, a) for key, a in arrays.items() if key.startswith("x")}
    labels = {key: _labels(key, a) for key, a in arrays.items() if key.startswith("y")}
    x, y = SPLIT[:2] if "x_train" in arrays else WHOLE
    present = np.unique(labels[y])
    if not np.array_equal(present, np.arange(len(present))):
        raise ConfigError(
            f"{y} must number the classes 0, 1, 2 ... and have each at least once, "
            f"got {', '.join(map(str, present[:10]))}{' ...' if len(present) > 10 else ''}"
        )
    return make_image_data(
        Path(str(path)).stem,
        images[x],
        labels[y],
        class_names=tuple(map(str, range(len(present)))),
        valid_size=valid_size,
        test=(images["x_test"], labels["y_test"]) if "x_test" in arrays else None,
        test_size=test_size,
        train_size=train_size,
    )


def look(*, path: str | None = None, **settings) -> Found:
    """Opens the file, if one is named, without reading an array."""
    if path is None:
        return Found(ready=False, place="a file of yours", hint="set dataset.path=FILE.npz")
    try:
        with _open(path) as file:
            return Found(ready=True, place=path, contents=f"arrays {', '.join(_names(file, path))}")
    except ConfigError as error:
        return Found(ready=False, place=path, hint=str(error))


def _open(path: str | None) -> np.lib.npyio.NpzFile:
    if path is None or not Path(path).expanduser().is_file():
        raise ConfigError(
            f"dataset.path must be an .npz file that exists, got {path}; set dataset.path=FILE.npz"
        )
    if not zipfile.is_zipfile(Path(path).expanduser()):
        raise ConfigError(
            f"dataset.path must be an .npz file, as np.savez(path, x=images, y=labels) writes it, "
            f"got {path}, which is none"
        )
    return np.load(Path(path).expanduser(), allow_pickle=False)


def _names(file: np.lib.npyio.NpzFile, path: str | None) -> tuple[str, ...]:
    """The names of the arrays that are used."""
    for names in (SPLIT, WHOLE):
        if set(names) <= set(file.files):
            return names
    raise ConfigError(
        f"dataset.path must have the arrays {', '.join(WHOLE)}, or {', '.join(SPLIT)}; "
        f"{path} has {', '.join(sorted(file.files)) or 'none'}"
    )


def _read(path: str | None) -> dict[str, np.ndarray]:
    arrays = {}
    with _open(path) as file:
        for name in _names(file, path):
            try:
                arrays[name] = np.asarray(file[name])  # bytes if it is no array
            except (ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
                raise ConfigError(
                    f"dataset.path must hold plain numbers, array {name} of {path} cannot be "
                    f"read: {error}"
                ) from error
    return arrays


def _images(name: str, array: np.ndarray) -> np.ndarray:
    """[n, height, width(, channels)] -> [n, height, width, channels] uint8."""
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or 0 in array.shape or not 1 <= array.shape[-1] <= 4:
        raise ConfigError(
            f"{name} must be [n, height, width] or [n, height, width, channels] with 1 to 4 "
            f"channels, got {list(array.shape)}"
        )
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind not in "iuf":
        raise ConfigError(f"{name} must be whole numbers or floats, got {array.dtype}")
    low, high = array.min(), array.max()
    if not (low >= 0 and high <= 255):  # written in this way, it refuses NaN
        raise ConfigError(f"{name} must be in [0, 255], or floats in [0, 1], got {low} to {high}")
    if array.dtype.kind == "f":
        array = np.rint(array * 255 if high <= 1 else array)
    return array.astype(np.uint8)


def _labels(name: str, array: np.ndarray) -> np.ndarray:
    """[n] or [n, 1] whole numbers from 0 -> [n]."""
    if array.ndim == 2 and array.shape[1] == 1:  # the form of keras.datasets
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size:
        raise ConfigError(
            f"{name} must be [n] whole numbers, one class per image, got {array.dtype} "
            f"{list(array.shape)}; one-hot labels become that by y.argmax(axis=1)"
        )
    if array.min() < 0:
        raise ConfigError(f"{name} must be class numbers from 0, got {array.min()}")
    return array
