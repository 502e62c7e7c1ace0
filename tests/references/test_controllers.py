"""Regularized evolution beside its authors' notebook, PPO's objective beside PyTorch's autograd."""

import json
from pathlib import Path

import numpy as np

from nas.controllers.ppo import slopes
from nas.controllers.regularized_evolution import RegularizedEvolution
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
