"""Q-learning: the table after one trajectory by hand, the schedule, known architectures."""

import collections
import json
import math

import numpy as np
import pytest

from nas.controllers.q_learning import SCHEDULE, QLearning
from nas.controllers.random_search import RandomSearch
from nas.core.space import Decision, Space
from nas.core.trial import CRASHED, OOM, ConfigError, Proposal, Trial
from nas.search_spaces.papers.metaqnn import MetaQNN


class Switches(Space):
    """`count` independent decisions of `choices` choices each."""

    def __init__(self, count=3, choices=2):
        self.decisions = tuple(Decision(f"switch{i}", tuple(range(choices))) for i in range(count))


class Unordered(Switches):
    """Architectures with the same choices in another order are one network."""

    def key(self, arch):
        return tuple(sorted(arch))


def answered(i, arch, reward):
    return Trial(i, Proposal(arch), reward)


def searched(controller, evaluate, trials, first=0):
    """Runs the search; returns the proposed architectures in order."""
    archs = []
    for i in range(first, trials):
        (proposal,) = controller.ask(1)
        controller.tell([Trial(i, proposal, evaluate(proposal.arch))])
        archs.append(proposal.arch)
    return archs


def ones(arch):
    return sum(arch) / len(arch)


def test_a_good_trajectory_raises_q_from_its_end_backwards():
    controller = QLearning(Switches(), seed=0, replays=1)
    controller.tell([answered(0, (1, 0, 1), 0.9)])
    last = 0.5 + 0.01 * (0.9 - 0.5)
    middle = 0.5 + 0.01 * (last - 0.5)
    first = 0.5 + 0.01 * (middle - 0.5)
    assert controller.q[(1, 0)] == pytest.approx({0: 0.5, 1: last}, abs=1e-15)
    assert controller.q[(1,)] == pytest.approx({0: middle, 1: 0.5}, abs=1e-15)
    assert controller.q[()] == pytest.approx({0: 0.5, 1: first}, abs=1e-15)


def test_a_bad_trajectory_lowers_only_its_last_choice():
    """Another choice of the last state still has Q = 0.5, so no earlier Q falls below 0.5."""
    controller = QLearning(Switches(), seed=0, replays=1)
    controller.tell([answered(0, (1, 0, 1), 0.1)])
    assert controller.q[(1, 0)] == pytest.approx({0: 0.5, 1: 0.496}, abs=1e-15)
    assert controller.q[(1,)] == {0: 0.5, 1: 0.5}
    assert controller.q[()] == {0: 0.5, 1: 0.5}


def test_the_discount_makes_later_rewards_smaller():
    controller = QLearning(
        Switches(), seed=0, replays=1, learning_rate=1.0, discount=0.5, initial_value=0.0
    )
    controller.tell([answered(0, (1, 1, 1), 0.8)])
    assert [controller.q[state][1] for state in ((1, 1), (1,), ())] == [0.8, 0.4, 0.2]


def test_all_replays_of_one_memory_draw_it():
    controller = QLearning(Switches(1), seed=0, replays=100)
    controller.tell([answered(0, (1,), 1.0)])
    assert controller.q[()][1] == pytest.approx(1 - 0.5 * 0.99**100)


def test_the_table_is_keyed_by_the_spaces_states_up_to_the_softmax():
    space = MetaQNN()
    controller = QLearning(space, seed=0, replays=1, learning_rate=1.0)
    arch = space.parse("C(64,3), GAP, SM")
    controller.tell([answered(0, arch, 0.9)])
    conv, gap = arch[:2]
    assert list(controller.q) == [(0, -1, 8, 0), (1, conv, 8, 0), (2, gap, 1, 0)]
    assert controller.q[(2, gap, 1, 0)] == {0: 0.9}  # the softmax is the only choice
    assert controller.q[(1, conv, 8, 0)][gap] == 0.9
    assert controller.q[(0, -1, 8, 0)][conv] == 0.9
    assert (len(controller.q[(0, -1, 8, 0)]), len(controller.q[(1, conv, 8, 0)])) == (14, 17)


