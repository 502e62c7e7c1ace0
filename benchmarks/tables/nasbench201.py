"""NAS-Bench-201 (Dong & Yang, ICLR 2020, arXiv:2001.00326): a table of 15,625 trained cells.

One `.npz` file of plain arrays (`COLUMNS`) holds the results of each cell on each data set; `nas
data convert` makes it (benchmarks/tables/nasbench201_convert.py). A second file (`latency`) may
hold the time of each cell on many devices. Reading them imports no TensorFlow and runs no code.

Departures: the seconds of 12 epochs are those of 200 epochs x 12 / 200, as in the official file.
The time of validation is not added, while NATS-Bench's own clock adds it.
"""

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.benchmarks.tables.npz import held, located, read
from nas.core.space import Space
from nas.core.trial import INVALID, Arch, ConfigError, EvaluationError, Proposal

VARIABLE, LATENCY_VARIABLE = "NASBENCH201_NPZ", "NASBENCH201_LATENCY_NPZ"
TABLE = "table"  # names the device of the table itself: the authors' GPU, with a batch of 256
WHAT = "a NAS-Bench-201 table"
EPOCHS = (12, 200)
# Seconds that a search may take: those of the paper (section 5), and those of as many trainings of
# 200 epochs.
BUDGETS = {"seconds_12": 12_000, "seconds_200": 200_000}
REFERENCE_COLUMNS: tuple[str, ...] = ("valid_200", "test_200")  # `final` judges a cell by them
CELLS, OPERATIONS = 15_625, ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

# For each data set, our name of a column -> the name in the file. Columns whose name ends in
# `_trials` hold one value for each training. On CIFAR-10 the paper validates a training on half of
# the images (cifar10-valid), and tests a training on all of them.
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
UNITS = {"parameters": 1e6, "seconds": 1.0, "latency": 1.0}  # other columns hold percentages


class Table:
    """The columns of one data set of the file, in the order of the space's architectures.

    `column(name)[position(arch)]` is the value of an architecture: accuracies are fractions, times
    are in seconds, parameters are a count.
    """

    def __init__(self, path: str | Path | None = None, *, dataset: str = "cifar10"):
        if dataset not in COLUMNS:
            raise ConfigError(
                f"evaluator.dataset must be one of {', '.join(COLUMNS)}, got {dataset}"
            )
        hint = "`nas data convert` makes one"
        self.path = located(path, "evaluator.path", VARIABLE, hint=hint)
        self.dataset = dataset
        ops, op_names = read(self.path, WHAT, "ops", "op_names")
        self.held = held(self.path, WHAT)
        names = [str(name) for name in op_names]
        if ops.shape != (CELLS, 6) or sorted(names) != sorted(OPERATIONS):
            raise ConfigError(
                f"{self.path} must hold {CELLS} cells of six edges, got ops {ops.shape} of {names}"
            )
        ours = np.array([OPERATIONS.index(name) for name in names])[ops]
        self.rows = np.argsort(ours @ 5 ** np.arange(5, -1, -1))  # rows of the file, in our order

    def names(self) -> list[str]:
        """The columns that the file holds for this data set."""
        names = [name for name, column in COLUMNS[self.dataset].items() if column in self.held]
        return [*names, *(["seconds_12"] if "seconds_200" in names else [])]

    def column(self, name: str) -> np.ndarray:
        """A column: [15625] float64.

        valid_200 is the mean of a cell's trainings, as the paper reports it; valid_200_trial0,
        valid_200_trial1 and valid_200_trial2 are the single trainings (NaN if a cell was trained
        less often). seconds_12 is seconds_200 x 12 / 200, because 12-epoch times were not kept.

        Raises ConfigError for a column that the file does not hold; the message names those it has.
        """
        base, _, trial = name.partition("_trial")
        if base == "seconds_12" and "seconds_12" in self.names():
            return self.column("seconds_200") * 12 / 200
        key = COLUMNS[self.dataset].get(base)
        if key is None or key not in self.held or (trial and not key.endswith("_trials")):
            raise ConfigError(
                f"{self.path.name} has no {name} for {self.dataset}; it has "
                f"{', '.join(self.names()) or 'nothing'}. Choose one of these, or another file"
            )
        values = read(self.path, WHAT, key)[0].astype(np.float64)
        if values.ndim == 2:
            values = values[:, int(trial)] if trial else np.nanmean(values, 1)
        return values[self.rows] * UNITS.get(base.split("_")[0], 0.01)


def position(arch: Arch) -> int:
    """The index of an architecture in a column: its choices, read as a number to the base five."""
    a, b, c, d, e, f = arch
    return ((((a * 5 + b) * 5 + c) * 5 + d) * 5 + e) * 5 + f


def latency(table: Table, device: str, path: str | Path | None = None) -> np.ndarray:
    """Milliseconds of one forward pass on `device`: [15625] float64, in the order of `table`.

    Args:
      device: `table` for the table's own device; otherwise a device in the file at `path`.
      path: of the file of devices, whose rows are in the benchmark's own order, the table's
        `index`; None: the variable NASBENCH201_LATENCY_NPZ.
    """
    if device == TABLE:
        return table.column("latency") * 1000
    if "index" not in table.held:
        raise ConfigError(
            f"{table.path} must have an index, the benchmark's own order of cells, for "
            f"evaluator.device={device}; `nas data convert` writes one"
        )
    place = located(path, "evaluator.device_path", LATENCY_VARIABLE)
    devices, values = read(place, "a table of latencies", "devices", "latency")
    names = [str(name) for name in devices]
    if values.shape != (CELLS, len(names)):
        raise ConfigError(
            f"{place} must hold {CELLS} cells of {len(names)} devices, got {list(values.shape)}"
        )
    if device not in names:
        raise ConfigError(
            f"evaluator.device must be {TABLE} or one of {', '.join(names)}, got {device}"
        )
    (index,) = read(table.path, WHAT, "index")
    return values[index[table.rows], names.index(device)].astype(np.float64)


