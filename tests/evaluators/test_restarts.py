"""A first epoch no better than chance repeats the training (Baker et al. 2017, section 5)."""

import math

import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import NAN, ConfigError, EvaluationError, Proposal
from nas.evaluators.scratch import TrainFromScratch
from nas.search_spaces.papers.metaqnn import MetaQNN
from nas.training import loop as image
from nas.training.recipe import Recipe
from tests.helpers import small_images

SPACE = MetaQNN(image_size=4, layers=2)


def evaluator(restarts, epochs=2, gives_up=False):
    return TrainFromScratch(
        space=SPACE,
        dataset=lambda: small_images.make(*small_images.some()),
        skeleton=lambda **data: ImageSkeleton(width=0.02, **data),
        recipe=Recipe(epochs=epochs, learning_rate=0.1, batch_size=8),
        seed=0,
        restarts=restarts,
        gives_up=gives_up,
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


@pytest.mark.parametrize("accuracies", [[0.5, 0.75, 0.5], [None, 0.5, None]])
def test_a_network_that_no_learning_rate_trains_has_the_accuracy_of_a_guess(
    monkeypatch, accuracies
):
    """None: the loss is not finite. All of them are first epochs only."""
    left = list(accuracies)

    def fit(model, data, recipe, *, on_epoch, **settings):
        accuracy = left.pop(0)
        if accuracy is None:
            raise EvaluationError(NAN, "the loss is nan after epoch 1")
        on_epoch(0, {"valid_accuracy": accuracy})
        raise AssertionError("trained on")

    monkeypatch.setattr(image, "fit", fit)
    metrics = evaluator(2, gives_up=True)(0, Proposal(SPACE.parse("C(64,1), GAP")))
    assert metrics["valid_accuracy"] == 0.5
    assert metrics["valid_loss"] == pytest.approx(math.log(2))
    assert not left


@pytest.mark.parametrize("epochs, gives_up", [(2, True), (1, False)])
def test_a_loss_that_is_lost_later_is_a_failed_trial(monkeypatch, epochs, gives_up):
    """In the second epoch; and in the first, where the evaluator does not give up."""

    def fit(model, data, recipe, *, on_epoch, **settings):
        if epochs == 2:
            on_epoch(0, {"valid_accuracy": 0.9})
        raise EvaluationError(NAN, "the loss is nan")

    monkeypatch.setattr(image, "fit", fit)
    with pytest.raises(EvaluationError, match="the loss is nan"):
        evaluator(2, gives_up=gives_up)(0, Proposal(SPACE.parse("C(64,1), GAP")))


def test_giving_up_needs_restarts():
    with pytest.raises(ConfigError, match="gives_up must be false without restarts"):
        evaluator(0, gives_up=True)


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
