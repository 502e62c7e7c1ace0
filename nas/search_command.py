"""`nas search`: builds what the configuration names, searches, retrains the best, reports."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from nas import kinds
from nas import run as runs
from nas.config import make, resolved
from nas.language_choices import for_search
from nas.search import TooManyFailures, best, search
from nas.trial import ConfigError, Trial
from nas.warm_start import warm_start


def main(argv: list[str]) -> int:
    from nas.hydra_main import run

    return run(task, "search", for_search(argv))


def task(config: DictConfig) -> float | None:
    """One search, whole. Returns the best reward, which is what a sweeper maximises."""
    run_dir, choices = runs.of_hydra()
    settings = resolved(config) | {"run_dir": str(run_dir)}
    with runs.not_left_empty(run_dir):
        parts = build(config, run_dir) | {"executor": make(config.executor, "executor")}
        extra = [make(config.logger, "logger")] if config.logger else []
        store = runs.open_run(run_dir, settings | {"choices": choices})
    with store, _loggers(extra, run_dir, settings, choices, store) as loggers:
        if parts["told"]:
            loggers.message(f"the controller begins with {parts['told']} trials of warm_start")
        return _run(config, parts, store, run_dir, loggers, choices)


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
        if hasattr(parts["evaluate"], "check_data"):
            parts["evaluate"].check_data(data)
        if config.retrain.seeds:
            given = (parts["retrain_skeleton"], parts["retrain_recipe"])
            try:
                kinds.check(parts["space"], data, *given, "retraining")
            except ConfigError as error:
                hint = "language" if kinds.is_recurrent(parts["space"]) else "default"
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
    from nas.evaluators import LoadedOnce

    parts = {name: make(config[name], name) for name in ("space", "skeleton", "recipe", "reward")}
    chosen = config.get("dataset")
    parts["dataset"] = LoadedOnce(make(chosen, "dataset")) if chosen else None
    return parts


def _loggers(extra: list, run_dir: Path, settings, choices, store):
    from nas.console import Console
    from nas.logs import Loggers, RunInfo

    info = RunInfo(
        run_dir=run_dir,
        job_type="search",
        experiment=choices.get("experiment") or settings["name"],
        space=choices["space"],
        controller=choices["controller"],
        dataset=choices.get("dataset", ""),
        seed=settings["seed"],
        config=settings,
        max_trials=settings["max_trials"],
        max_seconds=settings["max_seconds"],
        trials_before=tuple(store.trials()),
    )
    return Loggers([Console(), *extra], info)


def _run(config, parts, store, run_dir: Path, loggers, choices) -> float | None:
    start = time.perf_counter()
    trials: list[Trial] = []
    stopped = None
    try:
        with parts["executor"] as executor:
            trials = search(
                parts["controller"],
                parts["evaluate"],
                parts["reward"],
                store,
                executor,
                max_trials=config.max_trials,
                max_seconds=config.max_seconds,
                max_failures=config.max_failures,
                on_trial=loggers.trial,
            )
    except TooManyFailures as error:
        stopped = f"search stopped: {error}"
        trials = sorted(store.trials(), key=lambda trial: trial.id)
    top = best(trials)
    summary = runs.summarize(trials, parts["space"], choices, config.seed)
    summary["stopped"] = stopped
    before = runs.read_summary(run_dir)
    if top is not None and config.retrain.seeds and stopped is None:
        try:
            summary["retrained"] = _retrained(config, parts, top, run_dir, before, loggers)
        except ConfigError as error:  # what the search has found is kept and reported
            stopped = summary["stopped"] = str(error)
    summary["wall_seconds"] = before.get("wall_seconds", 0.0) + time.perf_counter() - start
    runs.write_summary(run_dir, summary)
    page = _report(run_dir, parts["space"])
    loggers.finish(summary, parts["space"])
    loggers.message(f"report: {page}")
    if stopped:
        raise ConfigError(stopped)
    return None if top is None else top.reward


def _retrained(config, parts, top: Trial, run_dir: Path, before, loggers) -> dict[str, Any]:
    """The best, large and anew; what an earlier part of this run has retrained stands."""
    from nas.retrain import retrain

    seeds, done = list(config.retrain.seeds), before.get("retrained")
    if done and before["best"]["trial"] == top.id and done["seeds"] == seeds:
        return done
    folder = run_dir
    if kinds.is_recurrent(parts["space"]):  # each seed leaves files there, of this architecture
        folder = run_dir / f"trial{top.id}"
        runs.make_folder(folder)
    epochs = parts["retrain_recipe"].epochs
    loggers.retraining(
        f"retraining trial {top.id} on train + validation, {epochs} epochs, seeds {seeds}",
        epochs * len(seeds),
    )
    return retrain(
        parts["space"],
        top.arch,
        parts["dataset"](),
        parts["retrain_skeleton"],
        parts["retrain_recipe"],
        seeds=seeds,
        folder=folder,
        on_epoch=loggers.epoch,
    )


def _report(run_dir: Path, space) -> Path:
    from nas.report import write_report

    return write_report(run_dir, space=space)
