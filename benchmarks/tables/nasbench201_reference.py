"""NAS-Bench-201's cells with what they reached, for the rank correlation of shared weights."""

import itertools
import os

import numpy as np

from nas.benchmarks.tables.nasbench201 import CELLS, VARIABLE, Table
from nas.core.reference import RankingReference
from nas.core.trial import ConfigError


def truth(
    *,
    seed: int,
    dataset: str = "cifar10",
    column: str = "test_200",
    sample: int | None = None,
    path: str | None = None,
) -> RankingReference | None:
    """The table's accuracies; None where neither `path` nor NASBENCH201_NPZ names a table.

    Args:
      dataset: cifar10, cifar100 or imagenet16_120.
      column: of the table, an accuracy.
      sample: so many cells, drawn from `seed`; None: all.
    """
    if sample is not None and not 2 <= sample <= CELLS:
        raise ConfigError(f"probe.sample must be in [2, {CELLS}] or null, got {sample}")
    if not path and not os.environ.get(VARIABLE):
        return None
    if column.split("_")[0] not in ("valid", "test"):
        raise ConfigError(
            f"probe.column must be an accuracy, valid_... or test_..., got {column}; "
            "set probe.column=test_200"
        )
    accuracies = Table(path, dataset=dataset).column(column)
    archs = list(itertools.product(range(5), repeat=6))  # as the table's columns are
    if sample is not None:
        chosen = np.sort(np.random.default_rng(seed).choice(CELLS, sample, replace=False))
        archs, accuracies = [archs[i] for i in chosen], accuracies[chosen]
    return RankingReference(archs, accuracies, f"NAS-Bench-201 {dataset} {column}")
