"""The search loop: budget, failures, order, and going on after a stop at any moment."""

import concurrent.futures
import dataclasses
import json
import sys
import time

import numpy as np
import pytest

from nas.controllers.random_search import RandomSearch
from nas.controllers.regularized_evolution import RegularizedEvolution
from nas.core.space import Decision, Space
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
from nas.engine.executors import SerialExecutor
from nas.engine.search import TooManyFailures, best, search
from nas.engine.store import Store


class Bits(Space):
    decisions = tuple(Decision(f"bit{i}", (0, 1)) for i in range(12))


def share_of_ones(trial_id, proposal):
    return {"score": sum(proposal.arch) / len(proposal.arch), "seconds": 2.0}


def score(metrics):
    return metrics["score"]


def run(folder, *, evaluate=share_of_ones, executor=None, max_trials=20, make=None, **options):
    controller = (make or evolution)()
    with Store(folder) as store:
        trials = search(
            controller,
            evaluate,
            score,
            store,
            executor or SerialExecutor(),
            max_trials=max_trials,
            **options,
        )
    return trials, controller


def evolution():
    return RegularizedEvolution(Bits(), seed=0, population_size=5, sample_size=3)


class Killed(BaseException):
    pass


def killed_at(count):
    """An evaluator that dies, as kill -9 does, in its count-th call."""
    calls = iter(range(count))

    def evaluate(trial_id, proposal):
        if next(calls, None) is None:
            raise Killed
        return share_of_ones(trial_id, proposal)

    return evaluate


def test_the_loop_stops_at_max_trials_and_numbers_them_from_zero(tmp_path):
    trials, _ = run(tmp_path, max_trials=7)
    assert [trial.id for trial in trials] == list(range(7))


def test_the_first_trial_that_crosses_max_seconds_is_the_last(tmp_path):
    trials, _ = run(tmp_path, max_trials=100, max_seconds=9.0)  # each trial says it took 2 s
    assert sum(trial.seconds for trial in trials) == 10.0


def test_a_budget_counts_what_the_store_holds(tmp_path):
    run(tmp_path, max_trials=100, max_seconds=4.0)
    trials, _ = run(tmp_path, max_trials=100, max_seconds=9.0)
    assert len(trials) == 5


@pytest.mark.parametrize("moment", range(1, 12, 3))
def test_killed_and_continued_equals_uninterrupted(tmp_path, moment):
    whole, controller = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "killed", evaluate=killed_at(moment))
    resumed, resumed_controller = run(tmp_path / "killed")
    assert resumed == whole
    assert json.dumps(resumed_controller.state()) == json.dumps(controller.state())


def test_a_finished_search_is_not_searched_again(tmp_path):
    whole, _ = run(tmp_path)
    again, _ = run(tmp_path, evaluate=killed_at(0))
    assert again == whole


def test_every_failure_is_one_trial_of_its_status(tmp_path):
    outcomes = {
        1: EvaluationError(INVALID, "too large"),
        3: EvaluationError(CRASHED, "TypeError: no", 1.0),
    }

    def evaluate(trial_id, proposal):
        if trial_id in outcomes:
            raise outcomes[trial_id]
        return {"score": float("nan") if trial_id == 5 else 0.5}

    trials, _ = run(tmp_path, evaluate=evaluate, max_trials=8)
    failed = {trial.id: (trial.status, trial.reward) for trial in trials if trial.reward is None}
    assert failed == {1: (INVALID, None), 3: (CRASHED, None), 5: (NAN, None)}
    assert trials[1].reason == "too large"


def test_failures_in_a_row_stop_the_search_with_the_reason(tmp_path):
    def evaluate(trial_id, proposal):
        raise EvaluationError(CRASHED, "no such op", 1.0)

    with pytest.raises(TooManyFailures, match="last 3 trials failed, the last one as crashed: no"):
        run(tmp_path, evaluate=evaluate, max_failures=3)
    with Store(tmp_path) as store:
        assert len(store.trials()) == 3


def test_trials_are_told_in_the_order_of_their_ids(tmp_path):
    told = []

    class Listener(RandomSearch):
        def tell(self, trials):
            told.extend(trial.id for trial in trials)
            super().tell(trials)

    class Threads(concurrent.futures.ThreadPoolExecutor):
        workers = 3

    def evaluate(trial_id, proposal):
        np.random.default_rng(trial_id).random(200_000 * (trial_id % 3))
        return share_of_ones(trial_id, proposal)

    with Threads(3) as executor:
        trials, _ = run(
            tmp_path,
            executor=executor,
            evaluate=evaluate,
            make=lambda: Listener(Bits(), seed=0),
            max_trials=30,
        )
    assert told == list(range(30))
    assert [trial.id for trial in trials] == told


def test_what_finished_early_is_saved_and_told_after_a_stop(tmp_path):
    whole, _ = run(tmp_path / "whole", make=lambda: RandomSearch(Bits(), seed=0), max_trials=6)
    controller = RandomSearch(Bits(), seed=0)
    with Store(tmp_path / "some") as store:
        proposals = dict(enumerate(controller.ask(4)))
        early = Trial(2, proposals[2], 0.5, share_of_ones(2, proposals[2]), 2.0)
        store.save(pending=proposals, state={"told": 0, "controller": controller.state()})
        store.save(trials=[early])
    trials, _ = run(tmp_path / "some", make=lambda: RandomSearch(Bits(), seed=0), max_trials=6)
    assert trials[2] == early
    assert [trial.arch for trial in trials] == [trial.arch for trial in whole]


