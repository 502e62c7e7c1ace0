"""Every controller of conf/controller keeps the contract; a new yaml file is tested by itself."""

import json
import subprocess
import sys

import numpy as np
import pytest
from omegaconf import OmegaConf

from nas.core.controller import Controller
from nas.core.space import Decision, Space
from nas.core.trial import CRASHED, EvaluationError
from nas.engine.executors import SerialExecutor
from nas.engine.search import search
from nas.engine.store import Store
from nas.run.config import make
from nas.search_spaces.papers.nasbench201.space import NASBench201
from tests.helpers.hydra_configs import composed, names, nested, parameters, replaced

# They refuse the spaces below; see tests/controllers/test_eas.py and test_path_level.py.
GROWING = {"eas", "eas_densenet", "path_level"}
CONTROLLERS = [name for name in names("controller") if name not in GROWING]
SMALL = {
    "population_size": 8, "sample_size": 3, "initial": 5, "batch_size": 4, "candidates": 40,
    "samples_per_depth": None, "distance": "features", "decay": 0.2, "layers": 1, "units": 8,
    "task_size": 4, "passes": 2, "parents": 3, "mutants": 3, "crossovers": 3,
}  # fmt: skip


class Conditional(Space):
    """Three decisions; after a 0 in the first, the second is pinned and the third has two left."""

    decisions = (
        Decision("a", (0, 1, 2)),
        Decision("b", (0, 1, 2), node=1),
        Decision("c", (0, 1, 2), node=1),
    )
    size = 1 * 1 * 2 + 2 * 3 * 3

    def allowed(self, prefix):
        if prefix and prefix[0] == 0:
            return (0,) if len(prefix) == 1 else (0, 2)
        return (0, 1, 2)


class Anchored(Space):
    """All kinds of steps of an LSTM policy: a choice, a run of skips, a choice among nodes."""

    decisions = (
        Decision("op0", ("x", "y"), node=0),
        Decision("op1", ("x", "y", "z"), node=1),
        Decision("skip", (0, 1), node=1, anchors=(None, 0)),
        Decision("input", (0, 1), node=2, anchors=(0, 1)),
    )


# Other settings of controllers that are tested by their main file.
VARIANTS = {"enas_micro", "enas_nasbench201", "enas_paper", "enas_rnn", "enas_rnn_released"}
STEPS_AN_LSTM = VARIANTS | {"enas", "ppo", "reinforce", "transfer", "zoph2017"}
SPACES = {"nasbench201": NASBench201, "conditional": Conditional, "anchored": Anchored}


def controller(name, space, seed=0):
    settings = replaced(composed("controller", name), SMALL)
    return make(OmegaConf.create(settings), "controller", space=space, seed=seed, cost=None)


def score(trial_id, proposal):
    if trial_id % 7 == 3:
        raise EvaluationError(CRASHED, "as children do", 1.0)
    return {"score": sum(proposal.arch) / len(proposal.arch), "seconds": 1.0}


class Killed(BaseException):
    pass


def killed_at(moment):
    def evaluate(trial_id, proposal):
        if trial_id == moment:
            raise Killed
        return score(trial_id, proposal)

    return evaluate


def run(folder, controller, evaluate=score, trials=14):
    with Store(folder) as store:
        return search(
            controller,
            evaluate,
            lambda metrics: metrics["score"],
            store,
            SerialExecutor(),
            max_trials=trials,
        )


def pairs():
    """All pairs; those with an LSTM are slow tests, except in one space."""
    for name in CONTROLLERS:
        for space in SPACES:
            slow = name in VARIANTS or (name in STEPS_AN_LSTM and space != "anchored")
            yield pytest.param(name, space, marks=pytest.mark.slow if slow else ())


@pytest.mark.parametrize("name, space", pairs())
def test_it_searches_any_space_and_a_stopped_run_ends_as_one_that_was_not(tmp_path, name, space):
    space = SPACES[space]()
    whole = controller(name, space)
    trials = run(tmp_path / "whole", whole)
    for trial in trials:
        space.check(trial.arch)
    assert all(type(choice) is int for trial in trials for choice in trial.arch)
    for moment in (11,) if name in STEPS_AN_LSTM else (2, 11):  # 2 comes before any update
        folder = tmp_path / f"killed{moment}"
        with pytest.raises(Killed):
            run(folder, controller(name, space), killed_at(moment))
        again = controller(name, space)
        assert run(folder, again) == trials
        assert text(again.state()) == text(whole.state())


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow) if n in VARIANTS else n for n in CONTROLLERS]
)
def test_equal_seeds_are_equal_and_others_are_not(tmp_path, name):
    space = NASBench201()
    first = run(tmp_path / "a", controller(name, space, seed=0), trials=6)
    again = run(tmp_path / "b", controller(name, space, seed=0), trials=6)
    other = run(tmp_path / "c", controller(name, space, seed=1), trials=6)
    assert first == again
    assert [trial.arch for trial in first] != [trial.arch for trial in other]


@pytest.mark.parametrize("name", CONTROLLERS)
def test_it_has_the_methods_of_the_contract(name):
    assert isinstance(controller(name, NASBench201()), Controller)


def test_no_module_of_a_controller_imports_tensorflow_before_it_is_needed():
    """Searches on tables and wrong settings do not wait for TensorFlow."""
    targets = [composed("controller", name)["_target_"] for name in names("controller")]
    modules = ", ".join(sorted({target.rpartition(".")[0] for target in targets}))
    code = f"import sys, {modules}; print('tensorflow' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", code], text=True) == "False\n"


@pytest.mark.parametrize("name", names("controller"))
def test_no_constructor_takes_more_than_ten_parameters(name):
    settings = composed("controller", name)
    for node in [settings, *(node for _, node in nested(settings))]:
        assert len(parameters(node["_target_"])) <= 10


@pytest.mark.parametrize("name", CONTROLLERS)
def test_what_it_is_asked_for_is_at_most_what_it_gives(name):
    for n in (1, 3, 5):
        assert 1 <= len(controller(name, NASBench201()).ask(n)) <= n


def text(state):
    return json.dumps(state, default=lambda value: np.asarray(value).tolist())
