"""nas export: three formats, each loaded by a fresh process; what is broken is not called done."""

import re
import shutil

import numpy as np
import pytest
from omegaconf import OmegaConf

from nas.commands import export
from nas.evaluators.exported import score
from nas.run import folder as runs
from tests.helpers.cli import nas, refused


def test_three_formats_answer_as_the_trained_model_in_a_fresh_process(retrained, tmp_path):
    said = nas("export", str(retrained), "--to", str(tmp_path / "out"))
    assert said.status == 0, said
    *formats, done = said.out.strip().splitlines()
    assert done == "done: every format loads in a fresh process and answers as the trained model"
    assert [line.split()[0] for line in formats] == ["keras", "savedmodel", "tflite"]
    for line in formats:
        assert line.endswith("ok")
        ours, trained = re.findall(r"(?:accuracy|model) (\d\.\d{4})", line)
        assert ours == trained
    written = {path.name for path in (tmp_path / "out").iterdir()}
    assert written == {"model.keras", "saved_model", "model.tflite"}


@pytest.fixture
def run(retrained, tmp_path):
    """A copy of the run, to be changed."""
    shutil.copytree(retrained, tmp_path / "run")
    return tmp_path / "run"


def test_a_file_that_does_not_load_is_told(run, monkeypatch):
    def cut(source, target):
        target.write_bytes(source.read_bytes()[:1000])

    monkeypatch.setattr(shutil, "copyfile", cut)
    line = refused("export", str(run), "--formats", "keras")
    assert "export/model.keras does not load in a fresh process: " in line
    assert not (run / "export" / "probe.npz").exists()


def test_a_format_that_answers_otherwise_is_told(run, monkeypatch):
    """Its process is not started: what it would say is given."""
    images, labels = export._probe(run)
    told = export._load(run / runs.MODEL).predict(images, verbose=0)

    def other(paths, probe):
        with np.load(probe, allow_pickle=False) as arrays:
            assert (arrays["images"] == images).all() and (arrays["labels"] == labels).all()
        return [score(told + wrong[path.name], labels) for path in paths]

    monkeypatch.setattr(export, "_scores", other)
    wrong = {"model.keras": 0.01, "saved_model": float("nan"), "model.tflite": 1e-6}
    monkeypatch.setattr(export, "_write", lambda *args: None)
    said = nas("export", str(run))
    assert said.status == 2
    assert [line.split()[-1] for line in said.out.splitlines()] == ["DIFFERS", "DIFFERS", "ok"]
    assert "an exported model answers otherwise than" in said.err and "do not use it" in said.err


def test_the_score_is_the_share_of_right_answers():
    answers = np.array([[0.1, 0.9], [0.8, 0.2], [0.7, 0.3], [0.4, 0.6]], np.float32)
    found = score(answers, np.array([1, 0, 1, 1]))
    assert found["accuracy"] == 0.75 and np.allclose(found["first"], answers)


def test_the_probe_is_the_validation_split(run):
    images, labels = export._probe(run)
    assert images.shape == (287, 8, 8, 1) and images.dtype == np.float32 and images.max() > 1
    assert labels.shape == (287,)


def test_what_is_wrong_is_told(run, searched, tmp_path):
    line = refused("export", str(searched))
    assert f"{searched} has no best.keras: `nas retrain {searched}` makes one" in line
    (tmp_path / "file").touch()
    assert f"{tmp_path / 'file'} cannot be made: File exists" in refused(
        "export", str(run), "--to", str(tmp_path / "file")
    )
    said = nas("export", str(run), "--formats", "onnx")
    assert said.status == 2 and "invalid choice: 'onnx'" in said.err
    config = runs.read_run(run)
    config.dataset["_target_"] = "os.abort"
    (run / runs.CONFIG).write_text(OmegaConf.to_yaml(config))
    assert "dataset must be one that a file of conf/ names" in refused("export", str(run))


def test_a_damaged_model_is_told(run):
    (run / runs.MODEL).write_bytes((run / runs.MODEL).read_bytes()[:2000])
    assert "best.keras cannot be loaded: " in refused("export", str(run))
