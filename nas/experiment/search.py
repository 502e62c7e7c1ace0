"""`nas.search`: a search over any space, with any controller, that trains with the caller's code.

A space is an ordered tuple of decisions, and `evaluate` receives the chosen values by name. Here is
a search for the x and y that make a product large, with numpy alone:

    >>> import numpy as np
    >>> import nas
    >>> class Grid(nas.Space):
    ...     decisions = (
    ...         nas.Decision("x", tuple(range(10))),
    ...         nas.Decision("y", ("low", "high")),
    ...     )
    >>> def evaluate(choices):
    ...     return np.float64(choices["x"]) * {"low": 1, "high": 2}[choices["y"]]
    >>> result = nas.search(Grid(), "regularized_evolution", evaluate, max_trials=200)
    >>> result.best.reward, Grid().decode(result.best.arch)
    (18.0, {'x': 9, 'y': 'high'})

Whoever wants to keep the loop in his own hands asks and tells a controller himself:

    >>> from nas.controllers.regularized_evolution import RegularizedEvolution
    >>> space = Grid()
    >>> controller = RegularizedEvolution(space, seed=0, population_size=20, sample_size=5)
    >>> trials = []
    >>> for i in range(200):
    ...     [proposal] = controller.ask(1)
    ...     trials.append(nas.Trial(i, proposal, float(evaluate(space.decode(proposal.arch)))))
    ...     controller.tell(trials[-1:])
    >>> nas.best(trials).reward
    18.0
"""

import contextlib
import dataclasses
import pickle
import sys
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Protocol, SupportsFloat, TypeGuard, cast, runtime_checkable

from omegaconf import DictConfig, OmegaConf

from nas.core.controller import Controller
from nas.core.space import Space
from nas.core.trial import ConfigError, Proposal, Trial
from nas.engine.executors import ProcessExecutor, SerialExecutor
from nas.engine.search import TooManyFailures, best
from nas.engine.search import search as run_search
from nas.engine.store import Store, Unsaved
from nas.run.config import make
from nas.run.folder import open_run

REWARD = "reward"  # the metric that is the reward, where no function of the metrics is given


@dataclasses.dataclass(frozen=True)
class SearchResult:
    """All trials of a search by id, and the one of the largest reward; None if all failed."""

    trials: tuple[Trial, ...]
    best: Trial | None


def search(
    space: Space,
    controller: Controller | str,
    evaluate: Callable[[dict[str, Any]], float | dict[str, Any]],
    *,
    max_trials: int,
    reward: Callable[[dict[str, Any]], float] | None = None,
    max_seconds: float | None = None,
    max_failures: int = 10,
    folder: str | Path | None = None,
    workers: int = 1,
    seed: int = 0,
) -> SearchResult:
    """Searches `space` for the choices of the largest reward.

    Args:
      space: the decisions to make.
      controller: an object with `ask`, `tell`, `state` and `load_state`, or the name of a file of
        conf/controller, such as "regularized_evolution", which is made with its settings there.
      evaluate: called with the chosen value of each decision, by the decision's name. It returns
        the reward, of which larger is better, or a dict of metrics: numbers, texts, lists and
        dicts. An exception makes the trial a failed one, with its message as the reason. The
        number of epochs and the parent that some controllers propose are not passed on.
      max_trials: number of all trials, including those that `folder` already holds.
      reward: metrics -> reward. None: the metrics' entry "reward".
      max_seconds: the search ends with the first trial that brings the sum of all trials' seconds
        to this. A metric "seconds" replaces the time that `evaluate` took.
      max_failures: number of failed trials in a row after which the search stops with ConfigError.
      folder: keeps the trials and the controller's state. A search that was stopped at any moment
        continues there when it is called again. None: nothing is kept.
      workers: number of processes that evaluate. More than one need an `evaluate` that can be
        pickled, and a script needs `if __name__ == "__main__":` around the call. Each process has
        one thread of BLAS.
      seed: of a controller that is given by its name.

    Raises ConfigError for a wrong argument, naming it.
    """
    limits = {"max_trials": max_trials, "max_failures": max_failures, "workers": workers}
    _check(space, controller, evaluate, reward, limits, max_seconds, seed)
    chosen = _controller(controller, space, seed, max_trials)
    if workers > 1:
        _check_picklable(evaluate, space, workers)
    settings = _run_settings(space, controller, seed, workers)
    with contextlib.ExitStack() as stack:
        store: Store | Unsaved = Unsaved()
        if folder is not None:
            store = stack.enter_context(_opened(Path(folder), settings))
        executor: SerialExecutor | ProcessExecutor = SerialExecutor()
        if workers > 1:
            executor = ProcessExecutor(workers=workers)
            stack.enter_context(executor)
        try:
            trials = run_search(
                chosen,
                _Evaluation(space, evaluate),
                _Reward(reward),
                store,
                executor,
                max_trials=max_trials,
                max_seconds=max_seconds,
                max_failures=max_failures,
            )
        except TooManyFailures as error:
            raise ConfigError(f"the search has stopped: {error}") from error
    return SearchResult(tuple(trials), best(trials))


