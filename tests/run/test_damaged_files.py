"""Every JSON and npz file of a run folder, damaged in its shape: one line that names it."""

import io
import json
import shutil

import numpy as np
import pytest

from nas.core.trial import ConfigError
from nas.report.report import write_report
from nas.run.folder import EPOCHS, RANKING
from nas.run.summary import SUMMARY, read_seed, read_summary, write_seed, write_summary
from tests.helpers.cli import nas, refused

GOOD = {"trials": 3, "failed": 0, "best": {"trial": 0, "arch": [0], "reward": 1.0, "metrics": {}}}


@pytest.mark.parametrize(
    "text",
    [
        "[]", "3", "null", '"x"', "[" * 9999,
        '{"trials": "3"}', '{"best": 3}', '{"best": {"trial": "0"}}', '{"wall_seconds": []}',
        '{"stopped": 5}', '{"retrained": []}', '{"retrained": {"seeds": 3}}',
        '{"retrained": {"parameters": 1, "seeds": [0], "history": []}}',
        '{"retrained": {"parameters": 1, "seeds": [0], "history": [3], "test_accuracy": 0.5}}',
        '{"random": {"architectures": 3}}', '{"ranking": {"kendall_tau": 0.5}}',
    ],
)  # fmt: skip
def test_a_summary_of_another_shape_is_one_line(searched, tmp_path, text):
    run = tmp_path / "run"
    shutil.copytree(searched, run)
    (run / SUMMARY).write_text(text)
    for read in (read_summary, write_report):
        with pytest.raises(ConfigError, match="summary.json is damaged .* delete it and continue"):
            read(run)


@pytest.mark.parametrize("text", ["{}", "[3]", '[{"loss": "low"}]', "[[]]", '[{"loss": 1}'])
def test_epochs_of_another_shape_are_one_line(searched, tmp_path, text):
    run = tmp_path / "run"
    shutil.copytree(searched, run)
    (run / EPOCHS).write_text(text)
    assert "epochs.json is damaged (" in refused("report", str(run))


def npz(**arrays):
    blob = io.BytesIO()
    np.savez(blob, **arrays)
    return blob.getvalue()


@pytest.mark.parametrize(
    "blob",
    [
        b"no zip", npz(scores=[1.0]), npz(scores=[1.0], truth=[1.0, 2.0]),
        npz(scores=["a"], truth=["b"]), npz(scores=1.0, truth=1.0),
        npz(scores=[1.0], truth=[2.0])[:90],
    ],
)  # fmt: skip
def test_a_ranking_of_another_shape_is_one_line(searched, tmp_path, blob):
    run = tmp_path / "run"
    shutil.copytree(searched, run)
    (run / EPOCHS).write_text('[{"loss": 1.0, "accuracy": null}]')
    (run / RANKING).write_bytes(blob)
    assert "ranking.npz is damaged (" in refused("report", str(run))


def test_nan_never_enters_a_file(tmp_path):
    def no_constant(name):
        raise AssertionError(name)

    write_summary(tmp_path, GOOD | {"seconds": float("nan"), "x": [np.float32("inf")]})
    written = json.loads((tmp_path / SUMMARY).read_text(), parse_constant=no_constant)
    assert written["seconds"] is None and written["x"] == [None]


def test_the_result_of_a_seed_is_read_back_and_checked(tmp_path):
    history = {"test_accuracy": [0.5], "loss": [float("nan"), 0.5]}
    write_seed(tmp_path, 3, {"parameters": 7, "history": history})
    result = read_seed(tmp_path, 3, ["test_accuracy"])
    assert result["parameters"] == 7 and result["history"]["test_accuracy"] == [0.5]
    assert np.isnan(result["history"]["loss"][0]) and read_seed(tmp_path, 4, []) is None
    with pytest.raises(ConfigError, match="seed3.json is damaged .it has no test_loss.; delete it"):
        read_seed(tmp_path, 3, ["test_loss"])
    (tmp_path / "seed3.json").write_text('{"parameters": "7", "history": {}}')
    with pytest.raises(ConfigError, match="seed3.json is damaged"):
        read_seed(tmp_path, 3, [])


def test_a_killed_retraining_goes_on_and_a_finished_one_is_not_repeated(
    searched, retrained, tmp_path, monkeypatch
):
    """Killed after its first seed: that one is not trained again."""
    folder = tmp_path / "again"
    shutil.copytree(retrained, folder)
    (folder / SUMMARY).unlink()
    (folder / "seed1.json").unlink()
    called = []
    module = __import__("nas.evaluators.retrain", fromlist=["_trained"])
    real = module._trained
    monkeypatch.setattr(module, "_trained", lambda *args: called.append(args[5]) or real(*args))
    for _ in range(2):
        said = nas("retrain", str(searched), "seeds=[0,1]", f"run_dir={folder}")
        assert said.status == 0, said
    assert called == [1]
    assert read_summary(folder)["retrained"]["seeds"] == [0, 1]
    (folder / SUMMARY).unlink()
    for file in folder.glob("seed*.json"):  # killed before the first seed had ended
        file.unlink()
    assert nas("retrain", str(searched), "seeds=[0]", f"run_dir={folder}").status == 0
    assert called == [1, 0]
