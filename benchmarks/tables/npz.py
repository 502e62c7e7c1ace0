"""Finds, reads and writes the .npz files of the tables. Errors name the setting to change."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from nas.core.files import check_headers
from nas.core.trial import ConfigError


def located(path: str | Path | None, setting: str, variable: str, *, hint: str = "") -> Path:
    """The file at `path`, or else the one that the environment variable names.

    setting: the name of `path` in messages. hint: how to get such a file.

    Raises ConfigError if no file is named, or if it does not exist.
    """
    chosen = path or os.environ.get(variable)
    if not chosen:
        raise ConfigError(
            f"{setting} must name a file: set {variable}=FILE.npz or {setting}=FILE.npz"
            + (f"; {hint}" if hint else "")
        )
    if not Path(chosen).is_file():
        raise ConfigError(f"{setting} (or {variable}) must be a file, got {chosen}")
    return Path(chosen)


def read(path: Path, what: str, *names: str) -> list[np.ndarray]:
    """The arrays of those names. Raises ConfigError if the file is not `what`."""
    return _opened(path, what, lambda file: [file[name] for name in names])


def held(path: Path, what: str) -> set[str]:
    """The names of all arrays. Raises ConfigError if the file is not `what`."""
    return _opened(path, what, lambda file: set(file.files))


def _opened(path: Path, what: str, use: Any) -> Any:
    try:
        with path.open("rb") as raw:
            check_headers(raw)
            with np.load(raw, allow_pickle=False) as file:
                return use(file)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path} is not {what}: {error}") from None


def write(path: Path, arrays: dict[str, Any]) -> None:
    """Writes a file with all arrays, or no file at all."""
    partial = path.with_name(f"{path.stem}.partial.npz")
    np.savez_compressed(partial, **arrays)
    partial.rename(path)
