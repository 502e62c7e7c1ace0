"""Runs the searches of a comparison: controllers x seeds on one benchmark.

Each (controller, seed) is a search with the loop of nas/engine/search.py. Its record becomes a row
of comparison.db when it ends (nas/comparison/results.py); nas/comparison/report.py makes tables and
pictures of all records. A search that trains keeps its trials in a folder until then, so that it
continues there after a stop.
"""

import contextlib
import dataclasses
import glob
import hashlib
import importlib
import inspect
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from hydra.utils import get_object
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas.comparison.older_names import older_names
from nas.comparison.results import ComparisonRun
from nas.comparison.statistics import incumbents
from nas.core.capabilities import Recommending, TableEvaluator
from nas.core.controller import Controller
from nas.core.setting_kinds import is_whole, shown
from nas.core.trial import ConfigError, Trial
from nas.engine.executors import SerialExecutor
from nas.engine.search import Evaluate, TooManyFailures, best, search
from nas.engine.store import Store, Unsaved
from nas.evaluators.common import ImageEvaluator
from nas.experiment.parts import (
    Benchmark,
    SearchParts,
    check_limits,
    check_seeds,
    make_benchmark,
)
from nas.experiment.warm_start import warm_start
from nas.run.config import make, one_line, resolved
from nas.run.folder import CONFIG, open_run
from nas.run.saved_config import differences, read_values

WARM = "warm_start"  # stands among the settings of a controller
SEARCHES = "searches"  # the folder of the searches' own folders
MOST_SEEDS = 100_000
LIMITS = ("max_trials", "max_seconds", "max_failures")
AUTO = "auto"  # a max_seconds that stands for the budget of the evaluator's table


def controllers_of(config: DictConfig) -> dict[str, DictConfig]:
    """Label -> the controller's configuration with the comparison's settings for it.

    Raises ConfigError for a label or a setting that does not exist.
    """
    from hydra import compose
    from hydra.errors import HydraException

    listed = config.controllers if isinstance(config.controllers, ListConfig) else []
    labels = [label for label in listed if isinstance(label, str)]
    if not labels or len(labels) != len(listed) or len(set(labels)) != len(labels):
        raise ConfigError(
            "controllers must be different names in a list, at least one, got "
            f"{shown(config.controllers)}"
        )
    settings = OmegaConf.create({}) if config.settings is None else config.settings
    if not isinstance(settings, DictConfig):
        raise ConfigError(f"settings must be settings by label, got {shown(settings)}")
    if unused := [label for label in settings if label not in labels]:
        # The defaults have settings for controllers that a shorter list leaves out.
        settings = OmegaConf.create({k: v for k, v in settings.items() if k not in unused})
    nodes: dict[str, DictConfig] = {}
    for label in labels:
        if not isinstance(settings.get(label), DictConfig | None):
            raise ConfigError(
                f"settings.{label} must be settings of its controller, got {shown(settings[label])}"
            )
        changes = dict(settings.get(label) or {})
        name, warm = changes.pop("controller", label), changes.pop(WARM, None)
        try:
            overrides = [f"controller={name}", f"max_trials={config.max_trials}"]
            node = compose("search", overrides=overrides).controller
            node = OmegaConf.create(OmegaConf.to_container(node, resolve=True))
            OmegaConf.set_struct(node, True)
            nodes[label] = cast(DictConfig, OmegaConf.merge(node, changes))
            if warm is not None:
                nodes[label] = OmegaConf.create(
                    {**cast(dict, OmegaConf.to_container(nodes[label])), WARM: str(warm)}
                )
        except (HydraException, OmegaConfBaseException) as error:
            from nas.experiment.setting_names import names

            raise ConfigError(
                f"controllers: {label}: {one_line(error, names('search', compose))}"
            ) from None
    return nodes


def seed_list(config: DictConfig) -> list[int]:
    """The seeds of the setting `seeds`: a list of them, or how many. Raises ConfigError."""
    if is_whole(config.seeds, 1, MOST_SEEDS):
        return list(range(config.seeds))
    if isinstance(config.seeds, ListConfig) and len(config.seeds):
        return check_seeds(config.seeds)
    raise ConfigError(
        f"seeds must be a number above 0 (at most {MOST_SEEDS}), or a list, got "
        f"{shown(config.seeds)}"
    )


def settings_of(node: DictConfig) -> str:
    """A controller's settings as text: part of the key of its results."""
    return json.dumps(OmegaConf.to_container(node), sort_keys=True)


