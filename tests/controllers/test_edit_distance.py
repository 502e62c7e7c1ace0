"""Distances of networks by hand and as a metric; Bourgain's embedding; processes over both."""

import math

import numpy as np
import pytest

from nas.controllers.bayesian import Bayesian
from nas.controllers.surrogates import bourgain
from nas.controllers.surrogates.edit_distance import (
    layer_distance,
    layers_distance,
    network_distance,
    skip_distance,
    skips_distance,
)  # fmt: skip
from nas.controllers.surrogates.kernels import kernel
from nas.controllers.surrogates.posterior import OverFeatures, OverNetworks
from nas.core.capabilities import chain_space
from nas.core.space import Chain
from nas.core.trial import ConfigError, Trial
from nas.search_spaces.papers.growing.slots import MorphismSpace
from nas.search_spaces.papers.nasbench201.space import NASBench201
from tests.search_spaces.test_growing_slots import encoded

SPACE = MorphismSpace()
EXP = kernel("exponentiated_quadratic", 0.5**0.5)  # exp(-d^2)


def networks(count, seed=0, space=SPACE):
    """Architectures with different keys."""
    rng, found = np.random.default_rng(seed), {}
    while len(found) < count:
        arch = space.sample(rng)
        found[space.key(arch)] = arch
    return list(found.values())


def apart(a, b):
    return network_distance(SPACE.as_chain(a), SPACE.as_chain(b))


def test_layers_are_apart_by_the_papers_numbers():
    assert layer_distance(("conv", (64, 3, 1)), ("conv", (128, 3, 1))) == pytest.approx(1 / 6)
    assert layer_distance(("conv", (0, 3, 1)), ("conv", (0, 3, 2))) == pytest.approx(1 / 6)
    assert layer_distance(("conv", (64, 3, 1)), ("max_pool", (2, 2))) == 1
    assert layer_distance(("classifier", ()), ("classifier", ())) == 0
    dense = [("dense", (64,)), ("dense", (10,))]
    assert layers_distance(dense, [("dense", (64,)), *dense]) == 1  # one inserted
    assert layers_distance([], dense) == layers_distance(dense, []) == 2
    a, b = ("conv", (8, 1, 1)), ("max_pool", (2, 2))
    assert layers_distance([a, b], [b, a]) == 2  # order counts


def test_skips_are_apart_by_the_papers_numbers():
    assert skip_distance((0, 2, "add"), (0, 4, "add")) == 0.5
    assert skip_distance((0, 2, "add"), (0, 2, "concat")) == 1
    # Equal skips are matched, and one skip has no partner.
    a = [(0, 2, "add"), (1, 4, "concat")]
    assert skips_distance(a, [*a[::-1], (2, 3, "add")]) == 1
    assert skips_distance([], a) == skips_distance(a, []) == 2
    one, other = Chain((), ((0, 2, "add"),)), Chain((), ((0, 4, "add"),))
    assert network_distance(one, other, skip_weight=3.0) == 1.5


def test_the_distance_is_a_metric_on_random_networks():
    archs = networks(30)
    for a, b, c in np.random.default_rng(1).integers(30, size=(200, 3)):
        x, y, z = archs[a], archs[b], archs[c]
        assert apart(x, x) == 0 and apart(x, y) == pytest.approx(apart(y, x))
        assert (apart(x, y) == 0) == (a == b)
        assert apart(x, z) <= apart(x, y) + apart(y, z) + 1e-12


def test_a_network_of_slots_is_a_chain():
    space = MorphismSpace(slots=4, pool_after=(2,), strides=(1, 2))
    arch = encoded(
        space, slot1_kernel=3, slot1_filters=16, slot2_kernel=5, slot2_filters=0, slot2_stride=2,
        slot3_kernel=1, slot3_filters=32, slot3_skip=("add", 1),
    )  # fmt: skip
    layers = (
        ("conv", (16, 3, 1)), ("max_pool", (2, 2)), ("conv", (16, 5, 2)), ("conv", (32, 1, 1)),
        ("classifier", ()),
    )  # fmt: skip
    assert space.as_chain(arch) == Chain(layers, ((1, 4, "add"),))
    moved = encoded(space, slot0_kernel=3, slot0_filters=16)
    stays = encoded(space, slot1_kernel=3, slot1_filters=16)
    assert space.as_chain(moved) == space.as_chain(stays)  # empty slots do not count


