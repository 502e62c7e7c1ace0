"""The evaluator that trains candidates from scratch, all by one graph.

The graph is in nas/training/one_graph.py.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nas.core.capabilities import SupernetSpace
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Space
from nas.core.trial import NAN, OOM, Arch, ConfigError, EvaluationError, Proposal, trial_seed
from nas.data.images import ImageData
from nas.evaluators.common import NO_SIZE_LIMITS, ImageEvaluator, SizeLimits, image_metrics
from nas.evaluators.compatibility import IMAGES
from nas.training.recipe import Recipe


class TrainWithOneGraph(ImageEvaluator):
    """TrainFromScratch without a trace for each candidate, for spaces with a supernet.

    The first training of a process traces the graph, which takes seconds. Those that follow cost
    little more than their steps. A step costs more than one of a network that was built for its
    architecture, so long trainings are better built.

    Args: as of TrainFromScratch. A training is one call, which nothing stops between epochs, so the
    limits are of sizes alone.

    Raises ConfigError if the space has no supernet, and for what a supernet does not train.
    """

    def __init__(
        self,
        *,
        space: Space,
        dataset: Callable[[], ImageData],
        skeleton: Callable[..., ImageSkeleton],
        recipe: Recipe,
        seed: int,
        limits: SizeLimits = NO_SIZE_LIMITS,
    ):
        super().__init__(
            space=space, dataset=dataset, skeleton=skeleton, recipe=recipe, seed=seed, limits=limits
        )
        check_trainable(space, recipe)
        self._graph: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_graph": None}

    def check_data(self, data: Any) -> None:
        """Raises ConfigError if the data or the skeleton are not what one graph can train."""
        super().check_data(data)
        check_skeleton(self.skeleton(image_shape=data.image_shape, classes=data.classes))

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        """The metrics of TrainFromScratch."""
        recipe = self.recipe.replace(epochs=proposal.epochs) if proposal.epochs else self.recipe
        skeleton, cost = self.skeleton_and_cost(proposal.arch, recipe)
        history = self._train(proposal.arch, skeleton, recipe, trial_seed(self.seed, trial_id))
        return image_metrics(history, cost)

    def _train(
        self, arch: Arch, skeleton: ImageSkeleton, recipe: Recipe, seed: int
    ) -> dict[str, list[float]]:
        import tensorflow as tf

        from nas.training.one_graph import OneGraphTraining

        if self._graph is None:
            check_skeleton(skeleton)
            self._graph = OneGraphTraining(self.space, skeleton, self.dataset(), self.recipe)
        try:
            history = self._graph.fit(arch, seed=seed, epochs=recipe.epochs)
        except (tf.errors.ResourceExhaustedError, MemoryError) as error:
            text = " ".join(str(error).split())[:300]
            raise EvaluationError(OOM, text or "no memory") from error
        refuse_nan(history["loss"])
        return {name: [float(x) for x in values] for name, values in history.items()}


def refuse_nan(losses: np.ndarray) -> None:
    """Raises EvaluationError, NAN, naming the first epoch whose loss is not finite.

    losses: [epochs].
    """
    wrong = np.flatnonzero(~np.isfinite(losses))
    if len(wrong):
        raise EvaluationError(NAN, f"the loss is {losses[wrong[0]]} after epoch {wrong[0] + 1}")


def check_trainable(space: Space, recipe: Recipe) -> None:
    """Raises ConfigError if one graph cannot train the space's architectures as asked."""
    if not isinstance(space, SupernetSpace) or space.domain != IMAGES.name:
        raise ConfigError(
            f"space must be one with a supernet, of images, to be trained with one graph, got "
            f"{type(space).__name__}; set evaluator=scratch"
        )
    for name in ("mixed_precision", "several_devices"):
        if getattr(recipe, name):
            raise ConfigError(
                f"recipe.{name} must be false where one graph trains all candidates, got true; "
                f"set recipe.{name}=false or evaluator=scratch"
            )


def check_skeleton(skeleton: ImageSkeleton) -> None:
    """Raises ConfigError for a network with more in training than its layers."""
    for name in ("dropout", "drop_path", "auxiliary_weight"):
        if value := getattr(skeleton, name):
            raise ConfigError(
                f"skeleton.{name} must be 0 where one graph trains all candidates, got {value}; "
                f"set skeleton.{name}=0 or evaluator=scratch"
            )
