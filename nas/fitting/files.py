"""Files that `nas fit` reads: arrays, a folder of images, or a table of rows.

    DATA.npz    x and y, or x_train and y_train; with x_valid and y_valid, x_test and y_test, or
                without
    FOLDER      class folders of images, or train/ and test/ with class folders
    TABLE.csv   a line of column names, then rows; one column is the target

A column of texts becomes a feature of 0 and 1 for each of its texts, COLUMN=TEXT. A missing number
is replaced by the median of its column, and the feature `COLUMN is missing` says so.
"""

import csv
import dataclasses
import zipfile
from pathlib import Path

import numpy as np

from nas.core.trial import ConfigError
from nas.data.image_folder import read_classes

MAX_TEXTS = 30  # of a column: the most frequent become features, others are zero in all of them
MISSING = ("", "?", "na", "n/a", "nan", "null", "none")  # in lower case


@dataclasses.dataclass(frozen=True, eq=False)
class Arrays:
    """x and y as nas.fit takes them. valid, test: x and y of that part. features: columns of x."""

    x: np.ndarray
    y: np.ndarray
    test: tuple[np.ndarray, np.ndarray] | None = None
    features: tuple[str, ...] = ()
    valid: tuple[np.ndarray, np.ndarray] | None = None


def read(path: Path, *, target: str | None = None, image_size: int = 32) -> Arrays:
    """Reads the file or the folder.

    target: the column of a table to predict; None: the last. image_size: of a folder's images.

    Raises ConfigError if there is no such data in it.
    """
    if path.is_dir():
        return _folder(path, image_size)
    if path.suffix == ".csv" and path.is_file():
        return _table(path, target)
    if path.is_file() and zipfile.is_zipfile(path):
        return _arrays(path)
    raise ConfigError(f"DATA must be an .npz file, a folder or a .csv file that exists, got {path}")


def _arrays(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as file:
        pairs = (("x_train", "y_train"), ("x", "y"))
        names = next((pair for pair in pairs if set(pair) <= set(file.files)), None)
        if names is None:
            raise ConfigError(
                f"DATA must have the arrays x and y, or x_train and y_train; {path} has "
                f"{', '.join(sorted(file.files)) or 'none'}"
            )
        try:
            x, y = (file[name] for name in names)
            test, valid = (_pair(file, part) for part in ("test", "valid"))
        except ValueError as error:
            raise ConfigError(f"DATA must hold plain arrays: {path}: {error}") from error
    return Arrays(x, y, test, valid=valid)


def _pair(file, part: str) -> tuple[np.ndarray, np.ndarray] | None:
    names = (f"x_{part}", f"y_{part}")
    return (file[names[0]], file[names[1]]) if set(names) <= set(file.files) else None


def _folder(path: Path, image_size: int) -> Arrays:
    images, labels, names, test = read_classes(
        path, image_size=image_size, channels=3, setting="DATA"
    )
    texts = np.array(names)
    return Arrays(images, texts[labels], None if test is None else (test[0], texts[test[1]]))


def _table(path: Path, target: str | None) -> Arrays:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            head, *rows = [row for row in csv.reader(file) if row]
    except (ValueError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigError(f"DATA must be a table with a line of names, {path}: {error}") from None
    if len(set(head)) != len(head) or len(head) < 2 or not rows:
        raise ConfigError(
            f"DATA must have a line of at least 2 different column names and rows, {path} has "
            f"{head} and {len(rows)} rows"
        )
    for number, row in enumerate(rows, 2):
        if len(row) != len(head):
            raise ConfigError(
                f"every row must have {len(head)} columns, row {number} of {path} has {len(row)}"
            )
    target = head[-1] if target is None else target
    if target not in head:
        raise ConfigError(f"--target must be one of {', '.join(head)}, got {target}")
    columns = dict(zip(head, zip(*rows, strict=True), strict=True))
    targets = [text.strip() for text in columns.pop(target)]
    if lost := sum(text.lower() in MISSING for text in targets):
        raise ConfigError(f"--target must be a column without gaps, {target} lacks {lost} values")
    features = [feature for name, texts in columns.items() for feature in _features(name, texts)]
    y = _numbers(targets)
    return Arrays(
        np.stack([values for _, values in features], 1),
        np.array(targets) if y is None else y,
        features=tuple(name for name, _ in features),
    )


def _features(name: str, texts: tuple[str, ...]) -> list[tuple[str, np.ndarray]]:
    """The features of one column: the name and the values, [rows] float32, of each."""
    texts = tuple(text.strip() for text in texts)
    known = np.array([text.lower() not in MISSING for text in texts])
    values = _numbers([text if there else "0" for text, there in zip(texts, known, strict=True)])
    if values is None:
        distinct, counts = np.unique(texts, return_counts=True)
        frequent = sorted(distinct[np.argsort(-counts, kind="stable")][:MAX_TEXTS])
        return [
            (f"{name}={text}", (np.array(texts) == text).astype(np.float32)) for text in frequent
        ]
    if not known.any():
        return [(f"{name} is missing", np.ones(len(texts), np.float32))]
    values[~known] = np.median(values[known])
    features = [(name, values.astype(np.float32))]
    if not known.all():
        features.append((f"{name} is missing", (~known).astype(np.float32)))
    return features


def _numbers(texts: list[str]) -> np.ndarray | None:
    """The texts as numbers, [rows] float64; None if one of them is not a number."""
    try:
        return np.array([float(text) for text in texts])
    except ValueError:
        return None
