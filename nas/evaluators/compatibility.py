"""Images or text: that space, data, skeleton and recipe are of one kind, told before training."""

from typing import Any

from nas.core.language_skeleton import LanguageSkeleton
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.data.text import TextData
from nas.language.recipe import LanguageRecipe
from nas.training.recipe import Recipe


def is_recurrent(space: Any) -> bool:
    """Whether it is a space of recurrent cells, which have makers of cells."""
    return space.domain == "language"


def check(space: Any, data: Any, skeleton: Any, recipe: Any, who: str) -> None:
    """Raises ConfigError where data, skeleton and recipe are not what the space needs."""
    text = is_recurrent(space)
    check_recipe(recipe, who, text=text)
    check_data(data, skeleton, who, text=text)


def check_recipe(recipe: Any, who: str, *, text: bool) -> None:
    """Raises ConfigError where the recipe is of the other kind."""
    if not isinstance(recipe, LanguageRecipe if text else Recipe):
        hint = "recipe=grammar skeleton=grammar" if text else "recipe=search, or evaluator=language"
        kind = "language models" if text else "images"
        raise ConfigError(
            f"{who} needs a recipe of {kind}, got {type(recipe).__name__}; set {hint}"
        )


def check_space(space: Any, who: str, *, text: bool) -> None:
    if is_recurrent(space) != text:
        kind, name = ("recurrent cells", "darts_rnn") if text else ("images", "nasbench201")
        hint = f"set space={name}" + ("" if text else ", or evaluator=language")
        raise ConfigError(f"{who} needs a space of {kind}, got {type(space).__name__}; {hint}")


def check_data(data: Any, skeleton: Any, who: str, *, text: bool) -> None:
    """Raises ConfigError where the data, or what `skeleton` makes, are of the other kind."""
    if isinstance(data, TextData) != text:
        kind = "a text" if text else "images"
        hint = "set dataset=grammar" if text else "set dataset=digits, or evaluator=language"
        raise ConfigError(f"{who} needs {kind}, got {data.name}; {hint}")
    kind, name, known = (
        ("language models", "grammar", LanguageSkeleton)
        if text
        else ("image classifiers", "small", ImageSkeleton)
    )
    try:
        made = (
            skeleton(vocabulary=data.vocabulary)
            if text
            else skeleton(image_shape=data.image_shape, classes=data.classes)
        )
    except TypeError:
        made = None
    if not isinstance(made, known):
        raise ConfigError(f"{who} needs a skeleton of {kind}; set skeleton={name}")
