"""`nas.search`: known answers on small spaces, going on after a stop, and errors of one line."""

import doctest
import importlib
import itertools
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

import nas
import nas.core
from nas.controllers.random_search import RandomSearch
from nas.controllers.regularized_evolution import RegularizedEvolution


class Bits(nas.Space):
    decisions = tuple(nas.Decision(f"bit{i}", (False, True)) for i in range(8))


def ones(choices):
    return sum(choices.values()) / len(choices)


def fails_for_a_first_one(choices):
    if choices["bit0"]:
        raise RuntimeError("the first bit is set")
    return ones(choices)


def evolution():
    return RegularizedEvolution(Bits(), seed=0, population_size=10, sample_size=5)


class Killed(BaseException):
    pass


def killed_at(count, evaluate=ones):
    """An `evaluate` that dies, as kill -9 does, in its count-th call."""
    calls = itertools.count(1)

    def dying(choices):
        if next(calls) == count:
            raise Killed
        return evaluate(choices)

    return dying


def outcomes(result):
    return [(t.id, t.arch, t.reward, t.metrics, t.status) for t in result.trials]


# Answers


def test_a_search_finds_the_known_optimum():
    result = nas.search(Bits(), evolution(), ones, max_trials=300)
    assert [trial.id for trial in result.trials] == list(range(300))
    assert result.best.reward == 1.0 and result.best.arch == (1,) * 8
    assert result.best == nas.best(result.trials)


def test_a_controller_may_be_named_and_gets_the_seed():
    by_name = nas.search(Bits(), "random", ones, max_trials=20, seed=3)
    by_hand = nas.search(Bits(), RandomSearch(Bits(), seed=3), ones, max_trials=20)
    assert outcomes(by_name) == outcomes(by_hand)
    other = nas.search(Bits(), "random", ones, max_trials=20, seed=4)
    assert outcomes(other) != outcomes(by_name)


@pytest.mark.parametrize("name", ["metaqnn", "reinforce", "local_search"])
def test_a_named_controller_has_the_settings_of_its_file_and_of_those_it_builds_on(name):
    result = nas.search(Bits(), name, ones, max_trials=12)
    assert len(result.trials) == 12 and result.best.reward > 0


def test_choices_arrive_decoded_by_name():
    class Mixed(nas.Space):
        decisions = (nas.Decision("op", ("conv", "pool")), nas.Decision("width", (16, 32)))

    seen = []
    nas.search(Mixed(), "random", lambda choices: seen.append(choices) or 0.0, max_trials=20)
    assert {(c["op"], c["width"]) for c in seen} == set(
        itertools.product(("conv", "pool"), (16, 32))
    )


def test_the_reward_is_a_number_an_entry_or_a_function_of_the_metrics():
    number = nas.search(Bits(), "random", lambda c: np.float32(ones(c)), max_trials=5)
    entry = nas.search(
        Bits(), "random", lambda c: {"reward": np.float64(ones(c)), "size": np.int64(3)},
        max_trials=5,
    )  # fmt: skip
    metric = nas.search(
        Bits(), "random", lambda c: {"loss": np.array([1 - ones(c)])}, max_trials=5,
        reward=lambda metrics: 1 - metrics["loss"][0],
    )  # fmt: skip
    rewards = [[t.reward for t in result.trials] for result in (number, entry, metric)]
    np.testing.assert_allclose(rewards[0], rewards[1])
    np.testing.assert_allclose(rewards[0], rewards[2])
    assert entry.trials[0].metrics == {"reward": entry.trials[0].reward, "size": 3}


def test_seconds_among_the_metrics_are_the_cost():
    result = nas.search(
        Bits(),
        "random",
        lambda c: {"reward": ones(c), "seconds": 2.0},
        max_trials=50,
        max_seconds=9,
    )
    assert len(result.trials) == 5 and result.trials[0].seconds == 2.0


