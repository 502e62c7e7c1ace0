"""NAS-Bench-101 (Ying et al., ICML 2019, arXiv:1902.09635): a table of 423,624 trained modules.

Each module was trained three times for 4, 12, 36 and 108 epochs on 40,000 images of CIFAR-10 and
validated on the other 10,000. One `.npz` file holds the results; `nas data convert` makes it from
the official TFRecord (benchmarks/tables/nasbench101_convert.py). The hash of a module, which is the
space's `key`, finds its row.

Left out: the measurements half-way through each training.
"""

import functools
from typing import Any

import numpy as np

from nas.benchmarks.tables.npz import located, read
from nas.core.capabilities import ModuleSpace
from nas.core.space import Space
from nas.core.trial import INVALID, Arch, ConfigError, EvaluationError, Proposal, trial_seed

VARIABLE = "NASBENCH101_NPZ"
WHAT = "a NAS-Bench-101 table"
FULL = 108  # epochs of the trainings by which `final` judges a module


class NASBench101Table:
    """An evaluator that looks modules up. A trial's seconds are those that its training took.

    Args:
      space: must be the space of NAS-Bench-101 modules.
      seed: for the drawn repeats.
      epochs: of the trainings that a search sees, unless its controller asks for others.
      repeat: the number of the repeat that a search sees, from 0; None: one is drawn for each
        trial, as in the official code.
      path: of the .npz; None: the variable NASBENCH101_NPZ.
    """

    budget: float | None = None  # the paper grants a search no number of seconds

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        epochs: int = 108,
        repeat: int | None = None,
        path: str | None = None,
    ):
        if not isinstance(space, ModuleSpace):
            raise ConfigError(
                f"evaluator=nasbench101 must have space=nasbench101, got {type(space).__name__}"
            )
        hint = "`nas data convert` makes one"
        self.path = located(path, "evaluator.path", VARIABLE, hint=hint)
        self.keys, budgets, self.parameters, self.valid, self.seconds = read(
            self.path, WHAT, "keys", "epochs", "parameters", "valid", "seconds"
        )
        self.budgets = {int(n): i for i, n in enumerate(budgets)}
        if self.valid.shape[:2] != (len(self.keys), len(self.budgets)):
            raise ConfigError(f"{self.path} is not {WHAT}: valid is {list(self.valid.shape)}")
        if epochs not in self.budgets:
            raise ConfigError(_wrong("epochs", list(self.budgets), epochs))
        repeats = list(range(self.valid.shape[2]))
        if repeat is not None and repeat not in repeats:
            raise ConfigError(_wrong("repeat", ["null", *repeats], repeat))
        self.space: ModuleSpace = space
        self.epochs, self.repeat, self.seed = epochs, repeat, seed
        self.repeats = len(repeats)
        self.arguments = {
            "space": space, "seed": seed, "epochs": epochs, "repeat": repeat, "path": path
        }  # fmt: skip

    def __reduce__(self):
        return _again, (self.arguments,)  # a worker reads the file itself

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        """valid_accuracy (a fraction), seconds, parameters.

        Raises EvaluationError, INVALID, for a module or a number of epochs outside the table.
        """
        epochs = self.epochs if proposal.epochs is None else proposal.epochs
        if epochs not in self.budgets:
            raise EvaluationError(INVALID, _wrong("epochs", list(self.budgets), epochs))
        repeat = self.repeat
        if repeat is None:
            repeat = trial_seed(self.seed, trial_id) % self.repeats
        row = self._row(proposal.arch)
        at = row, self.budgets[epochs], repeat
        return {
            "valid_accuracy": float(self.valid[at]),
            "seconds": float(self.seconds[at]),
            "parameters": int(self.parameters[row]),
        }

    def final(self, arch: Arch) -> dict[str, float]:
        """valid_108 and test_108: accuracies after full training, means over the repeats."""
        row = self._row(arch)
        return {name: float(means[row]) for name, means in self._reference.items()}

    def best_possible(self) -> dict[str, float]:
        """The largest value of each of those columns."""
        return {name: float(means.max()) for name, means in self._reference.items()}

    def _row(self, arch: Arch) -> int:
        name = self.space.key(arch)
        key = np.uint64(int(name[:16], 16))
        row = int(np.searchsorted(self.keys, key))
        if row == len(self.keys) or self.keys[row] != key:
            raise EvaluationError(INVALID, f"the table has no module {name}")
        return row

    @functools.cached_property
    def _reference(self) -> dict[str, np.ndarray]:
        """The columns of `final`, [modules] float64 each; none if the table lacks 108 epochs."""
        (test,) = read(self.path, WHAT, "test")
        at = self.budgets.get(FULL)
        repeats = {} if at is None else {"valid": self.valid[:, at], "test": test[:, at]}
        return {f"{name}_{FULL}": v.mean(1, dtype=float) for name, v in repeats.items()}


def _again(arguments: dict[str, Any]) -> NASBench101Table:
    return NASBench101Table(**arguments)


def _wrong(setting: str, known: list[Any], got: Any) -> str:
    return (
        f"evaluator.{setting} must be one of {', '.join(map(str, known))}, which the table has, "
        f"got {got}"
    )
