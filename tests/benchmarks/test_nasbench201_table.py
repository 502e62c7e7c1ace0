"""The table: known answers of the published numbers, and what it refuses."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

from nas.benchmarks.tables.nasbench201 import CELLS, NASBench201Table, Table, position
from nas.core.capabilities import TableEvaluator
from nas.core.space import Decision, Space
from nas.core.trial import ConfigError, EvaluationError, Proposal
from nas.search_spaces.papers.nasbench201.space import NASBench201, from_string, to_string

PATH = os.environ.get("NASBENCH201_NPZ")
LATENCY = os.environ.get("NASBENCH201_LATENCY_NPZ")
RESNET = "|nor_conv_3x3~0|+|none~0|nor_conv_3x3~1|+|skip_connect~0|none~1|skip_connect~2|"


@pytest.fixture
def small(tmp_path):
    """A file of the right form, whose CIFAR-10 numbers are the row's own index."""
    path = tmp_path / "small.npz"
    index = np.arange(CELLS)
    names = np.array(["nor_conv_3x3", "none", "skip_connect", "avg_pool_3x3", "nor_conv_1x1"])
    digits = index[:, None] // 5 ** np.arange(5, -1, -1) % 5
    trials = np.stack([index, index + 2, np.full(CELLS, np.nan)], 1) / 1000
    np.savez(
        path,
        index=index[::-1],
        ops=digits.astype(np.uint8),
        op_names=names,
        cifar10valid_val_12=index / 1000,
        cifar10valid_val_200_trials=trials,
        cifar10valid_train_time_200_s=200.0 + index,
        cifar10valid_latency_s=0.001 * (1 + index),
        cifar10valid_params_M=np.full(CELLS, 0.5),
    )
    return path


def test_a_row_is_found_by_the_names_of_its_operations(small):
    evaluate = NASBench201Table(NASBench201(), path=str(small))
    assert isinstance(evaluate, TableEvaluator) and evaluate.budget == 12_000
    # Our (0, ..., 0) is all `none`, which this file numbers 1: its row is 11111 to the base five.
    row = sum(5**i for i in range(6))
    assert evaluate(0, Proposal((0,) * 6)) == {
        "valid_accuracy": pytest.approx(row / 100_000),
        "seconds": pytest.approx((200 + row) * 12 / 200),
        "parameters": 500_000,
    }


def test_trials_are_averaged_over_those_there_are_or_read_one_by_one(small):
    table = Table(small)
    one, mean = table.column("valid_200_trial1"), table.column("valid_200")
    assert one[0] - mean[0] == pytest.approx(1 / 100_000)
    assert np.isnan(table.column("valid_200_trial2")).all()


def test_more_epochs_cost_more_and_unknown_ones_are_invalid(small):
    evaluate = NASBench201Table(NASBench201(), path=str(small))
    twelve, all_ = (evaluate(0, Proposal((1,) * 6, epochs=n))["seconds"] for n in (12, 200))
    assert all_ == pytest.approx(twelve * 200 / 12)
    words = "epochs must be one of 12, 200, which the table has, got 50"
    with pytest.raises(EvaluationError, match=words):
        evaluate(0, Proposal((1,) * 6, epochs=50))


def test_a_worker_reads_the_file_itself(small):
    evaluate = NASBench201Table(NASBench201(), path=str(small))
    body = pickle.dumps(evaluate)
    assert len(body) < 5000
    proposal = Proposal((1, 2, 3, 4, 0, 1))
    assert pickle.loads(body)(0, proposal) == evaluate(0, proposal)


@pytest.fixture
def devices(tmp_path):
    """Two devices, whose milliseconds are the row's own index and twice that."""
    latency = np.arange(CELLS)[:, None] * np.array([1.0, 2.0]) + 1
    np.savez(tmp_path / "devices.npz", devices=["phone", "board"], latency=latency)
    return tmp_path / "devices.npz"


def test_a_search_sees_the_latency_of_its_device_alone(small, devices, monkeypatch):
    proposal, row = Proposal((0,) * 6), sum(5**i for i in range(6))
    cell = CELLS - 1 - row  # the file names its rows backwards
    expected = {None: None, "table": 1 + row, "phone": 1 + cell, "board": 1 + 2 * cell}
    for device, milliseconds in expected.items():
        evaluate = NASBench201Table(
            NASBench201(), path=str(small), device=device, device_path=str(devices)
        )
        shown = evaluate(0, proposal).get("latency")
        assert shown == (milliseconds and pytest.approx(milliseconds))
    monkeypatch.setenv("NASBENCH201_LATENCY_NPZ", str(devices))
    evaluate = NASBench201Table(NASBench201(), path=str(small), device="board")
    assert pickle.loads(pickle.dumps(evaluate))(0, proposal)["latency"] == 1 + 2 * cell


