"""Whether space, data, skeleton and recipe are all of images or all of language models.

What does not fit together is refused before any training.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

from nas.core.language_skeleton import LanguageSkeleton
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Space
from nas.core.trial import ConfigError
from nas.data.images import ImageData
from nas.data.text import TextData
from nas.language.recipe import LanguageRecipe
from nas.training.recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Part:
    """A part of a search in one domain: its type, its words in an error, settings that mend it."""

    type: type
    words: str
    hint: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domain:
    """What the parts of a search must be.

    name: `domain` of its spaces. skeleton_arguments: what a skeleton is called with, from the data.
    """

    name: str
    space: Part
    recipe: Part
    data: Part
    skeleton: Part
    skeleton_arguments: Callable[[Any], dict[str, Any]]

    def check(self, data: Any, skeleton: Callable[..., Any], recipe: Any, who: str) -> None:
        """Raises ConfigError if one of them is of the other domain. who: needs them."""
        self.check_recipe(recipe, who)
        self.check_data(data, skeleton, who)

    def check_space(self, space: Space, who: str) -> None:
        """Raises ConfigError if the space is of the other domain. who: needs it."""
        if space.domain != self.name:
            raise ConfigError(
                f"{who} needs a space of {self.space.words}, got {type(space).__name__}; "
                f"set {self.space.hint}"
            )

    def check_recipe(self, recipe: Any, who: str) -> None:
        """Raises ConfigError if the recipe is of the other domain."""
        if not isinstance(recipe, self.recipe.type):
            raise ConfigError(
                f"{who} needs a recipe of {self.recipe.words}, got {type(recipe).__name__}; "
                f"set {self.recipe.hint}"
            )

    def check_data(self, data: Any, skeleton: Callable[..., Any], who: str) -> None:
        """Raises ConfigError if the data, or what `skeleton` makes, are of the other domain."""
        if not isinstance(data, self.data.type):
            raise ConfigError(
                f"{who} needs {self.data.words}, got {data.name}; set {self.data.hint}"
            )
        try:
            called = skeleton(**self.skeleton_arguments(data))
        except TypeError:  # a skeleton of the other domain takes other arguments
            called = None
        if not isinstance(called, self.skeleton.type):
            raise ConfigError(
                f"{who} needs a skeleton of {self.skeleton.words}; set {self.skeleton.hint}"
            )


IMAGES = Domain(
    name="images",
    space=Part(Space, "images", "space=nasbench201, or evaluator=language"),
    recipe=Part(Recipe, "images", "recipe=search, or evaluator=language"),
    data=Part(ImageData, "images", "dataset=digits, or evaluator=language"),
    skeleton=Part(ImageSkeleton, "image classifiers", "skeleton=small"),
    skeleton_arguments=lambda data: {"image_shape": data.image_shape, "classes": data.classes},
)
LANGUAGE = Domain(
    name="language",
    space=Part(Space, "recurrent cells", "space=darts_rnn"),
    recipe=Part(LanguageRecipe, "language models", "recipe=grammar skeleton=grammar"),
    data=Part(TextData, "a text", "dataset=grammar"),
    skeleton=Part(LanguageSkeleton, "language models", "skeleton=grammar"),
    skeleton_arguments=lambda data: {"vocabulary": data.vocabulary},
)
DOMAINS = {domain.name: domain for domain in (IMAGES, LANGUAGE)}


def check(space: Any, data: Any, skeleton: Callable[..., Any], recipe: Any, who: str) -> None:
    """Raises ConfigError unless data, skeleton and recipe are of the space's domain.

    skeleton: makes a skeleton of the data's shape. who: needs them, for the error.
    """
    DOMAINS[space.domain].check(data, skeleton, recipe, who)
