"""The search loop: ask, evaluate, tell, save; again until the budget is spent.

Trials are told to the controller in the order of their ids, also when several workers finish out of
order. So a run depends on its seed and its number of workers alone, never on which worker was
faster; a trial that finishes early is saved at once and told when its turn comes.
"""

import concurrent.futures
import functools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from nas.executors import classify
from nas.store import Store, Unsaved
from nas.trial import CRASHED, INVALID, NAN, OK, EvaluationError, Proposal, Trial

Metrics = dict[str, Any]
Evaluate = Callable[[int, Proposal], Metrics]
Reward = Callable[[Metrics], float]


class Executor(Protocol):
    """A `concurrent.futures.Executor` that says how many trials it runs at a time."""

    workers: int

    def submit(self, fn, /, *args) -> concurrent.futures.Future: ...


class TooManyFailures(Exception):
    """So many trials failed in a row that the next would most likely fail as well."""


def search(
    controller,
    evaluate: Evaluate,
    reward: Reward,
    store: Store | Unsaved,
    executor: Executor,
    *,
    max_trials: int,
    max_seconds: float | None = None,
    max_failures: int = 10,
    on_trial: Callable[[Trial], None] = lambda trial: None,
) -> list[Trial]:
    """Runs, or goes on with, the search that `store` remembers. Returns all its trials.

    Args:
      max_trials: trials in all, those already in the store included.
      max_seconds: stop after the first trial that brings the sum of all trials' seconds to this.
      max_failures: stop with TooManyFailures after so many failed trials in a row.
      on_trial: called with each trial once it is saved.
    """
    run = _Run(controller, reward, store)
    work = functools.partial(_timed, evaluate)
    # A queue as long as the workers keeps them busy behind one slow trial.
    in_flight = executor.workers if executor.workers == 1 else 2 * executor.workers
    running: dict[concurrent.futures.Future, int] = {}
    for i, proposal in run.pending.items():
        running[executor.submit(work, i, proposal)] = i

    while True:
        proposals = run.advance(in_flight, max_trials, max_seconds, max_failures)
        for trial in run.save(proposals):
            on_trial(trial)
        for i, proposal in proposals.items():
            running[executor.submit(work, i, proposal)] = i
        if not running:
            return run.trials
        done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
        for future in done:
            run.finish(running.pop(future), future)


class _Run:
    """What is finished, what is not, and what the controller has been told."""

    def __init__(self, controller, reward: Reward, store: Store | Unsaved):
        self.controller, self.reward, self.store = controller, reward, store
        saved = store.controller_state()
        self.told = 0  # trials 0 .. told-1 are known to the controller
        if saved is not None:
            controller.load_state(saved["controller"])
            self.told = saved["told"]
        finished = sorted(store.trials(), key=lambda trial: trial.id)
        self.trials = [trial for trial in finished if trial.id < self.told]
        self.waiting = {trial.id: trial for trial in finished if trial.id >= self.told}
        self.pending = dict(store.pending())
        self.seconds = sum(trial.seconds for trial in self.trials)
        self.unsaved: list[Trial] = []

    def finish(self, i: int, future: concurrent.futures.Future) -> None:
        trial = _trial(i, self.pending.pop(i), future, self.reward)
        self.waiting[i] = trial
        self.unsaved.append(trial)

    def advance(
        self, in_flight: int, max_trials: int, max_seconds: float | None, max_failures: int
    ) -> dict[int, Proposal]:
        """Tells what has its turn, one trial at a time, and asks after each as far as it may.

        Trial i is asked for when trial i - in_flight has been told, no sooner and no later: that is
        why it does not matter which worker was faster.
        """
        proposals: dict[int, Proposal] = {}
        while True:
            if max_seconds is None or self.seconds < max_seconds:
                proposals |= self._ask(min(self.told + in_flight, max_trials))
            if self.told not in self.waiting:
                return proposals
            self._tell(self.waiting.pop(self.told))
            self._stop_after(max_failures)

    def _ask(self, end: int) -> dict[int, Proposal]:
        """Proposals for the trials below `end` that have none yet."""
        first = self.told + len(self.waiting) + len(self.pending)
        if first >= end:
            return {}
        proposals = dict(enumerate(self.controller.ask(end - first), first))
        self.pending |= proposals
        return proposals

    def _tell(self, trial: Trial) -> None:
        self.controller.tell([trial])
        self.told += 1
        self.trials.append(trial)
        self.seconds += trial.seconds

    def save(self, proposals: Mapping[int, Proposal]) -> list[Trial]:
        """Everything that has changed, in one transaction."""
        if not self.unsaved and not proposals:
            return []
        state = {"told": self.told, "controller": self.controller.state()}
        self.store.save(trials=self.unsaved, pending=proposals, state=state)
        saved, self.unsaved = self.unsaved, []
        return saved

    def _stop_after(self, max_failures: int) -> None:
        last = self.trials[-max_failures:]
        if len(last) == max_failures and all(trial.reward is None for trial in last):
            self.save({})  # nothing finished is lost
            raise TooManyFailures(
                f"the last {max_failures} trials failed, the last one as {last[-1].status}: "
                f"{last[-1].reason}. Set max_failures to allow more in a row"
            )


def _timed(evaluate: Evaluate, i: int, proposal: Proposal) -> tuple[Metrics, float]:
    """Runs in the worker: its metrics, and the seconds it took or that a table recorded."""
    start = time.perf_counter()
    try:
        metrics = dict(evaluate(i, proposal))
    except Exception as error:
        known = classify(error)
        seconds = known.seconds
        if seconds is None:  # what is invalid is refused before it costs anything
            seconds = 0.0 if known.status == INVALID else time.perf_counter() - start
        raise EvaluationError(known.status, known.reason, seconds) from error
    return metrics, metrics.pop("seconds", time.perf_counter() - start)


def _trial(i: int, proposal: Proposal, future: concurrent.futures.Future, reward: Reward) -> Trial:
    """A finished future as a trial of exactly one status."""
    try:
        metrics, seconds = future.result()
    except EvaluationError as error:
        return Trial(i, proposal, None, {}, error.seconds or 0.0, error.status, error.reason)
    except concurrent.futures.CancelledError:
        return Trial(i, proposal, None, status=CRASHED, reason="cancelled")
    value = float(reward(metrics))
    if not math.isfinite(value):
        return Trial(i, proposal, None, metrics, seconds, NAN, f"the reward is {value}")
    return Trial(i, proposal, value, metrics, seconds, OK)


def best(trials: list[Trial]) -> Trial | None:
    """The trial of the largest reward, the earliest of equals; None where all failed."""
    done = [trial for trial in trials if trial.reward is not None]
    return max(done, key=lambda trial: (trial.reward, -trial.id), default=None)
