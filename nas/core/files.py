"""Files that are whole or not there, and folders with one clear error."""

from pathlib import Path

from nas.core.trial import ConfigError


def write_atomically(path: Path, text: str) -> None:
    """Replaces the file in one step: a reader, or a crash, sees the old one or the new one."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text)
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def make_folder(run_dir: Path) -> None:
    """Raises ConfigError where it cannot be made."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"run_dir must be a folder one can write to, got {run_dir}: {error.strerror}"
        ) from error
