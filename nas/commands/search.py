"""`nas search`: builds what the configuration names, searches, retrains the best, reports."""

import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from nas.commands.language_defaults import for_search
from nas.core.files import make_folder
from nas.core.trial import ConfigError, Trial
from nas.engine.search import TooManyFailures, best, search
from nas.experiment.parts import build
from nas.run import folder as runs
from nas.run.config import make, resolved
from nas.run.summary import read_summary, summarize, write_summary


def main(argv: list[str]) -> int:
    from nas.commands.hydra_app import run

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


def _loggers(extra: list, run_dir: Path, settings, choices, store):
    from nas.run.console import Console
    from nas.run.loggers import Loggers, RunInfo

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
    summary = summarize(trials, parts["space"], choices, config.seed)
    summary["stopped"] = stopped
    before = read_summary(run_dir)
    if top is not None and config.retrain.seeds and stopped is None:
        try:
            summary["retrained"] = _retrained(config, parts, top, run_dir, before, loggers)
        except ConfigError as error:  # what the search has found is kept and reported
            stopped = summary["stopped"] = str(error)
    summary["wall_seconds"] = before.get("wall_seconds", 0.0) + time.perf_counter() - start
    write_summary(run_dir, summary)
    page = _report(run_dir, parts["space"])
    loggers.finish(summary, parts["space"])
    loggers.message(f"report: {page}")
    if stopped:
        raise ConfigError(stopped)
    return None if top is None else top.reward


def _retrained(config, parts, top: Trial, run_dir: Path, before, loggers) -> dict[str, Any]:
    """The best, large and anew; what an earlier part of this run has retrained stands."""
    from nas.evaluators.retrain import retrain

    seeds, done = list(config.retrain.seeds), before.get("retrained")
    if done and before["best"]["trial"] == top.id and done["seeds"] == seeds:
        return done
    folder = run_dir
    if parts["space"].domain == "language":  # each seed leaves files there, of this architecture
        folder = run_dir / f"trial{top.id}"
        make_folder(folder)
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
    from nas.report.report import write_report

    return write_report(run_dir, space=space)
