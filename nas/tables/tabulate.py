"""`nas tabulate`: trains every architecture of a small space and writes a table of them.

Architectures with the same `space.key` are one network, which is trained once per seed. Each
finished training is a row of trials.db, so that a killed run continues. The table is written at the
end.
"""

import concurrent.futures
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from omegaconf import DictConfig, ListConfig

from nas.core.setting_kinds import is_whole, shown
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import NAN, Arch, ConfigError, EvaluationError, Proposal, Trial
from nas.data.images import ImageData
from nas.engine.executors import Executor, completed
from nas.evaluators.common import LoadedOnce
from nas.evaluators.one_graph import check_skeleton, check_trainable, refuse_nan
from nas.run.config import make
from nas.tables.enumeration import architectures, unique
from nas.tables.table_file import NOT_HELD, PARTS
from nas.training.recipe import Recipe


class Plan:
    """All trainings: seed by seed each architecture, so that a part of them has complete seeds.

    Raises ConfigError for settings that are wrong or do not fit together.
    """

    def __init__(self, config: DictConfig):
        self.space = make(config.space, "space")
        self.recipe = make(config.recipe, "recipe")
        check_trainable(self.space, self.recipe)
        seeds = config.seeds if isinstance(config.seeds, ListConfig) else []
        self.seeds = [seed for seed in seeds if is_whole(seed, 0, 2**32 - 1)]
        if not seeds or len(self.seeds) != len(seeds) or len(set(seeds)) != len(seeds):
            raise ConfigError(
                f"seeds must be different whole numbers, not negative, got {shown(config.seeds)}"
            )
        dataset = LoadedOnce(make(config.dataset, "dataset"))
        self.data = dataset()
        skeleton = make(config.skeleton, "skeleton")
        self.skeleton = skeleton(image_shape=self.data.image_shape, classes=self.data.classes)
        check_skeleton(self.skeleton)
        self.rows, self.row_of = unique(self.space, architectures(self.space))
        self.evaluate = Training(self.space, dataset, self.skeleton, self.recipe)
        limit = len(self.rows) if config.limit is None else config.limit
        if not is_whole(limit, 1, len(self.rows)):
            raise ConfigError(
                f"limit must be from 1 to {len(self.rows)}, the space's different architectures, "
                f"or null, got {limit}"
            )
        # In a fixed random order, so that a part of the table is a uniform sample, and other work
        # on the machine slows no particular kind of architecture.
        self.chosen = np.random.default_rng(0).permutation(len(self.rows))[:limit].tolist()
        self.count = len(self.seeds) * limit

    def job(self, i: int) -> tuple[Arch, int]:
        """The architecture and the seed of training number i."""
        seed, k = divmod(i, len(self.chosen))
        return self.rows[self.chosen[k]], self.seeds[seed]

    def table(self, trials: Mapping[int, Trial]) -> dict[str, np.ndarray]:
        """The arrays of nas/tables/table_file.py. trials: of all trainings, by their numbers."""
        held = sorted(self.chosen)
        column = {row: k for k, row in enumerate(self.chosen)}
        each = [
            [trials[s * len(held) + column[row]] for s in range(len(self.seeds))] for row in held
        ]
        none = [0] * self.recipe.epochs  # for a training whose loss became NaN
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
    """Trains one architecture from one seed. It can be pickled; a worker traces its graph once."""

    def __init__(
        self, space, dataset: Callable[[], ImageData], skeleton: ImageSkeleton, recipe: Recipe
    ):
        self.space, self.dataset = space, dataset
        self.skeleton, self.recipe = skeleton, recipe
        self._graph: Any = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_graph": None}

    def __call__(self, arch: Arch, seed: int) -> tuple[dict[str, Any], float]:
        """Correct predictions after each epoch by part, and CPU seconds.

        Raises EvaluationError with status NAN if the loss is not finite.
        """
        data = self.dataset()
        if self._graph is None:
            from nas.training.one_graph import OneGraphTraining

            self._graph = OneGraphTraining(self.space, self.skeleton, data, self.recipe, PARTS)
            self._graph.fit(
                arch, seed=seed
            )  # TensorFlow traces its graph, which counts for no training
        start = time.process_time()
        history = self._graph.fit(arch, seed=seed)
        seconds = time.process_time() - start
        refuse_nan(history["loss"])
        metrics: dict[str, Any] = {"loss": [float(x) for x in history["loss"]]}
        for part in PARTS:
            count = len(getattr(data, f"{part}_labels"))
            metrics[f"{part}_hits"] = [round(float(x) * count) for x in history[f"{part}_accuracy"]]
        return metrics, seconds


def trained(plan: Plan, todo: list[int], executor: Executor) -> Iterator[Trial]:
    """Each training as it ends.

    Raises ConfigError if one fails for another reason than a loss that is not finite.
    """
    jobs = ((i, plan.job(i)) for i in todo)
    for i, future in completed(executor, plan.evaluate, jobs):
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
