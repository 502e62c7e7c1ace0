"""Hill climbing: the parents of proposals, and what it starts from."""

import pytest

from nas.controllers.hill_climbing import HillClimbing
from nas.core.space import Decision, Space
from nas.core.trial import ConfigError, Trial
from nas.search_spaces.papers.growing.slots import MorphismSpace


class Bits(Space):
    decisions = tuple(Decision(f"bit{i}", (0, 1)) for i in range(30))


def play(controller, trials, reward=sum):
    history = []
    for i in range(trials):
        (proposal,) = controller.ask(1)
        history.append(Trial(i, proposal, reward(proposal.arch)))
        controller.tell(history[-1:])
    return history


def distance(a, b):
    return sum(x != y for x, y in zip(a, b, strict=True))


def test_every_child_is_the_best_ones():
    best = None
    for trial in play(HillClimbing(Bits(), seed=0), 100):
        if best is not None:
            assert trial.proposal.parent == best.id
            assert distance(trial.arch, best.arch) == 1
        else:
            assert trial.proposal.parent is None
        if best is None or trial.reward >= best.reward:
            best = trial


def test_it_climbs_to_the_top():
    assert max(trial.reward for trial in play(HillClimbing(Bits(), seed=0), 400)) == 30


def test_children_may_differ_by_several_mutations():
    history = play(HillClimbing(Bits(), seed=0, mutations=3), 300, reward=lambda arch: 0.5)
    far = {distance(a.arch, b.arch) for a, b in zip(history[1:], history, strict=False)}
    assert far == {0, 1, 2, 3}  # 0: the second mutation undid the first


def test_it_starts_where_the_space_says_and_draws_again_after_failures():
    space = MorphismSpace()
    controller = HillClimbing(space, seed=0)
    (first,) = controller.ask(2)
    assert first.arch == space.start()
    again = HillClimbing(space, seed=0)
    again.load_state(controller.state())
    assert again.ask(1) == []  # it waits for the start
    again.tell([Trial(0, first, 0.5)])
    assert [proposal.parent for proposal in again.ask(2)] == [0, 0]
    controller.tell([Trial(0, first, None)])
    second, third = controller.ask(2)
    assert first.arch != second.arch != third.arch
    assert second.parent is None and third.parent is None
    controller.tell([Trial(1, second, 0.5)])
    assert controller.ask(1)[0].parent == 1


def test_the_first_network_rises_in_filters_from_pooling_to_pooling():
    space = MorphismSpace()
    slots = [space.slot(space.start(), i) for i in range(12)]
    assert [slot and (slot.kernel, slot.filters) for slot in slots] == [
        (3, 16), (3, 16), None, None, (3, 32), (3, 32), None, None, (3, 64), (3, 64), None, None,
    ]  # fmt: skip
    small = MorphismSpace(slots=1, kernels=(1,), filters=(0,), pool_after=(), skips=False)
    assert small.slot(small.start(), 0).kernel == 1


def test_wrong_settings_are_told():
    with pytest.raises(ConfigError, match="controller.mutations must be a whole number"):
        HillClimbing(Bits(), seed=0, mutations=0)
