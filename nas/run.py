"""The run folder: what a search leaves behind, and how one is opened again."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nas.config import read_config, refuse_other_config
from nas.search import best
from nas.store import Store
from nas.trial import ConfigError, Trial

CONFIG, SUMMARY, MODEL = "config.yaml", "summary.json", "best.keras"
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
            write(path, OmegaConf.to_yaml(OmegaConf.create(config)))
    except BaseException:
        store.close()
        raise
    return store


def read_run(run_dir: Path) -> DictConfig:
    """The configuration of a run folder. Raises ConfigError where there is none.

    Objects of it are made by nas.config.make_saved.
    """
    path = Path(run_dir) / CONFIG
    if not path.is_file():
        raise ConfigError(f"{run_dir} is not a run folder: it has no {CONFIG}")
    return read_config(path)


def read_summary(run_dir: Path) -> dict[str, Any]:
    """summary.json of a run folder; empty where the run has not come to its end."""
    path = Path(run_dir) / SUMMARY
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path} is damaged ({error}); delete it and continue the run to write it again"
        ) from None


def summarize(trials: list[Trial], space, choices: Mapping[str, str], seed: int) -> dict[str, Any]:
    """What summary.json says of a search by itself."""
    top = best(trials)
    return {
        "space": choices["space"],
        "controller": choices["controller"],
        "dataset": choices.get("dataset", ""),
        "seed": seed,
        "trials": len(trials),
        "failed": sum(trial.reward is None for trial in trials),
        "seconds": sum(trial.seconds for trial in trials),
        "best": None
        if top is None
        else {
            "trial": top.id,
            "arch": list(top.arch),
            "decoded": {name: _plain(value) for name, value in space.decode(top.arch).items()},
            "reward": top.reward,
            "metrics": top.metrics,
        },
        "retrained": None,
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def make_folder(run_dir: Path) -> None:
    """Raises ConfigError where it cannot be made."""
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"run_dir must be a folder one can write to, got {run_dir}: {error.strerror}"
        ) from error


def write(path: Path, text: str) -> None:
    """Replaces the file in one step: a reader, or a crash, sees the old one or the new one."""
    part = path.with_name(f".{path.name}.part")
    try:
        part.write_text(text)
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"{path} cannot be written: {error.strerror}") from error


def write_summary(run_dir: Path, summary: dict[str, Any]) -> None:
    write(run_dir / SUMMARY, json.dumps(summary, indent=2) + "\n")
