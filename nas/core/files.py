"""Reads and writes files: text is UTF-8, writing is atomic, and each failure is one ConfigError."""

import math
import zipfile
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from nas.core.trial import ConfigError

UTF8 = "utf-8"
# In a locale that is not UTF-8, Python stands such characters for the bytes of a file's name.
ERRORS = "surrogateescape"


def printable(text: object) -> str:
    """The text on one line and without control characters, so that it can forge no line of a log.

    >>> printable("a" + chr(10) + "b" + chr(27) + "[31m")
    'a b [31m'
    """
    return "".join(c if c.isprintable() else " " for c in str(text)).strip()


def read_text(path: Path) -> str:
    """The text of a file. Raises ConfigError if it cannot be read."""
    try:
        return path.read_text(encoding=UTF8, errors=ERRORS)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error


def write_atomically(path: Path, text: str) -> None:
    """Writes `text` to `path` in one step: readers and crashes leave the old file or the new one.

    Raises ConfigError if the file cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text, encoding=UTF8, errors=ERRORS)
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def make_folder(run_dir: Path) -> None:
    """Makes the folder and its parents. Raises ConfigError if that fails."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"run_dir must be a folder one can write to, got {run_dir}: {error.strerror}"
        ) from error


def read_arrays(file: IO[bytes]) -> dict[str, np.ndarray]:
    """All arrays of an .npz, none of which may be larger than the file holds.

    A header can claim any size, and numpy allocates it before it reads. Nothing is unpickled.

    Raises ValueError if the file is damaged.
    """
    try:
        check_headers(file)
        with np.load(file, allow_pickle=False) as arrays:
            return dict(arrays)
    except _DAMAGE as error:
        raise ValueError(f"no whole .npz: {printable(error)[:200]}") from error


# What zipfile, zlib and numpy raise at a damaged file.
_DAMAGE = (
    *(ValueError, OSError, EOFError, KeyError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)


def check_headers(file: IO[bytes]) -> None:
    """Raises ValueError, or another error of _DAMAGE, if an array claims more than the file has."""
    with zipfile.ZipFile(file) as archive:
        for member in archive.infolist():
            with archive.open(member) as opened:
                _check_header(member, opened)
    file.seek(0)


def _check_header(member: zipfile.ZipInfo, opened: IO[bytes]) -> None:
    """Raises ValueError if an array's header claims another size than its file has."""
    version = np.lib.format.read_magic(opened)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"{member.filename} has the format {version}")
    shape, _, dtype = read(opened)
    claimed, held = math.prod(shape) * dtype.itemsize, member.file_size - opened.tell()
    if dtype.hasobject or claimed != held:
        raise ValueError(f"{member.filename} claims {claimed} bytes and holds {held}")
