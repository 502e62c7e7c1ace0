"""SPOS: before a score the moments of the path are estimated on training batches alone."""

import dataclasses

import numpy as np
import pytest

from nas.core.trial import ConfigError
from nas.engine.rewards import accuracy
from nas.oneshot.image_weights import ImageWeights, even_batches
from nas.oneshot.interface import estimating_statistics
from nas.oneshot.paths import Paths
from nas.training import loop as image
from nas.training.recipe import Recipe
from tests.oneshot.test_oneshot import DATA, SKELETON, SPACE, one_epoch

RECIPE = Recipe(epochs=1, batch_size=16, learning_rate=0.05)  # without augmentation
BATCHES = 5  # more than the four of an epoch
ARCH, OTHER = (2, 0), (3, 1)


@pytest.fixture(scope="module")
def shared():
    """After an epoch of one path: its moving averages are of that path alone."""
    weights = ImageWeights(SPACE, SKELETON, DATA, RECIPE, seed=3, batch_statistics=True)
    method = Paths(
        space=SPACE, controller=None, reward=accuracy, seed=3, statistics_batches=BATCHES
    )
    method.start(weights)
    order, rates = one_epoch(RECIPE)
    weights.train(order, rates, [OTHER] * len(order), 0)
    return weights


def scored(shared, *archs):
    batches = even_batches(len(DATA.valid_images), 3)
    return shared.scores(archs, np.stack([batches] * len(archs)))


def test_the_averages_are_those_of_the_training_batches(shared):
    """Keras' own layers, cleared by hand, see the same batches in training mode."""
    accuracies, losses = scored(shared, ARCH)
    estimated = {v.path: v.numpy() for v in shared.supernet.variables if not v.trainable}
    model = shared.supernet.static(ARCH)
    averages = [v for v in model.variables if not v.trainable]
    for v in averages:
        v.assign(np.ones(v.shape) if v.path.endswith("variance") else np.zeros(v.shape))
    rows = np.concatenate([shared.batch_order(1), shared.batch_order(2)])[:BATCHES]
    for row in rows:
        x, _ = shared._device_data.batch("train", row)
        model(x, training=True)
    assert averages
    for v in averages:
        np.testing.assert_allclose(estimated[v.path], v.numpy(), rtol=1e-4, atol=1e-6)
    size = even_batches(len(DATA.valid_images), 3).size
    part = dataclasses.replace(
        DATA, valid_images=DATA.valid_images[:size], valid_labels=DATA.valid_labels[:size]
    )
    evaluate = image.make_evaluate(model, part, RECIPE, "valid")
    np.testing.assert_allclose(evaluate(), (losses[0], accuracies[0]), rtol=1e-4)


def test_a_score_does_not_depend_on_what_was_scored_before(shared):
    alone, _ = scored(shared, ARCH), scored(shared, OTHER)
    again = scored(shared, OTHER, ARCH)
    np.testing.assert_array_equal([value[1] for value in again], np.ravel(alone))
    assert shared.scores_graph.experimental_get_tracing_count() == 1


def test_shared_weights_of_a_text_have_no_moments_to_estimate():
    with pytest.raises(ConfigError, match="method.statistics_batches must be 0 where a text"):
        estimating_statistics(object())