class ComparisonRunner:
    """Runs whole searches, each of one controller and seed.

    It can be pickled; each worker process builds the benchmark once.
    """

    def __init__(self, config: DictConfig, controllers: dict[str, DictConfig], run_dir: Path):
        self.config, self.run_dir = resolved(config), run_dir.absolute()
        self.controllers = {k: OmegaConf.to_container(v) for k, v in controllers.items()}
        self._shared: Benchmark | None = None
        self._evaluate: tuple[dict[str, Any], Evaluate] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_shared": None, "_evaluate": None}

    def check(self) -> None:
        """Builds everything once, to refuse wrong settings before any work. Raises ConfigError."""
        auto = self.config["max_seconds"] == AUTO
        check_limits(self.config | ({"max_seconds": None} if auto else {}), f"null or {AUTO}")
        for label in self.controllers:
            parts = self._parts(label, 0)
        if auto:
            evaluate = parts.evaluate
            self.config["max_seconds"] = (
                evaluate.budget if isinstance(evaluate, TableEvaluator) else None
            )

    def best_possible(self) -> dict[str, float]:
        """The largest value of each column of the evaluator's table; {} for other evaluators."""
        evaluate = self._parts(next(iter(self.controllers)), 0).evaluate
        return evaluate.best_possible() if isinstance(evaluate, TableEvaluator) else {}

    def run_one(self, label: str, seed: int) -> ComparisonRun:
        """The search of one controller and seed. One that was stopped continues in its folder."""
        parts, config = self._parts(label, seed), self.config
        controller, evaluate = parts.controller, parts.evaluate
        if isinstance(evaluate, ImageEvaluator):
            # So that no trial's time includes TensorFlow's import.
            importlib.import_module("nas.training.loop")
        start, stopped = time.perf_counter(), None
        with contextlib.ExitStack() as stack:
            store: Store | Unsaved = Unsaved()
            if not isinstance(evaluate, TableEvaluator):  # a search of a table takes a moment
                store = stack.enter_context(self._opened(parts.run_dir, label, seed))
            trials = sorted(store.trials(), key=lambda trial: trial.id)
            before = sum(trial.seconds for trial in trials)
            try:
                search(
                    controller,
                    evaluate,
                    parts.reward,
                    store,
                    SerialExecutor(),
                    max_trials=config["max_trials"],
                    max_seconds=config["max_seconds"],
                    max_failures=config["max_failures"],
                    on_trial=trials.append,
                )
            except TooManyFailures as error:
                stopped = str(error)
        wall = before + time.perf_counter() - start
        run = ComparisonRun.of(trials, best(trials), stopped, wall)
        return _with_table(run, trials, evaluate, controller)

    def _parts(self, label: str, seed: int) -> SearchParts:
        """The parts of one search."""
        node = cast(DictConfig, OmegaConf.create(self.controllers[label]))
        folder = self._folder(label, node, seed)
        shared, evaluate = self._benchmark(seed, folder)
        available = shared.available() | {"seed": seed, "run_dir": folder, "evaluate": evaluate}
        run = node.pop(WARM, None)
        controller = make(node, f"controller {label}", **available)
        if run is not None:
            warm_start(controller, run, shared.space, shared.reward)
        return SearchParts(
            space=shared.space,
            controller=controller,
            evaluate=evaluate,
            reward=shared.reward,
            dataset=shared.dataset,
            run_dir=folder,
        )

    def _folder(self, label: str, node: DictConfig, seed: int) -> Path:
        """The folder of one search; other settings under the same label have another folder.

        A search that an older version has begun goes on in its own folder, whose name has the
        digest of the settings as they were written then.
        """
        named = re.sub(r"[^0-9A-Za-z_-]", "_", label)
        settings = cast(dict[str, Any], OmegaConf.to_container(node))

        def folder(text: str) -> Path:
            digest = hashlib.sha256(f"{label} {text}".encode()).hexdigest()[:8]
            return self.run_dir / SEARCHES / f"{named}-{digest}-{seed}"

        todays = folder(settings_of(node))
        if todays.is_dir():
            return todays
        for other in sorted((self.run_dir / SEARCHES).glob(f"{glob.escape(named)}-*-{seed}")):
            if (other / CONFIG).is_file() and not any(
                differences(read_values(other / CONFIG), self._settings(label, settings, seed))
            ):
                return other
        older = (folder(json.dumps(old, sort_keys=True)) for old in older_names(settings))
        return next(filter(Path.is_dir, older), todays)

    def _settings(self, label: str, settings: dict[str, Any], seed: int) -> dict[str, Any]:
        """What decides a search, as its folder's configuration keeps it."""
        shared = ("evaluator", "space", "skeleton", "recipe", "reward", "dataset", *LIMITS)
        kept = {name: self.config[name] for name in shared if name in self.config}
        return kept | {"controller": settings, "label": label, "seed": seed}

    def _opened(self, folder: Path, label: str, seed: int) -> Store:
        """The store of one search, by the same way as every run folder's."""
        settings = cast(dict[str, Any], self.controllers[label])
        return open_run(folder, self._settings(label, settings, seed))

    def _benchmark(self, seed: int, folder: Path) -> tuple[Benchmark, Evaluate]:
        """What all controllers share, made once, and the evaluator.

        The evaluator is made once, too, or once for each seed or folder if it takes them.
        """
        config = cast(DictConfig, OmegaConf.create(self.config))
        if self._shared is None:
            self._shared = make_benchmark(config)
        target = get_object(config.evaluator["_target_"])
        taken = inspect.signature(target).parameters.keys() - config.evaluator.keys()
        of_search = {"seed": seed, "run_dir": folder}
        key = {name: value for name, value in of_search.items() if name in taken}
        if self._evaluate is None or self._evaluate[0] != key:
            available = self._shared.available() | of_search
            self._evaluate = key, make(config.evaluator, "evaluator", **available)
        return self._shared, self._evaluate[1]


def _with_table(
    run: ComparisonRun, trials: Sequence[Trial], evaluate: Any, controller: Controller
) -> ComparisonRun:
    """The record with the table's values of each new best trial and of the final architecture."""
    if not isinstance(evaluate, TableEvaluator) or run.best is None:
        return run
    at = incumbents(np.array([np.nan if t.reward is None else t.reward for t in trials]))
    changed = [i for i in range(len(at)) if at[i] >= 0 and (i == 0 or at[i] != at[i - 1])]
    recommended = controller.recommend() if isinstance(controller, Recommending) else None
    return dataclasses.replace(
        run,
        changes=[(i, evaluate.final(trials[at[i]].arch)) for i in changed],
        final=evaluate.final(recommended or run.best),
    )
