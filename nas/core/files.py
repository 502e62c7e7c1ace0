"""Writes files atomically and makes folders; each failure is one ConfigError."""

from pathlib import Path

from nas.core.trial import ConfigError


def write_atomically(path: Path, text: str) -> None:
    """Writes `text` to `path` in one step: readers and crashes leave the old file or the new one.

    Raises ConfigError if the file cannot be written.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text)
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
