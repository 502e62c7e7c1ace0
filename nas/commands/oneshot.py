"""`nas oneshot`: trains shared weights, searches with them, and measures how well they rank."""

import dataclasses
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from nas.core.capabilities import TrainingProbe
from nas.core.controller import Controller
from nas.core.reference import RankingReference
from nas.core.setting_kinds import is_whole, shown
from nas.core.space import Space
from nas.core.trial import ConfigError, Trial
from nas.engine.search import Reward, TooManyFailures, best, search
from nas.engine.store import Store
from nas.evaluators import compatibility as kinds
from nas.evaluators.common import LoadedOnce
from nas.experiment.parts import Costs, check_seed
from nas.run import folder as runs
from nas.run.config import make, resolved
from nas.run.loggers import Logger, Loggers, RunInfo
from nas.run.summary import read_summary, summarize, write_summary

_RANDOM = 1 << 20  # sets the seed of the random architectures apart from those of the epochs


def main(argv: list[str]) -> int:
    from nas.commands.hydra_app import run

    return run(task, "oneshot", argv)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OneShotParts:
    """What a search with shared weights is made of.

    Attributes:
      method: trains the shared weights, and gives the controller of the derivation.
      shared: the shared weights, of images or of a text.
      trial_score, valid_score, probe_score: score architectures with the shared weights: for the
        derivation, uniform ones beside it, and for the rank correlation.
      probe: networks trained alone, or what trains some; None if there is no probe.
    """

    seed: int
    space: Space
    recipe: Any
    reward: Reward
    controller: Controller
    method: Any
    shared: Any
    trial_score: Any
    valid_score: Any
    probe_score: Any
    probe: RankingReference | TrainingProbe | None
    loggers: list[Logger]


@dataclasses.dataclass(frozen=True)
class OpenOneShot:
    """A search with shared weights whose run folder is open."""

    config: DictConfig
    parts: OneShotParts
    store: Store
    run_dir: Path
    choices: dict[str, str]  # group -> the name that is chosen of it


def task(config: DictConfig) -> float | None:
    """Runs one whole search with shared weights. Returns the best reward, for a sweeper.

    Raises ConfigError if a setting is wrong, or if the derivation stops because its scores fail.
    """
    called = runs.of_hydra()
    run_dir, choices = called.run_dir, called.choices
    settings = resolved(config) | {"run_dir": str(run_dir)}
    with runs.not_left_empty(run_dir):
        parts = build(config)
        store = runs.open_run(run_dir, settings | {"choices": choices}, called)
    info = _info(run_dir, settings, choices, store.trials())
    with store, Loggers(parts.loggers, info) as loggers:
        return _run(OpenOneShot(config, parts, store, run_dir, choices), loggers)


def build(config: DictConfig) -> OneShotParts:
    """Makes everything that the configuration names, and the shared weights.

    Raises ConfigError for a wrong setting, and for parts that do not fit each other.
    """
    from nas.oneshot.loop import SharedWeightsScore
    from nas.run.console import Console

    check_seed(config.seed)
    if config.seed >= 2**32:  # of shared weights, which Keras draws
        raise ConfigError(f"seed must be at most 2^32 - 1, got {config.seed}; set seed=0")
    for name, least in (("max_trials", 1), ("max_failures", 1), ("random_samples", 0)):
        if not is_whole(config[name], least):
            raise ConfigError(
                f"{name} must be a whole number of at least {least}, got {shown(config[name])}"
            )
    available: dict[str, Any] = {"seed": config.seed}
    for name in ("space", "recipe", "reward"):
        available[name] = make(config[name], name)
    data, skeleton = LoadedOnce(make(config.dataset, "dataset")), make(config.skeleton, "skeleton")
    cost = Costs(available["space"], skeleton, data)
    for name in ("controller", "method"):
        available[name] = make(config[name], name, cost=cost, **available)
    chosen = config.get("probe")
    probe = make(chosen, "probe", **available) if chosen else None
    loggers = [Console()] + ([make(config.logger, "logger")] if config.logger else [])
    shared = _shared_weights(
        config, available["space"], available["recipe"], data(), skeleton,
        has_probe=probe is not None,
    )  # fmt: skip
    shaped = shared.supernet.skeleton
    valid_score, probe_score = (
        SharedWeightsScore(shared, shaped, size=config[name], setting=name)
        for name in ("valid_images", "probe_images")
    )
    trial_score, own_size = valid_score, available["method"].derive_batch_size
    if own_size is not None:
        setting = "method.derive_batch_size"
        if available["space"].domain != "images":
            raise ConfigError(f"{setting} must be null where a text is learnt, got {own_size}")
        trial_score = SharedWeightsScore(
            shared, shaped, size=own_size, setting=setting, own=config.seed
        )
    return OneShotParts(
        **available,
        shared=shared,
        trial_score=trial_score,
        valid_score=valid_score,
        probe_score=probe_score,
        probe=probe,
        loggers=loggers,
    )


