"""The genetic algorithm of Genetic CNN: roulette, crossover and mutation by hand."""

import json
import math

import numpy as np
import pytest

from nas.controllers.genetic import Genetic, blocks, mutated, roulette
from nas.core.space import Decision, Space
from nas.core.trial import CRASHED, ConfigError, Trial
from nas.search_spaces.papers.genetic_cnn import GeneticCNN


class Bits(Space):
    """Three stages of `bits` bits each."""

    def __init__(self, count=4):
        self.decisions = tuple(
            Decision(f"stage{s}/bit{i}", (0, 1), node=s) for s in range(3) for i in range(count)
        )


def one_generation(controller, evaluate):
    """Evaluates the members of the current generation and returns them."""
    proposals = controller.ask(1000)
    for i, proposal in enumerate(proposals):
        reward = evaluate(proposal.arch)
        status = {} if reward is not None else {"status": CRASHED, "reason": "as children do"}
        controller.tell([Trial(i, proposal, reward, **status)])
    return [proposal.arch for proposal in proposals]


def ones(arch):
    return sum(arch) / len(arch)


def test_roulette_is_in_proportion_to_what_is_above_the_worst():
    np.testing.assert_allclose(roulette([0.5, 0.6, 0.8]), [0, 0.25, 0.75])
    np.testing.assert_allclose(roulette([-3.0, -1.0, -2.0]), [0, 2 / 3, 1 / 3])
    np.testing.assert_allclose(roulette([0.7, 0.7]), [0.5, 0.5])


def test_the_unique_worst_is_never_drawn():
    controller = Genetic(Bits(), seed=0, crossover_rate=0.0, mutation_rate=0.0)
    first = one_generation(controller, ones)
    worst = min(first, key=ones)
    assert [ones(arch) for arch in first].count(ones(worst)) == 1
    for _ in range(100):
        controller.generation, controller.told = list(first), len(first)
        assert worst not in one_generation(controller, ones)


def test_generations_have_one_size_and_wait_for_their_last_member():
    controller = Genetic(Bits(), seed=0, population_size=5)
    proposals = controller.ask(3) + controller.ask(3)
    assert len(proposals) == 5
    assert controller.ask(3) == []
    controller.tell([Trial(i, p, 0.1 * i) for i, p in enumerate(proposals[:4])])
    assert controller.ask(3) == []
    controller.tell([Trial(4, proposals[4], 0.4)])
    assert len(controller.ask(10)) == 5


def test_without_crossover_and_mutation_only_the_first_members_are_drawn():
    controller = Genetic(Bits(), seed=0, crossover_rate=0.0, mutation_rate=0.0)
    first = set(one_generation(controller, ones))
    for _ in range(10):
        assert set(one_generation(controller, ones)) <= first


def test_a_pair_exchanges_whole_stages():
    """From 0000 and 1111 in each stage: no stage is mixed, and the two children are complements."""
    controller = Genetic(Bits(), seed=0, crossover_rate=1.0, stage_rate=0.5, mutation_rate=1.0)
    exchanged = 0
    for _ in range(200):
        a, b = controller._exchanged((0,) * 12, (1,) * 12)
        assert all(set(a[i : i + 4]) in ({0}, {1}) for i in (0, 4, 8))
        assert all(x != y for x, y in zip(a, b, strict=True))
        exchanged += sum(a[i] for i in (0, 4, 8))
    # 600 stages at a half: five standard deviations, fails by chance once in a million runs.
    assert abs(exchanged - 300) < 5 * math.sqrt(600 / 4)


def test_the_crossed_are_not_mutated():
    controller = Genetic(Bits(), seed=0, crossover_rate=1.0, stage_rate=0.0, mutation_rate=1.0)
    first = set(one_generation(controller, ones))
    assert set(one_generation(controller, ones)) <= first


