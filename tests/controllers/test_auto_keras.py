"""Auto-Keras: annealing by hand, parents of proposals, inherited weights, refused settings."""

import dataclasses
import functools
import itertools
import json

import numpy as np
import pytest

from nas.benchmarks.images import digits
from nas.controllers.auto_keras import ANNEALING, GAUSSIAN_PROCESS, AutoKeras
from nas.controllers.surrogates.annealing import anneal, temperatures
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError, Proposal, Trial
from nas.engine.executors import SerialExecutor
from nas.engine.search import search
from nas.engine.store import Store
from nas.evaluators.inherit import InheritFromParent
from nas.search_spaces.papers.growing.auto_keras import AutoKerasSpace
from nas.search_spaces.papers.growing.settings import GrowthSettings
from nas.search_spaces.papers.growing.slots import MorphismSpace
from nas.search_spaces.papers.nasbench201.space import NASBench201
from nas.training.recipe import Recipe

SPACE = MorphismSpace(
    slots=6, filters=(0, 16, 32, 64), pool_after=(2, 4),
    growth=GrowthSettings(only_grow=True, doubling=True, start_filters=((16,), (16,), (16,))),
)  # fmt: skip


# 14 networks are taken from the queue.
SHORT = {"annealing": dataclasses.replace(ANNEALING, decay=0.5, neighbours=4)}


def play(controller, trials, start=0, reward=lambda arch: 0.5 + 0.01 * sum(arch)):
    history = []
    for i in range(start, start + trials):
        (proposal,) = controller.ask(1)
        history.append(Trial(i, proposal, None if i == 3 else reward(proposal.arch)))
        controller.tell(history[-1:])
    return history


def test_annealing_takes_88_networks_from_the_queue():
    # Jin et al. 2019, code 0.3.7: from 1 to 1e-4, times 0.9.
    assert len(list(temperatures(1.0, 1e-4, 0.9))) == 88
    assert AutoKeras(SPACE, seed=0).schedule[-1] == pytest.approx(0.9**87)
    taken, new = [], itertools.count(1)

    def children(arch):
        taken.append(arch)
        return [(next(new),)]

    found = anneal(
        [(0.0, (0,), 7)], children, lambda archs: np.array([float(arch[0]) for arch in archs]),
        temperatures(1.0, 1e-4, 0.9), np.random.default_rng(0),
    )  # fmt: skip
    assert taken == [(i,) for i in range(88)]  # each child is better than all earlier ones
    assert found == ((88,), 7)


def test_annealing_accepts_the_worse_by_temperature():
    def share(value, temperature):
        accepted = 0
        for seed in range(400):
            rng, children = np.random.default_rng(seed), {(0,): [(1,)], (2,): [(3,)]}
            found = []
            # The first is accepted and its child is worth 1; the second is worth `value`.
            anneal(
                [(5.0, (0,), 0), (value, (2,), 1)],
                lambda arch, c=children, f=found: f.append(arch) or c.get(arch, []),
                lambda archs: np.array([1.0 if arch == (1,) else -9.0 for arch in archs]),
                [temperature] * 3,
                rng,
            )
            accepted += (2,) in found
        return accepted / 400

    assert share(1.5, 1.0) == 1  # better than the best
    assert share(0.0, 1.0) == pytest.approx(np.exp(-1), abs=0.12)  # five deviations
    assert share(0.0, 0.05) == 0
    assert anneal([], lambda arch: [], lambda archs: archs, [1.0], np.random.default_rng(0)) is None


def test_it_starts_small_and_every_child_grows_from_one_that_was_trained():
    history = play(AutoKeras(SPACE, seed=0, **SHORT), 10)
    assert history[0].arch == SPACE.start() and history[0].proposal.parent is None
    slots = [SPACE.slot(SPACE.start(), i) for i in range(6)]
    assert [slot and slot.filters for slot in slots] == [16, None, 16, None, 16, None]
    assert len({SPACE.key(trial.arch) for trial in history}) == 10  # no network is proposed twice
    for trial in history[1:]:
        parent = trial.proposal.parent
        assert parent is not None and parent < trial.id and parent != 3  # trial 3 failed
        for i in range(6):
            old, new = SPACE.slot(history[parent].arch, i), SPACE.slot(trial.arch, i)
            if old is not None:
                assert new.kernel == old.kernel and new.filters >= old.filters


def test_growth_by_doubling_widens_to_twice_as_many():
    rng, arch = np.random.default_rng(0), SPACE.start()
    for _ in range(60):
        before, arch = arch, SPACE.mutate(arch, rng)
        for i in range(6):
            old, new = SPACE.slot(before, i), SPACE.slot(arch, i)
            if old and new and old.filters != new.filters:
                assert new.filters == 2 * old.filters
    assert any(SPACE.slot(arch, i).filters == 64 for i in range(6))


def test_a_resumed_search_proposes_the_same():
    whole = play(AutoKeras(SPACE, seed=0, **SHORT), 8)
    first = AutoKeras(SPACE, seed=0, **SHORT)
    archs = play(first, 5)
    again = AutoKeras(SPACE, seed=5, **SHORT)
    again.tell([Trial(-1, Proposal(SPACE.start()), 0.9)])  # a trial of another run
    again.load_state(json.loads(json.dumps(first.state())))
    assert archs + play(again, 3, start=5) == whole