def _shared_weights(
    config: DictConfig, space: Space, recipe: Any, data: Any, skeleton: Any, *, has_probe: bool
) -> Any:
    """The shared weights of the space's domain: of images or of a text."""
    from nas.oneshot.image_weights import ImageWeights
    from nas.oneshot.text_weights import TextWeights

    kinds.check(space, data, skeleton, recipe, "nas oneshot")
    if space.domain == "images":
        return ImageWeights(
            space,
            skeleton(image_shape=data.image_shape, classes=data.classes),
            data,
            recipe,
            seed=config.seed,
            batch_statistics=config.batch_statistics,
        )
    if not config.batch_statistics:
        raise ConfigError(
            "batch_statistics must be true with a text, got false; set batch_statistics=true"
        )
    if has_probe:
        raise ConfigError(
            "probe must be left out with a text: language models are not trained alone here, got "
            f"{config.probe['_target_']}"
        )
    shape = skeleton(vocabulary=data.vocabulary)
    return TextWeights(space, shape, data, recipe, seed=config.seed)


def _info(
    run_dir: Path, settings: dict[str, Any], choices: dict[str, str], before: list[Trial]
) -> RunInfo:
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


def _run(run: OpenOneShot, loggers: Loggers) -> float | None:
    from nas.engine.executors import SerialExecutor
    from nas.oneshot.loop import epochs_done, train
    from nas.report.report import write_report

    start, config, parts = time.perf_counter(), run.config, run.parts
    epochs = parts.recipe.epochs
    done = epochs_done(run.store, epochs)
    loggers.retraining(f"shared weights: {epochs} epochs, {done} done before", epochs - done)
    history = train(
        parts.shared, parts.method, run.store, run.run_dir,
        on_epoch=lambda epoch, values: loggers.epoch(parts.seed, epoch, values),
    )  # fmt: skip
    loggers.message(f"derivation: at most {config.max_trials} architectures with shared weights")
    trials, stopped = [], None
    try:
        trials = search(
            parts.method.deriver(), parts.trial_score, parts.reward, run.store,
            SerialExecutor(), max_trials=config.max_trials, max_failures=config.max_failures,
            on_trial=loggers.trial,
        )  # fmt: skip
    except TooManyFailures as error:
        stopped = f"derivation stopped: {error}"
        trials = sorted(run.store.trials(), key=lambda trial: trial.id)
    top = best(trials)
    if top is None and stopped is None:
        last = f"the last one is {trials[-1].status}: {trials[-1].reason}" if trials else "none ran"
        stopped = f"no derived architecture could be scored, {last}"
    reference = _reference(run, top, loggers)
    random = _random_scores(run)
    summary = summarize(trials, parts.space, run.choices, config.seed) | {
        "method": run.choices["method"],
        "stopped": stopped,
        "shared_weights": {"epochs": len(history), **(history[-1] if history else {})},
        "random": random,
        "ranking": _ranking(run, reference, top, loggers),
        "table": _looked_up(reference, top, random, run.config.published, loggers),
    }
    before = read_summary(run.run_dir).get("wall_seconds", 0.0)
    summary["wall_seconds"] = before + time.perf_counter() - start
    write_summary(run.run_dir, summary)
    page = write_report(run.run_dir, space=parts.space)  # with the panel that loggers may send
    loggers.finish(summary, parts.space)
    loggers.message(f"report: {page}")
    if stopped:
        raise ConfigError(stopped)
    if top is None and trials:
        raise ConfigError(
            f"every score failed, the last one as {trials[-1].status}: {trials[-1].reason}"
        )
    return None if top is None else top.reward


