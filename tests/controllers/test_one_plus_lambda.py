"""The (1 + lambda) strategy of CGP-CNN: forced and neutral mutation, choice of the parent."""

import json
import math

import numpy as np
import pytest

from nas.controllers.one_plus_lambda import OnePlusLambda
from nas.core.space import Decision, Space
from nas.core.trial import CRASHED, ConfigError, Trial
from nas.search_spaces.papers.cgp_cnn.space import CGPCNN
from nas.search_spaces.papers.nasbench201.space import NASBench201

GRID = CGPCNN()


class Bits(Space):
    """Ten bits; the last five are inactive, and at most `most` of the others may be 1."""

    decisions = tuple(Decision(f"bit{i}", (0, 1)) for i in range(10))
    most = 5

    def key(self, arch):
        return arch[:5]

    def active_genes(self, arch):
        return set(range(5))

    def within_limits(self, arch):
        return sum(arch[:5]) <= self.most


class Single(Space):
    decisions = (Decision("only", ("one",)),)


def one_generation(controller, evaluate):
    proposals = controller.ask(100)
    for i, proposal in enumerate(proposals):
        reward = evaluate(proposal.arch)
        status = {} if reward is not None else {"status": CRASHED, "reason": "as children do"}
        controller.tell([Trial(i, proposal, reward, **status)])
    return [proposal.arch for proposal in proposals]


def ones(arch):
    return sum(arch[:5]) / 5


def started(space=None, reward=0.5, **settings):
    controller = OnePlusLambda(space or Bits(), seed=0, **settings)
    one_generation(controller, lambda arch: reward)
    return controller


def test_the_first_generation_is_the_parent_and_the_others_its_children():
    controller = OnePlusLambda(Bits(), seed=0, children=3)
    parent = controller.parent
    assert [p.arch for p in controller.ask(5)] == [parent]
    assert controller.ask(5) == []
    controller.tell([Trial(0, p, 0.5) for p in OnePlusLambda(Bits(), seed=0).ask(1)])
    assert len(controller.ask(2)) == 2
    assert len(controller.ask(2)) == 1
    assert controller.ask(2) == []


def test_five_hundred_generations_of_two_are_a_thousand_and_one():
    controller = OnePlusLambda(Bits(), seed=0)
    assert sum(len(one_generation(controller, ones)) for _ in range(1 + 500)) == 1001


def test_a_forced_mutation_always_gives_another_network_within_limits():
    controller = started(GRID)
    parent = controller.parent
    for _ in range(20):
        child = controller._forced()
        assert GRID.key(child) != GRID.key(parent)
        assert 10 <= len(GRID.active(child)) <= 50
        active = GRID.active_genes(parent)
        assert any(child[i] != parent[i] for i in active)
    space = Bits()
    space.most = 2
    controller = started(space)
    assert all(sum(controller._forced()[:5]) <= 2 for _ in range(200))


def test_a_neutral_mutation_leaves_the_active_graph_and_changes_the_rest():
    controller = started(GRID)
    arch, changed = controller.parent, 0
    for _ in range(20):
        controller.parent = arch
        child = controller._neutral()
        assert GRID.key(child) == GRID.key(arch)
        assert GRID.active_genes(child) == GRID.active_genes(arch)
        changed += sum(a != b for a, b in zip(arch, child, strict=True))
    idle = set(range(len(arch))) - GRID.active_genes(arch)
    n, p = 20 * sum(len(GRID.decisions[i].choices) > 1 for i in idle), 0.05
    # Fails by chance once in a million runs.
    assert abs(changed - n * p) < 5 * math.sqrt(n * p * (1 - p))


def test_only_a_strictly_better_child_replaces_the_parent():
    controller = started(reward=0.5)
    before = controller.parent
    children = one_generation(controller, lambda arch: 0.5)
    assert controller.parent[:5] == before[:5]
    assert controller.reward == 0.5
    rewards = iter([0.6, 0.7])
    children = one_generation(controller, lambda arch: next(rewards))
    assert (controller.parent, controller.reward) == (children[1], 0.7)
    rewards = iter([0.8, 0.8])
    children = one_generation(controller, lambda arch: next(rewards))
    assert controller.parent == children[0]


def test_a_parent_that_stays_drifts_and_one_that_is_replaced_does_not():
    controller = started(mutation_rate=0.5)
    parents = set()
    for _ in range(10):
        one_generation(controller, lambda arch: 0.1)
        parents.add(controller.parent)
    assert len({arch[:5] for arch in parents}) == 1
    assert len(parents) > 1


def test_a_failed_child_replaces_nobody_and_a_failed_parent_is_replaced_by_any():
    controller = started(reward=None)
    parent = controller.parent
    one_generation(controller, lambda arch: None)
    assert controller.parent[:5] == parent[:5]
    children = one_generation(controller, lambda arch: -3.0)
    assert (controller.parent, controller.reward) == (children[0], -3.0)
    one_generation(controller, lambda arch: None)
    assert controller.reward == -3.0


def test_a_space_without_idle_genes_has_no_neutral_mutation():
    controller = started(NASBench201())
    parent = controller.parent
    for _ in range(20):
        assert all(arch != parent for arch in one_generation(controller, lambda arch: 0.1))
        assert controller.parent == parent


def test_it_climbs():
    controller = OnePlusLambda(Bits(), seed=0, mutation_rate=0.2)
    for _ in range(60):
        one_generation(controller, ones)
    assert controller.reward == 1.0


def test_restored_it_goes_on_as_one_that_was_not_stopped():
    controller, other = started(GRID), OnePlusLambda(GRID, seed=1)
    (proposal,) = controller.ask(1)
    controller.tell([Trial(1, proposal, 0.1)])
    other.load_state(json.loads(json.dumps(controller.state())))
    rng = np.random.default_rng(0)
    rewards = rng.random(50).tolist()
    first, second = iter(rewards), iter(rewards)
    for _ in range(5):
        ours = one_generation(controller, lambda arch: next(first))
        assert ours == one_generation(other, lambda arch: next(second))


def test_a_space_with_nothing_to_change_is_refused():
    with pytest.raises(ConfigError, match="mutation_rate must be large enough .*; set controller"):
        started(Single()).ask(1)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"children": 0}, "children must be at least 1, got 0"),
        ({"mutation_rate": 0}, r"mutation_rate must be in \(0, 1\], got 0"),
        ({"mutation_rate": 1.5}, r"mutation_rate must be in \(0, 1\], got 1.5"),
    ],
)
def test_wrong_settings_are_refused_saying_where_to_change_them(settings, message):
    with pytest.raises(ConfigError, match="controller." + message + ".*; set controller."):
        OnePlusLambda(Bits(), seed=0, **settings)
