"""The evaluator of recurrent cells: metrics of a trial, and settings that do not fit together."""

import functools
import pickle

import numpy as np
import pytest

from nas.benchmarks.images import digits
from nas.benchmarks.texts import grammar
from nas.core.language_skeleton import LanguageSkeleton
from nas.core.trial import INVALID, ConfigError, EvaluationError, Proposal
from nas.engine.rewards import inverse_perplexity
from nas.evaluators.language import LanguageLimits, TrainLanguageModel
from nas.language.recipe import LanguageRecipe
from nas.search_spaces.papers.highway_cells.space import RecurrentNodes
from nas.search_spaces.papers.zoph2017_rnn.space import ZophRNN
from nas.training.recipe import Recipe


def evaluator(space=None, **settings):
    return TrainLanguageModel(
        **{
            "space": space or ZophRNN(),
            "dataset": functools.partial(grammar.load, train_size=4000, valid_size=500),
            "skeleton": functools.partial(LanguageSkeleton, units=8, embedding=8, layers=1),
            "recipe": LanguageRecipe(epochs=2, decay_after=2),
            "seed": 0,
        }
        | settings
    )


def test_a_trial_has_its_perplexities_and_costs_and_repeats_with_its_seed():
    space = ZophRNN(base=2)
    chosen = {d.name: "tanh" if "activation" in d.name else "add" for d in space.decisions[:-2]}
    proposal = Proposal(space.encode(chosen | {"index/new_memory": 0, "index/old_memory": 2}))
    slow = LanguageRecipe(epochs=2, decay_after=2, learning_rate=0.1)  # the cell's sums grow
    evaluate = pickle.loads(pickle.dumps(evaluator(space, recipe=slow)))
    metrics = evaluate(3, proposal)
    assert metrics == evaluator(space, recipe=slow)(3, proposal)
    assert metrics["valid_perplexity"] == metrics["valid_perplexities"][-1] < 80
    assert len(metrics["valid_perplexities"]) == metrics["epochs"] == 2
    assert metrics["parameters"] == 2 * 8 * (8 + 8) + 2 * 80 * 8 + 80
    assert evaluate(4, proposal)["valid_perplexity"] != metrics["valid_perplexity"]
    assert evaluate(3, Proposal(proposal.arch, epochs=1))["epochs"] == 1


def test_a_child_too_large_is_refused_unbuilt():
    space = RecurrentNodes()
    arch = space.sample(np.random.default_rng(0))
    with pytest.raises(EvaluationError, match="max_parameters=100, got") as caught:
        evaluator(space, limits=LanguageLimits(max_parameters=100))(0, Proposal(arch))
    assert caught.value.status == INVALID


def test_what_does_not_go_together_is_named():
    with pytest.raises(ConfigError, match="recipe of language models, got Recipe; set recipe="):
        evaluator(recipe=Recipe())
    space = ZophRNN()
    with pytest.raises(ConfigError, match="needs a text, got digits; set dataset=grammar"):
        evaluator(space).check_data(digits.load())


def test_zoph_and_les_reward():
    """80 over the square of the validation perplexity (Zoph & Le 2017, section 4.2)."""
    assert inverse_perplexity({"valid_perplexity": 4.0}) == 5.0
    assert inverse_perplexity({"valid_perplexity": 4.0}, power=1.0) == 20.0
    with pytest.raises(ConfigError, match="must have valid_perplexity .* got valid_accuracy; set"):
        inverse_perplexity({"valid_accuracy": 0.5})