def _random_scores(run: OpenOneShot) -> dict[str, Any] | None:
    """Mean validation score of uniform architectures with the same shared weights."""
    parts, samples = run.parts, run.config.random_samples
    if not samples:
        return None
    rng = np.random.default_rng([parts.seed, _RANDOM])
    archs = [parts.space.sample(rng) for _ in range(samples)]
    scores = parts.valid_score.all(archs)[0].astype(float).tolist()
    metric = parts.shared.metric
    best_of = min if metric == "valid_perplexity" else max
    return {
        "architectures": len(archs),
        "best_arch": list(archs[scores.index(best_of(scores))]),
        metric: statistics.fmean(scores),
        f"{metric}_sd": statistics.stdev(scores) if len(scores) > 1 else None,
    }


def _reference(run: OpenOneShot, top: Trial | None, loggers: Loggers) -> RankingReference | None:
    """The networks trained alone, which a probe may first have to train; None without any."""
    reference = run.parts.probe
    if isinstance(reference, TrainingProbe):
        reference = reference.measure(run.parts.shared, top, run.run_dir, loggers)
    if reference is None and run.config.get("probe"):
        loggers.message("no rank correlation: no table of networks trained alone is named")
    return reference


def _looked_up(
    reference: RankingReference | None,
    top: Trial | None,
    random: dict[str, Any] | None,
    published: str | None,
    loggers: Loggers,
) -> dict[str, dict[str, float]] | None:
    """What a table says of the derived architecture and of the best random one; None without."""
    if reference is None or reference.looked_up is None:
        return None
    archs = {}
    if top is not None:
        archs["derived"] = top.arch
    if random is not None:
        archs[f"best of {random['architectures']} random by shared weights"] = random["best_arch"]
    found = {name: reference.looked_up(tuple(arch)) for name, arch in archs.items()}
    for name, values in found.items():
        text = ", ".join(f"{what} {100 * value:.2f} %" for what, value in values.items())
        loggers.message(f"table, {name}: {text}")
    if published:
        loggers.message(f"published: {published}")
    return found


def _ranking(
    run: OpenOneShot, reference: RankingReference | None, top: Trial | None, loggers: Loggers
) -> dict[str, Any] | None:
    """Kendall's tau between shared weights and networks trained alone; None without a probe.

    An earlier part of this run may have computed it.
    """
    from nas.comparison.ranking import ranking

    if reference is None:
        return None
    before = read_summary(run.run_dir).get("ranking")
    if (
        before
        and before["against"] == reference.name
        and before["architectures"] == len(reference.archs)
    ):
        return before
    loggers.message(f"rank correlation: {len(reference.archs)} architectures, {reference.name}")
    score = run.parts.probe_score
    scores, losses = score.all(list(reference.archs))
    result = ranking(reference, scores, losses, top.arch if top else None)
    result = result | {"images": score.batches.size}
    np.savez(
        run.run_dir / runs.RANKING,
        archs=np.asarray(reference.archs),
        scores=scores,
        losses=losses,
        truth=reference.accuracies,
    )
    by_accuracy, by_loss = (
        "none, all are equal" if result[name] is None else f"{result[name]:.4f}"
        for name in ("kendall_tau", "kendall_tau_loss")
    )
    loggers.message(f"Kendall's tau: {by_accuracy} by accuracy, {by_loss} by loss")
    return result
