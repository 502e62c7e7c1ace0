"""Reads .npz files that users bring: which arrays are meant, and one clear line if that is open.

    x and y, or x_train and y_train; with x_valid and y_valid, x_test and y_test, or without

Pickled objects are refused, so nothing in the file can run code. What an array's header claims is
compared with the file before anything is allocated.
"""

import dataclasses
import math
import re
import zipfile
import zlib
from pathlib import Path

import numpy as np

from nas.core.trial import ConfigError
from nas.data.memory import check_fits

WHOLE, TRAIN = ("x", "y"), ("x_train", "y_train")
TEST, VALID = ("x_test", "y_test"), ("x_valid", "y_valid")
KNOWN = {*WHOLE, *TRAIN, *TEST, *VALID}
# A name that stands for examples or labels of some part, but is not one of ours.
_SIMILAR = re.compile(r"[xy]([_-]?(train|test|valid|val|dev|eval|hold)\w*)?", re.IGNORECASE)
_READERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}

Pair = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Names:
    """The names of the arrays that are used, and of those that are left out."""

    train: Pair
    valid: Pair | None
    test: Pair | None
    left_out: tuple[str, ...]


def names(path: Path, setting: str) -> Names:
    """Finds the arrays without reading one.

    setting: the setting that names the file, for messages.

    Raises ConfigError for a file that is no .npz, or whose arrays could be meant in several ways.
    """
    with _opened(path, setting) as file:
        held = [name.removesuffix(".npy") for name in file.namelist()]
    has = ", ".join(sorted(held)) or "none"
    wanted = "x and y, or x_train and y_train"
    bases = [pair for pair in (WHOLE, TRAIN) if set(pair) & set(held)]
    if not bases:
        raise ConfigError(f"{setting} must have the arrays {wanted}; {path} has {has}")
    if len(bases) > 1:
        raise ConfigError(f"{setting} must have either {wanted}; {path} has both: {has}")
    for pair in (bases[0], TEST, VALID):
        if len(set(pair) & set(held)) == 1:
            raise ConfigError(f"{setting} must have {pair[0]} and {pair[1]} both; {path} has {has}")
    left_out = sorted(set(held) - KNOWN)
    similar = [name for name in left_out if _SIMILAR.fullmatch(name)]
    if similar:
        raise ConfigError(
            f"{setting} must call its arrays {', '.join(sorted(KNOWN))}; {path} has also "
            f"{', '.join(similar)}; rename what is meant, take out the rest"
        )
    test, valid = (pair if set(pair) <= set(held) else None for pair in (TEST, VALID))
    return Names(bases[0], valid, test, tuple(left_out))


def read(path: Path, wanted: Names, setting: str) -> dict[str, np.ndarray]:
    """The arrays by name. Raises ConfigError for one that is damaged, too large or no numbers."""
    pairs = (wanted.train, wanted.valid, wanted.test)
    arrays = [name for pair in pairs if pair is not None for name in pair]
    with _opened(path, setting) as file:
        members = {name.removesuffix(".npy"): name for name in file.namelist()}
        size = sum(file.getinfo(members[name]).file_size for name in arrays)
        check_fits(size, f"the arrays of {path}", "write fewer or smaller examples")
        return {name: _array(file, members[name], name, path, setting) for name in arrays}


def _opened(path: Path, setting: str) -> zipfile.ZipFile:
    if not path.is_file():
        raise ConfigError(
            f"{setting} must be an .npz file that exists, got {path}; set {setting}=FILE.npz"
        )
    try:
        return zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise ConfigError(
            f"{setting} must be an .npz file, as np.savez(path, x=x, y=y) writes it, got {path}, "
            "which is none or is damaged"
        ) from error


def _array(file: zipfile.ZipFile, member: str, name: str, path: Path, setting: str) -> np.ndarray:
    where = f"{setting} must hold plain arrays, {name} of {path}"
    try:
        with file.open(member) as opened:
            version = np.lib.format.read_magic(opened)
            reader = _READERS.get(version, np.lib.format.read_array_header_2_0)
            shape, _, dtype = reader(opened)
            held = file.getinfo(member).file_size - opened.tell()
        if dtype.hasobject:
            raise ConfigError(f"{where} is of Python objects (pickled); write numbers or texts")
        if math.prod(shape) * dtype.itemsize != held:
            raise ConfigError(f"{where} is damaged: it says {list(shape)} and has {held:,} bytes")
        with file.open(member) as opened:
            return np.lib.format.read_array(opened, allow_pickle=False)
    except (
        ValueError, OSError, EOFError, KeyError, SyntaxError, RuntimeError, NotImplementedError,
        zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        if isinstance(error, ConfigError):
            raise
        text = " ".join(str(error).split())[:200]
        raise ConfigError(f"{where} cannot be read, the file is damaged: {text}") from error
