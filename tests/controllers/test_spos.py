"""SPOS' evolution: who may be a parent, what is refused, and when the search waits or ends."""

import pytest

from nas.controllers.spos import SPOS
from nas.core.space import Cost, Decision, Space
from nas.core.trial import ConfigError, Proposal, Trial


class Rows(Space):
    """Twenty genes of four values, as in the paper; the reward is their sum."""

    decisions = tuple(Decision(f"gene{i}", (0, 1, 2, 3)) for i in range(20))


class Pair(Space):
    decisions = (Decision("a", (0, 1, 2)), Decision("b", (0, 1)))


def generation(controller, start, fail=()):
    """Asks for a whole generation and tells the sums as rewards."""
    archs = [proposal.arch for proposal in controller.ask(100)]
    assert controller.ask(100) == []  # it waits for the trials
    for i, arch in enumerate(archs, start):
        reward = None if i in fail else float(sum(arch))
        controller.tell([Trial(i, Proposal(arch), reward)])
    return archs


def distance(one, other):
    return sum(a != b for a, b in zip(one, other, strict=True))


def test_a_generation_is_of_mutants_crossovers_and_random_ones():
    controller = SPOS(
        Rows(), seed=0, cost=None, population_size=60, parents=10, mutants=25, crossovers=25
    )
    first = generation(controller, 0)
    best = sorted(first, key=sum, reverse=True)[:10]
    assert sorted(sum(arch) for arch, _ in controller.best) == sorted(sum(arch) for arch in best)
    second = generation(controller, 60)
    assert len(set(first) | set(second)) == 120  # no duplicate
    parents = best
    mutants, crossed, random = second[:25], second[25:50], second[50:]
    # Of 20 genes 1.5 change in the mean: a tenth of them, and three of four draws differ.
    changes = [min(distance(arch, parent) for parent in parents) for arch in mutants]
    assert 1.0 < sum(changes) / 25 < 2.5 and min(changes) >= 1
    for arch in crossed:
        assert any(
            all(c in (a, b) for c, a, b in zip(arch, one, other, strict=True))
            for one in parents
            for other in parents
        )
    assert min(distance(arch, parent) for arch in random for parent in parents) > 5


def test_the_best_are_those_of_all_generations_and_failed_trials_are_not_among_them():
    controller = SPOS(
        Rows(), seed=1, cost=None, population_size=20, parents=3, mutants=10, crossovers=10
    )
    archs, start = [], 0
    for _ in range(6):
        archs += generation(controller, start, fail=(start,))
        start = len(archs)
    alive = [arch for i, arch in enumerate(archs) if i % 20]
    expected = sorted(alive, key=sum, reverse=True)[:3]
    assert [arch for arch, _ in controller.best] == expected
    assert sum(controller.best[0][0]) > max(sum(arch) for arch in archs[:20])


def test_no_architecture_is_above_the_limit():
    def cost(arch):
        return Cost(0, sum(arch), 0)

    controller = SPOS(Rows(), seed=0, cost=cost, max_flops=30)
    archs = generation(controller, 0) + generation(controller, 50)
    assert len(archs) == 100 and max(sum(arch) for arch in archs) == 30


def test_a_space_that_is_exhausted_ends_the_search():
    controller = SPOS(
        Pair(), seed=0, cost=None, population_size=4, parents=2, mutants=2, crossovers=2
    )
    archs = generation(controller, 0)
    while new := generation(controller, len(archs)):
        archs += new
    assert sorted(archs) == [(a, b) for a in range(3) for b in range(2)]


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"population_size": 0}, "controller.population_size must be at least 1, got 0"),
        ({"parents": 0}, "controller.parents must be at least 1, got 0"),
        ({"mutants": -1}, "controller.mutants must be at least 0, got -1"),
        ({"mutants": 40}, "controller.mutants .* at most controller.population_size=50, got 40"),
        ({"mutation_rate": 1.5}, r"controller.mutation_rate must be in \[0, 1\], got 1.5"),
        ({"max_flops": 10}, "controller.max_flops must be null where no costs are known, got 10"),
    ],
)
def test_wrong_settings(settings, said):
    with pytest.raises(ConfigError, match=said):
        SPOS(Rows(), seed=0, cost=None, **settings)


def test_a_limit_that_nothing_keeps_is_told():
    controller = SPOS(Rows(), seed=0, cost=lambda arch: Cost(0, 9, 0), max_flops=1)
    with pytest.raises(ConfigError, match="controller.max_flops must allow some architecture"):
        controller.ask(1)