def test_subsets_double_and_are_as_many_as_is_said():
    assert [len(s) for s in bourgain.subsets(50)] == [2**i for i in range(6) for _ in range(4)]
    shrunk = [len(s) for s in bourgain.subsets(50, shrinking=True)]
    assert shrunk == [1, 1, 1, 1, 2, 2, 2, 4, 4, 8]
    assert [len(s) for s in bourgain.subsets(1)] == [1]


def test_the_embedding_brings_no_two_further_apart():
    archs = networks(20)
    distances = np.array([[apart(a, b) for b in archs] for a in archs])
    points = bourgain.embedded(distances, bourgain.subsets(20))
    between = np.linalg.norm(points[:, None] - points[None], axis=-1)
    assert (between <= distances + 1e-12).all() and between.max() > 0.2 * distances.max()


def observed(count, **settings):
    process = OverNetworks(SPACE, EXP, **({"noise": 1e-10} | settings))
    archs = networks(count)
    for arch in archs:
        process.add(arch)
    return process, archs


def test_the_kernel_matrix_of_50_networks_has_no_negative_eigenvalue():
    process, _ = observed(50)
    points = bourgain.embedded(process.distances, bourgain.subsets(50))
    assert np.linalg.eigvalsh(EXP(points, points)).min() >= -1e-8
    # The network that is predicted is observed as well: 51 observations.
    both = np.concatenate([points, points[:1] + 0.01])
    assert np.linalg.eigvalsh(EXP(both, both)).min() >= -1e-8


@pytest.mark.parametrize("distance", ["edit", "features"])
def test_the_process_interpolates_what_it_observed(distance):
    space = MorphismSpace(slots=3, pool_after=()) if distance == "features" else SPACE
    *archs, new = networks(31, space=space)
    process = OverNetworks(space, EXP, noise=1e-10)
    if distance == "features":
        process = OverFeatures(space, EXP, noise=1e-10, rng=np.random.default_rng(0))
    for arch in archs:
        process.add(arch)
    values = np.random.default_rng(1).random(30)
    mean, deviation = process.predict(values, archs)
    np.testing.assert_allclose(mean, values, atol=1e-4)
    assert deviation.max() < 1e-4
    assert process.predict(values, [new])[1][0] > 0.01


def test_a_single_observation_says_what_its_distance_says():
    for settings in ({}, {"raw_prediction": True}):
        process, archs = observed(1, **settings)
        other = networks(2)[1]
        mean, deviation = process.predict(np.array([0.5]), [archs[0], other])
        near = math.exp(-(apart(archs[0], other) ** 2))
        np.testing.assert_allclose(mean, [0.5, 0.5 * near], atol=1e-6)
        assert deviation[1] == pytest.approx(math.sqrt(1 - near**2), abs=1e-6)


def test_the_released_code_predicts_by_unembedded_distances():
    process, archs = observed(12, raw_prediction=True, shrinking=True, noise=0.1)
    new, values = networks(13)[-1], np.arange(12.0)
    points = bourgain.embedded(process.distances, bourgain.subsets(12, shrinking=True))
    across = np.exp([-(apart(new, arch) ** 2) for arch in archs])
    inverse = np.linalg.inv(EXP(points, points) + 0.1 * np.eye(12))
    mean, _ = process.predict(values, [new])
    assert mean[0] == pytest.approx(across @ inverse @ values)


def test_bayesian_optimisation_takes_either_distance():
    space = MorphismSpace(slots=3, pool_after=())
    controller = Bayesian(space, seed=0, distance="edit", initial=2, candidates=20)
    for i in range(5):
        (proposal,) = controller.ask(1)
        controller.tell([Trial(i, proposal, float(i))])
    assert len(set(controller.asked)) == 5
    with pytest.raises(ConfigError, match="controller.distance=edit needs a space whose networks"):
        Bayesian(NASBench201(), seed=0, distance="edit")
    with pytest.raises(ConfigError, match="controller.distance must be one of features, edit"):
        Bayesian(NASBench201(), seed=0, distance="far")
    with pytest.raises(ConfigError, match="space must be one whose networks are layers in a row"):
        chain_space(NASBench201())
