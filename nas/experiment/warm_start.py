"""A controller begins with what another run has found: `warm_start=RUN`.

The other run's trials are told to the new controller one after another, in the order of their ids,
before it asks for anything: as rewards of this run, from their metrics. They are no trials of this
run and cost it nothing. Their ids are below 0, so that none is mistaken for a trial of this run,
and of what they were proposed with only the architecture and the epochs are left: notes and parents
mean something to their own run alone.

A controller that can `take_over(state)` is given the other controller's state instead.

It happens when the controller is made. A search that goes on loads its controller's saved state
over it, so nothing is told twice.
"""

import math
from pathlib import Path
from typing import Any

from nas.core.capabilities import WarmStartable
from nas.core.trial import ConfigError, Proposal, Trial
from nas.engine.store import Store
from nas.run.config import make_saved
from nas.run.folder import read_run


def warm_start(controller, run: str | Path, space, reward) -> int:
    """Tells `controller` what the run folder `run` holds. Returns how many trials that are.

    Raises ConfigError where it is no run folder, has no trials, or is of another space.
    """
    setting = f"warm_start={run}"
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
    told = [_of_another_run(t, i - len(trials), reward, setting) for i, t in enumerate(trials)]
    for trial in told:
        try:
            controller.tell([trial])
        except ValueError as error:
            raise ConfigError(
                f"{setting} cannot be told to {type(controller).__name__} ({error}); "
                "choose another controller, or set warm_start=null"
            ) from error
    return len(trials)


def _of_another_run(trial: Trial, i: int, reward, setting: str) -> Trial:
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