def test_the_schedule_counts_2700_unique_architectures():
    assert sum(count for _, count in SCHEDULE) == 2700
    controller = QLearning(Switches(), seed=0)
    starts = [0, 1500, 1600, 1700, 1800, 1950, 2100, 2250, 2400, 2550]
    epsilons = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]
    assert [controller.epsilon(start) for start in starts] == epsilons
    assert [controller.epsilon(start - 1) for start in starts[1:]] == epsilons[:-1]
    assert controller.epsilon(2699) == controller.epsilon(10**6) == 0.1


def test_the_schedule_can_be_squeezed():
    controller = QLearning(Switches(), seed=0, models=54)
    assert [controller.epsilon(n) for n in (0, 29, 30, 31, 32, 53)] == [1, 1, 0.9, 0.9, 0.8, 0.1]


def test_epsilon_is_the_share_of_random_choices():
    """At epsilon 0.4 the better of two choices has probability 0.6 + 0.2."""
    controller = QLearning(Switches(1), seed=0)
    controller.tell([answered(0, (1,), 1.0)])
    hits = sum(controller._walk(0.4)[0] for _ in range(2000))
    assert abs(hits - 1600) < 5 * math.sqrt(2000 * 0.8 * 0.2)


@pytest.mark.parametrize("epsilon", [0.0, 1.0])
def test_actions_are_uniform_at_epsilon_1_and_where_all_are_worth_the_same(epsilon):
    controller = QLearning(MetaQNN(layers=2), seed=1)
    drawn = collections.Counter(controller._walk(epsilon)[0] for _ in range(2800))
    assert len(drawn) == 14
    chi2 = sum((count - 200) ** 2 / 200 for count in drawn.values())
    assert chi2 < 13 + 6 * math.sqrt(2 * 13)  # mean 13, six deviations


def test_nothing_is_trained_twice_before_all_is_known():
    controller = QLearning(Switches(3), seed=0, schedule=[[0.5, 10]], max_repeats=50)
    archs = searched(controller, ones, 8)
    assert len(set(archs)) == 8
    assert searched(controller, ones, 9, first=8)[0] in archs  # then max_repeats ends the loop


def test_what_is_pending_is_not_proposed_again():
    controller = QLearning(Switches(3), seed=0)
    assert len({proposal.arch for proposal in controller.ask(8)}) == 8


def test_a_known_proposal_is_answered_from_memory_and_replayed():
    controller = QLearning(Switches(1), seed=0, replays=1, schedule=[[1.0, 1]], max_repeats=2000)
    controller.tell([answered(0, (1,), 1.0)])
    before = controller.q[()][1]
    assert controller.ask(1)[0].arch == (0,)  # the only unknown one
    repeats = math.log((1 - controller.q[()][1]) / (1 - before)) / math.log(0.99)
    assert repeats == pytest.approx(round(repeats))  # a whole number of updates of the known one
    controller = QLearning(Switches(1), seed=0, replays=1, max_repeats=7)
    controller.tell([answered(0, (1,), 1.0), answered(1, (0,), 0.0)])
    controller.ask(1)
    # 2 rewards and 7 repeats: 9 replays of one of the two.
    assert updates(controller.q[()][1], 1.0) + updates(controller.q[()][0], 0.0) == 9


def updates(q, reward):
    """How often a Q that started at 0.5 has moved towards `reward`."""
    return round(math.log((reward - q) / (reward - 0.5)) / math.log(0.99))


def test_another_vector_of_a_known_network_is_answered_too():
    controller = QLearning(Unordered(2), seed=0, schedule=[[1.0, 1]])
    controller.tell([answered(0, (0, 1), 0.7)])
    archs = searched(controller, ones, 3, first=1)
    assert {(0, 0), (1, 1)} <= set(archs[:2])
    # The first reward, or that of the repeated training.
    assert controller.rewards[controller.memory[1, 0]] in (0.7, 0.5)
    assert controller.known[(0, 1)] == (0, 1)


