"""`nas compare`: controllers x seeds on one benchmark, over processes, resumable.

Every (controller, seed) is a search of its own, with the loop of nas/engine/search.py. What each did is
one row of comparison.db, written when it ends; nas/comparison/report.py makes tables and pictures of it.
A search that trains keeps its trials in a folder of its own until then, and goes on from there.
"""

import concurrent.futures
import contextlib
import hashlib
import importlib
import inspect
import itertools
import json
import re
import sqlite3
import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED
from pathlib import Path
from typing import Any, cast

import numpy as np
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas.comparison.statistics import incumbents
from nas.core.capabilities import Recommending, TableEvaluator
from nas.core.files import write_atomically
from nas.core.trial import ConfigError
from nas.engine.executors import SerialExecutor
from nas.engine.search import TooManyFailures, best, search
from nas.engine.store import Store, Unsaved, lock, unlock
from nas.evaluators.common import ImageEvaluator
from nas.experiment.parts import benchmark, check_limits
from nas.experiment.warm_start import warm_start
from nas.run import folder as runs
from nas.run.config import make, one_line, refuse_other_config, resolved

WARM = "warm_start"  # beside the settings of a controller
FILE, SEARCHES = "comparison.db", "searches"
AUTO = "auto"  # max_seconds that the evaluator names as its budget
FREE = {"controllers", "settings", "seeds", "run_dir", "executor", "logger"}


def _played(play: "Contest", todo: list[tuple[str, int]], executor) -> Iterator[tuple]:
    """(label, seed, result) of each, as they end.

    No more is handed out than keeps the workers busy, so that what is done is saved before more is
    begun.
    """
    queue = iter(todo)
    running: dict[concurrent.futures.Future, tuple[str, int]] = {}
    limit = executor.workers if executor.workers == 1 else 2 * executor.workers
    while True:
        for label, seed in itertools.islice(queue, limit - len(running)):
            running[executor.submit(play, label, seed)] = label, seed
        if not running:
            return
        done, _ = concurrent.futures.wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            yield *running.pop(future), future.result()


def contestants(config: DictConfig) -> dict[str, DictConfig]:
    """Label -> the controller's configuration, its settings applied. Raises ConfigError."""
    from hydra import compose
    from hydra.errors import HydraException

    labels = [str(label) for label in config.controllers or []]
    if not labels or len(set(labels)) != len(labels):
        raise ConfigError(f"controllers must be different names, at least one, got {labels}")
    settings = config.settings or OmegaConf.create({})
    if unused := [label for label in settings if label not in labels]:
        # The defaults may name one that a shorter list of controllers leaves out.
        settings = OmegaConf.create({k: v for k, v in settings.items() if k not in unused})
    nodes: dict[str, DictConfig] = {}
    for label in labels:
        own = dict(settings.get(label) or {})
        name, warm = own.pop("controller", label), own.pop(WARM, None)
        try:
            given = [f"controller={name}", f"max_trials={config.max_trials}"]
            node = compose("search", overrides=given).controller
            node = OmegaConf.create(OmegaConf.to_container(node, resolve=True))
            OmegaConf.set_struct(node, True)
            nodes[label] = cast(DictConfig, OmegaConf.merge(node, own))
            if warm is not None:
                nodes[label] = OmegaConf.create(
                    {**cast(dict, OmegaConf.to_container(nodes[label])), WARM: str(warm)}
                )
        except (HydraException, OmegaConfBaseException) as error:
            from nas.run.setting_names import names

            raise ConfigError(
                f"controllers: {label}: {one_line(error, names('search', compose))}"
            ) from None
    return nodes


def seed_list(config: DictConfig) -> list[int]:
    seeds = config.seeds
    if isinstance(seeds, int):
        seeds = range(seeds)
    seeds = [int(seed) for seed in seeds or []]
    if not seeds or min(seeds) < 0:
        raise ConfigError(f"seeds must be a number above 0, or a list, got {config.seeds}")
    return seeds


def settings_of(node: DictConfig) -> str:
    return json.dumps(OmegaConf.to_container(node), sort_keys=True)


