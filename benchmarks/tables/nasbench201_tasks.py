"""NAS-Bench-201's data sets as tasks of one controller. A proposal's notes name its task."""

from collections.abc import Sequence
from typing import Any

from nas.benchmarks.tables.nasbench201 import NASBench201Table
from nas.core.space import Space
from nas.core.trial import ConfigError, Proposal


class NASBench201Tasks:
    """An evaluator that looks a cell up in the table of its task.

    The task is notes["task"] of the proposal, an index of `datasets`.

    Args:
      space: must be the space of NAS-Bench-201 cells.
      datasets: one for each task of the controller, among cifar10, cifar100 and imagenet16_120.
      metric: the column that a search sees as valid_accuracy.
      path: of the .npz; None: the variable NASBENCH201_NPZ.
    """

    def __init__(
        self,
        space: Space,
        *,
        datasets: Sequence[str] = ("cifar100", "imagenet16_120"),
        metric: str = "valid_12",
        path: str | None = None,
    ):
        if not datasets:
            raise ConfigError("evaluator.datasets must name at least one, got none")
        self.tables = [
            NASBench201Table(space, dataset=name, metric=metric, path=path) for name in datasets
        ]

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        """The values of NASBench201Table, and the task."""
        task = proposal.notes.get("task")
        if task is None or task >= len(self.tables):
            raise ConfigError(
                "evaluator=nasbench201_tasks must have a controller of as many tasks as it has "
                f"datasets, {len(self.tables)}, got task {task}; set controller=transfer "
                f"controller.tasks={len(self.tables)}"
            )
        return self.tables[task](trial_id, proposal) | {"task": task}
