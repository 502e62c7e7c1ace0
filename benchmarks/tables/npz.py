"""Finding and reading the .npz files of the tables, with errors that say what to set."""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from nas.core.trial import ConfigError


def located(path: str | Path | None, setting: str, variable: str, *, hint: str = "") -> Path:
    """The file named, or that of the variable. Raises ConfigError where there is none."""
    named = path or os.environ.get(variable)
    if not named:
        raise ConfigError(
            f"{setting} must name a file: set {variable}=FILE.npz or {setting}=FILE.npz"
            + (f"; {hint}" if hint else "")
        )
    if not Path(named).is_file():
        raise ConfigError(f"{setting} (or {variable}) must be a file, got {named}")
    return Path(named)


def read(path: Path, what: str, *names: str) -> list[np.ndarray]:
    """The arrays of those names. Raises ConfigError for another file than `what`."""
    return _opened(path, what, lambda file: [file[name] for name in names])


def held(path: Path, what: str) -> set[str]:
    """The names of all arrays."""
    return _opened(path, what, lambda file: set(file.files))


def _opened(path: Path, what: str, use: Any) -> Any:
    try:
        with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
            return use(file)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ConfigError(f"{path} is not {what}: {error}") from None


def write(path: Path, arrays: dict[str, Any]) -> None:
    """All of them or no file."""
    partial = path.with_name(f"{path.stem}.partial.npz")
    np.savez_compressed(partial, **arrays)
    partial.rename(path)
