"""The search loop: ask, evaluate, tell, save; again until the budget is spent.

Trials are told to the controller in the order of their ids, also when several workers finish out of
order. So a run depends on its seed and its number of workers alone, never on which worker was
faster; a trial that finishes early is saved and told when its turn comes.
"""

import concurrent.futures
import functools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from nas.core.trial import CRASHED, INVALID, NAN, OK, EvaluationError, Proposal, Trial
from nas.engine.executors import SerialExecutor, classify
from nas.engine.store import Store, Unsaved

Metrics = dict[str, Any]
Evaluate = Callable[[int, Proposal], Metrics]
Reward = Callable[[Metrics], float]
Outcome = tuple[Metrics, float] | EvaluationError  # metrics and seconds, or why there are none

# Seconds between two transactions, at least: trials of a table take microseconds, and share one.
# A transaction holds one moment of everything, so what a kill costs is a moment that comes again.
SAVE_EVERY = 0.005


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
    run = _Run(controller, store, max_trials, max_seconds or math.inf, max_failures)
    work = functools.partial(_evaluated, evaluate)
    # A queue as long as the workers keeps them busy behind one slow trial.
    in_flight = executor.workers if executor.workers == 1 else 2 * executor.workers
    workers = _InTurn(work) if isinstance(executor, SerialExecutor) else _AtOnce(work, executor)
    workers.begin(run.pending)  # what an earlier part of this run had begun
    while True:
        workers.begin(run.advance(in_flight))
        for trial in run.save():
            on_trial(trial)
        if not run.pending:
            return run.trials
        for i, outcome in workers.finished(SAVE_EVERY if run.unsaved else None):
            run.finish(_trial(i, run.pending[i], outcome, reward))


class _Run:
    """What is finished, what is not, and what the controller has been told."""

    def __init__(
        self,
        controller,
        store: Store | Unsaved,
        max_trials: int,
        max_seconds: float,
        max_failures: int,
    ):
        self.controller, self.store = controller, store
        self.max_trials, self.max_seconds = max_trials, max_seconds
        self.max_failures = max_failures
        saved = store.controller_state()
        self.told = 0  # trials 0 .. told-1 are known to the controller
        if saved is not None:
            controller.load_state(saved["controller"])
            self.told = saved["told"]
        finished = sorted(store.trials(), key=lambda trial: trial.id)
        self.trials = finished[: self.told]
        self.waiting = {trial.id: trial for trial in finished[self.told :]}
        self.pending = dict(store.pending())
        self.asked = len(finished) + len(self.pending)  # trials 0 .. asked-1 have a proposal
        self.seconds = sum(trial.seconds for trial in self.trials)
        self.failures = 0  # in a row
        for trial in self.trials:
            self.failures = self.failures + 1 if trial.reward is None else 0
        self.unsaved: list[Trial] = []
        self.saved_asked, self.saved_at = self.asked, -math.inf

    def finish(self, trial: Trial) -> None:
        del self.pending[trial.id]
        self.waiting[trial.id] = trial
        self.unsaved.append(trial)

    def advance(self, in_flight: int) -> dict[int, Proposal]:
        """Tells what has its turn, one trial at a time, and asks after each as far as it may.

        Trial i is asked for when trial i - in_flight has been told, no sooner and no later: that is
        why it does not matter which worker was faster. Returns what is new.
        """
        proposals: dict[int, Proposal] = {}
        while True:
            wanted = min(self.told + in_flight, self.max_trials) - self.asked
            if wanted > 0 and self.seconds < self.max_seconds:
                for proposal in self.controller.ask(wanted):
                    proposals[self.asked] = self.pending[self.asked] = proposal
                    self.asked += 1
            trial = self.waiting.pop(self.told, None)
            if trial is None:
                return proposals
            self._tell(trial)

    def _tell(self, trial: Trial) -> None:
        self.controller.tell([trial])
        self.told += 1
        self.trials.append(trial)
        self.seconds += trial.seconds
        self.failures = self.failures + 1 if trial.reward is None else 0
        if self.failures >= self.max_failures:
            self._save()  # nothing finished is lost
            raise TooManyFailures(
                f"the last {self.failures} trials failed, the last one as {trial.status}: "
                f"{trial.reason}. Set max_failures to allow more in a row"
            )

    def save(self) -> list[Trial]:
        """Everything that has changed, in one transaction, or nothing yet. Returns what is saved.

        A transaction is due when the last was SAVE_EVERY ago, and at the end.
        """
        if self.store.keeps:
            if self.pending and time.monotonic() - self.saved_at < SAVE_EVERY:
                return []
            self._save()
        saved, self.unsaved = self.unsaved, []
        return saved

    def _save(self) -> None:
        pending = {i: self.pending[i] for i in self.pending if i >= self.saved_asked}
        if self.unsaved or pending:
            state = {"told": self.told, "controller": self.controller.state()}
            self.store.save(trials=self.unsaved, pending=pending, state=state)
            self.saved_asked, self.saved_at = self.asked, time.monotonic()


