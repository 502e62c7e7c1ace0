"""Local search against naszilla: the best of 80 evaluations, and how many the best cell takes.

Both draw at random, so means over searches are compared.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from nas.benchmarks.tables.nasbench201 import Table, position
from nas.benchmarks.tables.tabulated import digits201
from nas.controllers.local_search import LocalSearch
from nas.core.trial import Proposal, Trial
from nas.search_spaces.papers.nasbench201.space import NASBench201

PATH = os.environ.get("NASBENCH201_NPZ")
REFERENCE = np.load(Path(__file__).with_name("local_search.npz"))
VARIANTS = {
    "first_10": {},  # the defaults of both
    "whole_10": {"first_improvement": False},
    "first_1": {"num_init": 1},
    "whole_1": {"first_improvement": False, "num_init": 1},
}
SPACE = NASBench201()


def values_of(variant, seed, value, trials, until=np.inf):
    """The values of the evaluated cells, in order, up to the first of at least `until`."""
    controller, values = LocalSearch(SPACE, seed=seed, **VARIANTS[variant]), []
    while len(values) < trials and (not values or values[-1] < until):
        (proposal,) = controller.ask(1)
        values.append(value(proposal))
        controller.tell([Trial(len(values), proposal, values[-1])])
    return values


def same_mean(ours, theirs):
    """Whether the means differ by less than four standard errors."""
    error = np.hypot(np.std(ours) / len(ours) ** 0.5, np.std(theirs) / len(theirs) ** 0.5)
    return abs(np.mean(ours) - np.mean(theirs)) < 4 * error


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_best_of_80_evaluations_on_digits(variant):
    evaluate = digits201(SPACE)

    def value(proposal: Proposal) -> float:
        return evaluate(0, proposal)["valid_accuracy"]

    best = [max(values_of(variant, seed, value, 80)) for seed in range(60)]
    assert same_mean(best, REFERENCE[f"digits_{variant}"])


@pytest.mark.data
@pytest.mark.skipif(not PATH, reason="NASBENCH201_NPZ is not set")
@pytest.mark.parametrize("variant", VARIANTS)
def test_evaluations_until_the_best_cell_of_cifar100(variant):
    column = Table(PATH, dataset="cifar100").column("valid_200").tolist()

    def value(proposal: Proposal) -> float:
        return column[position(proposal.arch)]

    counts = [len(values_of(variant, s, value, 1000, max(column))) for s in range(60)]
    assert same_mean(counts, REFERENCE[f"cifar100_{variant}"])
