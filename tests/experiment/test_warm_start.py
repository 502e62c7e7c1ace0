"""A controller that begins with another run's trials: told once, before it asks, to any of them."""

import numpy as np
import pytest

from nas.core.trial import ConfigError, Proposal, Trial
from nas.engine.store import Store
from nas.experiment.warm_start import warm_start
from nas.run.folder import CONFIG
from nas.search_spaces.papers.nasbench201.space import NASBench201
from tests.contracts.test_controllers import CONTROLLERS, STEPS_AN_LSTM, controller, run, text
from tests.helpers.cli import QUICK, nas, refused

ASKED = [(4, 4, 4, 4, 4, 4), (1, 2, 3, 4, 0, 1), (0, 0, 0, 0, 0, 1)]


def paid(metrics):
    return metrics["score"]


@pytest.fixture
def other(tmp_path):
    """The folder of a finished run of three trials and of one that failed."""
    folder = tmp_path / "other"
    trials = [
        Trial(i, Proposal(arch, parent=0, notes={"killed": [[0] * 6, 9.0, 3]}), 1.0, {"score": i})
        for i, arch in enumerate(ASKED)
    ]
    failed = Trial(3, Proposal((2,) * 6), None, {}, 1.0, "crashed", "as children do")
    with Store(folder) as store:
        store.save(trials=[*reversed(trials), failed], state={"told": 4, "controller": {}})
    (folder / CONFIG).write_text(
        "space: {_target_: nas.search_spaces.papers.nasbench201.space.NASBench201}\n"
    )
    return folder


class Told:
    def __init__(self):
        self.trials = []

    def tell(self, trials):
        self.trials += trials


def test_trials_are_told_in_order_as_those_of_another_run(other):
    told = Told()
    assert warm_start(told, other, NASBench201(), paid) == 4
    assert [trial.id for trial in told.trials] == [-4, -3, -2, -1]
    assert [trial.arch for trial in told.trials] == [*ASKED, (2,) * 6]
    assert [trial.reward for trial in told.trials] == [0.0, 1.0, 2.0, None]  # this run's reward
    assert all(trial.proposal == Proposal(trial.arch) for trial in told.trials)


def test_who_takes_a_state_over_has_the_other_controllers(other):
    class Heir(Told):
        def take_over(self, state):
            self.state = state

    heir = Heir()
    warm_start(heir, other, NASBench201(), paid)
    assert heir.state == {} and not heir.trials


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=pytest.mark.slow) if n in STEPS_AN_LSTM else n for n in CONTROLLERS],
)
def test_a_warm_search_that_is_stopped_ends_as_one_that_was_not(other, tmp_path, name):
    space = NASBench201()

    def warm():
        made = controller(name, space)
        if not hasattr(made, "take_over"):
            warm_start(made, other, space, paid)
        return made

    whole = warm()
    trials = run(tmp_path / "whole", whole, trials=6)
    assert [trial.id for trial in trials] == list(range(6))
    run(tmp_path / "parts", warm(), trials=3)
    again = warm()
    assert run(tmp_path / "parts", again, trials=6) == trials
    assert text(again.state()) == text(whole.state())


class Deaf:
    def tell(self, trials):
        raise ValueError("these were never asked for")


def test_who_cannot_be_told_says_so(other):
    with pytest.raises(ConfigError, match="these were never asked for"):
        warm_start(Deaf(), other, NASBench201(), paid)


def test_what_was_found_is_where_the_search_begins(other):
    space, best = NASBench201(), ASKED[2]
    begun = {}
    for name in ("climb", "local_search", "one_plus_lambda", "genetic", "tournament"):
        made = controller(name, space)
        warm_start(made, other, space, paid)
        begun[name] = made
    assert begun["climb"].best[0] == begun["local_search"].centre == best
    assert [p.arch for p in begun["one_plus_lambda"].ask(1)] == [best]
    assert set(ASKED) <= set(begun["genetic"].generation)
    assert begun["tournament"].missing == 5 and begun["tournament"].ids == [-4, -3, -2]
    near = [p.arch for p in begun["local_search"].ask(3)]
    assert all(np.count_nonzero(np.array(arch) != best) == 1 for arch in near)


def test_a_command_begins_with_another_run_and_continues(tmp_path):
    def search(name, *args):
        own = ("controller=local_search", "retrain=none", f"run_dir={tmp_path / name}")
        return nas("search", "space=nasbench201", *QUICK, *own, *args)

    assert search("first", "max_trials=3").status == 0
    warm = f"warm_start={tmp_path / 'first'}"
    said = search("whole", "max_trials=5", warm)
    assert said.status == 0 and "begins with 3 trials" in said.out + said.err
    search("parts", "max_trials=2", warm)
    search("parts", "max_trials=5", warm)
    with Store(tmp_path / "whole") as whole, Store(tmp_path / "parts") as parts:
        assert whole.trials() == parts.trials() and len(whole.trials()) == 5
        assert whole.controller_state() == parts.controller_state()


def test_what_cannot_be_begun_with_is_one_line(other, tmp_path):
    run_dir = f"run_dir={tmp_path / 'new'}"
    args = ("search", *QUICK, "retrain=none", run_dir, "controller=random")
    said = refused(*args, "space=nasbench201", f"warm_start={tmp_path / 'none'}")
    assert "warm_start=" in said and "must be the folder of a run" in said
    said = refused(*args, "space=zoph2017", f"warm_start={other}")
    assert "same space" in said and "NASBench201 for" in said
    said = refused(*args, "space=nasbench201", f"warm_start={other}")
    assert "must have the metrics that this run's reward reads, got score" in said
    empty = tmp_path / "empty"
    Store(empty).close()
    (empty / CONFIG).write_text((other / CONFIG).read_text())
    said = refused(*args, "space=nasbench201", f"warm_start={empty}")
    assert "must be a run that has trials, got none" in said
    assert not (tmp_path / "new").exists()
