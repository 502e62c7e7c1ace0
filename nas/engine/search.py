"""The search loop: it asks, evaluates, tells and saves until the budget is spent.

The controller is told its trials in the order of their ids, even if several workers finish them in
another order. So a run depends only on its seed and its number of workers, never on which worker
was faster. A trial that finishes early is saved, and the controller is told when its turn comes.
"""

import concurrent.futures
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nas.core.controller import Controller
from nas.core.json_values import finite, plain
from nas.core.trial import (
    CRASHED,
    INVALID,
    NAN,
    OK,
    ConfigError,
    EvaluationError,
    Proposal,
    Trial,
)
from nas.engine.executors import Executor, Running, SerialExecutor, classify, in_flight
from nas.engine.store import Store, Unsaved

Metrics = dict[str, Any]
Evaluate = Callable[[int, Proposal], Metrics]
Reward = Callable[[Metrics], float]
Outcome = tuple[Metrics, float] | EvaluationError  # metrics and seconds, or why there are none

# At least so many seconds lie between two transactions: trials of a table take microseconds and
# share one. Each transaction holds a consistent state, so a search that is killed repeats only what
# came after the last one.
SAVE_EVERY = 0.005
# A controller's state may grow with the number of trials, and it is saved whole. The next
# transaction therefore waits for this many times as long as the last one took: saving takes at most
# a tenth of the time of a search, however long it is.
SAVE_SHARE = 9


class TooManyFailures(Exception):
    """So many trials failed in a row that the next would most likely fail as well."""