def test_devices_need_the_order_of_the_cells(small, devices):
    with np.load(small) as file:
        np.savez(small, **{name: file[name] for name in file.files if name != "index"})
    with pytest.raises(ConfigError, match="must have an index, .* for evaluator.device=phone"):
        NASBench201Table(NASBench201(), path=str(small), device="phone", device_path=str(devices))


def test_a_search_on_12_epochs_sees_nothing_of_later_ones(small):
    evaluate = NASBench201Table(NASBench201(), path=str(small), device="table")
    assert set(evaluate(0, Proposal((1,) * 6))) == {
        "valid_accuracy", "seconds", "parameters", "latency"
    }  # fmt: skip
    row = sum(2 * 5**i for i in range(6))  # our 1, a skip, is the file's 2
    assert evaluate.final((1,) * 6) == {"valid_200": pytest.approx((row + 1) / 100_000)}
    assert evaluate.best_possible() == {"valid_200": pytest.approx(CELLS / 100_000)}


def test_the_cell_of_one_search_is_judged_on_all_data_sets(small):
    with np.load(small) as file:
        arrays = dict(file)
    arrays["imagenet16_val_200_trials"] = arrays["cifar10valid_val_200_trials"] + 1
    arrays["cifar100_test_200"] = arrays["cifar10valid_val_12"] + 2
    np.savez(small, **arrays)
    evaluate = NASBench201Table(NASBench201(), path=str(small), judge_all=True)
    row = sum(2 * 5**i for i in range(6))  # our 1, a skip, is the file's 2
    for judge in (evaluate, pickle.loads(pickle.dumps(evaluate))):
        assert judge.final((1,) * 6) == {
            "valid_200": pytest.approx((row + 1) / 100_000),
            "cifar100_test_200": pytest.approx((row + 2000) / 100_000),
            "imagenet16_120_valid_200": pytest.approx((row + 1001) / 100_000),
        }
    assert set(evaluate.best_possible()) == set(evaluate.final((1,) * 6))
    assert set(evaluate(0, Proposal((1,) * 6))) == {"valid_accuracy", "seconds", "parameters"}


def test_the_simulated_clock_stops_at_the_first_trial_that_crosses(small):
    from nas.controllers.random_search import RandomSearch
    from nas.engine.executors import SerialExecutor
    from nas.engine.rewards import accuracy
    from nas.engine.search import search
    from nas.engine.store import Unsaved

    evaluate = NASBench201Table(NASBench201(), path=str(small))
    trials = search(
        RandomSearch(NASBench201(), seed=0), evaluate, accuracy, Unsaved(), SerialExecutor(),
        max_trials=1000, max_seconds=5000,
    )  # fmt: skip
    spent = np.cumsum([trial.seconds for trial in trials])
    assert spent[-1] >= 5000 > spent[-2]


class Other(Space):
    decisions = (Decision("a", (0, 1)),)


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"metric": "valid_50"}, "small.npz has no valid_50 for cifar10; it has valid_12"),
        ({"dataset": "cifar100"}, "has no valid_12 for cifar100; it has nothing"),
        ({"dataset": "svhn"}, "evaluator.dataset must be one of cifar10"),
        ({"metric": "test_200"}, "a search never sees the test images"),
        ({"seconds": "valid_12"}, "evaluator.seconds must be seconds_12 or seconds_200"),
        ({"path": "/nowhere.npz"}, "must be a file, got /nowhere.npz"),
        ({"device": "phone"}, "set NASBENCH201_LATENCY_NPZ=FILE.npz or evaluator.device_path="),
        ({"device": "toaster", "device_path": "devices.npz"}, "be table or one of phone, board"),
        ({"device": "phone", "device_path": "small.npz"}, "small.npz is not a table of latencies"),
        ({"judge_all": True}, "which small.npz does not have of cifar100; set evaluator.judge_all"),
        ({"space": Other()}, "must have space=nasbench201, got Other"),
    ],
)
def test_what_it_does_not_hold_is_named(small, devices, monkeypatch, changes, words):
    monkeypatch.delenv("NASBENCH201_LATENCY_NPZ", raising=False)
    monkeypatch.chdir(small.parent)
    arguments = {"space": NASBench201(), "path": str(small)} | changes
    with pytest.raises(ConfigError) as error:
        NASBench201Table(**arguments)
    assert words in str(error.value)