def test_an_empty_answer_with_nothing_pending_ends_the_search(tmp_path):
    class Three(RandomSearch):
        def ask(self, n):
            return super().ask(n) if not hasattr(self, "asked") and self._once() else []

        def _once(self):
            self.asked = True
            return True

    trials, _ = run(tmp_path, make=lambda: Three(Bits(), seed=0))
    assert len(trials) == 1


def test_best_is_the_earliest_of_the_largest():
    trials = [Trial(i, Proposal((i,)), r) for i, r in enumerate([None, 0.5, 0.7, 0.7])]
    assert best(trials).id == 2
    assert best(trials[:1]) is None


def test_a_trial_is_what_was_proposed(tmp_path):
    trials, _ = run(tmp_path, max_trials=3)
    assert all(dataclasses.is_dataclass(trial) and trial.status == "ok" for trial in trials)
    assert all(trial.metrics == {"score": trial.reward} for trial in trials)


def test_a_failed_trial_costs_the_time_it_took_and_a_refused_one_nothing(tmp_path):
    def evaluate(trial_id, proposal):
        if trial_id:
            raise EvaluationError(INVALID, "too large")
        time.sleep(0.05)
        raise EvaluationError(NAN, "the loss is nan")

    trials, _ = run(tmp_path, evaluate=evaluate, max_trials=2)
    assert 0.05 <= trials[0].seconds < 5
    assert trials[1].seconds == 0


# What evaluators and rewards return.


def outcome(tmp_path, evaluate, reward=lambda metrics: metrics["score"], bad=1):
    """The trial `bad` of a search of three; the others return a score of 0.5."""

    def of_one(i, proposal):
        return evaluate() if i == bad else {"score": 0.5}

    with Store(tmp_path) as store:
        trials = search(
            RandomSearch(Bits(), seed=0), of_one, reward, store, SerialExecutor(), max_trials=3
        )
        assert [t.id for t in store.trials()] == [0, 1, 2]
        assert store.trials() == trials
    assert [t.status for t in trials if t.id != bad] == [OK, OK]
    return trials[bad]


def ends():
    sys.exit(0)


def forges():
    raise EvaluationError("strange", "a\n2026-01-01 trial 9\x1b[31m", float("nan"))


@pytest.mark.parametrize(
    "evaluate, status, reason",
    [
        (
            lambda: {"score": 1.0, "seconds": float("nan")},
            NAN,
            "the metric seconds must be a finite",
        ),
        (lambda: {"score": 1.0, "seconds": -1}, CRASHED, "at least 0, got -1"),
        (lambda: {"score": 1.0, "seconds": "1"}, CRASHED, "at least 0, got '1'"),
        (lambda: {"score": 1.0, "net": object()}, CRASHED, "the metric net must be a number"),
        (lambda: 0.5, CRASHED, "the evaluator must return a dict, got float"),
        (lambda: None, CRASHED, "the evaluator must return a dict, got NoneType"),
        (lambda: {"score": "high"}, CRASHED, "the reward: ConfigError: reward must be a number"),
        (lambda: {"score": float("inf")}, NAN, "the reward is inf"),
        (lambda: {"other": 1.0}, CRASHED, "the reward: KeyError: 'score'"),
        (ends, CRASHED, "SystemExit: 0"),
        (forges, CRASHED, "a 2026-01-01 trial 9 [31m"),
    ],
)
def test_what_is_no_result_is_one_trial_that_failed(tmp_path, evaluate, status, reason):
    trial = outcome(tmp_path, evaluate)
    assert (trial.status, trial.reward) == (status, None)
    assert reason in trial.reason and trial.reason.isprintable()
    assert 0 <= trial.seconds < 60


def test_numbers_of_numpy_are_numbers(tmp_path):
    array = np.array([0.25, 0.5], np.float32)
    given = {"score": np.float32(0.25), "seconds": np.int64(3), "list": array, "loss": np.nan}
    trial = outcome(tmp_path, lambda: given, lambda metrics: np.array([metrics["score"]]))
    assert (trial.reward, trial.seconds) == (0.25, 3.0) and type(trial.reward) is float
    assert trial.metrics == {"score": 0.25, "list": [0.25, 0.5], "loss": None}


def test_a_reward_that_cannot_be_paid_ends_the_search_at_the_first_trial(tmp_path):
    def refuses(metrics):
        raise ConfigError("reward.name must be another")

    with pytest.raises(ConfigError, match="reward.name must be another"):
        outcome(tmp_path, dict, refuses)


def test_a_state_of_another_controller_is_one_line(tmp_path):
    with Store(tmp_path) as store:
        store.save(state={"told": 0, "controller": {"no": "state"}})
        with pytest.raises(ConfigError, match="the saved state is not one of RandomSearch"):
            search(RandomSearch(Bits(), seed=0), dict, float, store, SerialExecutor(), max_trials=3)


def test_a_store_that_lacks_a_trial_is_one_line(tmp_path):
    with Store(tmp_path) as store:
        store.save(trials=[Trial(1, Proposal((0,) * 12), 1.0)])
        with pytest.raises(ConfigError, match="must hold every trial, but trial 0 is missing"):
            search(RandomSearch(Bits(), seed=0), dict, float, store, SerialExecutor(), max_trials=3)