def test_failed_children_are_paid():
    controller = QLearning(Switches(1), seed=0, replays=1, failure_reward=0.2, learning_rate=1.0)
    controller.tell([Trial(0, Proposal((1,)), None, status=CRASHED, reason="as children do")])
    assert controller.q[()] == {0: 0.5, 1: 0.2}


def test_a_network_that_was_too_large_teaches_nothing():
    """The code's server only sends the next network (q_server.py, line 262)."""
    controller = QLearning(Switches(1), seed=0)
    (proposal,) = controller.ask(1)
    controller.tell([Trial(0, proposal, None, status=OOM, reason="no memory")])
    assert not controller.q and not controller.rewards and not controller.pending


def test_resuming_changes_nothing_at_any_epsilon():
    space = MetaQNN(image_size=8, layers=3)

    def made():
        return QLearning(space, seed=5, models=40)

    whole = made()
    archs = searched(whole, quality, 40)
    for stop in (3, 20, 30):
        first, second = made(), made()
        before = searched(first, quality, stop)
        second.load_state(first.state())
        assert before + searched(second, quality, 40, first=stop) == archs
        assert plain(second.state()) == plain(whole.state())


def quality(arch):
    """An arbitrary reward in [0, 1) for each architecture."""
    return math.sin(sum((i + 1) * choice for i, choice in enumerate(arch))) ** 2


def plain(state):
    return json.dumps(state, default=lambda array: array.tolist())


def test_it_finds_the_best_more_often_than_random_search():
    """4^4 = 256 architectures, 80 trials, the first 20 random."""
    space, settings = Switches(4, 4), {"replays": 5, "learning_rate": 0.1}
    controllers = {
        "q": lambda seed: QLearning(space, seed=seed, schedule=[[1.0, 20], [0.1, 60]], **settings),
        "random": lambda seed: RandomSearch(space, seed=seed),
    }
    found = {
        name: sum(finds(make(seed), (3, 3, 3, 3), trials=80) for seed in range(20))
        for name, make in controllers.items()
    }
    # 80 different random ones: 20 * 80 / 256 = 6.25 expected, deviation 2.1. Four deviations above.
    assert found["random"] < 15 <= found["q"]


def finds(controller, arch, trials):
    return any(searched(controller, ones, i + 1, first=i) == [arch] for i in range(trials))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"schedule": []}, r"schedule must be pairs .* got \[\]"),
        ({"schedule": [[1.5, 10]]}, r"schedule must be pairs .* got \[\[1.5, 10\]\]"),
        ({"schedule": [[0.5, 0]]}, r"schedule must be pairs"),
        ({"schedule": [[0.5]]}, r"schedule must be pairs"),
        ({"models": 0}, "models must be null or at least 1, got 0"),
        ({"learning_rate": 0.0}, r"learning_rate must be in \(0, 1\], got 0.0"),
        ({"discount": 1.1}, r"discount must be in \[0, 1\], got 1.1"),
        ({"replays": 0}, "replays must be at least 1, got 0"),
        ({"max_repeats": 0}, "max_repeats must be at least 1, got 0"),
    ],
)
def test_wrong_settings_are_refused_saying_where_to_change_them(settings, message):
    with pytest.raises(ConfigError, match="controller." + message + ".*; set controller."):
        QLearning(Switches(), seed=0, **settings)


def test_the_state_survives_plain_values():
    """The state after a store has saved and loaded it: arrays of numbers, and JSON."""
    controller = QLearning(Switches(), seed=0)
    searched(controller, ones, 4)
    state = controller.state()
    assert state["values"].dtype == np.float64
    assert state["states"]["flat"].dtype == state["archs"]["flat"].dtype == np.int64
    again = QLearning(Switches(), seed=9)
    again.load_state(json.loads(plain(state)))
    assert plain(again.state()) == plain(state)
