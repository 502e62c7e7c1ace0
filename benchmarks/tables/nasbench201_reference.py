"""The accuracies of NAS-Bench-201's cells, as a reference for the ranking of shared weights."""

import itertools
import os

import numpy as np

from nas.benchmarks.tables.nasbench201 import (
    CELLS,
    COLUMNS,
    REFERENCE_COLUMNS,
    VARIABLE,
    Table,
    position,
)
from nas.core.reference import RankingReference
from nas.core.trial import Arch, ConfigError


def ranking_reference(
    *,
    seed: int,
    dataset: str = "cifar10",
    column: str = "test_200",
    sample: int | None = None,
    path: str | None = None,
) -> RankingReference | None:
    """The table's accuracies; None if neither `path` nor NASBENCH201_NPZ names a table.

    Args:
      dataset: cifar10, cifar100 or imagenet16_120.
      column: of the table, an accuracy.
      sample: the number of cells, which are drawn from `seed`; None: all cells.
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
    archs = list(itertools.product(range(5), repeat=6))  # in the order of the table's columns
    if sample is not None:
        chosen = np.sort(np.random.default_rng(seed).choice(CELLS, sample, replace=False))
        archs, accuracies = [archs[i] for i in chosen], accuracies[chosen]
    name = f"NAS-Bench-201 {dataset} {column}"
    return RankingReference(archs, accuracies, name, looked_up=_Cells(path))


class _Cells:
    """Looks a cell up: its validation and test accuracies on all data sets that the file holds."""

    def __init__(self, path: str | None):
        tables = [Table(path, dataset=dataset) for dataset in COLUMNS]
        self.columns = {
            f"{table.dataset} {name.split('_')[0]}": table.column(name)
            for table in tables
            for name in REFERENCE_COLUMNS
            if name in table.names()
        }

    def __call__(self, arch: Arch) -> dict[str, float]:
        return {name: float(column[position(arch)]) for name, column in self.columns.items()}
