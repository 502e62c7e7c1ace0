"""`nas tabulate`: trains every architecture of a small space and writes a table of them.

Architectures with one `space.key` are one network and are trained once a seed. Each finished
training is a row of trials.db, so that a killed run continues; the table is written at the end.
"""

import concurrent.futures
import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED
from typing import Any

import numpy as np
from omegaconf import DictConfig

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import NAN, Arch, ConfigError, EvaluationError, Proposal, Trial
from nas.data.images import ImageData
from nas.evaluators.common import LoadedOnce
from nas.evaluators.one_graph import check_skeleton, check_trainable, refuse_nan
from nas.run.config import make
from nas.tables.enumeration import architectures, unique
from nas.tables.table_file import NOT_HELD, PARTS
from nas.training.recipe import Recipe


class Plan:
    """What is to be trained: seed by seed every architecture, so that a part has whole seeds."""

    def __init__(self, config: DictConfig):
        self.space = make(config.space, "space")
        self.recipe = make(config.recipe, "recipe")
        check_trainable(self.space, self.recipe)
        self.seeds = [int(seed) for seed in config.seeds or []]
        if not self.seeds or len(set(self.seeds)) != len(self.seeds) or min(self.seeds) < 0:
            raise ConfigError(
                f"seeds must be different whole numbers, not negative, got {config.seeds}"
            )
        dataset = LoadedOnce(make(config.dataset, "dataset"))
        self.data = dataset()
        skeleton = make(config.skeleton, "skeleton")
        self.skeleton = skeleton(image_shape=self.data.image_shape, classes=self.data.classes)
        check_skeleton(self.skeleton)
        self.rows, self.row_of = unique(self.space, architectures(self.space))
        self.evaluate = Training(self.space, dataset, self.skeleton, self.recipe)
        limit = len(self.rows) if config.limit is None else config.limit
        if not isinstance(limit, int) or not 1 <= limit <= len(self.rows):
            raise ConfigError(
                f"limit must be from 1 to {len(self.rows)}, the space's different architectures, "
                f"or null, got {limit}"
            )
        # A fixed random order: a part of the table is a fair sample, and the machine's other work
        # falls on no kind of architecture alone.
        self.chosen = np.random.default_rng(0).permutation(len(self.rows))[:limit].tolist()
        self.count = len(self.seeds) * limit

    def job(self, i: int) -> tuple[Arch, int]:
        seed, k = divmod(i, len(self.chosen))
        return self.rows[self.chosen[k]], self.seeds[seed]

    def table(self, trials: Mapping[int, Trial]) -> dict[str, np.ndarray]:
        """The arrays of nas/tables/table_file.py, of all trainings by their numbers."""
        held = sorted(self.chosen)
        column = {row: k for k, row in enumerate(self.chosen)}
        each = [
            [trials[s * len(held) + column[row]] for s in range(len(self.seeds))] for row in held
        ]
        none = [0] * self.recipe.epochs  # of a training that has failed by its numbers
        arrays = {
            f"{part}_hits": np.array(
                [[t.metrics.get(f"{part}_hits", none) for t in row] for row in each], np.uint16
            )
            for part in PARTS
        }
        archs = [self.rows[row] for row in held]
        costs = [self.space.cost(arch, self.skeleton) for arch in archs]
        place = np.full(len(self.rows), NOT_HELD)
        place[held] = np.arange(len(held))
        return arrays | {
            "seconds": np.array([[t.seconds for t in row] for row in each], np.float16),
            "parameters": np.array([cost.parameters for cost in costs], np.uint32),
            "flops": np.array([cost.flops for cost in costs], np.uint32),
            "archs": np.array(archs, np.uint8),
            "row_of": place[self.row_of].astype(np.int32),
        }


class Training:
    """Trains one architecture from one seed; picklable, a worker traces its graph once."""

    def __init__(
        self, space, dataset: Callable[[], ImageData], skeleton: ImageSkeleton, recipe: Recipe
    ):
        self.space, self.dataset = space, dataset
        self.skeleton, self.recipe = skeleton, recipe
        self._graph: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_graph": None}

    def __call__(self, arch: Arch, seed: int) -> tuple[dict[str, Any], float]:
        """Right answers after each epoch, of each part, and seconds of the processor."""
        data = self.dataset()
        if self._graph is None:
            from nas.training.one_graph import OneGraphTraining

            self._graph = OneGraphTraining(self.space, self.skeleton, data, self.recipe, PARTS)
            self._graph.fit(arch, seed=seed)  # TensorFlow prepares its graph: no training's time
        start = time.process_time()
        history = self._graph.fit(arch, seed=seed)
        seconds = time.process_time() - start
        refuse_nan(history["loss"])
        metrics: dict[str, Any] = {"loss": [float(x) for x in history["loss"]]}
        for part in PARTS:
            count = len(getattr(data, f"{part}_labels"))
            metrics[f"{part}_hits"] = [round(float(x) * count) for x in history[f"{part}_accuracy"]]
        return metrics, seconds


def trained(plan: Plan, todo: list[int], executor) -> Iterator[Trial]:
    """Each training as it ends. Raises ConfigError where one fails but by its numbers."""
    queue = iter(todo)
    running: dict[concurrent.futures.Future, int] = {}
    limit = executor.workers if executor.workers == 1 else 2 * executor.workers
    while True:
        for i in itertools.islice(queue, limit - len(running)):
            running[executor.submit(plan.evaluate, *plan.job(i))] = i
        if not running:
            return
        done, _ = concurrent.futures.wait(running, return_when=FIRST_COMPLETED)
        for future in done:
            i = running.pop(future)
            yield _trial(i, *plan.job(i), future)


def _trial(i: int, arch: Arch, seed: int, future: concurrent.futures.Future) -> Trial:
    proposal = Proposal(arch, notes={"seed": seed})
    try:
        metrics, seconds = future.result()
    except EvaluationError as error:
        if error.status != NAN:
            raise ConfigError(
                f"training {arch} failed as {error.status}: {error.reason}. What was finished is "
                "saved; the same command continues"
            ) from error
        return Trial(i, proposal, None, {}, error.seconds or 0.0, NAN, error.reason)
    return Trial(i, proposal, float(metrics["valid_hits"][-1]), metrics, seconds)
