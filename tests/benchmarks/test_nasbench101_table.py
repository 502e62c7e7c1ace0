"""NAS-Bench-101's table: read of a TFRecord as TensorFlow writes it, and looked up."""

import base64
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest

from nas.benchmarks.tables import nasbench101_convert as converter
from nas.benchmarks.tables.nasbench101 import NASBench101Table
from nas.commands import cli
from nas.core.capabilities import TableEvaluator
from nas.core.trial import ConfigError, EvaluationError, Proposal, trial_seed
from nas.search_spaces.papers.nasbench101 import NASBench101, from_text
from nas.search_spaces.papers.nasbench201.space import NASBench201

SPACE = NASBench101()
CELLS = [  # rows of the matrix, operations
    ("0100", "input,output"),
    ("010001000", "input,conv3x3-bn-relu,output"),
    ("011001000", "input,maxpool3x3,output"),
]
ARCHS = [from_text(":".join(cell)) for cell in CELLS]
BUDGETS, REPEATS = (4, 108), 3


def metrics(cell: int, budget: int, repeat: int) -> dict[str, float]:
    """What the fabricated training gave at its end; halves are exact in float32."""
    return {
        "training_time": budget + cell / 8,
        "train_accuracy": 1.0,
        "validation_accuracy": cell / 4 + repeat / 64 + (budget == 108) / 8,
        "test_accuracy": cell / 4 + repeat / 64,
    }


