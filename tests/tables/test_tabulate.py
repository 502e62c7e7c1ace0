"""nas tabulate: what is trained, once each, resumable; the file; the evaluator that reads it."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nas.benchmarks.tables.tabulated import TabulatedTable
from nas.core.trial import CRASHED, NAN, ConfigError, EvaluationError, Proposal
from nas.search_spaces.papers.cgp_cnn.space import CGPCNN
from nas.search_spaces.papers.nasbench201.space import NASBench201
from nas.tables import tabulate
from nas.tables.enumeration import architectures, unique
from nas.tables.table_file import NOT_HELD, PARTS, checksum, read_table, write_table
from tests.helpers.cli import nas, refused

SMALL = ("executor=serial", "limit=6", "seeds=[3,5]", "recipe.epochs=2", "name=small")
VALID, TEST = 287, 360  # images of digits


class Counted:
    """In the place of Training: right answers are made up, one training fails by its numbers."""

    calls: list[tuple] = []
    last = None  # so many calls, then the process is interrupted

    def __init__(self, *parts):
        pass

    def __call__(self, arch, seed):
        if len(self.calls) == self.last:
            raise KeyboardInterrupt
        self.calls.append((arch, seed))
        if len(self.calls) == 4:
            raise EvaluationError(NAN, "the loss is nan after epoch 1")
        return {"valid_hits": [seed, sum(arch)], "test_hits": [1, 2 * sum(arch)]}, float(seed)


@pytest.fixture
def counted(monkeypatch):
    monkeypatch.setattr(Counted, "calls", [])
    monkeypatch.setattr(Counted, "last", None)
    monkeypatch.setattr(tabulate, "Training", Counted)
    return Counted


@pytest.fixture
def small(counted, tmp_path) -> Path:
    said = nas("tabulate", *SMALL, f"run_dir={tmp_path}/run")
    assert said.status == 0, said
    return tmp_path / "run" / "small.npz"


def test_architectures_of_one_key_are_one_row():
    space = NASBench201()
    archs = architectures(space)
    rows, row_of = unique(space, archs)
    assert (len(archs), len(rows)) == (15_625, 6_466)  # NAS-Bench-201, section 2.1
    assert all(space.key(archs[i]) == space.key(rows[row_of[i]]) for i in range(0, 15_625, 97))


def test_the_table_holds_what_each_training_gave(small, counted):
    arrays, about = read_table(small)
    assert arrays["valid_hits"].shape == (6, 2, 2)
    failed = counted.calls[3]
    for row, arch in enumerate(tuple(arch) for arch in arrays["archs"].tolist()):
        for s, seed in enumerate((3, 5)):
            total = 0 if (arch, seed) == failed else sum(arch)
            assert arrays["valid_hits"][row, s, 1] == total
            assert arrays["test_hits"][row, s, 1] == 2 * total
            assert arrays["seconds"][row, s] == (0 if (arch, seed) == failed else seed)
    assert len(counted.calls) == len(set(counted.calls)) == 12
    assert about["config"]["seeds"] == [3, 5] and about["config"]["recipe"]["epochs"] == 2
    assert about["dataset"]["valid"] == VALID and about["dataset"]["test"] == TEST


def test_a_run_that_was_stopped_trains_what_is_missing(counted, tmp_path, small):
    counted.calls, counted.last = [], 5
    assert nas("tabulate", *SMALL, f"run_dir={tmp_path}/again").status != 0
    assert not (tmp_path / "again" / "small.npz").exists()
    counted.last = None
    assert nas("tabulate", *SMALL, f"run_dir={tmp_path}/again").status == 0
    assert len(counted.calls) == len(set(counted.calls)) == 12
    whole, again = read_table(small)[0], read_table(tmp_path / "again" / "small.npz")[0]
    assert all(np.array_equal(whole[name], again[name]) for name in whole)


def test_a_training_that_fails_otherwise_ends_the_run(counted, tmp_path, monkeypatch):
    def fail(self, arch, seed):
        raise EvaluationError(CRASHED, "the worker died")

    monkeypatch.setattr(Counted, "__call__", fail)
    line = refused("tabulate", *SMALL, f"run_dir={tmp_path}/run")
    assert "failed as crashed: the worker died" in line and "continues" in line


@pytest.mark.parametrize(
    "setting, said",
    [
        ("seeds=[1,1]", "seeds must be different"),
        ("limit=7000", "limit must be from 1 to 6466"),
        ("space=genetic_cnn", "space must be one with a supernet"),
        ("space=darts", "space must have at most 100,000 architectures"),
        ("skeleton.dropout=0.5", "skeleton.dropout must be 0"),
    ],
)
def test_what_cannot_be_tabulated_is_refused(counted, tmp_path, setting, said):
    assert said in refused("tabulate", *SMALL, setting, f"run_dir={tmp_path}/run")
    assert not (tmp_path / "run").exists()


def held_arch(path: Path, row: int):
    return tuple(read_table(path)[0]["archs"][row].tolist())


def test_the_evaluator_shows_epochs_and_seeds(small, counted):
    space = NASBench201()
    arch = next(arch for arch, _ in counted.calls if arch != counted.calls[3][0])
    accuracy = sum(arch) / VALID
    found = TabulatedTable(space, path=str(small))(0, Proposal(arch))
    assert found["valid_accuracy"] == pytest.approx(accuracy)
    assert found["seconds"] == 4  # the mean of both
    table = TabulatedTable(space, path=str(small), epochs=1, seed=5)
    found = table(0, Proposal(arch))
    assert (found["valid_accuracy"], found["seconds"]) == (pytest.approx(5 / VALID), 2.5)
    assert table(0, Proposal(arch, epochs=2))["valid_accuracy"] == pytest.approx(accuracy)
    truth = {"valid": accuracy, "test": 2 * sum(arch) / TEST}
    assert table.final(arch) == pytest.approx(truth)
    assert table.best_possible()["test"] >= truth["test"]
    again = pickle.loads(pickle.dumps(table))
    assert again(0, Proposal(arch)) == found


def test_all_architectures_of_a_key_find_its_row(small):
    space = NASBench201()
    held = held_arch(small, 0)
    others = [arch for arch in architectures(space) if space.key(arch) == space.key(held)]
    table = TabulatedTable(space, path=str(small))
    assert len({json.dumps(table(0, Proposal(arch))) for arch in others}) == 1


def test_what_is_not_held_names_what_is(small):
    space = NASBench201()
    table = TabulatedTable(space, path=str(small))
    arrays = read_table(small)[0]
    missing = architectures(space)[int(np.flatnonzero(arrays["row_of"] == NOT_HELD)[0])]
    with pytest.raises(EvaluationError, match=r"small.npz holds \d+ of the 15,625 architectures"):
        table(0, Proposal(missing))
    with pytest.raises(EvaluationError, match="epochs must be from 1 to 2"):
        table(0, Proposal(held_arch(small, 0), epochs=3))
    with pytest.raises(ConfigError, match="evaluator.seed must be one of 3, 5"):
        TabulatedTable(space, path=str(small), seed=4)
    with pytest.raises(ConfigError, match="evaluator.epochs must be from 1 to 2"):
        TabulatedTable(space, path=str(small), epochs=0)
    with pytest.raises(ConfigError, match="must be a table of the space, CGPCNN"):
        TabulatedTable(CGPCNN(), path=str(small))


def test_a_damaged_file_is_one_clear_line(small, tmp_path):
    content, path = small.read_bytes(), tmp_path / "damaged.npz"
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(ConfigError, match="damaged"):
        read_table(path)
    with np.load(small) as file:
        arrays = dict(file)
    arrays["test_hits"][0] += 1
    np.savez(path, **arrays)
    with pytest.raises(ConfigError, match="its checksum is wrong"):
        read_table(path)
    arrays["about"] = np.array(json.dumps({"version": 2}))
    del arrays["checksum"]
    np.savez(path, checksum=checksum(arrays), **arrays)
    with pytest.raises(ConfigError, match="must be of version 1, got 2"):
        read_table(path)


def test_a_comparison_on_a_table_of_all(small, tmp_path):
    space, rng = NASBench201(), np.random.default_rng(0)
    rows, row_of = unique(space, architectures(space))
    _, about = read_table(small)
    arrays = {f"{part}_hits": rng.integers(0, VALID, [len(rows), 2, 2]) for part in PARTS}
    arrays |= {name: np.ones(len(rows), int) for name in ("parameters", "flops")}
    arrays |= {"seconds": np.ones([len(rows), 2]), "archs": np.array(rows), "row_of": row_of}
    write_table(tmp_path / "all.npz", arrays, about)
    said = nas(
        "compare", "evaluator=tabulated", f"evaluator.path={tmp_path}/all.npz", "seeds=2",
        "controllers=[random,local_search]", "max_seconds=12", "executor=serial",
        f"run_dir={tmp_path}/duel",
    )  # fmt: skip
    assert said.status == 0, said
    numbers = json.loads((tmp_path / "duel" / "comparison.json").read_text())
    assert numbers["best_possible"].keys() == {"valid", "test"}


@pytest.mark.slow
def test_killed_workers_and_all_the_run_continues(tmp_path):
    run = tmp_path / "run"
    command = [
        *[sys.executable, "-m", "nas", "tabulate", "limit=4", "seeds=[0]", "recipe.epochs=1"],
        *["skeleton.channels=2", "dataset.train_size=64", "name=real", f"run_dir={run}"],
    ]
    folder = Path(__file__).parents[2]
    process = subprocess.Popen(command, cwd=folder, start_new_session=True)
    while not (run / "trials.db").exists() or not _count(run):
        assert process.poll() is None
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    subprocess.run(command, cwd=folder, check=True)
    arrays, _ = read_table(run / "real.npz")
    assert arrays["valid_hits"].shape == (4, 1, 1) and (arrays["seconds"] > 0).all()
    # What the evaluator of searches gives for the same seed.
    import nas.benchmarks.images.digits
    from nas.core.skeleton import ImageSkeleton
    from nas.training.one_graph import OneGraphTraining
    from nas.training.recipe import Recipe

    data = nas.benchmarks.images.digits.load(train_size=64)
    skeleton = ImageSkeleton(image_shape=(8, 8, 1), classes=10, cells=1, channels=2)
    recipe = Recipe(epochs=1, learning_rate=0.1, weight_decay=5e-4)
    graph = OneGraphTraining(NASBench201(), skeleton, data, recipe)
    found = graph.fit(tuple(arrays["archs"][0].tolist()), seed=0)
    hits = round(float(found["valid_accuracy"][0]) * VALID)
    assert arrays["valid_hits"][0, 0, 0] == hits


def _count(run: Path) -> int:
    import sqlite3

    with sqlite3.connect(f"file:{run}/trials.db?mode=ro", uri=True) as base:
        try:
            return base.execute("select count(*) from trials").fetchone()[0]
        except sqlite3.OperationalError:  # its tables are not made yet
            return 0
