"""Lets a controller begin with the trials of another run: `warm_start=RUN`.

The controller is told the other run's trials before it is asked for a proposal: one after another,
in the order of their ids, with rewards that this run's reward computes from their metrics. They do
not count as trials of this run. Their ids are below 0, so that none is mistaken for a trial of this
run. Of their proposals only the architecture and the epochs are kept, because notes and parents
have a meaning in their own run only.

A controller that can `take_over(state)` gets the other controller's state instead.

This happens when the controller is made. A search that continues then loads the saved state of its
controller, so no trial is told twice.
"""

import math
from pathlib import Path
from typing import Any

from nas.core.capabilities import WarmStartable
from nas.core.controller import Controller
from nas.core.space import Space
from nas.core.trial import ConfigError, Proposal, Trial
from nas.engine.search import Reward
from nas.engine.store import Store
from nas.run.config import make_saved
from nas.run.folder import read_run


def warm_start(controller: Controller, run: str | Path, space: Space, reward: Reward) -> int:
    """Tells `controller` the trials of the run folder `run`. Returns how many there are.

    Raises ConfigError if `run` is no run folder, has no trials or is of another space, if its
    metrics have no reward here, or if the controller cannot be told trials that it did not propose.
    """
    setting = f"warm_start={run}"
    if not isinstance(run, str | Path):
        raise ConfigError(f"{setting} must be the folder of a run of nas search")
    try:
        saved = read_run(Path(run))
        if "space" not in saved:
            raise ConfigError("its configuration names no space")
        other = make_saved(saved.space, "space")
        with Store(run, read_only=True) as store:
            trials = sorted(store.trials(), key=lambda trial: trial.id)
            state = store.controller_state()
    except ConfigError as error:
        raise ConfigError(f"{setting} must be the folder of a run of nas search: {error}") from None
    if type(other) is not type(space) or other.decisions != space.decisions:
        raise ConfigError(
            f"{setting} must be a run of the same space with the same settings, got "
            f"{type(other).__name__} for {type(space).__name__}; name another run, or set its space"
        )
    if not trials or state is None:
        raise ConfigError(f"{setting} must be a run that has trials, got none; let it run first")
    if isinstance(controller, WarmStartable):
        controller.take_over(state["controller"])
        return len(trials)
    foreign = [_of_another_run(t, i - len(trials), reward, setting) for i, t in enumerate(trials)]
    for trial in foreign:
        try:
            controller.tell([trial])
        except ValueError as error:
            raise ConfigError(
                f"{setting} cannot be told to {type(controller).__name__} ({error}); "
                "choose another controller, or set warm_start=null"
            ) from error
    return len(trials)


def _of_another_run(trial: Trial, i: int, reward: Reward, setting: str) -> Trial:
    """The trial as this run's controller is told it, with the id `i`."""
    proposal = Proposal(trial.arch, epochs=trial.proposal.epochs)
    value: float | None = None
    if trial.reward is not None:
        try:
            value = float(reward(trial.metrics))
        except (KeyError, ConfigError) as error:
            raise ConfigError(
                f"{setting} must have the metrics that this run's reward reads, got "
                f"{_keys(trial.metrics)} ({error}); choose the reward or the evaluator of that run"
            ) from None
        value = value if math.isfinite(value) else None
    return Trial(i, proposal, value, trial.metrics, 0.0, trial.status, trial.reason)


def _keys(metrics: dict[str, Any]) -> str:
    return ", ".join(metrics) or "none"
