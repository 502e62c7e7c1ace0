"""What a command needs for language models and was not told: chosen before Hydra composes.

A space of recurrent cells, a cell by name or evaluator=language asks for a text, a recipe of
language models and the skeleton of the recipe's name. What the command line names itself stands;
an experiment names everything.
"""

from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nas.core.trial import ConfigError
from nas.run.config import make, read_config

RECIPE, SKELETON = (
    "nas.language.recipe.LanguageRecipe",
    "nas.core.language_skeleton.LanguageSkeleton",
)
SMALL = "grammar"  # dataset, recipe and skeleton of a fresh machine
ONESHOT = {"reward": "perplexity", "retrain": "language"}
SEARCH = {"evaluator": "language", "reward": "perplexity", "retrain": "language"}


def for_search(argv: Sequence[str]) -> list[str]:
    """The overrides of `nas search`, with what they leave open."""
    given = _given(argv)
    if "experiment" in given:
        return list(argv)
    if given.get("evaluator") != "language" and not _is_recurrent(given.get("space")):
        return list(argv)
    if given.get("evaluator", "language") != "language":
        return list(argv)  # it will say what it needs
    return _with_retraining(_completed(argv, given, SEARCH), given)


def for_oneshot(argv: Sequence[str]) -> list[str]:
    """The same of `nas oneshot`."""
    given = _given(argv)
    if "experiment" in given or not _is_recurrent(given.get("space")):
        return list(argv)
    return _with_retraining(_completed(argv, given, ONESHOT), given)


def for_retrain(argv: Sequence[str]) -> list[str]:
    """The same of `nas retrain`; what a run folder holds is not left open."""
    given = _given(argv)
    if "run" in given:
        run = OmegaConf.create({"run": given["run"].strip("'")}).run
        return _forced(argv) if _is_of_language(Path(run) / "config.yaml") else list(argv)
    if "experiment" in given:
        return list(argv)
    more: dict[str, str] = {}
    if "genotype" in given and "space" not in given:
        name = given["genotype"].strip("'")
        more = next(({"space": s} for s in _spaces() if name in _published(s)), {})
    if "cell" in given or more or _is_recurrent(given.get("space")):
        return _completed(argv, given, more)
    return list(argv)


def _with_retraining(completed: list[str], given: Mapping[str, str]) -> list[str]:
    """A language's retraining is of the recipe and the skeleton that are chosen."""
    chosen = _given(completed)
    if chosen["retrain"] != "language" or not chosen["recipe"].isidentifier():  # a sweep of recipes
        return completed
    again = {f"{group}@retrain.{group}": chosen[group] for group in ("recipe", "skeleton")}
    return [*completed, *(f"{key}={value}" for key, value in again.items() if key not in given)]


def is_language(recipe: Mapping[str, Any] | None) -> bool:
    """Whether a recipe's configuration is one of language models."""
    return recipe is not None and recipe.get("_target_") == RECIPE


def _completed(argv: Sequence[str], given: Mapping[str, str], more: Mapping[str, str]) -> list[str]:
    chosen = {"dataset": SMALL, "recipe": SMALL} | dict(more) | dict(given)
    own = _file("skeleton", chosen["recipe"])
    has_own = own is not None and own.get("_target_") == SKELETON
    chosen = {"skeleton": chosen["recipe"] if has_own else SMALL} | chosen
    return [*argv, *(f"{key}={value}" for key, value in chosen.items() if key not in given)]


def _forced(argv: Sequence[str]) -> list[str]:
    """Settings of a run's own parts, which the command's default parts need not have."""
    own = ("recipe.", "skeleton.", "dataset.")
    return [f"++{arg}" if arg.startswith(own) else arg for arg in argv]


def _given(argv: Sequence[str]) -> dict[str, str]:
    pairs = (arg.lstrip("+~").partition("=") for arg in argv if not arg.startswith("-"))
    return {key: value for key, equals, value in pairs if equals}


def _is_of_language(config: Path) -> bool:
    try:
        return is_language(read_config(config).get("recipe"))
    except ConfigError:  # whoever reads the run tells what is wrong with it
        return False


def _spaces() -> list[str]:
    """Names of the spaces of recurrent cells."""
    files = (resources.files("nas.conf") / "space").iterdir()
    names = sorted(file.name.removesuffix(".yaml") for file in files)
    return [name for name in names if _is_recurrent(name)]


def _is_recurrent(names: str | None) -> bool:
    """Whether each of the spaces, by name, is one of recurrent cells: they have a `maker`."""
    from hydra.utils import get_object

    nodes = [_file("space", name) for name in (names or "").split(",")]
    return all(
        node is not None and hasattr(get_object(node["_target_"]), "maker") for node in nodes
    )


def _published(space: str) -> Sequence[str]:
    return make(OmegaConf.create(_file("space", space)), "space").published


def _file(group: str, name: str) -> DictConfig | None:
    file = resources.files("nas.conf") / group / f"{name}.yaml"
    if not name.isidentifier() or not file.is_file():
        return None
    loaded = OmegaConf.create(file.read_text())
    return loaded if isinstance(loaded, DictConfig) else None
