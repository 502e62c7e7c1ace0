"""Images and language models do not mix; the error names the settings that mend it."""

import functools

import pytest

from nas.benchmarks.images import digits
from nas.benchmarks.texts import grammar
from nas.core.language_skeleton import LanguageSkeleton
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.evaluators.compatibility import IMAGES, LANGUAGE, check
from nas.language.recipe import LanguageRecipe
from nas.search_spaces.papers.nasbench201.space import NASBench201
from nas.search_spaces.papers.zoph2017_rnn.space import ZophRNN
from nas.training.recipe import Recipe

PARTS = {
    "images": (functools.partial(digits.load, train_size=64), ImageSkeleton, Recipe()),
    "language": (
        functools.partial(grammar.load, train_size=400, valid_size=100),
        LanguageSkeleton,
        LanguageRecipe(),
    ),
}
SPACES = {"images": NASBench201(), "language": ZophRNN()}


@pytest.mark.parametrize("domain", PARTS)
def test_what_fits_together_passes(domain):
    data, skeleton, recipe = PARTS[domain]
    assert SPACES[domain].domain == domain
    check(SPACES[domain], data(), skeleton, recipe, "it")


@pytest.mark.parametrize(
    "domain, wrong, message",
    [
        ("images", "recipe", "a recipe of images, got LanguageRecipe; set recipe=search, or"),
        ("images", "data", "it needs images, got grammar; set dataset=digits, or"),
        ("images", "skeleton", "it needs a skeleton of image classifiers; set skeleton=small"),
        ("language", "recipe", "models, got Recipe; set recipe=grammar skeleton=grammar"),
        ("language", "data", "it needs a text, got digits; set dataset=grammar"),
        ("language", "skeleton", "it needs a skeleton of language models; set skeleton=grammar"),
    ],
)  # fmt: skip
def test_a_part_of_the_other_domain_is_refused(domain, wrong, message):
    other = PARTS["language" if domain == "images" else "images"]
    data, skeleton, recipe = PARTS[domain]
    data = other[0] if wrong == "data" else data
    skeleton = other[1] if wrong == "skeleton" else skeleton
    recipe = other[2] if wrong == "recipe" else recipe
    with pytest.raises(ConfigError, match=message):
        check(SPACES[domain], data(), skeleton, recipe, "it")


def test_a_space_of_the_other_domain_is_refused():
    with pytest.raises(ConfigError, match="of images, got ZophRNN; set space=nasbench201, or"):
        IMAGES.check_space(SPACES["language"], "it")
    with pytest.raises(ConfigError, match="recurrent cells, got NASBench201; set space=darts_rnn"):
        LANGUAGE.check_space(SPACES["images"], "it")
