"""Any controller on any space: all pairs of conf/controller and conf/space, made-up rewards."""

import hydra
import numpy as np
import pytest

from nas.core.trial import ConfigError, Trial
from tests.contracts.test_small_spaces import SMALL as SMALL_SPACES
from tests.helpers.hydra_configs import composed, names, parameters, replaced

SMALL = {
    "population_size": 4, "sample_size": 2, "initial": 2, "batch_size": 2, "candidates": 10,
    "enumerate_below": 50, "parents": 2, "replays": 3, "layers": 1, "units": 3, "passes": 1,
    "decay": 0.2, "mutants": 1, "crossovers": 1,
}  # fmt: skip
REFUSED = {  # of a controller, what it says to a space that it cannot search
    "eas": "controller=eas must have a space with wider and deeper layers",
    "eas_densenet": "controller=eas must have a space with wider and deeper layers",
    "path_level": "controller=path_level must have a space of tree-structured cells",
    "auto_keras": "controller.distance=edit needs a space whose networks are layers in a row",
    "zoph2017": "samples_per_depth must be null where the space's first decision is not its depth",
}


def space_of(name):
    settings = composed("space", name) | (SMALL_SPACES[name] or {})
    return hydra.utils.instantiate(settings, _convert_="object")


def controller_of(name, space):
    settings = replaced(composed("controller", name), SMALL)
    available = {"space": space, "seed": 0, "cost": None}  # no costs are known here
    needed = {k: v for k, v in available.items() if k in parameters(settings["_target_"])}
    return hydra.utils.instantiate(settings, **needed, _convert_="object")


# Every answer is a step of an LSTM, or the process is fitted anew.
SLOW = {"bayesian", "eas", "eas_densenet", "path_level", "ppo", "reinforce", "transfer"} | {
    name for name in names("controller") if name.startswith("enas")
}


@pytest.mark.parametrize(
    "controller",
    [pytest.param(n, marks=pytest.mark.slow) if n in SLOW else n for n in names("controller")],
)
def test_it_searches_every_space_or_says_at_once_why_not(controller):
    for name in names("space"):
        space = space_of(name)
        try:
            searcher = controller_of(controller, space)
        except hydra.errors.InstantiationException as error:
            assert isinstance(error.__cause__, ConfigError), name
            assert REFUSED[controller] in str(error.__cause__), name
            continue
        assert controller != "zoph2017" or name == "zoph2017"
        trials = []
        while len(trials) < 5 and (proposals := searcher.ask(2)):
            for proposal in proposals:
                space.check(proposal.arch)
                reward = None if len(trials) == 3 else float(np.sin(len(trials)))
                trials.append(Trial(len(trials), proposal, reward))
                searcher.tell(trials[-1:])
        assert len(trials) >= 5, name
        again = controller_of(controller, space)
        again.load_state(searcher.state())
        assert [p.arch for p in again.ask(1)] == [p.arch for p in searcher.ask(1)], name
