"""NAS-Bench-201 (Dong & Yang, ICLR 2020, arXiv:2001.00326): 15,625 trained cells, looked up.

One `.npz` file, of plain arrays (`COLUMNS`), holds what each cell reached on each data set. Reading
it imports no TensorFlow and runs no code.
"""

import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from nas.trial import INVALID, Arch, ConfigError, EvaluationError, Proposal

VARIABLE = "NASBENCH201_NPZ"
EPOCHS = (12, 200)
TRUTHS: tuple[str, ...] = ("valid_200", "test_200")  # what a found cell is judged by
CELLS, OPERATIONS = 15_625, ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

# Our name of a column: the file's, for each data set. `_trials` columns hold one value a training.
# The paper validates CIFAR-10 on a training of half the images (cifar10-valid), and tests a
# training of all of them.
COLUMNS = {
    "cifar10": {
        "valid_12": "cifar10valid_val_12",
        "valid_200": "cifar10valid_val_200_trials",
        "test_12": "cifar10_test_12",
        "test_200": "cifar10_test_200",
        "train_200": "cifar10_train_200",
        "seconds_200": "cifar10valid_train_time_200_s",
        "latency": "cifar10valid_latency_s",
        "parameters": "cifar10valid_params_M",
    },
    "cifar100": {
        "valid_12": "cifar100_val_12",
        "valid_200": "cifar100_val_200_trials",
        "test_12": "cifar100_test_12",
        "test_200": "cifar100_test_200",
        "train_200": "cifar100_train_200",
        "seconds_200": "cifar100_train_time_200_s",
        "latency": "cifar100_latency_s",
        "parameters": "cifar100_params_M",
    },
    "imagenet16_120": {
        "valid_12": "imagenet16_val_12",
        "valid_200": "imagenet16_val_200_trials",
        "test_12": "imagenet16_test_12",
        "test_200": "imagenet16_test_200",
        "train_200": "imagenet16_train_200",
        "seconds_200": "imagenet16_train_time_200_s",
        "latency": "imagenet16_latency_s",
        "parameters": "imagenet16_params_M",
    },
}
UNITS = {"parameters": 1e6, "seconds": 1.0, "latency": 1.0}  # the others are percent -> fractions


class Table:
    """The columns of one data set of the file, in the order of the space's own architectures.

    `column(name)` is [15625] float64, at position `position(arch)`: accuracies as fractions, times
    in seconds, parameters as a count.
    """

    def __init__(self, path: str | Path | None = None, *, dataset: str = "cifar10"):
        if dataset not in COLUMNS:
            raise ConfigError(
                f"evaluator.dataset must be one of {', '.join(COLUMNS)}, got {dataset}"
            )
        self.path, self.dataset = located(path), dataset
        try:
            with self.path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                self.held = set(file.files)
                ops, names = file["ops"], [str(name) for name in file["op_names"]]
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise ConfigError(f"{self.path} is not a NAS-Bench-201 table: {error}") from None
        if ops.shape != (CELLS, 6) or sorted(names) != sorted(OPERATIONS):
            raise ConfigError(
                f"{self.path} must hold {CELLS} cells of six edges, got ops {ops.shape} of {names}"
            )
        ours = np.array([OPERATIONS.index(name) for name in names])[ops]
        self._rows = np.argsort(ours @ 5 ** np.arange(5, -1, -1))

    def names(self) -> list[str]:
        """The columns that the file holds for this data set."""
        found = [name for name, column in COLUMNS[self.dataset].items() if column in self.held]
        return [*found, *(["seconds_12"] if "seconds_200" in found else [])]

    def column(self, name: str) -> np.ndarray:
        """[15625] float64. Raises ConfigError where the file does not hold it, naming what it does.

        valid_200 is the mean of a cell's trainings, as the paper reports it; valid_200_trial0,
        valid_200_trial1 and valid_200_trial2 are one each (NaN where a cell was trained less
        often). seconds_12 is seconds_200 x 12 / 200: 12-epoch times were not kept.
        """
        base, _, trial = name.partition("_trial")
        if base == "seconds_12" and "seconds_12" in self.names():
            return self.column("seconds_200") * 12 / 200
        key = COLUMNS[self.dataset].get(base)
        if key is None or key not in self.held or (trial and not key.endswith("_trials")):
            raise ConfigError(
                f"{self.path.name} has no {name} for {self.dataset}; it has "
                f"{', '.join(self.names())}. Choose one of these, or another file"
            )
        with np.load(self.path, allow_pickle=False) as file:
            values = file[key].astype(np.float64)
        if values.ndim == 2:
            values = values[:, int(trial)] if trial else np.nanmean(values, 1)
        return values[self._rows] * UNITS.get(base.split("_")[0], 0.01)