def search(
    controller: Controller,
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
    """Runs, or continues, the search that `store` remembers. Returns all its trials by id.

    Args:
      controller: proposes architectures; its saved state is loaded if the store has one.
      evaluate: (trial id, proposal) -> metrics. Their entry `seconds`, if there is one, replaces
        the measured time. An exception makes the trial a failed one, and so does what is no metric.
      reward: metrics -> the number that the controller is told; larger is better. An exception
        makes the trial a failed one; a ConfigError ends the search if no trial has succeeded yet.
      max_trials: number of all trials, including those already in the store.
      max_seconds: the search ends with the first trial that brings the sum of all trials' seconds
        to this.
      max_failures: number of failed trials in a row after which TooManyFailures is raised.
      on_trial: called with each trial once it is saved.
    """
    run = _Run(controller, store, max_trials, max_seconds or math.inf, max_failures)
    work = functools.partial(_evaluated, evaluate)
    workers = _InTurn(work) if isinstance(executor, SerialExecutor) else _AtOnce(work, executor)
    workers.begin(run.pending)  # what an earlier part of this run had begun
    while True:
        workers.begin(run.advance(in_flight(executor)))
        for trial in run.save():
            on_trial(trial)
        if not run.pending:
            return run.trials
        for i, outcome in workers.finished(run.seconds_to_save() if run.unsaved else None):
            run.finish(_trial(i, run.pending[i], outcome, reward, is_first=not run.succeeded))


class _Run:
    """The state of a search: finished and pending trials, and what the controller was told."""

    def __init__(
        self,
        controller: Controller,
        store: Store | Unsaved,
        max_trials: int,
        max_seconds: float,
        max_failures: int,
    ):
        self.controller, self.store = controller, store
        self.max_trials, self.max_seconds = max_trials, max_seconds
        self.max_failures = max_failures
        finished = sorted(store.trials(), key=lambda trial: trial.id)
        self.pending = dict(store.pending())
        self.asked = len(finished) + len(self.pending)  # trials 0 .. asked-1 have a proposal
        # The controller has been told trials 0 .. told-1.
        self.told = _restored(controller, store.controller_state())
        _check_whole([trial.id for trial in finished], self.pending, self.told)
        self.trials = finished[: self.told]
        self.waiting = {trial.id: trial for trial in finished[self.told :]}
        self.succeeded = any(trial.reward is not None for trial in finished)
        self.seconds = sum(trial.seconds for trial in self.trials)
        self.failures = 0  # in a row
        for trial in self.trials:
            self.failures = self.failures + 1 if trial.reward is None else 0
        self.unsaved: list[Trial] = []
        self.saved_asked, self.save_at = self.asked, -math.inf  # the moment of the next save

    def finish(self, trial: Trial) -> None:
        del self.pending[trial.id]
        self.waiting[trial.id] = trial
        self.unsaved.append(trial)
        self.succeeded = self.succeeded or trial.reward is not None

    def advance(self, in_flight: int) -> dict[int, Proposal]:
        """Tells the trials whose turn it is, one at a time, and asks for proposals after each.

        Trial i is asked for exactly when trial i - in_flight has been told: that is why it does not
        matter which worker was faster. Returns the proposals to evaluate, by trial id.
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
        """Saves all changes in one transaction, if one is due. Returns the trials it has saved.

        A transaction is due SAVE_EVERY seconds after the last one or, if that one took long,
        SAVE_SHARE times as long as it took; and at the end.
        """
        if self.store.keeps:
            if self.pending and time.monotonic() < self.save_at:
                return []
            self._save()
        saved, self.unsaved = self.unsaved, []
        return saved

    def seconds_to_save(self) -> float:
        """Seconds until the next transaction is due."""
        return max(0.0, self.save_at - time.monotonic())

    def _save(self) -> None:
        begun = time.monotonic()
        pending = {i: self.pending[i] for i in self.pending if i >= self.saved_asked}
        if self.unsaved or pending:
            state = {"told": self.told, "controller": self.controller.state()}
            self.store.save(trials=self.unsaved, pending=pending, state=state)
            ended = time.monotonic()
            self.saved_asked = self.asked
            self.save_at = ended + max(SAVE_EVERY, SAVE_SHARE * (ended - begun))


def _restored(controller: Controller, saved: dict[str, Any] | None) -> int:
    """Gives the controller its saved state. Returns how many trials it has been told.

    Raises ConfigError if the state is not one of this controller.
    """
    if saved is None:
        return 0
    try:
        told = saved["told"]
        controller.load_state(saved["controller"])
    except ConfigError:
        raise
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise ConfigError(
            f"the saved state is not one of {type(controller).__name__}, or it is damaged; restore "
            "trials.db from a copy, or name a new run_dir"
        ) from error
    if type(told) is not int:
        raise ConfigError(f"the saved number of told trials must be a whole number, got {told!r}")
    return told


def _check_whole(finished: Sequence[int], pending: Mapping[int, Proposal], told: int) -> None:
    """Raises ConfigError unless the trials are 0, 1, ..., and the controller's are all finished."""
    missing = set(range(len(finished) + len(pending))).difference(finished, pending)
    if missing or list(finished[:told]) != list(range(told)):
        raise ConfigError(
            f"the store must hold every trial, but trial {min(missing, default=told - 1)} is "
            "missing; restore trials.db from a copy, or name a new run_dir"
        )


class _InTurn:
    """Evaluates in this process, at the moment when the outcomes are asked for."""

    def __init__(self, work: Callable[[int, Proposal], Outcome]):
        self.work = work
        self.begun: dict[int, Proposal] = {}

    def begin(self, proposals: Mapping[int, Proposal]) -> None:
        self.begun.update(proposals)

    def finished(self, timeout: float | None) -> list[tuple[int, Outcome]]:
        begun, self.begun = self.begun, {}
        return [(i, self.work(i, proposal)) for i, proposal in begun.items()]


class _AtOnce:
    """Evaluates on an executor that runs several trials at a time."""

    def __init__(self, work: Callable[[int, Proposal], Outcome], executor: Executor):
        self.work = work
        self.running = Running[int](executor)

    def begin(self, proposals: Mapping[int, Proposal]) -> None:
        for i, proposal in proposals.items():
            self.running.submit(i, self.work, i, proposal)

    def finished(self, timeout: float | None) -> list[tuple[int, Outcome]]:
        """Waits at most `timeout` seconds for the first; None: as long as it takes."""
        return [(i, _outcome(future)) for i, future in self.running.finished(timeout)]


def _evaluated(evaluate: Evaluate, i: int, proposal: Proposal) -> Outcome:
    """Runs in the worker. The metrics, and the seconds they took or that a table recorded."""
    start = time.perf_counter()
    try:
        given = evaluate(i, proposal)
        if not isinstance(given, Mapping):
            kind = type(given).__name__
            raise EvaluationError(CRASHED, f"the evaluator must return a dict, got {kind}")
        metrics = _plain(given)
        seconds = metrics.pop("seconds", None)
        if seconds is None:
            seconds = time.perf_counter() - start
        _check_seconds(seconds)
    except (Exception, SystemExit) as error:  # an evaluator's sys.exit ends its trial alone
        known = classify(error)
        if known.seconds is None:  # an invalid candidate is refused before it costs anything
            known.seconds = 0.0 if known.status == INVALID else time.perf_counter() - start
        return known
    return metrics, float(seconds)


def _plain(given: Mapping[Any, Any]) -> Metrics:
    """The metrics as JSON can hold them. Raises EvaluationError, naming it, for one that is not."""
    try:
        return {str(name): plain(value, f"the metric {name}") for name, value in given.items()}
    except (TypeError, ValueError, RecursionError) as error:
        raise EvaluationError(CRASHED, str(error)) from error


def _check_seconds(seconds: Any) -> None:
    """Raises EvaluationError for a cost that cannot be added to the others."""
    rule = f"the metric seconds must be a finite number of at least 0, got {seconds!r:.60}"
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise EvaluationError(CRASHED, rule)
    if not math.isfinite(seconds):
        raise EvaluationError(NAN, rule)
    if seconds < 0:
        raise EvaluationError(CRASHED, rule)


def _outcome(future: concurrent.futures.Future) -> Outcome:
    try:
        return future.result()
    except EvaluationError as error:  # its worker died
        return error
    except concurrent.futures.CancelledError:
        return EvaluationError(CRASHED, "cancelled", 0.0)


def _trial(
    i: int, proposal: Proposal, outcome: Outcome, reward: Reward, *, is_first: bool
) -> Trial:
    """The trial of a finished proposal, with exactly one status.

    is_first: no trial has succeeded yet, so that a ConfigError of the reward ends the search.
    """
    if isinstance(outcome, EvaluationError):
        seconds = outcome.seconds or 0.0
        known = classify(outcome)
        return Trial(i, proposal, None, {}, _cost(seconds), known.status, known.reason)
    metrics, seconds = outcome
    kept = finite(metrics)
    try:
        value = _number(reward(metrics))
    except (Exception, SystemExit) as error:
        if is_first and isinstance(error, ConfigError):
            raise
        known = classify(error)
        return Trial(i, proposal, None, kept, seconds, known.status, f"the reward: {known.reason}")
    if not math.isfinite(value):
        return Trial(i, proposal, None, kept, seconds, NAN, f"the reward is {value}")
    return Trial(i, proposal, value, kept, seconds, OK)


def _number(value: Any) -> float:
    """What a reward returned, as a number. Raises ConfigError if it is none."""
    number = plain(value, "reward")
    if isinstance(number, list) and len(number) == 1:
        [number] = number  # an array of one number
    if not isinstance(number, int | float):
        raise ConfigError(f"reward must be a number, got {type(value).__name__} {value!r:.60}")
    return float(number)


def _cost(seconds: Any) -> float:
    """The seconds of a failed trial; 0 for what is no cost."""
    is_number = isinstance(seconds, int | float) and math.isfinite(seconds)
    return max(0.0, float(seconds)) if is_number else 0.0


def best(trials: Sequence[Trial]) -> Trial | None:
    """The trial of the largest reward, of equal ones the earliest; None if all failed.

    >>> trials = [Trial(i, Proposal((i,)), reward) for i, reward in enumerate((0.1, 0.9, 0.9))]
    >>> best(trials).id
    1
    """
    done = [trial for trial in trials if trial.reward is not None]
    return max(done, key=lambda trial: (trial.reward, -trial.id), default=None)
