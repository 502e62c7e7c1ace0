"""What evaluators share: limits, the data set read once, refusals, metrics, released memory.

An evaluator is called with a trial's id and a proposal and returns metrics. It keeps no result of a
trial and is picklable, so any worker can run it. TensorFlow is imported by the first call.
"""

import contextlib
import dataclasses
import functools
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from nas.core.skeleton import ImageSkeleton
from nas.core.space import Cost, Space
from nas.core.trial import INVALID, Arch, ConfigError, EvaluationError
from nas.data.images import ImageData
from nas.evaluators.compatibility import IMAGES
from nas.training.recipe import Recipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class NetworkLimits:
    """What the limits of all evaluators of images share. None: no limit.

    max_parameters: trainable weights. max_flops: multiply-adds of one image, forward. max_memory:
    megabytes for weights, gradients, momenta and the activations of a batch.
    """

    max_parameters: int | None = None
    max_flops: int | None = None
    max_memory: float | None = None

    def check(self, cost: Cost, batch_size: int) -> None:
        """Raises EvaluationError, INVALID, for a larger network, before a variable is made."""
        # Weights, gradients and momenta; activations are kept for the backward pass. float32.
        memory = 4 * (3 * cost.parameters + batch_size * cost.activations) / 2**20
        refuse_above("parameters", cost.parameters, self.max_parameters)
        refuse_above("flops", cost.flops, self.max_flops)
        refuse_above("memory", memory, self.max_memory)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SizeLimits(NetworkLimits):
    """The largest network of images that is trained."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits(NetworkLimits):
    """The largest network of images that is trained, and the longest training.

    max_seconds: a training that has taken longer at the end of an epoch is a `timeout`.
    """

    max_seconds: float | None = None


NO_LIMITS, NO_SIZE_LIMITS = Limits(), SizeLimits()


def refuse_above(name: str, value: float, limit: float | None) -> None:
    """Raises EvaluationError, INVALID, naming the setting, if `value` is above `limit`."""
    if limit is not None and value > limit:
        raise EvaluationError(
            INVALID, f"{name} must be at most evaluator.limits.max_{name}={limit}, got {value:.0f}"
        )


def check_patience(patience: int | None) -> None:
    """Raises ConfigError unless `patience` is a number of epochs or None."""
    if patience is not None and patience < 1:
        raise ConfigError(
            f"evaluator.patience must be at least 1 or null, got {patience}; "
            "set evaluator.patience=null"
        )


class LoadedOnce:
    """A data set that is read on the first call and kept. A copy in a worker reads its own."""

    def __init__(self, load: Callable[[], Any]):
        self.load = load
        self._data: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return {"load": self.load, "_data": None}

    def __call__(self) -> Any:
        if self._data is None:
            self._data = self.load()
        return self._data


def loaded_once(dataset: Callable[[], Any]) -> LoadedOnce:
    return dataset if isinstance(dataset, LoadedOnce) else LoadedOnce(dataset)


class ImageEvaluator:
    """The settings of every evaluator of images, and what precedes every training.

    Args:
      dataset: gives the data when called; each worker calls it once.
      skeleton: gives the skeleton when called with the data's image_shape and classes.
      limits: a larger candidate is `invalid` before it is built.

    Raises ConfigError if space and recipe are not of images.
    """

    def __init__(
        self,
        *,
        space: Space,
        dataset: Callable[[], ImageData],
        skeleton: Callable[..., ImageSkeleton],
        recipe: Recipe,
        seed: int,
        limits: NetworkLimits,
    ):
        IMAGES.check_space(space, "this evaluator")
        IMAGES.check_recipe(recipe, "this evaluator")
        self.space: Any = space
        self.skeleton, self.recipe, self.seed = skeleton, recipe, seed
        self.dataset = loaded_once(dataset)
        self.limits = limits

    def check_data(self, data: Any) -> None:
        """Raises ConfigError if `data` are not images, or the skeleton is not one of images."""
        IMAGES.check_data(data, self.skeleton, "this evaluator")

    def skeleton_and_cost(self, arch: Arch, recipe: Recipe) -> tuple[ImageSkeleton, Cost]:
        """The skeleton for the data, and what the candidate costs.

        Raises EvaluationError, INVALID, if it cannot be built or is above the limits.
        """
        data = self.dataset()
        skeleton = self.skeleton(image_shape=data.image_shape, classes=data.classes)
        with building():
            cost = self.space.cost(arch, skeleton)
        self.limits.check(cost, recipe.batch_size)
        return skeleton, cost


def image_metrics(history: Mapping[str, Sequence[float]], cost: Cost) -> dict[str, Any]:
    """valid_accuracy and valid_loss of the last epoch, valid_accuracies of all, and costs.

    history: values of each epoch by name, as nas.training.loop.fit returns them.
    """
    return {
        "valid_accuracy": history["valid_accuracy"][-1],
        "valid_accuracies": history["valid_accuracy"],
        "valid_loss": history["valid_loss"][-1],
        "train_accuracy": history["accuracy"][-1],
        "parameters": cost.parameters,
        "flops": cost.flops,
        "epochs": len(history["valid_accuracy"]),
    }


def build_for_search(space: Any, arch: Arch, skeleton: ImageSkeleton, recipe: Recipe, seed: int):
    """The candidate's network. Raises EvaluationError, INVALID, if it cannot be built."""
    from nas.training import loop as image

    with building():
        return image.build_for_search(space, arch, skeleton, recipe, seed)


@contextlib.contextmanager
def building() -> Iterator[None]:
    """Turns a ValueError (Keras: a size below 1, shapes that differ) into an `invalid` trial."""
    try:
        yield
    except ValueError as error:
        text = " ".join(str(error).split())[:300]
        raise EvaluationError(INVALID, f"cannot be built: {text}") from error


def release_models() -> None:
    """Clears Keras' session, whose collection frees the model (models are reference cycles)."""
    import keras

    _freeze_import_garbage()
    keras.backend.clear_session()


@functools.cache
def _freeze_import_garbage() -> None:
    """Once per process: exempts TensorFlow's permanent objects from garbage collection."""
    gc.collect()
    gc.freeze()
