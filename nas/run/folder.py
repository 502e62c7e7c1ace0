"""The run folder: what every command leaves behind, and how a folder is opened again."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any, Protocol, TypeVar

from omegaconf import DictConfig

from nas.core.trial import ConfigError
from nas.engine.store import Store, lock, unlock
from nas.run.config import resolved
from nas.run.saved_config import (
    FREE_TO_CHANGE,
    Defaults,
    read_config,
    refuse_other_config,
    write_config,
)

CONFIG, MODEL = "config.yaml", "best.keras"
EPOCHS = "epochs.json"  # the values of each epoch in which shared weights were trained
EPOCHS_SHAPE = [{str: (float, None)}]
RANKING = "ranking.npz"  # scores [archs] by shared weights, and truth [archs] of networks alone
PANEL = "shared_weights.png"  # both, as a picture


class Opened(Protocol):
    """Files of a run folder that hold its lock until they are closed."""

    def close(self) -> None: ...


OpenedT = TypeVar("OpenedT", bound=Opened)


class FolderLock:
    """The lock of a run folder whose command keeps its results in files of its own.

    Raises ConfigError if the folder is in use or cannot be made.
    """

    def __init__(self, run_dir: Path):
        self._handle: int | None = lock(run_dir)

    def close(self) -> None:
        if self._handle is not None:
            unlock(self._handle)
            self._handle = None

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@dataclasses.dataclass(frozen=True)
class Called:
    """The command that Hydra runs.

    Attributes:
      run_dir: its run folder.
      choices: group -> the name that is chosen of it.
      command: the words after `nas`.
    """

    run_dir: Path
    choices: dict[str, str]
    command: list[str]

    def defaults(self) -> Mapping[str, Any]:
        """The command's configuration with these choices and none of the other settings."""
        from hydra import compose

        return resolved(compose(self.command[0], overrides=chosen(self.choices)))


def chosen(choices: Mapping[str, Any]) -> list[str]:
    """The overrides that make these choices.

    A group within another one (with an @) and the machine's own file follow by themselves.
    """
    return [
        f"{group}={name}"
        for group, name in choices.items()
        if group != "local" and "@" not in group and name not in (None, "None")
    ]


def open_run(run_dir: Path, config: dict[str, Any], called: Called | None = None) -> Store:
    """Opens the folder of a search: its trials, its pending proposals, its controller's state."""
    return open_folder(run_dir, config, Store, called=called)


def open_folder(
    run_dir: Path,
    config: dict[str, Any],
    open_files: Callable[[Path], OpenedT],
    *,
    free: Set[str] = FREE_TO_CHANGE,
    keep_config: bool = True,
    called: Called | None = None,
) -> OpenedT:
    """Opens a run folder that is new, or that holds a run of the same configuration.

    Every command that has a run folder opens it here.

    Args:
      open_files: takes the folder's lock and opens its files: `Store` or `FolderLock`.
      free: settings that may differ from those of the run that is there.
      keep_config: whether the configuration of the run's beginning stays in config.yaml; otherwise
        it is replaced by `config`.
      called: the command whose folder it is, if there is one: it begins again with the same words.

    Raises ConfigError if the folder is in use, cannot be written, is damaged, or holds another run.
    A folder that is refused stays as it is.
    """
    path = run_dir / CONFIG
    defaults: Defaults = dict if called is None else called.defaults

    def refuse_another() -> None:
        if path.exists():
            refuse_other_config(path, config, free=free, defaults=defaults)

    refuse_another()
    opened = open_files(run_dir)
    try:
        refuse_another()  # another process may have begun a run before the lock was taken
        if not (path.exists() and keep_config):
            write_config(path, config, [] if called is None else called.command)
    except BaseException:
        opened.close()
        raise
    return opened


def of_hydra() -> Called:
    """The command that Hydra runs."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    choices = {
        key: str(value)
        for key, value in hydra.runtime.choices.items()
        if "/" not in key and value is not None
    }
    folders = [
        source.path for source in hydra.runtime.config_sources if source.provider == "command-line"
    ]
    options = [word for folder in folders for word in ("--config-dir", folder)]
    command = [str(hydra.job.config_name), *options, *map(str, hydra.overrides.task)]
    return Called(Path(hydra.runtime.output_dir), choices, command)


@contextlib.contextmanager
def not_left_empty(run_dir: Path) -> Iterator[None]:
    """Removes the folder that Hydra has made, if it is empty, when settings are refused."""
    try:
        yield
    except ConfigError:
        with contextlib.suppress(OSError):
            run_dir.rmdir()
        raise


def read_run(run_dir: Path) -> DictConfig:
    """The configuration of a run folder, with today's names.

    Objects of it are made by nas.run.config.make_saved. Raises ConfigError if the folder holds no
    configuration, or a damaged one.
    """
    path = Path(run_dir) / CONFIG
    if not path.is_file():
        raise ConfigError(f"{run_dir} is not a run folder: it has no {CONFIG}")
    return read_config(path)