class NASBench201Table:
    """An evaluator that looks cells up. A trial's seconds are those that its training took.

    A search sees only `metric` and the costs. `final` gives the accuracies after full training. The
    paper's Table 5 judges the cell of one search on CIFAR-10 on all three data sets: `judge_all`.

    Args:
      space: must be the space of NAS-Bench-201 cells.
      dataset: cifar10, cifar100 or imagenet16_120.
      metric: the column that a search sees as valid_accuracy.
      seconds: the column that is a trial's seconds.
      path: of the .npz; None: the variable NASBENCH201_NPZ.
      device: its latency, in milliseconds, is shown to the search as well; `table`, or a device in
        the file of devices; None: no latency.
      device_path: of the .npz of devices; None: the variable NASBENCH201_LATENCY_NPZ.
      judge_all: `final` has the accuracies on the other data sets too, as cifar100_valid_200 etc.
    """

    def __init__(
        self,
        space: Space,
        *,
        dataset: str = "cifar10",
        metric: str = "valid_12",
        seconds: str = "seconds_12",
        path: str | None = None,
        device: str | None = None,
        device_path: str | None = None,
        judge_all: bool = False,
    ):
        counts = [len(decision.choices) for decision in space.decisions]
        if counts != [5] * 6 or tuple(space.decisions[0].choices) != OPERATIONS:
            raise ConfigError(
                f"evaluator=nasbench201 must have space=nasbench201, got {type(space).__name__}"
            )
        _check_columns(metric, seconds)
        self.arguments = {
            "space": space, "dataset": dataset, "metric": metric, "seconds": seconds, "path": path,
            "device": device, "device_path": device_path, "judge_all": judge_all,
        }  # fmt: skip
        self.table = Table(path, dataset=dataset)
        self.budget: float | None = BUDGETS[seconds]
        # Lists, because reading a Python float from one is ten times faster than from an array.
        shown = {None: (metric, seconds)} | {n: (f"valid_{n}", f"seconds_{n}") for n in EPOCHS}
        names = set(self.table.names())
        self._shown: dict[int | None, tuple[list[float], list[float]]] = {
            epochs: (self.table.column(valid).tolist(), self.table.column(cost).tolist())
            for epochs, (valid, cost) in shown.items()
            if epochs is None or {valid, cost} <= names
        }
        self._costs = {"parameters": self.table.column("parameters").astype(int).tolist()}
        if device is not None:
            self._costs["latency"] = latency(self.table, device, device_path).tolist()
        self._judges = [(self.table, "")]
        if judge_all:
            others = [Table(path, dataset=name) for name in COLUMNS if name != dataset]
            self._judges += [(other, f"{other.dataset}_") for other in others]
            _check_judges(others)

    def __reduce__(self):
        return _again, (self.arguments,)  # a worker reads the file itself

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        """valid_accuracy (a fraction), seconds, parameters; latency (milliseconds) of a device."""
        if proposal.epochs not in self._shown:
            known = ", ".join(str(epochs) for epochs in self._shown if epochs is not None)
            raise EvaluationError(
                INVALID,
                f"epochs must be one of {known}, which the table has, got {proposal.epochs}",
            )
        valid, seconds = self._shown[proposal.epochs]
        i = position(proposal.arch)
        costs = {name: values[i] for name, values in self._costs.items()}
        return {"valid_accuracy": valid[i], "seconds": seconds[i], **costs}

    def final(self, arch: Arch) -> dict[str, float]:
        """Accuracies after full training, by column: those of REFERENCE_COLUMNS that there are.

        The names of other data sets' columns begin with that of the data set.
        """
        i = position(arch)
        return {name: values[i] for name, values in self._reference.items()}

    def best_possible(self) -> dict[str, float]:
        """The largest value of each of those columns."""
        return {name: max(values) for name, values in self._reference.items()}

    @functools.cached_property
    def _reference(self) -> dict[str, list[float]]:
        return {
            prefix + name: table.column(name).tolist()
            for table, prefix in self._judges
            for name in REFERENCE_COLUMNS
            if name in table.names()
        }


def _again(arguments: dict[str, Any]) -> NASBench201Table:
    return NASBench201Table(**arguments)


def _check_judges(tables: Sequence[Table]) -> None:
    for table in tables:
        if not set(REFERENCE_COLUMNS) & set(table.names()):
            raise ConfigError(
                f"evaluator.judge_all must have {' or '.join(REFERENCE_COLUMNS)} of every data "
                f"set, which {table.path.name} does not have of {table.dataset}; set "
                "evaluator.judge_all=false"
            )


def _check_columns(metric: str, seconds: str) -> None:
    if not metric.startswith("valid"):
        raise ConfigError(
            f"evaluator.metric must be a validation column, got {metric}: a search never sees "
            "the test images; set evaluator.metric=valid_12"
        )
    if seconds not in BUDGETS:
        raise ConfigError(
            f"evaluator.seconds must be seconds_12 or seconds_200, got {seconds}; "
            "set evaluator.seconds=seconds_12"
        )
