"""NAS-Bench-201's evolution against AutoDL-Projects: mutations, and where searches end."""

import os
from pathlib import Path

import numpy as np
import pytest

from nas.benchmarks.tables.nasbench201 import NASBench201Table
from nas.controllers.regularized_evolution import RegularizedEvolution
from nas.engine.executors import SerialExecutor
from nas.engine.rewards import accuracy
from nas.engine.search import best, search
from nas.engine.store import Unsaved
from nas.search_spaces.papers.nasbench201.space import NASBench201, from_string

PATH = os.environ.get("NASBENCH201_NPZ")
REFERENCE = np.load(Path(__file__).with_name("nasbench201_mutation.npz"))
SHARES = np.array([1 / 3, 1 / 6, 1 / 6, 1 / 9, 1 / 9, 1 / 9])


def mutated(mutation, draws):
    """How often an edge's operation became another one: [edges, before, after]."""
    space, rng = NASBench201(mutation=mutation), np.random.default_rng(0)
    counts = np.zeros((6, 5, 5), int)
    for _ in range(draws):
        arch = space.sample(rng)
        child = space.mutate(arch, rng)
        (edge,) = [i for i in range(6) if child[i] != arch[i]]
        counts[edge, arch[edge], child[edge]] += 1
    return counts


def test_a_mutation_draws_a_node_and_then_one_of_its_edges():
    theirs, ours = REFERENCE["mutations"], mutated("node", 30_000)
    for counts in (theirs, ours):
        total = counts.sum()
        deviation = np.sqrt(SHARES * (1 - SHARES) / total)
        assert (abs(counts.sum((1, 2)) / total - SHARES) < 5 * deviation).all()
        # Every other operation is as likely.
        expected = np.where(np.eye(5), 0, SHARES[:, None, None] / 20)
        deviation = np.sqrt(expected * (1 - expected) / total)
        assert (abs(counts / total - expected) <= 5 * deviation).all()


def test_by_default_every_edge_is_as_likely():
    shares = mutated("edge", 12_000).sum((1, 2)) / 12_000
    assert (abs(shares - 1 / 6) < 5 * np.sqrt(5 / 36 / 12_000)).all()


@pytest.mark.data
@pytest.mark.skipif(not PATH, reason="NASBENCH201_NPZ is not set")
def test_searches_end_with_cells_as_good_as_those_of_the_authors_code():
    """12,000 s on CIFAR-10: 500 searches of theirs, 60 of ours, accuracies after 200 epochs."""
    space = NASBench201(mutation="node")
    evaluate = NASBench201Table(space)
    with np.load(PATH) as file:
        archs = [from_string(str(text)) for text in file["arch_str"]]
    theirs = np.array([evaluate.final(archs[i])["valid_200"] for i in REFERENCE["final_cells"]])
    ends, trials = [], []
    for seed in range(60):
        controller = RegularizedEvolution(space, seed=seed, population_size=10, sample_size=3)
        done = search(
            controller, evaluate, accuracy, Unsaved(), SerialExecutor(),
            max_trials=1000, max_seconds=12_000,
        )  # fmt: skip
        ends.append(evaluate.final(best(done).arch)["valid_200"])
        trials.append(len(done))
    for ours, reference in ((np.array(ends), theirs), (np.array(trials), REFERENCE["trials"])):
        error = np.hypot(ours.std() / len(ours) ** 0.5, reference.std() / len(reference) ** 0.5)
        assert abs(ours.mean() - reference.mean()) < 4 * error