def message_classes():
    """ModelMetrics as lib/model_metrics.proto has it, by Google's own library."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    file = descriptor_pb2.FileDescriptorProto(name="m.proto", package="nasbench", syntax="proto2")
    field = descriptor_pb2.FieldDescriptorProto
    data = file.message_type.add(name="EvaluationData")
    names = ("current_epoch", *metrics(0, 4, 0))
    for number, name in enumerate(names, 1):
        data.field.add(name=name, number=number, type=field.TYPE_DOUBLE, label=1)
    data.field.add(name="checkpoint_path", number=6, type=field.TYPE_STRING, label=1)
    model = file.message_type.add(name="ModelMetrics")
    model.field.add(
        name="evaluation_data", number=1, type=field.TYPE_MESSAGE, label=3,
        type_name=".nasbench.EvaluationData",
    )  # fmt: skip
    model.field.add(name="trainable_parameters", number=2, type=field.TYPE_INT32, label=1)
    model.field.add(name="total_time", number=3, type=field.TYPE_DOUBLE, label=1)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("nasbench.ModelMetrics"))


def record(cell: int, budget: int, repeat: int) -> bytes:
    model = message_classes()(trainable_parameters=1000 + cell, total_time=9.5)
    for share in (0, 0.5, 1):
        values = {name: share * value for name, value in metrics(cell, budget, repeat).items()}
        model.evaluation_data.add(
            current_epoch=share * budget, checkpoint_path="model.ckpt-1", **values
        )
    encoded = base64.b64encode(model.SerializeToString()).decode()
    return json.dumps([SPACE.key(ARCHS[cell]), budget, *CELLS[cell], encoded]).encode()


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    import tensorflow as tf

    path = tmp_path_factory.mktemp("official") / "nasbench.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for repeat in range(REPEATS):
            for budget in reversed(BUDGETS):
                for cell in (2, 0, 1):
                    writer.write(record(cell, budget, repeat))
    return path


@pytest.fixture(scope="module")
def table(official, tmp_path_factory):
    out = tmp_path_factory.mktemp("table") / "table.npz"
    assert cli.main(["data", "convert", "nasbench101", str(official), str(out)]) == 0
    return str(out)


def test_what_was_written_is_looked_up(table):
    for repeat in range(REPEATS):
        evaluate = NASBench101Table(SPACE, seed=0, repeat=repeat, path=table)
        for cell, arch in enumerate(ARCHS):
            for budget in (None, *BUDGETS):
                expected = metrics(cell, budget or 108, repeat)
                assert evaluate(0, Proposal(arch, epochs=budget)) == {
                    "valid_accuracy": expected["validation_accuracy"],
                    "seconds": expected["training_time"],
                    "parameters": 1000 + cell,
                }


def test_the_reference_is_the_mean_of_the_repeats(table):
    evaluate = NASBench101Table(SPACE, seed=0, epochs=4, path=table)
    assert isinstance(evaluate, TableEvaluator) and evaluate.budget is None
    assert evaluate.final(ARCHS[1]) == {
        "valid_108": 0.25 + 1 / 64 + 0.125,
        "test_108": 0.25 + 1 / 64,
    }
    assert evaluate.best_possible() == {"valid_108": 0.5 + 1 / 64 + 0.125, "test_108": 0.5 + 1 / 64}


def test_each_trial_draws_a_repeat_by_the_seed(table):
    evaluate = NASBench101Table(SPACE, seed=3, path=table)
    seen = [evaluate(i, Proposal(ARCHS[0]))["valid_accuracy"] for i in range(30)]
    assert seen == [trial_seed(3, i) % 3 / 64 + 0.125 for i in range(30)]
    assert len(set(seen)) == 3  # one is missed with probability 3 (2/3)^30 < 2e-5; seeded


def test_isomorphic_modules_are_one_row_and_others_are_invalid(table):
    evaluate = NASBench101Table(SPACE, seed=0, repeat=0, path=table)
    moved = from_text("0010000000010000:input,maxpool3x3,conv3x3-bn-relu,output")
    assert evaluate(0, Proposal(moved)) == evaluate(0, Proposal(ARCHS[1]))
    absent = from_text("010001000:input,conv1x1-bn-relu,output")
    with pytest.raises(EvaluationError, match=f"the table has no module {SPACE.key(absent)}"):
        evaluate(0, Proposal(absent))
    with pytest.raises(EvaluationError, match="evaluator.epochs must be one of 4, 108, .* got 12"):
        evaluate(0, Proposal(ARCHS[0], epochs=12))


def test_a_worker_reads_the_file_itself(table):
    evaluate = NASBench101Table(SPACE, seed=5, path=table)
    body = pickle.dumps(evaluate)
    assert len(body) < 1000
    assert pickle.loads(body)(7, Proposal(ARCHS[2])) == evaluate(7, Proposal(ARCHS[2]))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"space": NASBench201()}, "must have space=nasbench101, got NASBench201"),
        ({"epochs": 12}, "evaluator.epochs must be one of 4, 108, which the table has, got 12"),
        (
            {"repeat": 3},
            "evaluator.repeat must be one of null, 0, 1, 2, which the table has, got 3",
        ),
        ({"path": None}, "set NASBENCH101_NPZ=FILE.npz .* `nas data convert` makes one"),
        ({"path": "/nowhere.npz"}, "must be a file, got /nowhere.npz"),
        ({"path": __file__}, "is not a NAS-Bench-101 table"),
    ],
)
def test_what_it_does_not_hold_is_named(table, monkeypatch, changes, words):
    monkeypatch.delenv("NASBENCH101_NPZ", raising=False)
    with pytest.raises(ConfigError, match=words):
        NASBench101Table(**({"space": SPACE, "seed": 0, "path": table} | changes))


@pytest.mark.parametrize(
    "spoil, words",
    [
        (lambda body: body[:-10], "it ends within a record"),
        (lambda body: body[:5], "unpack requires"),
        (lambda body: b"", "it is empty"),
        (lambda body: b"text, and no record of any kind", "a record of [0-9]+ bytes"),
        (lambda body: body.replace(b"CQ", b"DQ"), "a protocol buffer has no field of type"),
    ],
)
def test_a_damaged_file_is_one_line(official, tmp_path, spoil, words):
    (tmp_path / "x.tfrecord").write_bytes(spoil(official.read_bytes()))
    with pytest.raises(ConfigError, match=f"x.tfrecord is damaged, or not .*{words}"):
        converter.convert(str(tmp_path / "x.tfrecord"), tmp_path / "out.npz")
    assert not list(tmp_path.glob("*.npz"))


def test_modules_must_all_have_been_trained_alike():
    every = [record(cell, budget, 0) for cell in range(3) for budget in BUDGETS]
    assert converter.gathered(iter(every))["valid"].shape == (3, 2, 1)
    with pytest.raises(ValueError, match="not all trained alike"):
        converter.gathered(iter(every[:-1]))
    with pytest.raises(
        ConfigError, match="given the path of nasbench_full.tfrecord .* got nowhere"
    ):
        converter.convert("nowhere", "out.npz")


def test_controllers_search_it(table):
    from nas.controllers.regularized_evolution import RegularizedEvolution
    from nas.engine.executors import SerialExecutor
    from nas.engine.rewards import accuracy
    from nas.engine.search import search
    from nas.engine.store import Unsaved

    class Few(NASBench101):
        """Every module stands for one of three that the table has."""

        def key(self, arch):
            return super().key(ARCHS[sum(arch) % 3])

    trials = search(
        RegularizedEvolution(Few(), seed=0, population_size=5, sample_size=3),
        NASBench101Table(Few(), seed=0, path=table),
        accuracy, Unsaved(), SerialExecutor(), max_trials=40,
    )  # fmt: skip
    assert {trial.status for trial in trials} == {"ok"}
    assert max(trial.reward for trial in trials) == 0.5 + 2 / 64 + 0.125


def test_no_tensorflow_is_imported(table):
    code = (
        "import sys\nfrom nas.benchmarks.tables.nasbench101 import NASBench101Table\n"
        "import nas.benchmarks.tables.nasbench101_convert\n"
        "from nas.search_spaces.papers.nasbench101 import NASBench101\n"
        f"NASBench101Table(NASBench101(), seed=0, path={table!r})\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_numbers_of_a_protocol_buffer_worked_by_hand():
    """protobuf.dev, Encoding: 08 96 01 is field 1 with 150; 12 07 is field 2 with seven bytes."""
    assert list(converter.fields(bytes.fromhex("089601"))) == [(1, 150)]
    assert list(converter.fields(bytes.fromhex("120774657374696e67"))) == [(2, b"testing")]
    assert list(converter.fields(b"\x09" + np.float64(0.5).tobytes())) == [(1, 0.5)]
    with pytest.raises(ValueError, match="no field of type 5"):
        list(converter.fields(b"\x0d\0\0\0\0"))