class Contest:
    """Plays one (controller, seed) whole; picklable, and a worker builds the benchmark once."""

    def __init__(self, config: DictConfig, controllers: dict[str, DictConfig], run_dir: Path):
        self.config, self.run_dir = resolved(config), run_dir.absolute()
        self.controllers = {k: OmegaConf.to_container(v) for k, v in controllers.items()}
        self._built: dict[str, Any] = {}

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_built": {}}

    def check(self) -> None:
        """Builds everything once, so that a wrong setting is told before any work."""
        auto = self.config["max_seconds"] == AUTO
        check_limits(self.config | ({"max_seconds": None} if auto else {}), f"null or {AUTO}")
        for label in self.controllers:
            parts = self._parts(label, 0)
        if auto:
            evaluate = parts["evaluate"]
            known = isinstance(evaluate, TableEvaluator)
            self.config["max_seconds"] = evaluate.budget if known else None

    def best_possible(self) -> dict[str, float]:
        """What a table knows to be the largest; {} where nobody knows."""
        evaluate = self._parts(next(iter(self.controllers)), 0)["evaluate"]
        return evaluate.best_possible() if isinstance(evaluate, TableEvaluator) else {}

    def __call__(self, label: str, seed: int) -> dict[str, Any]:
        """reward, seconds [trials], incumbent changes and what the table says of each, wall."""
        parts, config = self._parts(label, seed), self.config
        controller, evaluate = parts["controller"], parts["evaluate"]
        if isinstance(evaluate, ImageEvaluator):
            importlib.import_module("nas.training.loop")  # TensorFlow's import counts for no trial
        start, stopped = time.perf_counter(), None
        with contextlib.ExitStack() as stack:
            store: Store | Unsaved = Unsaved()
            if not isinstance(evaluate, TableEvaluator):  # a table's search is over in a moment
                store = stack.enter_context(Store(parts["run_dir"]))
            trials = sorted(store.trials(), key=lambda trial: trial.id)
            before = sum(trial.seconds for trial in trials)
            try:
                search(
                    controller,
                    evaluate,
                    parts["reward"],
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
        rewards = np.array([np.nan if t.reward is None else t.reward for t in trials])
        top = best(trials)
        found = {
            "reward": [None if t.reward is None else float(t.reward) for t in trials],
            "seconds": [float(t.seconds) for t in trials],
            "failed": sum(t.reward is None for t in trials),
            "stopped": stopped,
            "wall": wall,
            "best": None if top is None else list(top.arch),
            "best_reward": None if top is None else top.reward,
            "changes": [],  # [trial, {name: value}] of each new incumbent
            "final": {},  # of the architecture the controller ends with
        }
        if isinstance(evaluate, TableEvaluator) and top is not None:
            at = incumbents(rewards)
            changed = [i for i in range(len(at)) if at[i] >= 0 and (i == 0 or at[i] != at[i - 1])]
            found["changes"] = [[i, evaluate.final(trials[at[i]].arch)] for i in changed]
            chosen = controller.recommend() if isinstance(controller, Recommending) else None
            found["final"] = evaluate.final(chosen or top.arch)
        return found

    def _parts(self, label: str, seed: int) -> dict[str, Any]:
        node = cast(DictConfig, OmegaConf.create(self.controllers[label]))
        parts = self._benchmark(seed, self._folder(label, settings_of(node), seed))
        run = node.pop(WARM, None)
        controller = make(node, f"controller {label}", **(parts | {"seed": seed}))
        if run is not None:
            warm_start(controller, run, parts["space"], parts["reward"])
        return parts | {"controller": controller}

    def _folder(self, label: str, settings: str, seed: int) -> Path:
        """Of one search: other settings under the same label have another."""
        digest = hashlib.sha256(f"{label} {settings}".encode()).hexdigest()[:8]
        return self.run_dir / SEARCHES / f"{re.sub(r'[^0-9A-Za-z_-]', '_', label)}-{digest}-{seed}"

    def _benchmark(self, seed: int, folder: Path) -> dict[str, Any]:
        """Space, reward, evaluator ...; made once, or once for each seed or folder it takes."""
        config = cast(DictConfig, OmegaConf.create(self.config))
        if not self._built:
            self._built = benchmark(config)
        target = get_object(config.evaluator["_target_"])
        names = inspect.signature(target).parameters.keys() - config.evaluator.keys()
        own = {"seed": seed, "run_dir": folder}
        if "evaluate" not in self._built or any(
            name in names and self._built[name] != value for name, value in own.items()
        ):
            self._built["evaluate"] = make(config.evaluator, "evaluator", **(self._built | own))
        self._built |= own
        return self._built


class Results:
    """comparison.db: one row for each finished (controller, settings, seed)."""

    def __init__(self, run_dir: Path, config: dict[str, Any]):
        self._lock = lock(run_dir)
        try:
            self.db = _opened(run_dir, config)
        except BaseException:
            unlock(self._lock)
            raise

    def has(self, label: str, settings: str, seed: int) -> bool:
        return any(True for _ in self._rows(label, settings, seed))

    def get(self, label: str, settings: str, seed: int) -> dict[str, Any]:
        return json.loads(next(self._rows(label, settings, seed))[0])

    def add(self, label: str, settings: str, seed: int, result: dict[str, Any]) -> None:
        row = (label, settings, seed, json.dumps(result))
        self.db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", row)

    def close(self) -> None:
        self.db.close()
        unlock(self._lock)

    def _rows(self, *key) -> Iterator[tuple[str]]:
        return self.db.execute(
            "SELECT result FROM runs WHERE label = ? AND settings = ? AND seed = ?", key
        )


def _opened(run_dir: Path, config: dict[str, Any]) -> sqlite3.Connection:
    """The database of a new folder, or of one that holds this comparison."""
    path = run_dir / runs.CONFIG
    if path.exists():
        refuse_other_config(path, config, free=FREE)
    write_atomically(path, OmegaConf.to_yaml(OmegaConf.create(config)))
    try:
        db = sqlite3.connect(run_dir / FILE, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute(
            "CREATE TABLE IF NOT EXISTS runs (label TEXT, settings TEXT, seed INTEGER, "
            "result TEXT NOT NULL, PRIMARY KEY (label, settings, seed))"
        )
    except sqlite3.DatabaseError as error:
        raise ConfigError(
            f"{run_dir / FILE} is damaged ({error}); move it away to run again"
        ) from error
    return db
