"""The posterior equals the textbook's and tensorflow-probability's; acquisitions by hand."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

from nas.controllers.bayesian import GAUSSIAN_PROCESS, Bayesian
from nas.controllers.surrogates.acquisition import acquire
from nas.controllers.surrogates.gaussian_process import GaussianProcess
from nas.controllers.surrogates.kernels import KERNELS, kernel
from nas.core.trial import Trial
from nas.search_spaces.papers.nasbench201.space import NASBench201


def observed(covariance, points, seen, *, noise):
    """A process with the observations `seen`, added one by one, that watches `points`."""
    process = GaussianProcess(noise=noise, watched=len(points))
    for i in range(len(seen)):
        row = covariance(np.concatenate([seen[:i], points]), seen[i : i + 1])[:, 0]
        process.add(row[:i], row[i:])
    return process


@pytest.mark.parametrize("name", KERNELS)
def test_the_posterior_is_tensorflow_probabilitys(name):
    """70 observations: the factor has to grow once."""
    covariance = kernel(name, 1.5)
    from tensorflow_probability.substrates.numpy import distributions, math

    rng = np.random.default_rng(0)
    points, seen, values = rng.normal(size=(40, 3)), rng.normal(size=(70, 3)), rng.normal(size=70)
    process = observed(covariance, points, seen, noise=0.1)
    theirs = distributions.GaussianProcessRegressionModel(
        getattr(math.psd_kernels, KERNELS[name])(length_scale=np.float64(1.5)),
        index_points=points,
        observation_index_points=seen,
        observations=values,
        observation_noise_variance=np.float64(0.1),
        predictive_noise_variance=np.float64(0.0),
        jitter=np.float64(0.0),  # its default adds a millionth to the diagonal
    )
    for across in (None, covariance(seen, points)):
        mean, deviation = process.predict(values, across)
        np.testing.assert_allclose(mean, theirs.mean(), atol=1e-8)
        np.testing.assert_allclose(deviation, theirs.stddev(), atol=1e-6)


def test_the_posterior_is_the_textbooks():
    rng = np.random.default_rng(0)
    points, seen, values = rng.normal(size=(40, 3)), rng.normal(size=(9, 3)), rng.normal(size=9)

    def covariance(a, b):
        return np.exp(-0.5 * ((a[:, None] - b[None]) ** 2).sum(-1) / 1.5**2)

    rule = kernel("exponentiated_quadratic", 1.5)
    np.testing.assert_allclose(rule(points, seen), covariance(points, seen), atol=1e-12)
    inverse = np.linalg.inv(covariance(seen, seen) + 0.1 * np.eye(9))
    across = covariance(points, seen)
    mean, deviation = observed(covariance, points, seen, noise=0.1).predict(values)
    np.testing.assert_allclose(mean, across @ inverse @ values, atol=1e-9)
    variance = 1 - np.einsum("ij,jk,ik->i", across, inverse, across)
    np.testing.assert_allclose(deviation, np.sqrt(variance), atol=1e-7)


def test_expected_improvement_is_the_mean_of_what_is_better():
    rng = np.random.default_rng(0)
    mean, deviation = np.array([0.0, 1.0, -2.0]), np.array([1.0, 0.5, 1.0])
    got = acquire("ei", mean, deviation, best=0.5, ucb_weight=1.0, rng=rng)
    drawn = mean + deviation * rng.standard_normal((400_000, 3))
    expected = np.maximum(drawn - 0.5, 0).mean(0)
    np.testing.assert_allclose(got, expected, atol=0.006)  # six deviations of the mean
    bound = acquire("ucb", mean, deviation, best=0.5, ucb_weight=2.0, rng=rng)
    np.testing.assert_allclose(bound, [2.0, 2.0, 0.0])


def test_thompson_draws_each_point_on_its_own():
    rng = np.random.default_rng(0)
    drawn = acquire(
        "thompson", np.ones(10_000), np.full(10_000, 2.0), best=0, ucb_weight=1, rng=rng
    )
    assert abs(drawn.mean() - 1) < 0.1 and abs(drawn.std() - 2) < 0.07  # five deviations
    assert len(set(drawn)) == 10_000


def test_any_kernel_finds_the_best_of_a_cell_space_sooner_than_chance():
    for name in KERNELS:
        settings = dataclasses.replace(GAUSSIAN_PROCESS, kernel=name)
        controller = Bayesian(NASBench201(), seed=0, gaussian_process=settings)
        rewards = []
        for i in range(30):
            (proposal,) = controller.ask(1)
            rewards.append(sum(choice == 3 for choice in proposal.arch) / 6)
            controller.tell([Trial(i, proposal, rewards[-1])])
        assert max(rewards) == 1.0, name  # chance: 30 of 15,625


def test_no_tensorflow_is_imported_and_none_is_lost():
    """A later import gets all of tensorflow-probability, with equal kernels."""
    code = (
        "import sys, numpy as np\nfrom nas.controllers.bayesian import Bayesian\n"
        "from nas.controllers.surrogates.kernels import kernel\n"
        "from nas.search_spaces.papers.nasbench201.space import NASBench201\n"
        "Bayesian(NASBench201(), seed=0).ask(12)\n"
        "assert 'tensorflow' not in sys.modules\n"
        "ours = kernel('matern_five_halves', 1.5)(np.zeros((1, 2)), np.ones((1, 2)))\n"
        "import tensorflow_probability as tfp\n"
        "theirs = tfp.math.psd_kernels.MaternFiveHalves(length_scale=np.float64(1.5))\n"
        "theirs = theirs.matrix(np.zeros((1, 2)), np.ones((1, 2))).numpy()\n"
        "np.testing.assert_allclose(ours, theirs, rtol=1e-12)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
