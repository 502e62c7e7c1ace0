"""The configuration of a search, made into its parts; wrong settings are refused here."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from nas.core.capabilities import DataChecking
from nas.core.trial import ConfigError
from nas.evaluators import compatibility as kinds
from nas.experiment.warm_start import warm_start
from nas.run.config import make


def build(config: DictConfig, run_dir: Path | None = None) -> dict[str, Any]:
    """Everything the configuration names but the executor: wrong settings are told at once.

    run_dir: where evaluators may keep files; None: the configuration's.
    """
    seed = config.seed
    if not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"seed must be an integer of at least 0, got {seed}; set seed=0")
    check_limits(config)
    parts: dict[str, Any] = {"seed": seed, "run_dir": run_dir or Path(config.run_dir)}
    parts |= benchmark(config)
    parts["controller"] = make(config.controller, "controller", **parts)
    parts["told"] = 0  # trials of another run
    if config.get("warm_start"):
        parts["told"] = warm_start(
            parts["controller"], config.warm_start, parts["space"], parts["reward"]
        )
    parts["evaluate"] = make(config.evaluator, "evaluator", **parts)
    if config.retrain.seeds:
        parts["retrain_skeleton"] = make(config.retrain.skeleton, "retrain.skeleton")
        parts["retrain_recipe"] = make(config.retrain.recipe, "retrain.recipe")
    if parts["dataset"] is not None:
        data = parts["dataset"]()  # data that are not there are told now
        if isinstance(parts["evaluate"], DataChecking):
            parts["evaluate"].check_data(data)
        if config.retrain.seeds:
            given = (parts["retrain_skeleton"], parts["retrain_recipe"])
            try:
                kinds.check(parts["space"], data, *given, "retraining")
            except ConfigError as error:
                hint = "language" if parts["space"].domain == "language" else "default"
                raise ConfigError(f"{error}: set retrain={hint} or retrain=none") from error
    return parts


def check_limits(config: Mapping[str, Any], besides: str = "null") -> None:
    """Raises ConfigError where a limit of a search is not one.

    besides: what max_seconds may be that is no number.
    """
    for name in ("max_trials", "max_failures"):
        value = config[name]
        if not isinstance(value, int) or value < 1:
            raise ConfigError(f"{name} must be a whole number of at least 1, got {value}")
    seconds = config["max_seconds"]
    if seconds is not None and not (isinstance(seconds, int | float) and seconds > 0):
        raise ConfigError(f"max_seconds must be a number above 0, or {besides}, got {seconds}")


def benchmark(config: DictConfig) -> dict[str, Any]:
    """Space, skeleton, recipe, reward and the data set, which is not read yet; None without one."""
    from nas.evaluators.common import LoadedOnce

    parts = {name: make(config[name], name) for name in ("space", "skeleton", "recipe", "reward")}
    chosen = config.get("dataset")
    parts["dataset"] = LoadedOnce(make(chosen, "dataset")) if chosen else None
    return parts
