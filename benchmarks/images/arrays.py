"""Your own images in one .npz file with arrays x and y, or x_train, y_train, x_test and y_test.

    np.savez("mine.npz", x=images, y=labels)
    nas search dataset=npz dataset.path=mine.npz

images: [n, height, width] or [n, height, width, channels], whole numbers in [0, 255], or floats in
[0, 255] or [0, 1]. labels: [n], whole numbers from 0; each class occurs at least once. x_valid and
y_valid, if they are there, validate.

Which range floats have is decided once, from all arrays together. If that is open, as for floats up
to 1.001, the file is refused, and dataset.pixel_max says which.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nas.core.trial import ConfigError
from nas.data import npz
from nas.data.images import Found, ImageData, class_counts, make_image_data

SETTING = "dataset.path"
CLEARLY_BYTES = 128  # floats with fractions and a larger maximum are in [0, 255]
OVERSHOOT = 0.01  # by which floats may leave [0, 1] if dataset.pixel_max=1 says so: resampling does


def load(
    *,
    path: str | None = None,
    pixel_max: int | None = None,
    valid_size: int | float = 0.1,
    test_size: int | float = 0.2,
    train_size: int | None = None,
    split: str = "balanced",
) -> ImageData:
    """Reads, checks and splits the file. Floats are rounded to the 256 values of a byte.

    Args:
        path: of the file.
        pixel_max: what white is: 1 or 255; None: found in the values, if they are clear.
        valid_size: number or share of validation images, unless the file has x_valid and y_valid.
        test_size: the same for test images, if the file has x and y; x_test and y_test are used as
            they are.
        train_size: number of training images to keep; None keeps all.
        split: as in nas.make_image_data.

    Raises ConfigError for a file that is damaged or has other arrays.
    """
    if pixel_max not in (None, 1, 255) or isinstance(pixel_max, bool):
        raise ConfigError(f"dataset.pixel_max must be null, 1 or 255, got {pixel_max}")
    file = _path(path)
    names = _names(file)
    arrays = npz.read(file, names, SETTING)
    images = {key: _images(key, a) for key, a in arrays.items() if key.startswith("x")}
    labels = {key: _labels(key, a) for key, a in arrays.items() if key.startswith("y")}
    x, y = names.train
    held = images[x]
    images, scale = _as_bytes(images, pixel_max)
    present = np.unique(labels[y])
    if not np.array_equal(present, np.arange(len(present))):
        raise ConfigError(
            f"{y} must number the classes 0, 1, 2 ... and have each at least once, "
            f"got {', '.join(map(str, present[:10]))}{' ...' if len(present) > 10 else ''}"
        )
    class_names = tuple(map(str, range(len(present))))
    left_out = f", left out: {', '.join(names.left_out)}" if names.left_out else ""
    return make_image_data(
        file.stem,
        images[x],
        labels[y],
        class_names=class_names,
        valid_size=valid_size,
        valid=None if names.valid is None else (images["x_valid"], labels["y_valid"]),
        test=None if names.test is None else (images["x_test"], labels["y_test"]),
        test_size=test_size,
        train_size=train_size,
        split=split,
        read_as=f"{file.name}: {len(held):,} images of {'x'.join(map(str, held.shape[1:]))} "
        f"({held.dtype}, {scale}), {class_counts(class_names, labels[y])}{left_out}",
    )


def look(*, path: str | None = None, **settings) -> Found:
    """Opens the file, if one is named, without reading an array."""
    if path is None:
        return Found(ready=False, place="a file of yours", hint="set dataset.path=FILE.npz")
    try:
        names = _names(_path(path))
    except ConfigError as error:
        return Found(ready=False, place=path, hint=str(error))
    used = [name for pair in (names.train, names.valid, names.test) if pair for name in pair]
    return Found(ready=True, place=path, contents=f"arrays {', '.join(used)}")


def _path(path: str | None) -> Path:
    return Path("None" if path is None else path).expanduser()


def _names(file: Path) -> npz.Names:
    """The arrays that are used. Raises ConfigError for a training part without a test part."""
    names = npz.names(file, SETTING)
    if names.train == npz.TRAIN and names.test is None:
        raise ConfigError(
            f"{SETTING} must have the arrays x and y, of which a part becomes the test images, or "
            f"x_train, y_train, x_test and y_test; {file} has no test images"
        )
    return names


def _images(name: str, array: np.ndarray) -> np.ndarray:
    """[n, height, width(, channels)] -> [n, height, width, channels] numbers."""
    if array.ndim == 3:
        array = array[..., None]
    if array.ndim != 4 or 0 in array.shape or not 1 <= array.shape[-1] <= 4:
        raise ConfigError(
            f"{name} must be [n, height, width] or [n, height, width, channels] with 1 to 4 "
            f"channels, got {list(array.shape)}"
        )
    if array.dtype.kind not in "biuf":
        raise ConfigError(f"{name} must be whole numbers or floats, got {array.dtype}")
    return array


def _as_bytes(
    images: Mapping[str, np.ndarray], pixel_max: int | None
) -> tuple[dict[str, np.ndarray], str]:
    """All parts as uint8, brought there in one way, and that way in words."""
    if all(array.dtype == np.uint8 for array in images.values()) and pixel_max != 1:
        return dict(images), "0 to 255"
    ranges = {name: (array.min(), array.max()) for name, array in images.items()}
    for name, (low, high) in ranges.items():
        if not (low >= -OVERSHOOT and high <= 255):  # written in this way, it refuses NaN
            raise ConfigError(
                f"{name} must be in [0, 255], or floats in [0, 1], got {low} to {high}"
            )
    white = pixel_max or _white(images, ranges)
    most = white * (1 + OVERSHOOT if white == 1 else 1)
    least = -OVERSHOOT if pixel_max == 1 else 0
    for name, (low, high) in ranges.items():
        if high > most or low < least:
            raise ConfigError(
                f"{name} must be in [0, {white}], got {low} to {high}; set dataset.pixel_max"
            )
    as_bytes = {
        name: np.rint(np.clip(array.astype(np.float64) * (255 / white), 0, 255)).astype(np.uint8)
        for name, array in images.items()
    }
    return as_bytes, f"0 to {white}"


def _white(
    images: Mapping[str, np.ndarray], ranges: Mapping[str, tuple[np.generic, np.generic]]
) -> int:
    """The value of white, 1 or 255. Raises ConfigError if the values could mean both."""
    of_one, of_bytes = [], []
    for name, array in images.items():
        high = float(ranges[name][1])
        if high == 0:  # black either way
            continue
        if array.dtype.kind == "b" or (array.dtype.kind == "f" and high <= 1):
            of_one.append(name)
        elif array.dtype.kind in "iu" or high >= CLEARLY_BYTES or not (array % 1).any():
            of_bytes.append(name)
        else:
            of_one.append(name)
            of_bytes.append(name)
    if of_one and of_bytes:
        said = ", ".join(f"{name} {low} to {high}" for name, (low, high) in ranges.items())
        raise ConfigError(
            "the pixels of all arrays must be in [0, 1] or all in [0, 255], which cannot be told "
            f"from {said}; set dataset.pixel_max=1 or dataset.pixel_max=255"
        )
    return 1 if of_one else 255


def _labels(name: str, array: np.ndarray) -> np.ndarray:
    """[n] or [n, 1] whole numbers from 0 -> [n]."""
    if array.ndim == 2 and array.shape[1] == 1:  # the form of keras.datasets
        array = array[:, 0]
    if array.ndim != 1 or array.dtype.kind not in "iu" or not array.size:
        raise ConfigError(
            f"{name} must be [n] whole numbers, one class per image, got {array.dtype} "
            f"{list(array.shape)}; one-hot labels become that by y.argmax(axis=1)"
        )
    if array.min() < 0 or array.max() > np.iinfo(np.int32).max:
        raise ConfigError(
            f"{name} must be class numbers from 0, got {array.min()} to {array.max()}"
        )
    return array.astype(np.int64)
