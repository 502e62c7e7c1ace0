"""`nas oneshot`: trains shared weights, searches over them, says how well they rank."""

import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from nas.commands.language_defaults import for_oneshot
from nas.core.trial import ConfigError, Trial
from nas.engine.search import TooManyFailures, best, search
from nas.evaluators import compatibility as kinds
from nas.run import folder as runs
from nas.run.config import make, resolved
from nas.run.summary import read_summary, summarize, write_summary

_RANDOM = 1 << 20  # sets the seed of the random architectures apart from those of the epochs


def main(argv: list[str]) -> int:
    from nas.commands.hydra_app import run

    return run(task, "oneshot", for_oneshot(argv))


def task(config: DictConfig) -> float | None:
    """One run, whole. Returns the best reward, which is what a sweeper maximises."""
    from nas.run.loggers import Loggers

    run_dir, choices = runs.of_hydra()
    settings = resolved(config) | {"run_dir": str(run_dir)}
    with runs.not_left_empty(run_dir):
        parts = build(config)
        store = runs.open_run(run_dir, settings | {"choices": choices})
    info = _info(run_dir, settings, choices, store.trials())
    with store, Loggers(parts["loggers"], info) as loggers:
        return _run(config, parts, store, run_dir, loggers, choices)


def build(config: DictConfig) -> dict[str, Any]:
    """Everything the configuration names, with the shared weights: wrong settings are told now."""
    from nas.oneshot.loop import SharedWeightsScore
    from nas.run.console import Console

    seed = config.seed
    if not isinstance(seed, int) or seed < 0:
        raise ConfigError(f"seed must be an integer of at least 0, got {seed}; set seed=0")
    for name, least in (("max_trials", 1), ("max_failures", 1), ("random_samples", 0)):
        if not isinstance(config[name], int) or config[name] < least:
            raise ConfigError(
                f"{name} must be a whole number of at least {least}, got {config[name]}"
            )
    names = ("space", "recipe", "reward")
    parts: dict[str, Any] = {"seed": seed} | {name: make(config[name], name) for name in names}
    parts["controller"] = make(config.controller, "controller", **parts)
    parts["method"] = make(config.method, "method", **parts)
    probe = config.get("probe")
    parts["truth"] = make(probe, "probe", **parts) if probe else None
    parts["loggers"] = [Console()] + ([make(config.logger, "logger")] if config.logger else [])
    data = make(config.dataset, "dataset")()
    parts["shared"] = shared = _shared_weights(config, parts, data)
    for name in ("valid_images", "probe_images"):
        parts[name] = SharedWeightsScore(
            shared, shared.supernet.skeleton, size=config[name], setting=name
        )
    return parts


def _shared_weights(config: DictConfig, parts, data):
    """Of the kind of the data set: images or a text."""
    from nas.oneshot.image_weights import ImageWeights
    from nas.oneshot.text_weights import TextWeights

    space, recipe, seed = parts["space"], parts["recipe"], parts["seed"]
    skeleton = make(config.skeleton, "skeleton")
    kinds.check(space, data, skeleton, recipe, "nas oneshot")
    if space.domain == "images":
        made = skeleton(image_shape=data.image_shape, classes=data.classes)
        return ImageWeights(
            space, made, data, recipe, seed=seed, batch_statistics=config.batch_statistics
        )
    if not config.batch_statistics:
        raise ConfigError(
            "batch_statistics must be true with a text, got false; set batch_statistics=true"
        )
    if parts["truth"] is not None:
        raise ConfigError(
            "probe must be left out with a text: language models are not trained alone here, got "
            f"{config.probe['_target_']}"
        )
    made = skeleton(vocabulary=data.vocabulary)
    return TextWeights(space, made, data, recipe, seed=seed)


def _info(run_dir: Path, settings, choices, before: list[Trial]):
    from nas.run.loggers import RunInfo

    return RunInfo(
        run_dir=run_dir,
        job_type="oneshot",
        experiment=choices.get("experiment") or settings["name"],
        space=choices["space"],
        controller=f"{choices['method']} {choices['controller']}",
        dataset=choices.get("dataset", ""),
        seed=settings["seed"],
        config=settings,
        max_trials=settings["max_trials"],
        trials_before=tuple(before),
    )


