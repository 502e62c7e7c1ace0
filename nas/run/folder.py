"""The run folder: what every command leaves behind, and how a folder is opened again."""

import contextlib
from collections.abc import Callable, Iterator, Set
from pathlib import Path
from typing import Any, Protocol, TypeVar

from omegaconf import DictConfig, OmegaConf

from nas.core.files import write_atomically
from nas.core.trial import ConfigError
from nas.engine.store import Store, lock, unlock
from nas.run.config import FREE_TO_CHANGE, read_config, refuse_other_config

CONFIG, MODEL = "config.yaml", "best.keras"
EPOCHS = "epochs.json"  # the values of each epoch in which shared weights were trained
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


def open_run(run_dir: Path, config: dict[str, Any]) -> Store:
    """Opens the folder of a search: its trials, its pending proposals, its controller's state."""
    return open_folder(run_dir, config, Store)


def open_folder(
    run_dir: Path,
    config: dict[str, Any],
    open_files: Callable[[Path], OpenedT],
    *,
    free: Set[str] = FREE_TO_CHANGE,
    keep_config: bool = True,
) -> OpenedT:
    """Opens a run folder that is new, or that holds a run of the same configuration.

    Every command that has a run folder opens it here.

    Args:
      open_files: takes the folder's lock and opens its files: `Store` or `FolderLock`.
      free: settings that may differ from those of the run that is there.
      keep_config: whether the configuration of the run's beginning stays in config.yaml; otherwise
        it is replaced by `config`.

    Raises ConfigError if the folder is in use, cannot be written, is damaged, or holds another run.
    A folder that is refused stays as it is.
    """
    path = run_dir / CONFIG
    if path.exists():
        refuse_other_config(path, config, free=free)
    opened = open_files(run_dir)
    try:
        is_new = not path.exists()
        if not is_new:  # another process may have begun a run before the lock was taken
            refuse_other_config(path, config, free=free)
        if is_new or not keep_config:
            write_atomically(path, OmegaConf.to_yaml(OmegaConf.create(config)))
    except BaseException:
        opened.close()
        raise
    return opened


def of_hydra() -> tuple[Path, dict[str, str]]:
    """The run folder of the command that Hydra runs, and the name that is chosen of each group."""
    from hydra.core.hydra_config import HydraConfig

    runtime = HydraConfig.get().runtime
    choices = {
        key: str(value)
        for key, value in runtime.choices.items()
        if "/" not in key and value is not None
    }
    return Path(runtime.output_dir), choices


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