def test_failures_are_followed_by_random_networks_and_the_rest_wait():
    controller = AutoKeras(SPACE, seed=0)
    (first,) = controller.ask(2)
    again = AutoKeras(SPACE, seed=0)
    again.load_state(json.loads(json.dumps(controller.state())))
    assert again.ask(1) == []  # it waits for the start
    again.tell([Trial(0, first, 0.5)])
    assert again.ask(1)[0].parent == 0
    controller.tell([Trial(0, first, None)])
    second, third = controller.ask(2)
    assert len({SPACE.key(proposal.arch) for proposal in (first, second, third)}) == 3
    controller.tell([Trial(1, second, None)])
    assert third.parent is None
    controller.tell([Trial(2, third, 0.5)])
    assert controller.ask(1)[0].parent == 2
    growth = GrowthSettings(only_grow=True)
    linear = MorphismSpace(slots=1, kernels=(1,), filters=(0,), pool_after=(), growth=growth)
    controller = AutoKeras(linear, seed=0)
    controller.tell([Trial(0, controller.ask(1)[0], None)])
    assert [p.arch for p in controller.ask(3)] == [(0, 0, 0, 0)]  # the space has no other network


def test_all_starts_are_trained_first_and_a_failed_one_is_not_a_parent():
    space = AutoKerasSpace()
    controller = AutoKeras(space, seed=0, **SHORT)
    starts = controller.ask(3)
    assert [p.arch for p in starts] == list(space.starts()) and len(starts) == 2
    assert controller.ask(1) == []
    controller.tell([Trial(0, starts[0], None)])
    assert controller.ask(1) == []  # the other start is in training
    again = AutoKeras(space, seed=1, **SHORT)
    again.load_state(json.loads(json.dumps(controller.state())))
    for each in (controller, again):
        each.tell([Trial(1, starts[1], 0.5)])
        assert [proposal.parent for proposal in each.ask(1)] == [1]


@pytest.mark.parametrize("count_met, most", [(True, 4), (False, 8)])
def test_children_that_were_met_count_as_in_the_code(count_met, most):
    """Of 4 neighbours, those that were met are left out; else others are drawn in their place."""
    annealing = dataclasses.replace(ANNEALING, neighbours=4, count_met=count_met, decay=0.01)
    controller = AutoKeras(SPACE, seed=0, annealing=annealing)
    controller.tell([Trial(0, controller.ask(1)[0], 0.5)])
    drawn = []

    def mutate(arch, rng):
        drawn.append(arch)
        return SPACE.start()  # met before

    controller.space = type("Met", (), {"key": SPACE.key, "mutate": staticmethod(mutate)})()
    assert controller.ask(1) == []
    assert len(drawn) == most


def test_children_inherit_and_compute_at_first_what_their_parents_did(tmp_path):
    evaluate = InheritFromParent(
        space=SPACE,
        dataset=functools.partial(digits.load, train_size=64),
        skeleton=functools.partial(ImageSkeleton, width=0.2),
        recipe=Recipe(epochs=1, schedule="constant"),
        seed=0,
        run_dir=tmp_path,
    )
    with Store(tmp_path) as store:
        trials = search(
            AutoKeras(SPACE, seed=0, **SHORT),
            evaluate,
            lambda metrics: metrics["valid_accuracy"],
            store,
            SerialExecutor(),
            max_trials=3,
        )
    assert [trial.status for trial in trials] == ["ok"] * 3
    for trial in trials[1:]:
        assert trial.metrics["parent"] == trial.proposal.parent
        assert trial.metrics["preserved"]


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"skip_weight": -1}, "controller.skip_weight must not be negative, got -1"),
        ({"distance": "far"}, "controller.distance must be one of features, edit, got far"),
        (
            {"distance": "features", "shrinking": True},
            "need controller.distance=edit, got features",
        ),
        ({"acquisition": "best"}, "controller.acquisition must be one of"),
        (
            {"gaussian_process": dataclasses.replace(GAUSSIAN_PROCESS, kernel="linear")},
            "controller.gaussian_process.kernel must be one of",
        ),
    ],
)
def test_wrong_settings_are_told(settings, told):
    with pytest.raises(ConfigError, match=told):
        AutoKeras(SPACE, seed=0, **settings)


@pytest.mark.parametrize(
    "record, settings, told",
    [
        (
            GAUSSIAN_PROCESS,
            {"noise": 0},
            "controller.gaussian_process.noise must be above 0, got 0",
        ),
        (ANNEALING, {"neighbours": 0}, "controller.annealing.neighbours must be at least 1, got 0"),
        (
            *(ANNEALING, {"min_temperature": 2}),
            r"min_temperature must be in \(0, controller.annealing.temperature=1.0\)",
        ),
        (ANNEALING, {"decay": 1.0}, r"controller.annealing.decay must be in \(0, 1\), got 1.0"),
    ],
)
def test_wrong_settings_of_a_nested_node_are_told(record, settings, told):
    with pytest.raises(ConfigError, match=told):
        dataclasses.replace(record, **settings)


def test_a_space_without_chains_is_refused_unless_compared_by_features():
    with pytest.raises(ConfigError, match="set space=morphism or controller.distance=features"):
        AutoKeras(NASBench201(), seed=0)
    (proposal,) = AutoKeras(NASBench201(), seed=0, distance="features").ask(1)
    assert len(proposal.arch) == 6


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"doubling": True}, "space.growth.doubling needs space.growth.only_grow=true"),
        ({"start_filters": [[16]]}, "space.growth.start_filters must be 3 lists of space.filters="),
        ({"start_units": [64]}, r"space.growth.start_units must be \[\] in a space without hidden"),
        ({"identity_share": -1}, r"space.growth.identity_share must be in \[0, 1\], got -1"),
        ({"start_filters": [[5], [], []]}, r"at most \[4, 4, 4\] long, got \[\[5\], \[\], \[\]\]"),
        ({"start_filters": [[16] * 5, [], []]}, "space.growth.start_filters must be 3 lists"),
    ],
)
def test_wrong_growth_is_told(settings, told):
    with pytest.raises(ConfigError, match=told):
        MorphismSpace(growth=GrowthSettings(**settings))