class _InTurn:
    """Evaluates in this process, when the answers are asked for: nothing is ever waited for."""

    def __init__(self, work: Callable[[int, Proposal], Outcome]):
        self.work = work
        self.begun: dict[int, Proposal] = {}

    def begin(self, proposals: Mapping[int, Proposal]) -> None:
        self.begun.update(proposals)

    def finished(self, timeout: float | None) -> list[tuple[int, Outcome]]:
        begun, self.begun = self.begun, {}
        return [(i, self.work(i, proposal)) for i, proposal in begun.items()]


class _AtOnce:
    """Evaluates on an executor, as many as have been begun."""

    def __init__(self, work: Callable[[int, Proposal], Outcome], executor: Executor):
        self.work, self.executor = work, executor
        self.running: dict[concurrent.futures.Future, int] = {}

    def begin(self, proposals: Mapping[int, Proposal]) -> None:
        for i, proposal in proposals.items():
            self.running[self.executor.submit(self.work, i, proposal)] = i

    def finished(self, timeout: float | None) -> list[tuple[int, Outcome]]:
        """Waits for the first, so many seconds at most; None: as long as it takes."""
        first = concurrent.futures.FIRST_COMPLETED
        done, _ = concurrent.futures.wait(self.running, timeout, return_when=first)
        return [(self.running.pop(future), _outcome(future)) for future in done]


def _evaluated(evaluate: Evaluate, i: int, proposal: Proposal) -> Outcome:
    """Runs in the worker: its metrics, and the seconds it took or that a table recorded."""
    start = time.perf_counter()
    try:
        metrics = dict(evaluate(i, proposal))
    except Exception as error:
        known = classify(error)
        if known.seconds is None:  # what is invalid is refused before it costs anything
            known.seconds = 0.0 if known.status == INVALID else time.perf_counter() - start
        return known
    return metrics, metrics.pop("seconds", time.perf_counter() - start)


def _outcome(future: concurrent.futures.Future) -> Outcome:
    try:
        return future.result()
    except EvaluationError as error:  # its worker died
        return error
    except concurrent.futures.CancelledError:
        return EvaluationError(CRASHED, "cancelled", 0.0)


def _trial(i: int, proposal: Proposal, outcome: Outcome, reward: Reward) -> Trial:
    """A finished proposal as a trial of exactly one status."""
    if isinstance(outcome, EvaluationError):
        seconds = outcome.seconds or 0.0
        return Trial(i, proposal, None, {}, seconds, outcome.status, outcome.reason)
    metrics, seconds = outcome
    value = float(reward(metrics))
    if not math.isfinite(value):
        return Trial(i, proposal, None, metrics, seconds, NAN, f"the reward is {value}")
    return Trial(i, proposal, value, metrics, seconds, OK)


def best(trials: list[Trial]) -> Trial | None:
    """The trial of the largest reward, the earliest of equals; None where all failed."""
    done = [trial for trial in trials if trial.reward is not None]
    return max(done, key=lambda trial: (trial.reward, -trial.id), default=None)
