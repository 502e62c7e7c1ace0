"""The evaluator of recurrent cells: a proposal becomes a language model, trained and validated."""

import gc
from collections.abc import Callable
from typing import Any

from nas.core.language_skeleton import LanguageSkeleton
from nas.core.trial import INVALID, EvaluationError, Proposal, trial_seed
from nas.evaluators import compatibility as kinds
from nas.evaluators.scratch import LoadedOnce
from nas.language.recipe import LanguageRecipe


class TrainLanguageModel:
    """Builds the model of a cell, trains it from random weights, validates it after every epoch.

    Args:
      dataset: gives a TextData when called; each worker calls it once.
      skeleton: gives the skeleton when called with the text's vocabulary.
      max_parameters: a candidate with more is `invalid` before it is built.
      max_seconds: training that has taken longer at the end of an epoch is a `timeout`.
    """

    def __init__(
        self,
        *,
        space,
        dataset: Callable[[], Any],
        skeleton: Callable[..., LanguageSkeleton],
        recipe: LanguageRecipe,
        seed: int,
        max_parameters: int | None = None,
        max_seconds: float | None = None,
    ):
        kinds.check_space(space, "evaluator=language", text=True)
        kinds.check_recipe(recipe, "evaluator=language", text=True)
        self.space, self.skeleton, self.recipe, self.seed = space, skeleton, recipe, seed
        self.dataset: Callable[[], Any] = (
            dataset if isinstance(dataset, LoadedOnce) else LoadedOnce(dataset)
        )
        self.max_parameters, self.max_seconds = max_parameters, max_seconds

    def check_data(self, data: Any) -> None:
        """Raises ConfigError where `data` are not a text, or the skeleton is none of texts."""
        kinds.check_data(data, self.skeleton, "evaluator=language", text=True)

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        """valid_perplexity of the last epoch, valid_perplexities of all, costs."""
        data = self.dataset()
        skeleton = self.skeleton(vocabulary=data.vocabulary)
        recipe = self.recipe.replace(epochs=proposal.epochs) if proposal.epochs else self.recipe
        cost = self.space.cost(proposal.arch, skeleton)
        if self.max_parameters is not None and cost.parameters > self.max_parameters:
            raise EvaluationError(
                INVALID,
                f"parameters must be at most evaluator.max_parameters={self.max_parameters}, "
                f"got {cost.parameters}",
            )
        history = self._train(proposal.arch, skeleton, recipe, trial_seed(self.seed, trial_id))
        return {
            "valid_perplexity": history["valid_perplexity"][-1],
            "valid_perplexities": history["valid_perplexity"],
            "train_perplexity": history["train_perplexity"][-1],
            "parameters": cost.parameters,
            "flops": cost.flops,
            "epochs": recipe.epochs,
        }

    def _train(self, arch, skeleton, recipe, seed: int) -> dict[str, list[float]]:
        import keras

        from nas.language import loop as language

        try:
            model = language.build(lambda: self.space.build(arch, skeleton), seed)
            return language.fit(
                model, self.dataset(), recipe, seed=seed, max_seconds=self.max_seconds
            )
        finally:
            keras.backend.clear_session()
            gc.collect()  # models are cycles: without this they outlive many trials
