"""Makes the parts of a search from its configuration, and refuses settings that do not fit."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, ListConfig

from nas.core.capabilities import DataChecking
from nas.core.controller import Controller
from nas.core.setting_kinds import is_number, is_whole, shown
from nas.core.space import Cost, Space
from nas.core.trial import Arch, ConfigError
from nas.engine.search import Evaluate, Reward
from nas.evaluators import compatibility as kinds
from nas.evaluators.common import LoadedOnce
from nas.experiment.warm_start import warm_start
from nas.language.recipe import LanguageRecipe
from nas.run.config import make

LARGEST_SEED = 2**32 - 1  # of numpy's and Keras' global streams


@dataclasses.dataclass(frozen=True, kw_only=True)
class Benchmark:
    """What architectures are drawn from, and how one is judged.

    Attributes:
      skeleton: gives the skeleton when called with the data set's shape.
      recipe: a Recipe of images or a LanguageRecipe.
      reward: from the metrics of a trial to the number that the controller maximises.
      dataset: reads the data set when it is called; None if the search uses none.
    """

    space: Space
    skeleton: Callable[..., Any]
    recipe: Any
    reward: Reward
    dataset: LoadedOnce | None

    def available(self) -> dict[str, Any]:
        """The parts by the names under which other parts ask for them (nas.run.config.make)."""
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        cost = None if self.dataset is None else Costs(self.space, self.skeleton, self.dataset)
        return parts | {"cost": cost}


class Costs:
    """The costs of architectures in a skeleton. The data set is read at the first call.

    Args:
      skeleton: gives the skeleton when called with the data set's shape.
    """

    def __init__(self, space: Any, skeleton: Callable[..., Any], dataset: Callable[[], Any]):
        self.space, self.skeleton, self.dataset = space, skeleton, dataset

    def __call__(self, arch: Arch) -> Cost:
        return self.space.cost(arch, self._sized)

    @functools.cached_property
    def _sized(self) -> Any:
        arguments = kinds.DOMAINS[self.space.domain].skeleton_arguments(self.dataset())
        return self.skeleton(**arguments)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retraining:
    """How the best architecture is retrained after the search, once from each seed."""

    skeleton: Callable[..., Any]
    recipe: Any
    seeds: tuple[int, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchParts:
    """All that a search is made of, except for its executor, its store and its loggers.

    Attributes:
      run_dir: where the evaluator and the controller may keep files.
      retraining: None if the best architecture is not retrained.
      warm_trials: how many trials of another run the controller begins with.
    """

    space: Space
    controller: Controller
    evaluate: Evaluate
    reward: Reward
    dataset: LoadedOnce | None
    run_dir: Path
    retraining: Retraining | None = None
    warm_trials: int = 0


def build(config: DictConfig, run_dir: Path | None = None) -> SearchParts:
    """Makes everything that the configuration names, except for the executor.

    Args:
      run_dir: where evaluators may keep files; None: the configuration's.

    Raises ConfigError for a wrong setting, for data that are missing, and for parts that do not fit
    each other.
    """
    check_seed(config.seed)
    check_limits(config)
    benchmark = make_benchmark(config)
    run_dir = run_dir or Path(config.run_dir)
    available = benchmark.available() | {"seed": config.seed, "run_dir": run_dir}
    controller = make(config.controller, "controller", **available)
    warm_trials = 0
    if config.get("warm_start"):
        warm_trials = warm_start(controller, config.warm_start, benchmark.space, benchmark.reward)
    evaluate = make(config.evaluator, "evaluator", controller=controller, **available)
    retraining = _make_retraining(config)
    if benchmark.dataset is not None:
        _check_data(benchmark.space, benchmark.dataset(), evaluate, retraining)
    return SearchParts(
        space=benchmark.space,
        controller=controller,
        evaluate=evaluate,
        reward=benchmark.reward,
        dataset=benchmark.dataset,
        run_dir=run_dir,
        retraining=retraining,
        warm_trials=warm_trials,
    )


def make_benchmark(config: DictConfig) -> Benchmark:
    """Makes what all controllers share. The data set is not read yet."""
    parts = {name: make(config[name], name) for name in ("space", "skeleton", "recipe", "reward")}
    chosen = config.get("dataset")
    dataset = LoadedOnce(make(chosen, "dataset")) if chosen else None
    return Benchmark(dataset=dataset, **parts)


def _make_retraining(config: DictConfig) -> Retraining | None:
    if not isinstance(config.retrain, DictConfig):
        raise ConfigError(f"retrain must be chosen, got {shown(config.retrain)}; set retrain=none")
    if not config.retrain.seeds:
        return None
    return Retraining(
        skeleton=make(config.retrain.skeleton, "retrain.skeleton"),
        recipe=make(config.retrain.recipe, "retrain.recipe"),
        seeds=tuple(check_seeds(config.retrain.seeds, "retrain.seeds")),
    )


def _check_data(space: Space, data: Any, evaluate: Evaluate, retraining: Retraining | None) -> None:
    """Raises ConfigError if the data do not fit the evaluator, the space or the retraining."""
    if isinstance(evaluate, DataChecking):
        evaluate.check_data(data)
    if retraining is None:
        return
    try:
        kinds.check(space, data, retraining.skeleton, retraining.recipe, "retraining")
    except ConfigError as error:
        hint = "language" if space.domain == "language" else "default"
        raise ConfigError(f"{error}: set retrain={hint} or retrain=none") from error


def check_seed(seed: Any) -> None:
    """Raises ConfigError unless the seed is a whole number of at least 0."""
    if not is_whole(seed, 0, LARGEST_SEED):
        least = (
            f"of at least 0 and at most {LARGEST_SEED}" if is_whole(seed, 1) else "of at least 0"
        )
        raise ConfigError(f"seed must be an integer {least}, got {shown(seed)}; set seed=0")


def check_limits(config: Mapping[str, Any], besides: str = "null") -> None:
    """Raises ConfigError if a limit of the search is not a number of the right kind.

    besides: what else max_seconds may be, as the message says it.
    """
    for name in ("max_trials", "max_failures"):
        value = config[name]
        if not is_whole(value, 1):
            raise ConfigError(f"{name} must be a whole number of at least 1, got {shown(value)}")
    seconds = config["max_seconds"]
    if seconds is not None and not (is_number(seconds) and seconds > 0):
        raise ConfigError(
            f"max_seconds must be a number above 0, or {besides}, got {shown(seconds)}"
        )


def check_seeds(seeds: Any, setting: str = "seeds") -> list[int]:
    """The value of a setting, a list. Raises ConfigError unless all are different seeds."""
    if not isinstance(seeds, list | tuple | ListConfig) or not seeds:
        raise ConfigError(
            f"{setting} must list at least one seed, got {shown(seeds)}; set {setting}=[0]"
        )
    if not all(is_whole(seed, 0, LARGEST_SEED) for seed in seeds):
        raise ConfigError(
            f"{setting} must list whole numbers from 0 to {LARGEST_SEED}, got {shown(seeds)}; "
            f"set {setting}=[0]"
        )
    if len(set(seeds)) != len(seeds):
        raise ConfigError(f"{setting} must be different, got {seeds}")
    return list(seeds)


def is_language_recipe(recipe: Mapping[str, Any] | None) -> bool:
    """Whether the configuration of a recipe is one of language models."""
    target = f"{LanguageRecipe.__module__}.{LanguageRecipe.__qualname__}"
    return recipe is not None and recipe.get("_target_") == target
