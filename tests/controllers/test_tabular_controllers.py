"""Known answers of the controllers that are compared on tables."""

import dataclasses
import itertools

import numpy as np
import pytest

from nas.controllers.bayesian import GAUSSIAN_PROCESS, Bayesian
from nas.controllers.local_search import LocalSearch, neighbours
from nas.controllers.random_search import RandomSearch
from nas.controllers.regularized_evolution import RegularizedEvolution
from nas.controllers.reinforce_softmax import ReinforceSoftmax
from nas.core.space import Decision, Space
from nas.core.trial import ConfigError, Proposal, Trial
from nas.search_spaces.papers.nasbench201.space import NASBench201


class Bits(Space):
    def __init__(self, count):
        self.decisions = tuple(Decision(f"bit{i}", (0, 1)) for i in range(count))


def play(controller, reward, trials):
    history = []
    for i in range(trials):
        proposals = controller.ask(1)
        if not proposals:
            break
        trial = Trial(i, proposals[0], reward(proposals[0].arch))
        controller.tell([trial])
        history.append(trial)
    return history


def toy(seed):
    """Real et al. 2019, supplement C: the share of ones of 100 bits, with noise of 0.01."""
    rng = np.random.default_rng(seed)
    return lambda arch: float(np.clip(sum(arch) / 100 + rng.normal(0, 0.01), 0, 1))


def test_regularized_evolution_solves_the_papers_toy_and_random_search_does_not():
    evolved, drawn = [], []
    for seed in range(5):
        controller = RegularizedEvolution(Bits(100), seed=seed, population_size=100, sample_size=10)
        evolved.append(max(t.reward for t in play(controller, toy(seed), 1000)))
        drawn.append(max(t.reward for t in play(RandomSearch(Bits(100), seed=seed), toy(9), 1000)))
    assert np.mean(evolved) >= 0.87
    assert np.mean(drawn) <= 0.71


def test_the_population_holds_the_newest_and_failures_are_no_parents():
    controller = RegularizedEvolution(Bits(8), seed=0, population_size=4, sample_size=2)
    for i in range(9):
        proposal = controller.ask(1)[0]
        controller.tell([Trial(i, proposal, None if i == 8 else float(i))])
    assert [reward for _, reward in controller.population] == [4.0, 5.0, 6.0, 7.0]


def test_a_failed_child_makes_no_member_die():
    """The paper has no failures: the population is what it was without the child."""
    controller = RegularizedEvolution(Bits(8), seed=0, population_size=3, sample_size=2)
    for i in range(3):
        controller.tell([Trial(i, controller.ask(1)[0], float(i))])
    before = list(controller.population)
    for i in range(3, 9):
        controller.tell([Trial(i, controller.ask(1)[0], None)])
    assert list(controller.population) == before
    controller.tell([Trial(9, controller.ask(1)[0], 9.0)])
    assert [reward for _, reward in controller.population] == [1.0, 2.0, 9.0]


def test_a_failed_start_is_replaced_by_another_random_architecture():
    controller = RegularizedEvolution(Bits(8), seed=0, population_size=2, sample_size=2)
    for i, reward in enumerate((None, 1.0, None, 2.0)):
        assert len(controller.population) < 2
        controller.tell([Trial(i, controller.ask(1)[0], reward)])
    assert [reward for _, reward in controller.population] == [1.0, 2.0]


def test_random_search_follows_the_order_statistic():
    """The best of n draws of a uniform column of 0..63 has mean sum(1 - (k/64)^n)."""
    best = []
    for seed in range(400):
        history = play(RandomSearch(Bits(6), seed=seed), lambda a: int("".join(map(str, a)), 2), 10)
        best.append(max(trial.reward for trial in history))
    expected = sum(1 - (k / 64) ** 10 for k in range(1, 64))
    assert abs(np.mean(best) - expected) < 4 * np.std(best) / np.sqrt(400)  # four deviations


def test_the_first_reward_is_the_baseline_and_moves_nothing():
    controller = ReinforceSoftmax(NASBench201(), seed=0)
    before = controller.logits.copy()
    controller.tell([Trial(0, Proposal((0, 1, 2, 3, 4, 0)), 0.7)])
    assert controller.baseline == pytest.approx(0.7)
    np.testing.assert_allclose(controller.logits, before, atol=1e-12)


def test_the_policy_gradient_is_the_difference_quotient():
    controller = ReinforceSoftmax(NASBench201(), seed=0, init_scale=1.0)
    arch = (0, 1, 2, 3, 4, 0)

    def log_p(logits):
        return sum(row[c] - np.log(np.exp(row).sum()) for row, c in zip(logits, arch, strict=True))

    gradient, numeric = controller.gradient(arch), np.zeros((6, 5))
    for i, j in itertools.product(range(6), range(5)):
        step = np.zeros((6, 5))
        step[i, j] = 1e-6
        numeric[i, j] = (log_p(controller.logits + step) - log_p(controller.logits - step)) / 2e-6
    np.testing.assert_allclose(gradient, numeric, atol=1e-8)


