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

OR_LANGUAGE = ", or evaluator=language"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Domain:
    """What the parts of a search must be, and which choices an error recommends.

    name: `domain` of its spaces. spaces, networks, recipes, data: what an error calls them.
    skeleton_arguments: what a skeleton is called with, from the data. *_hint: settings that mend an
    error.
    """

    name: str
    spaces: str
    networks: str
    recipes: str
    data: str
    recipe_type: type
    skeleton_type: type
    data_type: type
    skeleton_arguments: Callable[[Any], dict[str, Any]]
    space_hint: str
    recipe_hint: str
    data_hint: str
    skeleton_hint: str

    def check(self, data: Any, skeleton: Callable[..., Any], recipe: Any, who: str) -> None:
        """Raises ConfigError if one of them is of the other domain. who: needs them."""
        self.check_recipe(recipe, who)
        self.check_data(data, skeleton, who)

    def check_space(self, space: Space, who: str) -> None:
        """Raises ConfigError if the space is of the other domain. who: needs it."""
        if space.domain != self.name:
            raise ConfigError(
                f"{who} needs a space of {self.spaces}, got {type(space).__name__}; "
                f"set {self.space_hint}"
            )

    def check_recipe(self, recipe: Any, who: str) -> None:
        """Raises ConfigError if the recipe is of the other domain."""
        if not isinstance(recipe, self.recipe_type):
            raise ConfigError(
                f"{who} needs a recipe of {self.recipes}, got {type(recipe).__name__}; "
                f"set {self.recipe_hint}"
            )

    def check_data(self, data: Any, skeleton: Callable[..., Any], who: str) -> None:
        """Raises ConfigError if the data, or what `skeleton` makes, are of the other domain."""
        if not isinstance(data, self.data_type):
            raise ConfigError(f"{who} needs {self.data}, got {data.name}; set {self.data_hint}")
        try:
            called = skeleton(**self.skeleton_arguments(data))
        except TypeError:  # a skeleton of the other domain takes other arguments
            called = None
        if not isinstance(called, self.skeleton_type):
            raise ConfigError(
                f"{who} needs a skeleton of {self.networks}; set {self.skeleton_hint}"
            )


IMAGES = Domain(
    name="images",
    spaces="images",
    networks="image classifiers",
    recipes="images",
    data="images",
    recipe_type=Recipe,
    skeleton_type=ImageSkeleton,
    data_type=ImageData,
    skeleton_arguments=lambda data: {"image_shape": data.image_shape, "classes": data.classes},
    space_hint=f"space=nasbench201{OR_LANGUAGE}",
    recipe_hint=f"recipe=search{OR_LANGUAGE}",
    data_hint=f"dataset=digits{OR_LANGUAGE}",
    skeleton_hint="skeleton=small",
)
LANGUAGE = Domain(
    name="language",
    spaces="recurrent cells",
    networks="language models",
    recipes="language models",
    data="a text",
    recipe_type=LanguageRecipe,
    skeleton_type=LanguageSkeleton,
    data_type=TextData,
    skeleton_arguments=lambda data: {"vocabulary": data.vocabulary},
    space_hint="space=darts_rnn",
    recipe_hint="recipe=grammar skeleton=grammar",
    data_hint="dataset=grammar",
    skeleton_hint="skeleton=grammar",
)
DOMAINS = {domain.name: domain for domain in (IMAGES, LANGUAGE)}


def check(space: Any, data: Any, skeleton: Callable[..., Any], recipe: Any, who: str) -> None:
    """Raises ConfigError unless data, skeleton and recipe are of the space's domain.

    skeleton: makes a skeleton of the data's shape. who: needs them, for the error.
    """
    DOMAINS[space.domain].check(data, skeleton, recipe, who)
