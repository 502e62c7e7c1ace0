"""The evaluator of recurrent cells: trains a language model with the cell and validates it."""

import dataclasses
import gc
from collections.abc import Callable
from typing import Any

from nas.core.language_skeleton import LanguageSkeleton
from nas.core.space import Space
from nas.core.trial import Arch, Proposal, trial_seed
from nas.data.text import TextData
from nas.evaluators.common import loaded_once, refuse_above
from nas.evaluators.compatibility import LANGUAGE
from nas.language.recipe import LanguageRecipe


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageLimits:
    """The largest language model that is trained, and the longest training. None: no limit.

    max_parameters: trainable weights. max_seconds: a training that has taken longer at the end of
    an epoch is a `timeout`.
    """

    max_parameters: int | None = None
    max_seconds: float | None = None


NO_LIMITS = LanguageLimits()


class TrainLanguageModel:
    """Builds the model of a cell, trains it from random weights, validates it after every epoch.

    Args:
      dataset: gives a TextData when called; each worker calls it once.
      skeleton: gives the skeleton when called with the text's vocabulary.
      limits: of the model and of its training.

    Raises ConfigError if space and recipe are not of language models.
    """

    def __init__(
        self,
        *,
        space: Space,
        dataset: Callable[[], TextData],
        skeleton: Callable[..., LanguageSkeleton],
        recipe: LanguageRecipe,
        seed: int,
        limits: LanguageLimits = NO_LIMITS,
    ):
        LANGUAGE.check_space(space, "evaluator=language")
        LANGUAGE.check_recipe(recipe, "evaluator=language")
        self.space: Any = space
        self.skeleton, self.recipe, self.seed = skeleton, recipe, seed
        self.dataset = loaded_once(dataset)
        self.limits = limits

    def check_data(self, data: Any) -> None:
        """Raises ConfigError if `data` are not a text, or the skeleton is not one of texts."""
        LANGUAGE.check_data(data, self.skeleton, "evaluator=language")

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        """valid_perplexity of the last epoch, valid_perplexities of all, costs."""
        skeleton = self.skeleton(vocabulary=self.dataset().vocabulary)
        recipe = self.recipe.replace(epochs=proposal.epochs) if proposal.epochs else self.recipe
        cost = self.space.cost(proposal.arch, skeleton)
        refuse_above("parameters", cost.parameters, self.limits.max_parameters)
        history = self._train(proposal.arch, skeleton, recipe, trial_seed(self.seed, trial_id))
        return {
            "valid_perplexity": history["valid_perplexity"][-1],
            "valid_perplexities": history["valid_perplexity"],
            "train_perplexity": history["train_perplexity"][-1],
            "parameters": cost.parameters,
            "flops": cost.flops,
            "epochs": recipe.epochs,
        }

    def _train(
        self, arch: Arch, skeleton: LanguageSkeleton, recipe: LanguageRecipe, seed: int
    ) -> dict[str, list[float]]:
        import keras

        from nas.language import loop as language

        max_seconds = self.limits.max_seconds
        try:
            model = language.build(lambda: self.space.build(arch, skeleton), seed)
            return language.fit(model, self.dataset(), recipe, seed=seed, max_seconds=max_seconds)
        finally:
            keras.backend.clear_session()
            gc.collect()  # models are reference cycles: without this they outlive many trials
