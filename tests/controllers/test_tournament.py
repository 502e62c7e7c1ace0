"""Tournaments: which members die, which have children; no member dies of age."""

import json

import numpy as np
import pytest

from nas.controllers.tournament import Tournament
from nas.core.space import Decision, Space
from nas.core.trial import ConfigError, Trial

SHARE = {"population_size": 200, "sample_size": 0.05, "kill_worst": False}


class Bits(Space):
    def __init__(self, count):
        self.decisions = tuple(Decision(f"bit{i}", (0, 1)) for i in range(count))


def play(controller, trials, reward=lambda arch: sum(arch) / len(arch), start=0):
    history = []
    for i in range(start, start + trials):
        (proposal,) = controller.ask(1)
        history.append(Trial(i, proposal, reward(proposal.arch)))
        controller.tell(history[-1:])
    return history


def filled(rewards, **settings):
    """A controller whose first members have these rewards."""
    controller = Tournament(Bits(20), seed=0, **({"population_size": len(rewards)} | settings))
    proposals = controller.ask(len(rewards))
    told = zip(proposals, rewards, strict=True)
    controller.tell([Trial(i, p, reward) for i, (p, reward) in enumerate(told)])
    return controller


def distance(a, b):
    return sum(x != y for x, y in zip(a, b, strict=True))


def test_the_better_of_two_lives_and_is_mutated_the_worse_dies():
    controller = filled([0.3, 0.7])
    better = next(arch for arch, reward in controller.population if reward == 0.7)
    worse = next(arch for arch, reward in controller.population if reward == 0.3)
    (proposal,) = controller.ask(1)
    assert controller.population == [(better, 0.7)]  # the worse one died
    assert distance(proposal.arch, better) == 1
    assert proposal.notes == {"killed": [list(worse), 0.3, 0]}
    assert proposal.parent == 1
    controller.tell([Trial(2, proposal, 0.1)])
    assert [reward for _, reward in controller.population] == [0.7, 0.1]


def test_the_best_never_dies_however_old():
    controller = filled([1.0] + [0.0] * 9)
    best = controller.population[0][0]
    play(controller, 500, reward=lambda arch: 0.5)
    assert (best, 1.0) in controller.population
    assert len(controller.population) == 10


def test_one_is_killed_and_one_added_at_each_step():
    controller = Tournament(Bits(20), seed=0, population_size=30)
    play(controller, 30)
    for _ in range(100):
        before = list(controller.population)
        (trial,) = play(controller, 1)
        assert len(controller.population) == 30
        assert controller.population[-1] == (trial.arch, trial.reward)
        assert len([member for member in controller.population[:-1] if member in before]) == 29


def test_members_with_equal_rewards_are_killed_alike():
    """Each of two is killed in half of the cases: 400 trials, four deviations of 0.025."""
    killed = []
    for seed in range(400):
        controller = filled([0.5, 0.5])
        controller.rng = np.random.default_rng(seed)
        first = controller.population[0]
        controller.ask(1)
        killed.append(controller.population != [first])
    assert abs(np.mean(killed) - 0.5) < 4 * 0.025


def test_a_share_of_the_population_competes_and_nobody_dies():
    controller = filled(list(range(200)), **SHARE)
    assert controller._competing() == 10  # Liu et al. 2018: 5 %
    archs = [arch for arch, _ in controller.population]
    for i in range(200, 400):
        (proposal,) = controller.ask(1)
        controller.tell([Trial(i, proposal, -1.0)])
    assert [arch for arch, _ in controller.population[:200]] == archs
    assert len(controller.population) == 400 and controller._competing() == 20


def test_parents_are_distributed_as_the_best_of_ten():
    """Fitness = rank 1..200: the best of 10 without replacement has mean 10 * 201 / 11."""
    controller = filled(list(range(1, 201)), **SHARE)
    rank = dict(controller.population)
    assert len(rank) == 200
    parents = []
    controller.space.mutate = lambda arch, rng: arch  # so a child equals its parent
    for _ in range(2000):
        (proposal,) = controller.ask(1)
        parents.append(rank[proposal.arch])
    error = np.std(parents) / np.sqrt(len(parents))
    assert abs(np.mean(parents) - 10 * 201 / 11) < 4 * error  # four deviations


