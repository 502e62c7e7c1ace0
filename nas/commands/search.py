"""`nas search`: searches a space, retrains the best architecture and writes the report."""

import dataclasses
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from omegaconf import DictConfig

from nas.core.files import make_folder
from nas.core.trial import ConfigError, Trial
from nas.engine.search import Executor, TooManyFailures, best, search
from nas.engine.store import Store
from nas.experiment.parts import Retraining, SearchParts, build
from nas.run import folder as runs
from nas.run.config import make, resolved
from nas.run.loggers import Logger, Loggers, RunInfo
from nas.run.summary import read_summary, summarize, write_summary


def main(argv: list[str]) -> int:
    from nas.commands.hydra_app import run

    return run(task, "search", argv)


@dataclasses.dataclass(frozen=True)
class OpenSearch:
    """A search whose run folder, parts.run_dir, is open."""

    config: DictConfig
    parts: SearchParts
    executor: AbstractContextManager[Executor]
    store: Store
    choices: dict[str, str]  # group -> the name that is chosen of it


def task(config: DictConfig) -> float | None:
    """Runs one whole search. Returns the best reward, which a sweeper maximises.

    Raises ConfigError if a setting is wrong, or if the search stops because its trials fail.
    """
    called = runs.of_hydra()
    run_dir, choices = called.run_dir, called.choices
    settings = resolved(config) | {"run_dir": str(run_dir)}
    with runs.not_left_empty(run_dir):
        parts = build(config, run_dir)
        executor = make(config.executor, "executor")
        further = [make(config.logger, "logger")] if config.logger else []
        store = runs.open_run(run_dir, settings | {"choices": choices}, called)
    run = OpenSearch(config, parts, executor, store, choices)
    with store, _loggers(run, further, settings) as loggers:
        if parts.dataset is not None and (read_as := parts.dataset().read_as):
            loggers.message(f"read {read_as}")
        if parts.warm_trials:
            loggers.message(f"the controller begins with {parts.warm_trials} trials of warm_start")
        return _run(run, loggers)


def _loggers(run: OpenSearch, further: Sequence[Logger], settings: dict[str, Any]) -> Loggers:
    """The console and `further` loggers."""
    from nas.run.console import Console

    info = RunInfo(
        run_dir=run.parts.run_dir,
        job_type="search",
        experiment=run.choices.get("experiment") or settings["name"],
        space=run.choices["space"],
        controller=run.choices["controller"],
        dataset=run.choices.get("dataset", ""),
        seed=settings["seed"],
        config=settings,
        max_trials=settings["max_trials"],
        max_seconds=settings["max_seconds"],
        trials_before=tuple(run.store.trials()),
    )
    return Loggers([Console(), *further], info)


def _run(run: OpenSearch, loggers: Loggers) -> float | None:
    from nas.report.report import write_report

    start, config, parts = time.perf_counter(), run.config, run.parts
    trials: list[Trial] = []
    stopped = None
    try:
        with run.executor as executor:
            trials = search(
                parts.controller,
                parts.evaluate,
                parts.reward,
                run.store,
                executor,
                max_trials=config.max_trials,
                max_seconds=config.max_seconds,
                max_failures=config.max_failures,
                on_trial=loggers.trial,
            )
    except TooManyFailures as error:
        stopped = f"search stopped: {error}"
        trials = sorted(run.store.trials(), key=lambda trial: trial.id)
    top = best(trials)
    if top is None and stopped is None:
        last = f"the last one is {trials[-1].status}: {trials[-1].reason}" if trials else "none ran"
        stopped = f"no trial has succeeded, {last}"
    summary = summarize(trials, parts.space, run.choices, config.seed)
    summary["stopped"] = stopped
    before = read_summary(parts.run_dir)
    if top is not None and parts.retraining is not None and stopped is None:
        try:
            summary["retrained"] = _retrained(run, parts.retraining, top, before, loggers)
        except ConfigError as error:  # the search itself is kept and reported
            stopped = summary["stopped"] = str(error)
    summary["wall_seconds"] = before.get("wall_seconds", 0.0) + time.perf_counter() - start
    write_summary(parts.run_dir, summary)
    page = write_report(parts.run_dir, space=parts.space)
    loggers.finish(summary, parts.space)
    loggers.message(f"report: {page}")
    if stopped:
        raise ConfigError(stopped)
    if top is None and trials:
        raise ConfigError(
            f"every trial failed, the last one as {trials[-1].status}: {trials[-1].reason}"
        )
    return None if top is None else top.reward


def _retrained(
    run: OpenSearch, retraining: Retraining, top: Trial, before: dict[str, Any], loggers: Loggers
) -> dict[str, Any]:
    """Retrains the best architecture, unless an earlier part of this run has done it.

    before: the summary that an earlier part has left.
    """
    from nas.evaluators.retrain import retrain

    parts, seeds, done = run.parts, list(retraining.seeds), before.get("retrained")
    if done and before["best"]["trial"] == top.id and done["seeds"] == seeds:
        return done
    if parts.dataset is None:
        raise ConfigError("retraining needs a data set; set dataset=NAME or retrain=none")
    folder = parts.run_dir
    if parts.space.domain == "language":  # each seed leaves files there, of this architecture
        folder = parts.run_dir / f"trial{top.id}"
        make_folder(folder)
    epochs = retraining.recipe.epochs
    loggers.retraining(
        f"retraining trial {top.id} on train + validation, {epochs} epochs, seeds {seeds}",
        epochs * len(seeds),
    )
    return retrain(
        parts.space,
        top.arch,
        parts.dataset(),
        retraining.skeleton,
        retraining.recipe,
        seeds=seeds,
        folder=folder,
        on_epoch=loggers.epoch,
    )