def _run_settings(
    space: Space, controller: Controller | str, seed: int, workers: int
) -> dict[str, Any]:
    """What the run folder says of the search; a folder of another search is refused by it."""
    return {
        "name": "nas.search",
        "space": _name(space),
        "decisions": {d.name: [str(choice) for choice in d.choices] for d in space.decisions},
        "controller": controller if isinstance(controller, str) else _name(controller),
        "seed": seed,
        "executor": {"workers": workers},
    }


@runtime_checkable
class _AnyController(Controller, Protocol):
    """A controller, so that isinstance can ask whether an object is one."""


def _check(
    space: object,
    controller: object,
    evaluate: object,
    reward: object,
    limits: Mapping[str, object],
    max_seconds: object,
    seed: object,
) -> None:
    """Raises ConfigError for the first argument of `search` that is not what it must be."""
    if not isinstance(space, Space):
        raise ConfigError(f"space must be a nas.Space, got {space!r}")
    if not isinstance(controller, str | _AnyController):
        raise ConfigError(
            "controller must be a name of conf/controller or have ask, tell, state and "
            f"load_state, got {controller!r}"
        )
    if not callable(evaluate):
        raise ConfigError(f"evaluate must be a function of the choices, got {evaluate!r}")
    if reward is not None and not callable(reward):
        raise ConfigError(f"reward must be a function of the metrics or None, got {reward!r}")
    for name, value in limits.items():
        if not _is_whole(value) or value < 1:
            raise ConfigError(f"{name} must be a whole number of at least 1, got {value!r}")
    if max_seconds is not None and not (isinstance(max_seconds, int | float) and max_seconds > 0):
        raise ConfigError(f"max_seconds must be a number above 0, or None, got {max_seconds!r}")
    if not _is_whole(seed) or seed < 0:
        raise ConfigError(f"seed must be a whole number of at least 0, got {seed!r}")


def _is_whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _controller(
    controller: Controller | str, space: Space, seed: int, max_trials: int
) -> Controller:
    """The controller itself, or the one of that name with the settings of its file."""
    if not isinstance(controller, str):
        return controller
    files = resources.files("nas.conf") / "controller"
    names = sorted(file.name.removesuffix(".yaml") for file in files.iterdir())
    if controller not in names:
        raise ConfigError(f"controller must be one of {', '.join(names)}, got {controller!r}")
    node = _settings(controller)
    whole = OmegaConf.create({"max_trials": max_trials, "controller": node})  # MetaQNN's reads it
    return make(whole.controller, f"controller {controller}", space=space, seed=seed, cost=None)


def _settings(name: str) -> DictConfig:
    """The settings of conf/controller/NAME.yaml over those of the files in its `defaults`."""
    text = (resources.files("nas.conf") / "controller" / f"{name}.yaml").read_text(encoding="utf-8")
    node = cast(DictConfig, OmegaConf.create(text))
    bases = [base for base in node.pop("defaults", []) if base != "_self_"]
    return cast(DictConfig, OmegaConf.merge(*(_settings(base) for base in bases), node))


def _check_picklable(evaluate: Callable, space: Space, workers: int) -> None:
    """Raises ConfigError where a worker process could not receive `evaluate` or the space."""
    advice = f"for workers={workers}: define it at the top of a module, or set workers=1"
    for name, part in (("evaluate", evaluate), ("space", space)):
        try:
            pickled = pickle.dumps(part)
        except Exception as error:
            reason = " ".join(str(error).split())
            raise ConfigError(f"{name} must be picklable {advice} ({reason})") from error
        if b"__main__" in pickled and "__file__" not in vars(sys.modules["__main__"]):
            raise ConfigError(f"{name} must not be defined in a notebook or a shell {advice}")


def _name(part: object) -> str:
    return f"{type(part).__module__}.{type(part).__qualname__}"


def _opened(folder: Path, settings: dict[str, Any]) -> Store:
    try:
        return open_run(folder, settings)
    except ConfigError as error:
        raise ConfigError(f"folder: {error}") from error


class _Evaluation:
    """The evaluator of the search loop: it decodes, calls `evaluate` and returns JSON values."""

    def __init__(self, space: Space, evaluate: Callable[[dict[str, Any]], Any]):
        self.space, self.evaluate = space, evaluate

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        result = self.evaluate(self.space.decode(proposal.arch))
        if isinstance(result, Mapping):
            return dict(result)
        if isinstance(result, str | bytes) or not isinstance(result, SupportsFloat):
            kind = type(result).__name__
            raise TypeError(f"evaluate must return a number or a dict, got {kind}")
        return {REWARD: float(result)}


class _Reward:
    """The reward of the search loop: the caller's function, or the metrics' entry "reward"."""

    def __init__(self, reward: Callable[[dict[str, Any]], float] | None):
        self.reward = reward

    def __call__(self, metrics: dict[str, Any]) -> float:
        if self.reward is None and REWARD not in metrics:
            raise ConfigError(
                f"evaluate must return a number or a dict with the entry {REWARD!r}, got "
                f"{', '.join(metrics) or 'an empty dict'}; or set reward=FUNCTION of the metrics"
            )
        return metrics[REWARD] if self.reward is None else self.reward(metrics)
