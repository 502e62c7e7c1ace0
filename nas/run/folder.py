"""The run folder: what a search leaves behind, and how one is opened again."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nas.core.files import write_atomically
from nas.core.trial import ConfigError
from nas.engine.store import Store
from nas.run.config import read_config, refuse_other_config

CONFIG, MODEL = "config.yaml", "best.keras"
EPOCHS = "epochs.json"  # of shared weights: what came out of each epoch
RANKING = "ranking.npz"  # of shared weights: scores [archs], and truth [archs] of networks alone
PANEL = "shared_weights.png"  # both, as a picture


def of_hydra() -> tuple[Path, dict[str, str]]:
    """Of the command that Hydra runs: the folder, and the name chosen of each group."""
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
    """Where settings are refused, the folder that Hydra has made for them goes if it is empty."""
    try:
        yield
    except ConfigError:
        with contextlib.suppress(OSError):
            run_dir.rmdir()
        raise


def open_run(run_dir: Path, config: dict[str, Any]) -> Store:
    """The store of a new run folder, or of one that holds a run of the same configuration.

    Raises ConfigError where the folder is in use, cannot be written, or holds another run.
    """
    store = Store(run_dir)
    path = run_dir / CONFIG
    try:
        if path.exists():
            refuse_other_config(path, config)
        else:
            write_atomically(path, OmegaConf.to_yaml(OmegaConf.create(config)))
    except BaseException:
        store.close()
        raise
    return store


def read_run(run_dir: Path) -> DictConfig:
    """The configuration of a run folder. Raises ConfigError where there is none.

    Objects of it are made by nas.run.config.make_saved.
    """
    path = Path(run_dir) / CONFIG
    if not path.is_file():
        raise ConfigError(f"{run_dir} is not a run folder: it has no {CONFIG}")
    return read_config(path)