def test_without_a_file_the_variable_is_named(monkeypatch):
    monkeypatch.delenv("NASBENCH201_NPZ", raising=False)
    with pytest.raises(ConfigError, match="set NASBENCH201_NPZ=FILE.npz .* `nas data convert`"):
        NASBench201Table(NASBench201())


def test_a_damaged_file_is_one_line(tmp_path):
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 and nothing more")
    with pytest.raises(ConfigError, match="is not a NAS-Bench-201 table"):
        Table(tmp_path / "x.npz")


def test_no_tensorflow_is_imported(small):
    code = (
        "import sys\nfrom nas.benchmarks.tables.nasbench201 import NASBench201Table\n"
        "from nas.search_spaces.papers.nasbench201.space import NASBench201\n"
        f"NASBench201Table(NASBench201(), path={str(small)!r})\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.data
@pytest.mark.skipif(not PATH, reason="NASBENCH201_NPZ is not set")
def test_the_published_table():
    with np.load(PATH) as file:
        archs = [from_string(str(text)) for text in file["arch_str"]]
        assert [to_string(arch) for arch in archs] == file["arch_str"].tolist()
        raw = file["cifar10_test_200"]
    rows = [position(arch) for arch in archs]  # of the official index
    assert sorted(rows) == list(range(CELLS))
    table = Table(PATH)
    test, valid = table.column("test_200")[rows], table.column("valid_200")[rows]
    np.testing.assert_allclose(test, raw / 100)
    assert valid.argmax() == 6111 and valid.max() == pytest.approx(0.916067, abs=1e-6)
    assert test.argmax() == 6111 and test.max() == pytest.approx(0.943733, abs=1e-6)
    assert test[13714] == test[6111]
    # The cell of a ResNet: 93.91 is the mean of its trainings, 93.97 one of them (older files).
    assert min(abs(test[11472] - value) for value in (0.9391, 0.9397)) < 1e-6
    held = np.load(PATH).files
    if "cifar100_test_200" not in held:
        with pytest.raises(ConfigError, match="has no test_200 for cifar100; it has valid_12"):
            Table(PATH, dataset="cifar100").column("test_200")


@pytest.mark.data
@pytest.mark.skipif(not PATH, reason="NASBENCH201_NPZ is not set")
def test_a_search_is_shown_12_epochs_and_told_200_afterwards():
    evaluate, arch = NASBench201Table(NASBench201()), from_string(RESNET)
    with np.load(PATH) as file:
        row = {name: file[name][11472] for name in file.files if len(file[name]) == CELLS}
    assert row["arch_str"] == RESNET
    assert evaluate(0, Proposal(arch)) == {
        "valid_accuracy": pytest.approx(row["cifar10valid_val_12"] / 100),
        "seconds": pytest.approx(row["cifar10valid_train_time_200_s"] * 12 / 200),
        "parameters": round(1e6 * float(row["cifar10valid_params_M"])),
    }
    best = {"valid_200": pytest.approx(0.916067, abs=1e-6), "test_200": pytest.approx(0.943733)}
    assert evaluate.best_possible() == best
    assert evaluate.final(arch)["test_200"] == pytest.approx(row["cifar10_test_200"] / 100)


@pytest.mark.data
@pytest.mark.skipif(not LATENCY, reason="NASBENCH201_LATENCY_NPZ is not set")
@pytest.mark.skipif(not PATH, reason="NASBENCH201_NPZ is not set")
def test_the_latencies_of_27_devices():
    with np.load(LATENCY) as file, np.load(PATH) as table:
        cell, known = from_string(str(table["arch_str"][6111])), file["latency"][6111].tolist()
        names = [str(name) for name in file["devices"]]
    assert len(names) == 27
    for name, milliseconds in list(zip(names, known, strict=True))[::9]:
        evaluate = NASBench201Table(NASBench201(), device=name)
        assert evaluate(0, Proposal(cell))["latency"] == milliseconds


@pytest.mark.data
@pytest.mark.skipif(not PATH, reason="NASBENCH201_NPZ is not set")
def test_fifty_cells_have_the_tables_parameters():
    from nas.core.skeleton import ImageSkeleton

    skeleton = ImageSkeleton(image_shape=(32, 32, 3), classes=10, cells=5, channels=16)
    space, table = NASBench201(), Table(PATH)
    published = table.column("parameters")
    rng = np.random.default_rng(0)
    for arch in [space.sample(rng) for _ in range(50)]:
        ours = space.official_parameters(arch, skeleton)
        assert ours == pytest.approx(published[position(arch)], abs=1)