def test_the_policy_draws_by_its_probabilities():
    controller = ReinforceSoftmax(NASBench201(), seed=0)
    controller.logits = np.log(np.array([[0.1, 0.2, 0.3, 0.4, 0.0001]] * 6) / 1.0001)
    drawn = np.array([p.arch for p in controller.ask(4000)])
    shares = [(drawn == choice).mean() for choice in range(4)]
    np.testing.assert_allclose(shares, [0.1, 0.2, 0.3, 0.4], atol=0.015)  # five deviations
    controller.final = "policy"
    assert controller.recommend() == (3,) * 6


def test_a_policy_learns():
    controller = ReinforceSoftmax(Bits(6), seed=0, learning_rate=0.1, final="policy")
    play(controller, lambda arch: sum(arch) / 6, 200)
    assert controller.recommend() == (1,) * 6


def test_neighbours_differ_in_one_decision():
    around = neighbours(NASBench201(), (0,) * 6)
    assert len(set(around)) == 24
    assert all(sum(choice > 0 for choice in arch) == 1 for arch in around)


@pytest.mark.parametrize("num_init", [1, 4])
@pytest.mark.parametrize("first_improvement", [False, True])
def test_local_search_climbs_and_sees_the_whole_of_a_small_space_once(first_improvement, num_init):
    controller = LocalSearch(
        Bits(5), seed=0, first_improvement=first_improvement, num_init=num_init
    )
    history = play(controller, sum, 100)
    archs = [trial.arch for trial in history]
    assert len(set(archs)) == len(archs) == 32
    climb = play(LocalSearch(Bits(30), seed=0), sum, 475)
    assert max(trial.reward for trial in climb) == 30


def test_a_local_search_waits_for_what_is_pending():
    controller = LocalSearch(Bits(5), seed=0, num_init=1)
    (start,) = controller.ask(4)
    assert controller.ask(4) == []
    controller.tell([Trial(0, start, 1.0)])
    assert len(controller.ask(9)) == 5


def test_a_local_search_starts_at_the_best_of_several():
    controller = LocalSearch(Bits(8), seed=0, num_init=3)
    starts = controller.ask(9)
    assert len({start.arch for start in starts}) == 3
    again = LocalSearch(Bits(8), seed=1)
    again.load_state(controller.state())
    for i, start in enumerate(starts):
        assert controller.ask(1) == []
        controller.tell([Trial(i, start, float(i == 1))])
        again.tell([Trial(i, start, float(i == 1))])
    around = [proposal.arch for proposal in controller.ask(8)]
    assert set(around) <= set(neighbours(Bits(8), starts[1].arch))
    assert controller.centre == starts[1].arch
    assert [proposal.arch for proposal in again.ask(8)] == around


def test_the_state_of_a_version_without_num_init_is_read():
    old = LocalSearch(Bits(5), seed=0, num_init=1, first_improvement=False)
    trials = play(old, sum, 4)
    state = {name: value for name, value in old.state().items() if name != "starts"}
    new = LocalSearch(Bits(5), seed=7, num_init=1, first_improvement=False)
    new.load_state(state)
    assert new.ask(2) == old.ask(2)
    assert len(trials) == 4


@pytest.mark.parametrize("acquisition", ["ei", "ucb", "thompson"])
def test_it_asks_for_each_architecture_once_and_ends(acquisition):
    controller = Bayesian(Bits(5), seed=0, initial=4, acquisition=acquisition)
    history = play(controller, sum, 100)
    assert len({trial.arch for trial in history}) == len(history) == 32


def test_it_finds_the_optimum_of_a_large_space_sooner_than_chance():
    controller = Bayesian(Bits(20), seed=0, initial=10, candidates=100, enumerate_below=1000)
    assert max(trial.reward for trial in play(controller, sum, 60)) >= 19


def test_pending_trials_are_spread():
    controller = Bayesian(Bits(8), seed=0, initial=2)
    controller.tell([Trial(i, p, float(i)) for i, p in enumerate(controller.ask(2))])
    assert len({p.arch for p in controller.ask(6)}) == 6


def process(space, **settings):
    return Bayesian(
        space, seed=0, gaussian_process=dataclasses.replace(GAUSSIAN_PROCESS, **settings)
    )


@pytest.mark.parametrize(
    "make, words",
    [
        (lambda s: Bayesian(s, seed=0, acquisition="pi"), "controller.acquisition must be one of"),
        (lambda s: process(s, kernel="rbf"), "gaussian_process.kernel must be one of exponenti"),
        (lambda s: process(s, length_scale=0.0), "gaussian_process.length_scale must be above"),
        (lambda s: process(s, noise=0.0), "controller.gaussian_process.noise must be above 0, got"),
        (lambda s: Bayesian(s, seed=0, initial=0), "controller.initial must be at least 1, got 0"),
        (lambda s: ReinforceSoftmax(s, seed=0, final="last"), "controller.final must be best or"),
        (lambda s: ReinforceSoftmax(s, seed=0, baseline_decay=1.0), "baseline_decay must be in"),
        (
            lambda s: RegularizedEvolution(s, seed=0, population_size=4, sample_size=5),
            "controller.sample_size must be in [1, controller.population_size=4], got 5",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(ConfigError) as error:
        make(Bits(3))
    assert words in str(error.value)
