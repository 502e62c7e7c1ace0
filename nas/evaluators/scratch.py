"""Evaluators: a proposal becomes metrics. Stateless and picklable, so that any worker can run them.

Tables (`benchmarks/`) are evaluators too. TensorFlow is imported by the first call, in the worker.
"""

import contextlib
import functools
import gc
from collections.abc import Callable, Iterator
from typing import Any

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import INVALID, ConfigError, EvaluationError, Proposal, trial_seed
from nas.data.images import ImageData
from nas.evaluators import compatibility as kinds
from nas.training.recipe import Recipe

# Of the accuracy of equal guesses: MetaQNN's code asks for 0.15 of 10 classes (Baker et al. 2017).
BETTER_THAN_CHANCE = 1.5
RESTART_FACTOR = 0.4  # of the learning rate, at each restart (Baker et al. 2017, section 5)


class _NoBetterThanChance(Exception):
    """After its first epoch a network knows nothing."""


class LoadedOnce:
    """A data set read on its first call and kept; a copy sent to a worker reads its own."""

    def __init__(self, load: Callable[[], ImageData]):
        self.load = load
        self._data: ImageData | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"load": self.load, "_data": None}

    def __call__(self) -> ImageData:
        if self._data is None:
            self._data = self.load()
        return self._data


class TrainFromScratch:
    """Builds the architecture, trains it from random weights, validates it after every epoch.

    Args:
      dataset: gives the data when called; each worker calls it once.
      skeleton: gives the skeleton when called with the data's image_shape and classes.
      max_parameters, max_flops: a candidate with more is `invalid` before it is built.
      max_memory: megabytes that weights, gradients, momenta and activations of a batch may take.
      max_seconds: training that has taken longer at the end of an epoch is a `timeout`.
      patience: epochs in a row without a lower validation loss that end a training.
      restarts: a network that is no better than chance after its first epoch starts anew with 0.4
        of the learning rate, at most so many times; the last start is kept whatever it gives. A
        training of a single epoch is over by then and never starts anew.
    """

    def __init__(
        self,
        *,
        space,
        dataset: Callable[[], ImageData],
        skeleton: Callable[..., ImageSkeleton],
        recipe: Recipe,
        seed: int,
        max_parameters: int | None = None,
        max_flops: int | None = None,
        max_memory: float | None = None,
        max_seconds: float | None = None,
        patience: int | None = None,
        restarts: int = 0,
    ):
        if patience is not None and patience < 1:
            raise ConfigError(
                f"evaluator.patience must be at least 1 or null, got {patience}; "
                "set evaluator.patience=null"
            )
        if restarts < 0:
            raise ConfigError(
                f"evaluator.restarts must be at least 0, got {restarts}; set evaluator.restarts=0"
            )
        kinds.check_space(space, "this evaluator", text=False)
        kinds.check_recipe(recipe, "this evaluator", text=False)
        self.space, self.skeleton, self.recipe = space, skeleton, recipe
        self.dataset = dataset if isinstance(dataset, LoadedOnce) else LoadedOnce(dataset)
        self.seed = seed
        self.max_parameters, self.max_flops, self.max_memory = max_parameters, max_flops, max_memory
        self.max_seconds, self.patience = max_seconds, patience
        self.restarts = restarts

    def check_data(self, data: Any) -> None:
        """Raises ConfigError where `data` are not images, or the skeleton is none of images."""
        kinds.check_data(data, self.skeleton, "this evaluator", text=False)

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        """valid_accuracy and valid_loss of the last epoch, valid_accuracies of all, costs."""
        data = self.dataset()
        skeleton = self.skeleton(image_shape=data.image_shape, classes=data.classes)
        recipe = self.recipe.replace(epochs=proposal.epochs) if proposal.epochs else self.recipe
        with building():
            cost = self.space.cost(proposal.arch, skeleton)
        self._refuse(cost, recipe.batch_size)
        history = self._learn(proposal.arch, skeleton, recipe, trial_seed(self.seed, trial_id))
        return self._metrics(history, cost)

    def _metrics(self, history, cost) -> dict[str, Any]:
        return {
            "valid_accuracy": history["valid_accuracy"][-1],
            "valid_accuracies": history["valid_accuracy"],
            "valid_loss": history["valid_loss"][-1],
            "train_accuracy": history["accuracy"][-1],
            "parameters": cost.parameters,
            "flops": cost.flops,
            "epochs": len(history["valid_accuracy"]),
        }

    def _learn(self, arch, skeleton, recipe, seed: int) -> dict[str, list[float]]:
        """Trains, and anew with a smaller learning rate where it does not learn."""
        least = BETTER_THAN_CHANCE / skeleton.classes
        for _ in range(self.restarts if recipe.epochs > 1 else 0):
            try:
                return self._train(arch, skeleton, recipe, seed, _stop_below(least))
            except _NoBetterThanChance:
                recipe = recipe.replace(learning_rate=recipe.learning_rate * RESTART_FACTOR)
        return self._train(arch, skeleton, recipe, seed)

    def _train(self, arch, skeleton, recipe, seed: int, on_epoch=None) -> dict[str, list[float]]:
        try:
            return self._trained(arch, skeleton, recipe, seed, on_epoch)
        finally:
            forget()

    def _trained(self, arch, skeleton, recipe, seed: int, on_epoch) -> dict[str, list[float]]:
        from nas.training import loop as image

        with building():
            model = image.build_for_search(self.space, arch, skeleton, recipe, seed)
        return image.fit(
            model,
            self.dataset(),
            recipe,
            seed=seed,
            evaluate_on="valid",
            max_seconds=self.max_seconds,
            patience=self.patience,
            on_epoch=on_epoch,
        )

    def _refuse(self, cost, batch_size: int) -> None:
        """A candidate too large costs nothing: it is refused before a variable is made."""
        # Weights, gradients and momenta; activations are kept for the backward pass. float32.
        memory = 4 * (3 * cost.parameters + batch_size * cost.activations) / 2**20
        for name, value, limit in (
            ("parameters", cost.parameters, self.max_parameters),
            ("flops", cost.flops, self.max_flops),
            ("memory", memory, self.max_memory),
        ):
            if limit is not None and value > limit:
                raise EvaluationError(
                    INVALID, f"{name} must be at most evaluator.max_{name}={limit}, got {value:.0f}"
                )


@functools.cache
def _settle() -> None:
    """Once a process: what TensorFlow keeps for ever is not looked through again for garbage."""
    gc.collect()
    gc.freeze()


def forget() -> None:
    """Models are cycles: without a collection they outlive many trials. Keras' reset makes one."""
    import keras

    _settle()
    keras.backend.clear_session()


@contextlib.contextmanager
def building() -> Iterator[None]:
    """What does not fit together (Keras: a size below 1, shapes that differ) is `invalid`."""
    try:
        yield
    except ValueError as error:
        text = " ".join(str(error).split())[:300]
        raise EvaluationError(INVALID, f"cannot be built: {text}") from error


def _stop_below(least: float) -> Callable[[int, dict[str, float]], None]:
    def on_epoch(epoch: int, values: dict[str, float]) -> None:
        if epoch == 0 and values["valid_accuracy"] <= least:
            raise _NoBetterThanChance

    return on_epoch