def test_two_workers_find_what_the_loop_finds_with_a_queue_of_two(tmp_path):
    first = nas.search(Bits(), evolution(), ones, max_trials=40, workers=2, folder=tmp_path / "a")
    again = nas.search(Bits(), evolution(), ones, max_trials=40, workers=2)
    assert outcomes(first) == outcomes(again) and len(first.trials) == 40
    assert first.best.reward > 0.7


# Failures


def test_an_exception_is_a_failed_trial_with_its_reason():
    result = nas.search(Bits(), "random", fails_for_a_first_one, max_trials=30)
    failed = [trial for trial in result.trials if trial.arch[0]]
    assert 0 < len(failed) < 30
    for trial in failed:
        assert trial.reward is None and trial.status == "crashed"
        assert trial.reason.startswith("RuntimeError: the first bit is set")
    assert result.best.arch[0] == 0


def test_a_worker_that_fails_is_a_failed_trial_as_well():
    result = nas.search(Bits(), "random", fails_for_a_first_one, max_trials=8, workers=2)
    statuses = {trial.arch[0]: trial.status for trial in result.trials}
    assert statuses == {0: "ok", 1: "crashed"}


def test_a_reward_that_is_no_finite_number_is_a_failed_trial():
    result = nas.search(
        Bits(), "random", lambda c: float("nan") if c["bit0"] else 1.0, max_trials=20
    )
    assert {t.arch[0]: t.status for t in result.trials} == {0: "ok", 1: "nan"}


def test_metrics_that_cannot_be_kept_are_a_failed_trial():
    result = nas.search(Bits(), "random", lambda c: {"reward": 1.0, "net": object()}, max_trials=3)
    assert result.best is None
    assert "the metric net must be a number" in result.trials[0].reason
    result = nas.search(Bits(), "random", lambda c: "good", max_trials=3)
    assert "evaluate must return a number or a dict, got str" in result.trials[0].reason


def test_a_search_stops_when_everything_fails():
    def never(choices):
        raise ValueError("never")

    with pytest.raises(nas.ConfigError, match="the last 4 trials failed.*ValueError: never"):
        nas.search(Bits(), "random", never, max_trials=30, max_failures=4)


# A folder


@pytest.mark.parametrize("at", [1, 7, 25])
def test_a_killed_search_continues_as_if_it_had_not_been(tmp_path, at, monkeypatch):
    monkeypatch.setattr("nas.engine.search.SAVE_EVERY", 0.0)
    monkeypatch.setattr("nas.engine.search.SAVE_SHARE", 0)
    whole = nas.search(Bits(), evolution(), ones, max_trials=25)
    with pytest.raises(Killed):
        nas.search(Bits(), evolution(), killed_at(at), max_trials=25, folder=tmp_path)
    resumed = nas.search(Bits(), evolution(), ones, max_trials=25, folder=tmp_path)
    assert outcomes(resumed) == outcomes(whole)
    with nas.Store(tmp_path, read_only=True) as store:
        assert len(store.trials()) == 25


def test_a_finished_search_evaluates_nothing_and_may_get_more_trials(tmp_path):
    nas.search(Bits(), "random", ones, max_trials=5, folder=tmp_path)
    same = nas.search(Bits(), "random", killed_at(1), max_trials=5, folder=tmp_path)
    more = nas.search(Bits(), "random", ones, max_trials=8, folder=tmp_path)
    assert outcomes(more)[:5] == outcomes(same)
    assert outcomes(more) == outcomes(nas.search(Bits(), "random", ones, max_trials=8))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"controller": "local_search"}, "holds a run with controller=random"),
        ({"seed": 1}, "holds a run with seed=0, got seed=1"),
        ({"workers": 2}, "executor.workers"),
    ],
)
def test_a_folder_of_another_search_is_refused(tmp_path, changes, words):
    settings = {"controller": "random", "max_trials": 3, "folder": tmp_path}
    nas.search(Bits(), evaluate=ones, **settings)
    with pytest.raises(nas.ConfigError, match=words) as error:
        nas.search(Bits(), evaluate=ones, **(settings | changes))
    assert str(error.value).startswith("folder: ")


