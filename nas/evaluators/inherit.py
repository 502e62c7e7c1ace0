"""The evaluator whose children start from the trained weights of their parents.

A proposal with a parent takes that trial's trained weights, transformed if its network is larger so
that it computes the same at first (nas/morphism/inheritance.py), and trains from there: Net2Net
(Chen et al. 2016, arXiv:1511.05641), EAS (Cai et al. 2018, arXiv:1707.04873), large-scale evolution
(Real et al. 2017, arXiv:1703.01041). A proposal without a parent, or whose parent's weights are
gone, starts from random weights, and its metrics say so.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.core.capabilities import LearningRateSpace, TreeSpace
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Cost, Space
from nas.core.trial import Arch, ConfigError, Proposal, trial_seed
from nas.data.images import ImageData, normalize
from nas.evaluators.common import (
    NO_LIMITS,
    ImageEvaluator,
    Limits,
    build_for_search,
    building,
    check_patience,
    image_metrics,
    release_models,
)
from nas.evaluators.kept_weights import KeptWeights
from nas.morphism.inheritance import inherit_weights
from nas.morphism.settings import AUTO_KERAS, EAS_NOISE, MorphismSettings
from nas.morphism.tree_inheritance import inherit_tree_weights
from nas.ops.description import Moments, Weights
from nas.ops.recorder import describe
from nas.training.recipe import Recipe
from nas.training.weights import give, take

MOMENT_IMAGES = 256  # training images over which the normalization of inserted layers is measured


@dataclasses.dataclass(frozen=True, kw_only=True)
class Start:
    """A candidate before its training: its network's settings, and the weights to start from.

    weights: those inherited, by name; none without a parent.
    """

    arch: Arch
    skeleton: ImageSkeleton
    recipe: Recipe
    seed: int
    weights: Weights


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a training gave. inherited: how many trainable values its start had from a parent."""

    history: dict[str, list[float]]
    weights: Weights
    inherited: int


@dataclasses.dataclass(frozen=True)
class Evaluated:
    """A trained candidate, its cost, and the metrics that say where its first weights are from."""

    trained: Trained
    cost: Cost
    origin: Mapping[str, Any]

    def metrics(self, history: Mapping[str, Sequence[float]]) -> dict[str, Any]:
        """`image_metrics` of `history`, with what was inherited."""
        share = self.trained.inherited / max(1, self.cost.parameters)
        return image_metrics(history, self.cost) | {"inherited": share} | dict(self.origin)


