"""Files of tables that `nas tabulate` makes: plain arrays, how they were made, and a checksum.

Arrays, with H architectures held, S seeds and E epochs:

    valid_hits, test_hits  [H, S, E] uint16   images answered rightly after each epoch
    seconds                [H, S] float16     of the processor, for all epochs and their scores
    parameters, flops      [H] uint32         trainable weights; multiply-adds of one image
    archs                  [H, decisions] uint8
    row_of                 [all] int32        of each architecture of the space, in the order of
                                              nas/tables/enumeration.py, its row; NOT_HELD without one
    about                  [] str             how it was made, as JSON
    checksum               [] str             sha256 of all others
"""

import hashlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from nas.core.trial import ConfigError
from nas.data.images import ImageData

VERSION = 1
PARTS = ("valid", "test")
NOT_HELD = -1


def write_table(path: Path, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    """All of it or no file."""
    held: dict[str, Any] = arrays | {"about": np.array(json.dumps(about, sort_keys=True))}
    partial = path.with_name(f"{path.stem}.partial.npz")
    np.savez_compressed(partial, checksum=np.array(checksum(held)), **held)
    partial.rename(path)


def read_table(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and how they were made. Raises ConfigError for another file, or a damaged one."""
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        told = str(arrays.pop("checksum"))
        about = json.loads(str(arrays["about"]))
        version = about["version"]
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.error) as error:
        raise ConfigError(f"{path} is no table of `nas tabulate`, or damaged: {error}") from None
    if told != checksum(arrays):
        raise ConfigError(f"{path} is damaged: its checksum is another; get the file anew")
    if version != VERSION:
        raise ConfigError(f"{path} must be of version {VERSION}, got {version}; make it anew")
    del arrays["about"]
    return arrays, about


def checksum(arrays: dict[str, np.ndarray]) -> str:
    """sha256 of names, types, shapes and values."""
    hashed = hashlib.sha256()
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        hashed.update(f"{name} {array.dtype.str} {array.shape}".encode())
        hashed.update(array.tobytes())
    return hashed.hexdigest()


def about(data: ImageData, config: dict[str, Any]) -> dict[str, Any]:
    """How a table was made, and not in which folder."""
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
    """Equal where all images and labels, in their order, are."""
    hashed = hashlib.sha256()
    for part in ("train", *PARTS):
        hashed.update(getattr(data, f"{part}_images").tobytes())
        hashed.update(getattr(data, f"{part}_labels").astype("<i4").tobytes())
    return hashed.hexdigest()[:16]


def commit() -> str | None:
    """Of the clone that this file lies in, `+` where files were changed; None outside of one."""
    head = _git("rev-parse", "--short", "HEAD")
    return head and head + ("+" if _git("status", "--porcelain", "-uno") else "")


def _git(*args: str) -> str | None:
    folder = Path(__file__).parent
    try:
        done = subprocess.run(["git", *args], cwd=folder, capture_output=True, text=True)
    except OSError:  # no git here
        return None
    return done.stdout.strip() if done.returncode == 0 else None
