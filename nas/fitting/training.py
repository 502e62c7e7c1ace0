"""Trains the networks of a fit, each for a share of its time, and makes the model of the best."""

import dataclasses
import functools
import gc
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from nas.core.capabilities import buildable_space
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Space
from nas.core.trial import ConfigError, Proposal, Trial
from nas.evaluators.common import build_for_search
from nas.evaluators.inherit import InheritFromParent, Start, Trained
from nas.fitting.arrays import ArrayData
from nas.fitting.parts import make_recipe
from nas.fitting.plan import MAX_EPOCHS, SHORTEST
from nas.fitting.process import left_as_found
from nas.morphism.settings import MorphismSettings
from nas.training.recipe import Recipe
from nas.training.weights import give

SEARCH_SHARE = 0.5  # of the time, until the best is trained for longer
SEARCH_TRIALS = 8  # share that time, if each then has SHORTEST seconds
FIRST_TRAINING_SHARES = 3  # for the first training of images, which inherits nothing
PATIENCE = 20  # looks at the validation of vectors without a better one that end a training
DROPOUT = 0.3  # before the last layer, of vectors, of which there are often few


def _collect() -> None:
    """Frees networks, which are reference cycles."""
    gc.collect()


class _Inheriting(InheritFromParent):
    """The evaluator in the process of a caller, whose Keras session is not cleared."""

    release = staticmethod(_collect)


class TimedTraining:
    """An evaluator: each training has a share of the time and never goes beyond its end.

    Networks of images inherit their parents' weights, those of vectors are trained from scratch. A
    proposal with epochs of its own may have all of the time that is left.

    Args:
      folder: where the trained weights are kept.
      start, end: of the fit, in seconds of time.monotonic().
    """

    def __init__(
        self,
        space: Space,
        data: ArrayData,
        seed: int,
        folder: Path | str,
        start: float,
        end: float,
    ):
        self.space, self.data, self.seed, self.start, self.end = space, data, seed, start, end
        self.recipe: Recipe = make_recipe(data)
        self.skeleton = functools.partial(
            ImageSkeleton, dropout=DROPOUT if data.is_vectors else 0.0
        )
        self.inheriting = _Inheriting(
            space=space,
            dataset=lambda: data,
            skeleton=self.skeleton,
            recipe=self.recipe,
            seed=seed,
            run_dir=folder,
            morphism=MorphismSettings(wider_noise=0.01, deeper_noise=0.01),
            keep=10**6,  # all, because any may become the model
        )
        self.share = max(SHORTEST, SEARCH_SHARE * (end - start) / SEARCH_TRIALS)

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        """The metrics of InheritFromParent at the best moment, without epochs, and the history."""
        from nas.training import deadline

        if self.data.is_vectors:
            proposal = dataclasses.replace(proposal, parent=None)
        with left_as_found():
            evaluated = self.inheriting.evaluate(trial_id, proposal, self._grow)
        history = evaluated.trained.history
        # The weights are those of the best moment, so the metrics are too.
        best = deadline.best_look(history)
        metrics = evaluated.metrics({name: values[best:][:1] for name, values in history.items()})
        del metrics["epochs"], metrics["valid_accuracies"]
        return metrics | {"history": history}

    def model(self, trials: Sequence[Trial]):
        """The Keras model of the mean of the trials' networks; of images, of the first one.

        It takes x as it was brought and gives probabilities [n, classes], or numbers [n, 1],
        float32.
        """
        with left_as_found():
            networks = [self._served(trial) for trial in trials]
            return self._mean(networks) if self.data.is_vectors else networks[0]

    def _mean(self, networks: Sequence[Any]):
        """The Keras model of vectors whose outputs are the means of the networks'."""
        import keras

        features = self.data.image_shape[2]
        vectors = keras.Input((features,))
        pixel = keras.layers.Reshape((1, 1, features))(vectors)
        outputs = [network(pixel) for network in networks]
        mean = keras.layers.Average()(outputs) if len(outputs) > 1 else outputs[0]
        return keras.Model(vectors, mean)

    def _served(self, trial: Trial):
        """One trial's network, of images [n, height, width, channels]."""
        from nas.training import loop as image

        data = self.data
        skeleton = self.skeleton(image_shape=data.image_shape, classes=data.classes)
        try:
            _, weights = self.inheriting.kept.load(trial.id, trial.id)
        except LookupError as error:
            raise ConfigError(
                f"run_dir must have the weights of trial {trial.id}, which are {error}; name a new "
                "run_dir"
            ) from error
        network = buildable_space(self.space).build(trial.arch, skeleton)
        give(network, weights)
        return image.servable(network, data, _head(data))

    def _grow(self, start: Start) -> Trained:
        """Trains from the start's weights until its share of the time is over."""
        from nas.training import deadline

        is_linear, skeleton = not any(start.arch), start.skeleton
        if is_linear:  # the features would be dropped
            skeleton = dataclasses.replace(skeleton, dropout=0.0)
        model = build_for_search(self.space, start.arch, skeleton, start.recipe, start.seed)
        inherited = give(model, start.weights)
        before = time.monotonic() - self.start
        seconds = self._seconds(start.recipe, inherits=bool(start.weights))
        history, weights = deadline.train_until(
            model,
            self.data,
            start.recipe,
            self.end,
            seed=start.seed,
            # However many its epochs, a linear network leaves the others their time.
            seconds=self.share if is_linear else seconds,
            epochs=start.recipe.epochs,
            patience=PATIENCE if self.data.is_vectors else math.inf,
        )
        history["seconds"] = [before + s for s in history["seconds"]]
        return Trained(history, weights, inherited)

    def _seconds(self, recipe: Recipe, inherits: bool) -> float:
        """How long a training may take."""
        if recipe.epochs != MAX_EPOCHS:
            return math.inf
        return self.share * (1 if inherits or self.data.is_vectors else FIRST_TRAINING_SHARES)


def _head(data: ArrayData):
    """The layer behind the logits: the numbers of y; None: probabilities, `servable`'s own."""
    import keras

    if not data.is_regression:
        return None
    return keras.layers.Rescaling(data.scale, data.centre, dtype="float32")