def test_a_failed_child_leaves_the_population_as_it_was():
    controller = filled([0.1, 0.2, 0.3, 0.4])
    before = sorted(controller.population)
    (proposal,) = controller.ask(1)
    assert len(controller.population) == 3
    controller.tell([Trial(9, proposal, None)])
    assert sorted(controller.population) == before
    shared = filled(list(range(20)), population_size=20, sample_size=0.5, kill_worst=False)
    (proposal,) = shared.ask(1)
    shared.tell([Trial(9, proposal, None)])
    assert len(shared.population) == 20 and shared.missing == 0


def test_a_first_member_that_fails_is_drawn_again():
    controller = Tournament(Bits(8), seed=0, population_size=3)
    rewards = iter([None, 0.1, None, 0.2, 0.3])
    history = play(controller, 5, reward=lambda arch: next(rewards))
    assert all(trial.proposal.notes == {"first": True} for trial in history)
    assert [reward for _, reward in controller.population] == [0.1, 0.2, 0.3]
    assert "killed" in controller.ask(1)[0].notes


def test_it_waits_for_what_is_pending():
    controller = Tournament(Bits(8), seed=0, population_size=4)
    proposals = controller.ask(10)
    assert len(proposals) == 4 and controller.ask(1) == []
    controller.tell([Trial(0, proposals[0], 0.5)])
    assert controller.ask(1) == []  # one member cannot compete
    controller.tell([Trial(1, proposals[1], 0.6)])
    assert len(controller.ask(5)) == 1  # one of the two competitors died
    controller.tell([Trial(i, proposals[i], 0.1) for i in (2, 3)])
    assert len(controller.population) == 3


def test_it_climbs_where_random_search_does_not():
    """The best of 1,000 random strings of 100 bits has 66 ones on average, deviation 1.8."""
    best = []
    for seed in range(3):
        controller = Tournament(Bits(100), seed=seed, population_size=100)
        best.append(max(trial.reward for trial in play(controller, 1000, reward=sum)))
    assert np.mean(best) > 66 + 4 * 1.8 / np.sqrt(3)  # four deviations


def test_children_name_their_parents_and_some_are_reset():
    controller = Tournament(Bits(20), seed=0, population_size=10, reset_share=0.3)
    history = play(controller, 600)
    by_id = {trial.id: trial for trial in history}
    children = history[10:]
    reset = [trial for trial in children if trial.proposal.parent is None]
    # 590 children: five deviations of 0.019.
    assert abs(len(reset) / len(children) - 0.3) < 5 * 0.019
    for trial in children:
        if trial.proposal.parent is not None:
            assert distance(trial.arch, by_id[trial.proposal.parent].arch) == 1
    archs = {trial.arch for trial in history}
    assert all(trial.arch in archs for trial in reset)
    for (arch, _), trial_id in zip(controller.population, controller.ids, strict=True):
        assert by_id[trial_id].arch == arch


@pytest.mark.parametrize("settings", [{"population_size": 10}, SHARE | {"population_size": 20}])
def test_equal_seeds_are_equal_and_a_restored_one_goes_on(settings):
    history = play(Tournament(Bits(12), seed=3, **settings), 60)
    assert play(Tournament(Bits(12), seed=3, **settings), 60) == history
    assert play(Tournament(Bits(12), seed=4, **settings), 60) != history
    for moment in (5, 35):
        first = Tournament(Bits(12), seed=3, **settings)
        begun = play(first, moment)
        second = Tournament(Bits(12), seed=9, **settings)
        second.load_state(json.loads(json.dumps(first.state())))
        assert begun + play(second, 60 - moment, start=moment) == history


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"population_size": 1}, "controller.population_size must be at least 2, got 1"),
        ({"population_size": 5, "sample_size": 6}, r"sample_size must .*population_size=5\] .* 6"),
        ({"sample_size": 1}, r"controller.sample_size must be a whole number in \[2, .* got 1"),
        ({"sample_size": 2.5}, r"or a share in \(0, 1\), got 2.5"),
        ({"sample_size": 0}, r"or a share in \(0, 1\), got 0"),
        ({"reset_share": 2}, r"controller.reset_share must be in \[0, 1\], got 2"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        Tournament(Bits(3), seed=0, **settings)