def test_each_bit_is_flipped_at_the_rate():
    rng = np.random.default_rng(0)
    flips = [sum(mutated(Bits(), (0,) * 12, 0.05, rng)) for _ in range(2000)]
    n, p = 24_000, 0.05
    # Fails by chance once in a million runs.
    assert abs(sum(flips) - n * p) < 5 * math.sqrt(n * p * (1 - p))
    assert mutated(Bits(), (0, 1) * 6, 1.0, rng) == (1, 0) * 6
    assert mutated(Bits(), (0, 1) * 6, 0.0, rng) == (0, 1) * 6


def test_stages_are_the_decisions_of_one_node_and_the_others_stand_alone():
    assert [len(block) for block in blocks(GeneticCNN())] == [3, 6, 10]

    class Mixed(Space):
        decisions = (Decision("a", (0, 1)), Decision("b", (0, 1), node=0), Decision("c", (0, 1)))

    assert blocks(Mixed()) == [[0], [1], [2]]


def test_who_is_evaluated_again_has_the_mean_of_its_rewards():
    controller = Genetic(Bits(1), seed=0, population_size=2)
    controller.generation = [(0, 0, 0), (1, 1, 1)]
    rewards = iter([0.4, 0.6])
    one_generation(controller, lambda arch: next(rewards))
    controller.generation, controller.told = [(0, 0, 0), (1, 1, 1)], 0
    controller.asked = 0
    rewards = iter([1.0, 0.6])
    one_generation(controller, lambda arch: next(rewards))
    # Averages of 0.7 and 0.6: (1, 1, 1) is the worst, although its first reward was the best.
    assert controller.rewards == {(0, 0, 0): [0.4, 1.0], (1, 1, 1): [0.6, 0.6]}
    controller.crossover_rate = controller.mutation_rate = 0.0
    assert [p.arch for p in controller.ask(2)] == [(0, 0, 0)] * 2


def test_the_failed_are_not_drawn_and_where_all_failed_others_are():
    controller = Genetic(Bits(), seed=0, crossover_rate=0.0, mutation_rate=0.0)
    first = one_generation(controller, lambda arch: ones(arch) if arch[0] else None)
    assert {arch[0] for arch in first} == {0, 1}
    second = one_generation(controller, lambda arch: None)
    assert {arch[0] for arch in second} == {1}
    controller.rewards.clear()
    assert not set(one_generation(controller, ones)) & set(second)


def test_it_finds_better_ones():
    """12 bits, 20 generations of 20; over 12 seeds the last mean was 0.85 to 0.97."""
    controller = Genetic(Bits(), seed=0)
    means = [np.mean([ones(a) for a in one_generation(controller, ones)]) for _ in range(20)]
    assert means[0] < 0.65
    assert means[-1] > 0.8


def test_restored_it_goes_on_as_one_that_was_not_stopped():
    controller, other = Genetic(Bits(), seed=0), Genetic(Bits(), seed=1)
    one_generation(controller, ones)
    controller.tell([Trial(i, p, ones(p.arch)) for i, p in enumerate(controller.ask(7))])
    other.load_state(json.loads(json.dumps(controller.state())))
    for _ in range(3):
        assert one_generation(controller, ones) == one_generation(other, ones)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"population_size": 1}, "population_size must be at least 2, got 1"),
        ({"crossover_rate": 1.1}, r"crossover_rate must be in \[0, 1\], got 1.1"),
        ({"stage_rate": -0.1}, r"stage_rate must be in \[0, 1\], got -0.1"),
        ({"mutation_rate": 2}, r"mutation_rate must be in \[0, 1\], got 2"),
        ({"bit_rate": -1}, r"bit_rate must be in \[0, 1\], got -1"),
    ],
)
def test_wrong_settings_are_refused_saying_where_to_change_them(settings, message):
    with pytest.raises(ConfigError, match="controller." + message + ".*; set controller."):
        Genetic(Bits(), seed=0, **settings)
