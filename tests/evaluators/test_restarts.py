"""A first epoch no better than chance repeats the training (Baker et al. 2017, section 5)."""

import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError, Proposal
from nas.evaluators.scratch import TrainFromScratch
from nas.search_spaces.papers.metaqnn import MetaQNN
from nas.training import loop as image
from nas.training.recipe import Recipe
from tests.helpers import small_images

SPACE = MetaQNN(image_size=4, layers=2)


def evaluator(restarts, epochs=2):
    return TrainFromScratch(
        space=SPACE,
        dataset=lambda: small_images.make(*small_images.some()),
        skeleton=lambda **data: ImageSkeleton(width=0.02, **data),
        recipe=Recipe(epochs=epochs, learning_rate=0.1, batch_size=8),
        seed=0,
        restarts=restarts,
    )


@pytest.mark.parametrize(
    "restarts, accuracies, rates",
    [
        (0, [0.5], [0.1]),
        (2, [0.76], [0.1]),  # of two classes chance is 0.5, and better is 0.75
        (2, [0.75, 0.9], [0.1, 0.04]),
        (2, [0.5, 0.5, 0.5], [0.1, 0.04, 0.016]),  # the last is kept
    ],
)
def test_the_learning_rate_falls_until_something_is_learnt(
    monkeypatch, restarts, accuracies, rates
):
    left, seen = list(accuracies), []

    def fit(model, data, recipe, *, on_epoch, **settings):
        seen.append(recipe.learning_rate)
        accuracy = left.pop(0)
        if on_epoch is not None:
            on_epoch(0, {"valid_accuracy": accuracy})
        return {"valid_accuracy": [accuracy], "valid_loss": [1.0], "accuracy": [accuracy]}

    monkeypatch.setattr(image, "fit", fit)
    metrics = evaluator(restarts)(0, Proposal(SPACE.parse("C(64,1), GAP")))
    assert seen == pytest.approx(rates)
    assert metrics["valid_accuracy"] == accuracies[-1]
    assert not left


def test_a_training_that_is_repeated_ends():
    """The labels are random, so nothing can be learnt."""
    metrics = evaluator(1)(0, Proposal(SPACE.parse("GAP")))
    assert 0 <= metrics["valid_accuracy"] <= 1


def test_one_epoch_is_never_repeated(monkeypatch):
    def fit(*args, on_epoch, **settings):
        assert on_epoch is None
        return {"valid_accuracy": [0.1], "valid_loss": [1.0], "accuracy": [0.1]}

    monkeypatch.setattr(image, "fit", fit)
    metrics = evaluator(5, epochs=1)(0, Proposal(SPACE.parse("GAP")))
    assert metrics["valid_accuracy"] == 0.1


def test_the_number_of_restarts_is_not_negative():
    with pytest.raises(ConfigError, match="restarts must be at least 0, got -1; set evaluator"):
        evaluator(-1)
