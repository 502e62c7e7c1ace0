"""The file of a table that `nas tabulate` makes: plain arrays, their provenance and a checksum.

The arrays of a table with H architectures, S seeds and E epochs:

    valid_hits, test_hits  [H, S, E] uint16   correct predictions after each epoch
    seconds                [H, S] float16     CPU seconds of all epochs and their scores
    parameters, flops      [H] uint32         trainable weights; multiply-adds of one image
    archs                  [H, decisions] uint8
    row_of                 [all] int32        the row of each architecture of the space, in the
                                              order of nas/tables/enumeration.py, or NOT_HELD
    about                  [] str             provenance, as JSON
    checksum               [] str             sha256 of all others
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from nas.core.files import read_arrays
from nas.core.trial import ConfigError
from nas.data.images import ImageData

VERSION = 1
PARTS = ("valid", "test")
NOT_HELD = -1


def write_table(path: Path, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    """Writes the whole table or no file.

    about: JSON values that say how the table was made.
    """
    held: dict[str, Any] = arrays | {"about": np.array(json.dumps(about, sort_keys=True))}
    partial = path.with_name(f"{path.stem}.partial.npz")
    np.savez_compressed(partial, checksum=np.array(checksum(held)), **held)
    partial.rename(path)


def read_table(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """The arrays of a table and its provenance. Raises ConfigError if the file is damaged."""
    try:
        with path.open("rb") as raw:
            arrays = read_arrays(raw)
        saved_checksum = str(arrays.pop("checksum"))
        about = json.loads(str(arrays["about"]))
        version = about["version"]
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise ConfigError(f"{path} is no table of `nas tabulate`, or damaged: {error}") from None
    if saved_checksum != checksum(arrays):
        raise ConfigError(f"{path} is damaged: its checksum is wrong; get the file again")
    if version != VERSION:
        raise ConfigError(f"{path} must be of version {VERSION}, got {version}; make it again")
    del arrays["about"]
    return arrays, about


def checksum(arrays: dict[str, np.ndarray]) -> str:
    """The sha256 of all names, types, shapes and values."""
    hashed = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        hashed.update(f"{name} {array.dtype.str} {array.shape}".encode())
        hashed.update(array.tobytes())
    return hashed.hexdigest()


def about(data: ImageData, config: dict[str, Any]) -> dict[str, Any]:
    """The provenance of a table, without the folder in which it was made."""
    sizes = {part: len(getattr(data, f"{part}_labels")) for part in ("train", *PARTS)}
    packages = ("nas", "tensorflow", "numpy")
    return {
        "version": VERSION,
        "config": {name: value for name, value in config.items() if name != "run_dir"},
        "dataset": {"name": data.name, "fingerprint": fingerprint(data), **sizes},
        "command": " ".join(arg for arg in sys.argv if not arg.startswith("run_dir=")),
        "commit": commit(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
    }


def fingerprint(data: ImageData) -> str:
    """A digest of all images and labels in their order."""
    hashed = hashlib.sha256()
    for part in ("train", *PARTS):
        hashed.update(getattr(data, f"{part}_images").tobytes())
        hashed.update(getattr(data, f"{part}_labels").astype("<i4").tobytes())
    return hashed.hexdigest()[:16]


def commit() -> str | None:
    """The commit of the clone around this file, with `+` if files were changed; else None."""
    head = _git("rev-parse", "--short", "HEAD")
    return head and head + ("+" if _git("status", "--porcelain", "-uno") else "")


def _git(*args: str) -> str | None:
    folder = Path(__file__).parent
    try:
        done = subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True)
    except OSError:  # git is not installed
        return None
    return done.stdout.strip() if done.returncode == 0 else None
