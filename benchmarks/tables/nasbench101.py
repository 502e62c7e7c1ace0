"""NAS-Bench-101 (Ying et al., ICML 2019, arXiv:1902.09635): 423,624 trained modules, looked up.

Each was trained three times for 4, 12, 36 and 108 epochs on 40,000 images of CIFAR-10 and validated
on the other 10,000. One `.npz` file holds it; `nas data convert` makes it of the official TFRecord
(benchmarks/tables/nasbench101_convert.py). A module is found by its hash, the space's `key`.

Left out: what was measured half-way through a training.
"""

from typing import Any

import numpy as np

from nas.benchmarks.tables.npz import located, read
from nas.core.capabilities import ModuleSpace
from nas.core.trial import INVALID, Arch, ConfigError, EvaluationError, Proposal, trial_seed

VARIABLE = "NASBENCH101_NPZ"
WHAT = "a NAS-Bench-101 table"
FULL = 108  # epochs of the trainings that a found module is judged by


class NASBench101Table:
    """An evaluator that looks up; a trial's seconds are the seconds that its training took.

    Args:
      space: must be the NAS-Bench-101 modules.
      epochs: of the trainings that a search sees, where its controller asks for no others.
      repeat: which of the repeats a search sees, from 0; None: one drawn for each trial, as the
        official code has it.
      seed: of those draws.
      path: of the .npz; None: the variable NASBENCH101_NPZ.
    """

    def __init__(
        self,
        space,
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
        self.space, self.epochs, self.repeat, self.seed = space, epochs, repeat, seed
        self.repeats = len(repeats)
        self.arguments = {
            "space": space, "seed": seed, "epochs": epochs, "repeat": repeat, "path": path
        }  # fmt: skip

    def __reduce__(self):
        return _again, (self.arguments,)  # a worker reads the file itself

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        """valid_accuracy (a fraction), seconds, parameters."""
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

    budget = None  # the paper grants no seconds

    def final(self, arch: Arch) -> dict[str, float]:
        """What training it fully gave: valid_108 and test_108, means of the repeats."""
        row = self._row(arch)
        return {name: float(means[row]) for name, means in self._truths().items()}

    def best_possible(self) -> dict[str, float]:
        """The largest of each of those."""
        return {name: float(means.max()) for name, means in self._truths().items()}

    def _row(self, arch: Arch) -> int:
        name = self.space.key(arch)
        key = np.uint64(int(name[:16], 16))
        row = int(np.searchsorted(self.keys, key))
        if row == len(self.keys) or self.keys[row] != key:
            raise EvaluationError(INVALID, f"the table has no module {name}")
        return row

    def _truths(self) -> dict[str, np.ndarray]:
        if not hasattr(self, "_kept"):
            (test,) = read(self.path, WHAT, "test")
            at = self.budgets.get(FULL)
            named = {} if at is None else {"valid": self.valid[:, at], "test": test[:, at]}
            self._kept = {f"{name}_{FULL}": v.mean(1, dtype=float) for name, v in named.items()}
        return self._kept


def _again(arguments: dict[str, Any]) -> NASBench101Table:
    return NASBench101Table(**arguments)


def _wrong(setting: str, known: list[Any], got: Any) -> str:
    return (
        f"evaluator.{setting} must be one of {', '.join(map(str, known))}, which the table has, "
        f"got {got}"
    )
