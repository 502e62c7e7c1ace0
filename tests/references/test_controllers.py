"""Regularized evolution beside its authors' notebook, PPO's objective beside PyTorch's autograd."""

import json
from pathlib import Path

import numpy as np

from nas.controllers.ppo import slopes
from nas.controllers.regularized_evolution import RegularizedEvolution
from nas.controllers.reinforce_softmax import ReinforceSoftmax
from nas.core.space import Decision, Space
from tests.controllers.test_tabular_controllers import Bits, play, toy

HERE = Path(__file__).parent


def test_regularized_evolution_rises_as_in_the_notebook():
    """The best of 100 bits so far, at five times, within four standard errors of 8 runs."""
    answer, runs = json.loads((HERE / "regularized_evolution.json").read_text()), 8
    best = []
    for seed in range(runs):
        controller = RegularizedEvolution(
            Bits(100), seed=seed, population_size=answer["population"], sample_size=answer["sample"]
        )
        rewards = [t.reward for t in play(controller, toy(seed), answer["at"][-1])]
        best.append([max(rewards[:n]) for n in answer["at"]])
    error = 4 * np.array(answer["deviation"]) / np.sqrt(runs)
    assert (np.abs(np.mean(best, 0) - answer["mean"]) < error).all()


def test_the_slopes_of_the_clipped_objective_are_autograds():
    answer = json.loads((HERE / "policy_gradient.json").read_text())
    ours = slopes(np.array(answer["ratios"]), np.array(answer["advantages"]), answer["clip"])
    np.testing.assert_allclose(ours, answer["slopes"], rtol=1e-6, atol=1e-12)
    assert 0 < np.count_nonzero(ours == 0) < len(ours)  # some are clipped, some are not


def test_the_gradient_of_a_table_of_logits_is_autograds():
    """Of the mean over a batch of (reward - baseline) log P, with the batch's mean as baseline."""
    answer = json.loads((HERE / "policy_gradient.json").read_text())["reinforce"]

    class Table(Space):
        decisions = tuple(
            Decision(f"d{i}", tuple(range(len(row)))) for i, row in enumerate(answer["logits"])
        )

    controller = ReinforceSoftmax(Table(), seed=0)
    for i, row in enumerate(answer["logits"]):
        controller.logits[i, : len(row)] = row
    rewards = np.array(answer["rewards"])
    slopes_of = [controller.gradient(tuple(arch)) for arch in answer["archs"]]
    ours = np.tensordot(rewards - rewards.mean(), np.stack(slopes_of), 1) / len(rewards)
    for i, theirs in enumerate(answer["gradients"]):
        np.testing.assert_allclose(ours[i, : len(theirs)], theirs, rtol=1e-5, atol=1e-9)
