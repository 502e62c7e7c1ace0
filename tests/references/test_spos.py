"""The evolution of SPOS draws the same generations as its official code from the same numbers."""

import json
from pathlib import Path

import numpy as np

from nas.controllers.spos import SPOS
from nas.core.space import Cost, Decision, Space
from nas.core.trial import Proposal, Trial

ANSWERS = np.load(Path(__file__).parent / "spos.npz")


class Genes(Space):
    """The official space: 20 blocks of four kinds, drawn as the official code draws them."""

    decisions = tuple(Decision(f"block{i}", (0, 1, 2, 3), node=i) for i in range(20))

    def sample(self, rng):
        return tuple(int(rng.integers(4)) for _ in self.decisions)


class OldDraws:
    """numpy's global functions of a seed, under the names of a Generator."""

    def __init__(self, seed):
        self.state = np.random.RandomState(seed)

    def integers(self, high):
        return self.state.randint(high)

    def random(self):
        return self.state.random_sample()


def error(arch):
    return sum((gene * (i + 3)) % 7 for i, gene in enumerate(arch)) / 100.0


def cost(arch):
    return Cost(0, sum((gene + 1) * (i % 5 + 1) for i, gene in enumerate(arch)), 0)


def test_every_generation_is_the_official_one():
    settings = json.loads(str(ANSWERS["settings"]))
    controller = SPOS(Genes(), seed=0, cost=cost, **settings)
    controller.rng = OldDraws(0)
    number = 0
    for expected in ANSWERS["generations"].tolist():
        archs = [proposal.arch for proposal in controller.ask(100)]
        assert archs == [tuple(genes) for genes in expected]
        for arch in archs:
            controller.tell([Trial(number, Proposal(arch), -error(arch))])
            number += 1
    assert [arch for arch, _ in controller.best] == [tuple(r) for r in ANSWERS["top"].tolist()]
    # The official code evaluates these too and never reads their errors.
    archs = [proposal.arch for proposal in controller.ask(100)]
    assert archs == [tuple(genes) for genes in ANSWERS["last"].tolist()]