def _run(config, parts, store, run_dir: Path, loggers, choices) -> float | None:
    from nas.engine.executors import SerialExecutor
    from nas.oneshot.loop import epochs_done, train
    from nas.report.report import write_report

    start = time.perf_counter()
    epochs, done = parts["recipe"].epochs, epochs_done(store, parts["recipe"].epochs)
    loggers.retraining(f"shared weights: {epochs} epochs, {done} done before", epochs - done)
    history = train(
        parts["shared"], parts["method"], store, run_dir,
        on_epoch=lambda epoch, values: loggers.epoch(parts["seed"], epoch, values),
    )  # fmt: skip
    loggers.message(f"derivation: at most {config.max_trials} architectures with shared weights")
    trials, stopped = [], None
    try:
        trials = search(
            parts["method"].deriver(), parts["valid_images"], parts["reward"], store,
            SerialExecutor(), max_trials=config.max_trials, max_failures=config.max_failures,
            on_trial=loggers.trial,
        )  # fmt: skip
    except TooManyFailures as error:
        stopped = f"derivation stopped: {error}"
        trials = sorted(store.trials(), key=lambda trial: trial.id)
    top = best(trials)
    summary = summarize(trials, parts["space"], choices, config.seed) | {
        "method": choices["method"],
        "stopped": stopped,
        "shared_weights": {"epochs": len(history), **(history[-1] if history else {})},
        "random": _random(config, parts),
        "ranking": _ranking(config, parts, top, run_dir, loggers),
    }
    before = read_summary(run_dir).get("wall_seconds", 0.0)
    summary["wall_seconds"] = before + time.perf_counter() - start
    write_summary(run_dir, summary)
    page = write_report(run_dir, space=parts["space"])  # with the panel, which loggers may send
    loggers.finish(summary, parts["space"])
    loggers.message(f"report: {page}")
    if stopped:
        raise ConfigError(stopped)
    return None if top is None else top.reward


def _random(config, parts) -> dict[str, Any] | None:
    """The validation score of uniform architectures, with the same shared weights."""
    if not config.random_samples:
        return None
    rng = np.random.default_rng([parts["seed"], _RANDOM])
    archs = [parts["space"].sample(rng) for _ in range(config.random_samples)]
    scores = [float(score) for score in parts["valid_images"].all(archs)]
    metric = parts["shared"].metric
    return {
        "architectures": len(archs),
        metric: statistics.fmean(scores),
        f"{metric}_sd": statistics.stdev(scores) if len(scores) > 1 else None,
    }


def _ranking(config, parts, top: Trial | None, run_dir: Path, loggers) -> dict[str, Any] | None:
    """Kendall's tau; an earlier part of this run may have found it."""
    from nas.oneshot.ranking import ranking

    if hasattr(parts["truth"], "measure"):  # its networks are still to be trained
        parts["truth"] = parts["truth"].measure(parts, top, run_dir, loggers)
    if parts["truth"] is None:
        if config.get("probe"):
            loggers.message("no rank correlation: no table of networks trained alone is named")
        return None
    truth, score = parts["truth"], parts["probe_images"]
    before = read_summary(run_dir).get("ranking")
    if before and before["against"] == truth.name and before["architectures"] == len(truth.archs):
        return before
    loggers.message(f"rank correlation: {len(truth.archs)} architectures, {truth.name}")
    scores = score.all(list(truth.archs))
    found = ranking(truth, scores, top.arch if top else None) | {"images": score.batches.size}
    np.savez(run_dir / runs.RANKING, archs=truth.archs, scores=scores, truth=truth.accuracies)
    tau = found["kendall_tau"]
    loggers.message(
        f"Kendall's tau: {'none, all scores are equal' if tau is None else f'{tau:.4f}'}"
    )
    return found