def position(arch: Arch) -> int:
    """Where an architecture stands: its choices as the digits of a number to the base five."""
    a, b, c, d, e, f = arch
    return ((((a * 5 + b) * 5 + c) * 5 + d) * 5 + e) * 5 + f


class NASBench201Table:
    """An evaluator that looks up; a trial's seconds are the seconds that its training took.

    What a search is shown is `metric` alone, with the costs. `final` tells the truth afterwards.

    Args:
      space: must be the NAS-Bench-201 cells.
      dataset: cifar10, cifar100 or imagenet16_120.
      metric: the column a search sees as valid_accuracy.
      seconds: the column that is a trial's seconds.
      path: of the .npz; None: the variable NASBENCH201_NPZ.
    """

    def __init__(
        self,
        space,
        *,
        dataset: str = "cifar10",
        metric: str = "valid_12",
        seconds: str = "seconds_12",
        path: str | None = None,
    ):
        counts = [len(decision.choices) for decision in space.decisions]
        if counts != [5] * 6 or tuple(space.decisions[0].choices) != OPERATIONS:
            raise ConfigError(
                f"evaluator=nasbench201 must have space=nasbench201, got {type(space).__name__}"
            )
        if metric.startswith("test"):
            raise ConfigError(
                f"evaluator.metric must be a validation column, got {metric}: a search never sees "
                "the test images; set evaluator.metric=valid_12"
            )
        self.arguments = {
            "space": space, "dataset": dataset, "metric": metric, "seconds": seconds, "path": path,
        }  # fmt: skip
        self.table = Table(path, dataset=dataset)
        # Lists: a Python float is found in them ten times faster than in an array.
        self._seconds = self.table.column(seconds).tolist()
        self._parameters = self.table.column("parameters").tolist()
        self._valid: dict[int | None, list[float]] = {None: self.table.column(metric).tolist()}
        for epochs in EPOCHS:
            if f"valid_{epochs}" in self.table.names():
                self._valid[epochs] = self.table.column(f"valid_{epochs}").tolist()

    def __reduce__(self):
        return _again, (self.arguments,)  # a worker reads the file itself

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        """valid_accuracy (a fraction), seconds, parameters."""
        valid = self._valid.get(proposal.epochs)
        if valid is None:
            raise EvaluationError(
                INVALID, f"the table holds {EPOCHS} epochs, got epochs={proposal.epochs}"
            )
        i = position(proposal.arch)
        seconds = self._seconds[i]
        if proposal.epochs is not None:
            seconds = self.table.column(f"seconds_{proposal.epochs}")[i]
        return {
            "valid_accuracy": valid[i],
            "seconds": seconds,
            "parameters": int(self._parameters[i]),
        }

    def final(self, arch: Arch) -> dict[str, float]:
        """What training it fully gave: the columns of `truths`, by name."""
        i = position(arch)
        return {name: values[i] for name, values in self._truths().items()}

    def best_possible(self) -> dict[str, float]:
        """The largest value of each of those columns."""
        return {name: max(values) for name, values in self._truths().items()}

    def _truths(self) -> dict[str, list[float]]:
        if not hasattr(self, "_kept"):
            held = self.table.names()
            self._kept: dict[str, list[float]] = {
                name: self.table.column(name).tolist() for name in TRUTHS if name in held
            }
        return self._kept


def _again(arguments: dict[str, Any]) -> NASBench201Table:
    return NASBench201Table(**arguments)


def located(path: str | Path | None) -> Path:
    """The file named, or that of NASBENCH201_NPZ. Raises ConfigError where there is none."""
    named = path or os.environ.get(VARIABLE)
    if not named:
        raise ConfigError(
            f"evaluator=nasbench201 needs its table: set {VARIABLE}=FILE.npz or "
            "evaluator.path=FILE.npz"
        )
    if not Path(named).is_file():
        raise ConfigError(f"evaluator.path (or {VARIABLE}) must be a file, got {named}")
    return Path(named)
