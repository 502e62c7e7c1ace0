"""An evaluator whose children start from what their parents know.

A proposal with a parent takes that trial's trained weights, transformed where its network is larger
so that it computes the same at first (`nas/morphism/inheritance.py`), and trains from there: Net2Net (Chen et al.
2016, arXiv:1511.05641), EAS (Cai et al. 2018, arXiv:1707.04873), large-scale evolution (Real et al.
2017, arXiv:1703.01041). A proposal without one, or whose parent's weights are gone, starts from
random weights, and its metrics say so.
"""

from pathlib import Path
from typing import Any

import numpy as np

from nas.core.capabilities import LearningRateSpace, TreeSpace
from nas.core.trial import Arch, ConfigError, Proposal, trial_seed
from nas.data.images import normalize
from nas.evaluators.kept_weights import KeptWeights
from nas.evaluators.scratch import TrainFromScratch, building, forget
from nas.morphism.inheritance import inherit_weights
from nas.morphism.tree_inheritance import inherit_tree_weights
from nas.ops.description import Weights
from nas.ops.recorder import describe
from nas.training.weights import give, take

MOMENT_IMAGES = 256  # of the training images, for the normalization of new layers


class InheritFromParent(TrainFromScratch):
    """As TrainFromScratch, from the parent's weights; its own are kept for its children.

    Args:
      noise: added to what transforms copy, in standard deviations of a kernel (EAS: 0.01 for wider
        layers, 0.001 for new ones); 0: the child computes exactly what its parent does.
      keep: a trial's weights are handed on for so many trials after it, then they are deleted.
      run_dir: where the weights are kept.

    The space is one whose network is written with ops; cells that are trees inherit by transforms
    of their own (`nas/morphism/tree_inheritance.py`). A space with a `learning_rate(arch)` that is not None says
    the recipe's.
    """

    def __init__(
        self,
        *,
        space,
        dataset,
        skeleton,
        recipe,
        seed: int,
        run_dir: Path | str,
        noise: float = 0.0,
        keep: int = 200,
        max_parameters: int | None = None,
        max_flops: int | None = None,
        max_memory: float | None = None,
        max_seconds: float | None = None,
        patience: int | None = None,
    ):
        super().__init__(
            space=space,
            dataset=dataset,
            skeleton=skeleton,
            recipe=recipe,
            seed=seed,
            max_parameters=max_parameters,
            max_flops=max_flops,
            max_memory=max_memory,
            max_seconds=max_seconds,
            patience=patience,
        )
        if not noise >= 0:
            raise ConfigError(
                f"evaluator.noise must not be negative, got {noise}; set evaluator.noise=0.0"
            )
        self.noise = noise
        self.kept = KeptWeights(run_dir, keep=keep)

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        """The metrics of TrainFromScratch, and what was inherited.

        parent: whose weights, or None; inherited: the share of the weights that have a parent's
        values; preserved: whether the untrained child computes what its parent did; parent_gone:
        why a parent's weights were not there, only where they were not.
        """
        data = self.dataset()
        skeleton = self.skeleton(image_shape=data.image_shape, classes=data.classes)
        recipe = self._recipe(proposal)
        with building():
            cost = self.space.cost(proposal.arch, skeleton)
        self._refuse(cost, recipe.batch_size)
        seed = trial_seed(self.seed, trial_id)
        start, origin = self._start(trial_id, proposal, skeleton, seed)
        try:
            history, weights, taken = self._grow(proposal.arch, skeleton, recipe, seed, start)
        finally:
            forget()
        self.kept.save(trial_id, proposal.arch, weights)
        taken_share = taken / max(1, cost.parameters)
        return self._metrics(history, cost) | {"inherited": taken_share} | origin

    def _recipe(self, proposal: Proposal):
        changes: dict[str, Any] = {"epochs": proposal.epochs} if proposal.epochs else {}
        if isinstance(self.space, LearningRateSpace):
            rate = self.space.learning_rate(proposal.arch)
            if rate is not None:
                changes["learning_rate"] = rate
        return self.recipe.replace(**changes)

    def _start(
        self, trial_id: int, proposal: Proposal, skeleton, seed: int
    ) -> tuple[Weights, dict[str, Any]]:
        """The weights to start from, none without a parent, and where they are from."""
        if proposal.parent is None:
            return {}, {"parent": None, "preserved": False}
        try:
            arch, weights = self.kept.load(proposal.parent, trial_id)
        except LookupError as gone:
            return {}, {"parent": None, "preserved": False, "parent_gone": str(gone)}
        weights, same = self._carried(arch, weights, proposal.arch, skeleton, seed)
        return weights, {"parent": proposal.parent, "preserved": same and not self.noise}

    def _carried(self, old: Arch, weights: Weights, new: Arch, skeleton, seed: int):
        from nas.ops import inference as morphism_values

        data = self.dataset()
        images = data.train_images[:MOMENT_IMAGES].astype(np.float32)
        images = normalize(images, data.mean, data.std)
        settings: dict[str, Any] = {
            "noise": self.noise,
            "moments": lambda network, known, name: morphism_values.moments(
                network, known, images, name
            ),
        }
        rng = np.random.default_rng(seed)
        if isinstance(self.space, TreeSpace):  # by path-level transforms
            with building():
                return inherit_tree_weights(
                    self.space, old, weights, new, skeleton, rng, **settings
                )
        with building():
            parent = describe(self.space, old, skeleton)
            child = describe(self.space, new, skeleton)
        return inherit_weights(parent, weights, child, rng, **settings)

    def _grow(self, arch: Arch, skeleton, recipe, seed: int, start: Weights):
        """Trains from `start`. The history, the trained weights, how many values were inherited."""
        from nas.training import loop as image

        with building():
            model = image.build_for_search(self.space, arch, skeleton, recipe, seed)
        taken = give(model, start)
        history = image.fit(
            model,
            self.dataset(),
            recipe,
            seed=seed,
            evaluate_on="valid",
            max_seconds=self.max_seconds,
            patience=self.patience,
        )
        return history, take(model), taken
