"""The evaluator that trains every candidate from random weights.

Tables (benchmarks/tables) are evaluators too: they look up what a training gave.
"""

import math
from collections.abc import Callable
from typing import Any

from nas.core.skeleton import ImageSkeleton
from nas.core.space import Space
from nas.core.trial import NAN, Arch, ConfigError, EvaluationError, Proposal, trial_seed
from nas.data.images import ImageData
from nas.evaluators.common import (
    NO_LIMITS,
    ImageEvaluator,
    Limits,
    build_for_search,
    check_patience,
    image_metrics,
    release_models,
)
from nas.training.recipe import Recipe

# Times the accuracy of a uniform guess: MetaQNN's code asks for 0.15 with 10 classes (Baker et al.
# 2017).
BETTER_THAN_CHANCE = 1.5
RESTART_FACTOR = 0.4  # of the learning rate, at each restart (Baker et al. 2017, section 5)


class _NoBetterThanChance(Exception):
    """Raised after the first epoch of a network that has learnt nothing."""


class TrainFromScratch(ImageEvaluator):
    """Builds the architecture, trains it from random weights, validates it after every epoch.

    Args:
      dataset: gives the data when called; each worker calls it once.
      skeleton: gives the skeleton when called with the data's image_shape and classes.
      limits: of the network and of its training.
      patience: epochs in a row without a lower validation loss that end a training.
      restarts: how often a network that is no better than chance after its first epoch is trained
        again from scratch, with 0.4 of the learning rate; the last training counts whatever it
        gives. A training of a single epoch is over by then and is never repeated.
      gives_up: whether the last training ends there too if nothing was learnt, with the accuracy of
        a guess, 1 / classes; a loss that is not finite in the first epoch is then no better than
        chance either. So does MetaQNN's code (bowenbaker/metaqnn, caffe_client.py, line 91).
    """

    def __init__(
        self,
        *,
        space: Space,
        dataset: Callable[[], ImageData],
        skeleton: Callable[..., ImageSkeleton],
        recipe: Recipe,
        seed: int,
        limits: Limits = NO_LIMITS,
        patience: int | None = None,
        restarts: int = 0,
        gives_up: bool = False,
    ):
        check_patience(patience)
        if restarts < 0:
            raise ConfigError(
                f"evaluator.restarts must be at least 0, got {restarts}; set evaluator.restarts=0"
            )
        super().__init__(
            space=space, dataset=dataset, skeleton=skeleton, recipe=recipe, seed=seed, limits=limits
        )
        if gives_up and not restarts:
            raise ConfigError(
                "evaluator.gives_up must be false without restarts, got true; "
                "set evaluator.restarts=5"
            )
        self.max_seconds, self.patience = limits.max_seconds, patience
        self.restarts, self.gives_up = restarts, gives_up

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        """valid_accuracy and valid_loss of the last epoch, valid_accuracies of all, costs."""
        recipe = self.recipe.replace(epochs=proposal.epochs) if proposal.epochs else self.recipe
        skeleton, cost = self.skeleton_and_cost(proposal.arch, recipe)
        seed = trial_seed(self.seed, trial_id)
        history = self._train_with_restarts(proposal.arch, skeleton, recipe, seed)
        return image_metrics(history, cost)

    def _train_with_restarts(
        self, arch: Arch, skeleton: ImageSkeleton, recipe: Recipe, seed: int
    ) -> dict[str, list[float]]:
        """Trains, and again with a smaller learning rate if nothing was learnt."""
        first_epochs = self.restarts + self.gives_up if recipe.epochs > 1 else 0
        for _ in range(first_epochs):
            first_epoch = _FirstEpoch(least=BETTER_THAN_CHANCE / skeleton.classes)
            try:
                return self._train(arch, skeleton, recipe, seed, first_epoch)
            except _NoBetterThanChance:
                pass
            except EvaluationError as error:
                if error.status != NAN or first_epoch.is_over or not self.gives_up:
                    raise
            recipe = recipe.replace(learning_rate=recipe.learning_rate * RESTART_FACTOR)
        if first_epochs and self.gives_up:
            return _guesses(skeleton.classes)
        return self._train(arch, skeleton, recipe, seed)

    def _train(
        self,
        arch: Arch,
        skeleton: ImageSkeleton,
        recipe: Recipe,
        seed: int,
        on_epoch: Callable[[int, dict[str, float]], None] | None = None,
    ) -> dict[str, list[float]]:
        from nas.training import loop as image

        try:
            return image.fit(
                build_for_search(self.space, arch, skeleton, recipe, seed),
                self.dataset(),
                recipe,
                seed=seed,
                evaluate_on="valid",
                max_seconds=self.max_seconds,
                patience=self.patience,
                on_epoch=on_epoch,
            )
        finally:
            release_models()


class _FirstEpoch:
    """Called after each epoch; ends the training after the first if nothing was learnt."""

    def __init__(self, *, least: float):
        self.least, self.is_over = least, False

    def __call__(self, epoch: int, values: dict[str, float]) -> None:
        if epoch == 0 and values["valid_accuracy"] <= self.least:
            raise _NoBetterThanChance
        self.is_over = True


def _guesses(classes: int) -> dict[str, list[float]]:
    """What a network that gives all classes the same probability has after an epoch."""
    share = 1 / classes
    return {"valid_accuracy": [share], "valid_loss": [math.log(classes)], "accuracy": [share]}