def test_a_folder_in_use_is_refused(tmp_path):
    with nas.Store(tmp_path), pytest.raises(nas.ConfigError, match="must not be in use"):
        nas.search(Bits(), "random", ones, max_trials=3, folder=tmp_path)


# Arguments


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"space": Bits}, "space must be a nas.Space, got "),
        ({"controller": object()}, "controller must be a name of conf/controller or have ask"),
        ({"controller": "randm"}, "controller must be one of auto_keras, .*got 'randm'"),
        ({"controller": "eas"}, "space"),
        ({"evaluate": 3}, "evaluate must be a function of the choices, got 3"),
        ({"reward": "accuracy"}, "reward must be a function of the metrics or None"),
        ({"evaluate": lambda c: {"loss": 1.0}}, "a dict with the entry 'reward', got loss"),
        ({"reward": lambda metrics: None}, "reward must be a number, got NoneType"),
        ({"max_trials": 0}, "max_trials must be a whole number of at least 1, got 0"),
        ({"max_trials": 2.5}, "max_trials must be a whole number of at least 1, got 2.5"),
        ({"max_failures": 0}, "max_failures must be a whole number of at least 1"),
        ({"max_seconds": -1}, "max_seconds must be a number above 0, or None, got -1"),
        ({"workers": 0}, "workers must be a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed must be a whole number of at least 0, got -1"),
        ({"evaluate": lambda c: 1.0, "workers": 2}, "evaluate must be picklable for workers=2"),
    ],
)
def test_a_wrong_argument_is_one_line_that_names_it(changes, words):
    arguments = {"space": Bits(), "controller": "random", "evaluate": ones, "max_trials": 3}
    with pytest.raises(nas.ConfigError, match=words) as error:
        nas.search(**(arguments | changes))
    assert "\n" not in str(error.value)


# The door


def run_python(code, *args):
    return subprocess.run(
        [sys.executable, *args, "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=100,
    )


def test_a_function_of_a_shell_cannot_go_to_workers():
    code = """
        import nas
        class Bits(nas.Space):
            decisions = (nas.Decision("bit", (0, 1)),)
        def evaluate(choices):
            return 1.0
        nas.search(Bits(), "random", evaluate, max_trials=3, workers=2)
    """
    assert "evaluate must not be defined in a notebook or a shell" in run_python(code).stderr


def test_neither_the_package_nor_a_search_imports_tensorflow():
    code = """
        import sys
        import nas
        assert not {"tensorflow", "numpy", "hydra"} & set(sys.modules)
        class Bits(nas.Space):
            decisions = tuple(nas.Decision(f"bit{i}", (0, 1)) for i in range(4))
        def ones(choices):
            return sum(choices.values())
        result = nas.search(Bits(), "regularized_evolution", ones, max_trials=150)
        assert result.best.reward == 4.0
        assert not {"tensorflow", "keras", "matplotlib"} & set(sys.modules)
    """
    done = run_python(code)
    assert done.returncode == 0, done.stderr


def test_every_public_name_is_shown_and_can_be_had():
    assert set(nas.__all__) <= set(dir(nas))
    assert nas.__all__ == sorted(nas.__all__) and set(nas.__all__) == set(nas._MODULES)
    for name in nas.__all__:
        assert getattr(nas, name).__name__ == name
        assert getattr(nas, name).__module__ == nas._MODULES[name]
    with pytest.raises(AttributeError, match="module nas has no attribute nothing"):
        nas.nothing  # noqa: B018
    assert (Path(nas.__file__).parent / "py.typed").is_file()


EXAMPLES = (
    "nas.experiment.search", "nas.engine.search", "nas.engine.rewards", "nas.report.words",
    "nas.comparison.statistics",
)  # fmt: skip
CORE = sorted(f"nas.core.{file.stem}" for file in Path(nas.core.__path__[0]).glob("[!_]*.py"))


@pytest.mark.parametrize("name", [*EXAMPLES, *CORE])
def test_the_examples_of_docstrings_are_right(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