class InheritFromParent(ImageEvaluator):
    """As TrainFromScratch, from the parent's weights; keeps the trained weights for its children.

    Args:
      run_dir: where the weights are kept.
      morphism: the transforms, and their noise; without noise the child computes exactly what its
        parent does, but its copies never differ.
      keep: for how many later trials a trial's weights are handed on; then they are deleted.
      limits: of the network and of its training.
      patience: epochs in a row without a lower validation loss that end a training.

    The space is one whose network is written with ops. Cells that are trees inherit by transforms
    of their own (nas/morphism/tree_inheritance.py). If the space has a `learning_rate(arch)` that
    is not None, it replaces the recipe's.

    release: frees the trained network; a subclass in somebody's own process clears less.
    """

    release = staticmethod(release_models)

    def __init__(
        self,
        *,
        space: Space,
        dataset: Callable[[], ImageData],
        skeleton: Callable[..., ImageSkeleton],
        recipe: Recipe,
        seed: int,
        run_dir: Path | str,
        morphism: MorphismSettings = EAS_NOISE,
        keep: int = 200,
        limits: Limits = NO_LIMITS,
        patience: int | None = None,
    ):
        check_patience(patience)
        super().__init__(
            space=space, dataset=dataset, skeleton=skeleton, recipe=recipe, seed=seed, limits=limits
        )
        self.max_seconds, self.patience = limits.max_seconds, patience
        if isinstance(space, TreeSpace) and morphism.method == AUTO_KERAS:
            raise ConfigError(
                "evaluator.morphism.method must be net2net or same_shape for tree-structured "
                "cells, got auto_keras; set evaluator.morphism.method=net2net"
            )
        self.morphism = morphism
        self.kept = KeptWeights(run_dir, keep=keep)

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        """The metrics of TrainFromScratch, and what was inherited.

        parent: the trial whose weights it has, or None. inherited: the share of the weights that
        have a parent's values. preserved: whether the untrained child computes what its parent
        does, but for the noise on copies.
        parent_gone: why the parent's weights could not be had, only if they could not.
        """
        evaluated = self.evaluate(trial_id, proposal, self._train)
        return evaluated.metrics(evaluated.trained.history)

    def evaluate(
        self, trial_id: int, proposal: Proposal, train: Callable[[Start], Trained]
    ) -> Evaluated:
        """Starts from the parent's weights, trains with `train`, keeps the trained weights."""
        recipe = self.recipe_for(proposal)
        skeleton, cost = self.skeleton_and_cost(proposal.arch, recipe)
        seed = trial_seed(self.seed, trial_id)
        weights, origin = self.inherited(trial_id, proposal, skeleton, seed)
        start = Start(
            arch=proposal.arch, skeleton=skeleton, recipe=recipe, seed=seed, weights=weights
        )
        try:
            trained = train(start)
        finally:
            self.release()
        self.kept.save(trial_id, proposal.arch, trained.weights)
        return Evaluated(trained, cost, origin)

    def recipe_for(self, proposal: Proposal) -> Recipe:
        """The recipe, with the proposal's epochs and the learning rate that the space names."""
        changes: dict[str, Any] = {"epochs": proposal.epochs} if proposal.epochs else {}
        if isinstance(self.space, LearningRateSpace):
            rate = self.space.learning_rate(proposal.arch)
            if rate is not None:
                changes["learning_rate"] = rate
        return self.recipe.replace(**changes)

    def inherited(
        self, trial_id: int, proposal: Proposal, skeleton: ImageSkeleton, seed: int
    ) -> tuple[Weights, dict[str, Any]]:
        """The parent's weights as the child takes them, none without a parent; and their origin."""
        if proposal.parent is None:
            return {}, {"parent": None, "preserved": False}
        try:
            arch, weights = self.kept.load(proposal.parent, trial_id)
        except LookupError as gone:
            return {}, {"parent": None, "preserved": False, "parent_gone": str(gone)}
        weights, same = self._transformed(arch, weights, proposal.arch, skeleton, seed)
        return weights, {"parent": proposal.parent, "preserved": same}

    def _transformed(
        self, parent: Arch, weights: Weights, child: Arch, skeleton: ImageSkeleton, seed: int
    ) -> tuple[Weights, bool]:
        """The child's weights by name, and whether it computes what its parent does."""
        from nas.ops import inference

        data = self.dataset()
        images = data.train_images[:MOMENT_IMAGES].astype(np.float32)
        images = normalize(images, data.mean, data.std)

        def moments(network, known: Weights, name: str) -> Moments:
            return inference.moments(network, known, images, name)

        rng = np.random.default_rng(seed)
        with building():
            if isinstance(self.space, TreeSpace):  # by path-level transforms
                return inherit_tree_weights(
                    self.space, parent, weights, child, skeleton, rng,
                    settings=self.morphism, moments=moments,
                )  # fmt: skip
            parent_network = describe(self.space, parent, skeleton)
            child_network = describe(self.space, child, skeleton)
        return inherit_weights(
            parent_network, weights, child_network, rng, settings=self.morphism, moments=moments
        )

    def _train(self, start: Start) -> Trained:
        from nas.training import loop as image

        model = build_for_search(self.space, start.arch, start.skeleton, start.recipe, start.seed)
        inherited = give(model, start.weights)
        history = image.fit(
            model,
            self.dataset(),
            start.recipe,
            seed=start.seed,
            evaluate_on="valid",
            max_seconds=self.max_seconds,
            patience=self.patience,
            keep_best=self.morphism.best_epoch,
        )
        return Trained(history, take(model), inherited)
