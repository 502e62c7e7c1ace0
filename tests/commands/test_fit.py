"""`nas fit`: all that it needs is checked first; it writes over nothing and keeps what it has."""

import json
import os
import signal
from pathlib import Path

import numpy as np
import pytest

from nas.commands import fit as fit_command
from nas.fitting import fit as fitting
from tests.helpers.cli import nas, refused

X = np.random.default_rng(0).normal(size=(60, 4))
Y = np.where(X[:, 0] > 0, b"yes", b"no")  # bytes, which JSON does not know


@pytest.fixture
def data(tmp_path) -> str:
    np.savez(tmp_path / "d.npz", x=X, y=Y, x_test=X[:9], y_test=Y[:9], names=np.zeros(2))
    return str(tmp_path / "d.npz")


def test_an_interrupted_fit_writes_the_best_so_far(data, tmp_path, monkeypatch):
    def say_trial(trial):
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(fit_command, "_say_trial", say_trial)
    to = tmp_path / "m.keras"
    said = nas(
        "fit", data, "--minutes", "0.02", "--to", str(to), "--run-dir", str(tmp_path / "run")
    )
    assert said.status == 130
    assert said.err == f"nas: interrupted; {to} is the best model so far\n"
    assert said.out.startswith("read d.npz: x, y, x_test, y_test; left out: names\n60 vectors of 4")
    assert "stopped by SIGTERM: the best model so far is made" in said.out
    report = json.loads(to.with_suffix(".json").read_text())
    assert report["labels"] == ["no", "yes"] and report["ended"] == "interrupted"
    assert 0 <= report["test_accuracy"] <= 1 and to.is_file()
    assert (tmp_path / "run" / "trials.db").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"d.npz", "m.keras", "m.json", "run"}


def test_an_interruption_before_there_is_a_model_says_so(data, tmp_path, monkeypatch):
    def search(*args, **settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(fitting, "search", search)
    to = tmp_path / "m.keras"
    said = nas("fit", data, "--minutes", "0.01", "--to", str(to))
    assert said.status == 130
    assert said.err == "nas: interrupted; no model was made, nothing is written\n"
    said = nas(
        "fit", data, "--minutes", "0.01", "--to", str(to), "--run-dir", str(tmp_path / "run")
    )
    assert "no model was made, what was finished is in" in said.err


def test_a_fit_without_a_network_ends_with_status_2(data, tmp_path, monkeypatch):
    def evaluate(self, trial_id, proposal):
        raise ValueError("no such layer")

    monkeypatch.setattr(fitting.TimedTraining, "__call__", evaluate)
    said = nas("fit", data, "--minutes", "0.01", "--to", str(tmp_path / "m.keras"))
    assert said.status == 2
    assert "nas: no network could be trained: ValueError: no such layer" in said.err
    assert "Traceback" not in said.err and not (tmp_path / "m.keras").exists()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"x_test": X[:9, :3]}, "test's x must be examples such as x has"),
        ({"y_test": Y[:8]}, r"test's y must be [9]"),
        ({"y_test": np.arange(9)}, "test's y must be bytes as y is, got whole numbers"),
        ({"y": np.array([b"\xff", b"no"] * 30)}, "y must be text in UTF-8"),
        ({"x_val": X}, "has also x_val; rename what is meant"),
    ],
)
def test_arrays_are_checked_before_anything_is_trained(data, tmp_path, change, message):
    arrays = {"x": X, "y": Y, "x_test": X[:9], "y_test": Y[:9]} | change
    np.savez(data, **arrays)
    said = nas("fit", data, "--minutes", "0.01", "--to", str(tmp_path / "m.keras"))
    assert said.status == 2 and message in said.err and "trial" not in said.out


def test_the_target_is_checked_first(data, tmp_path, monkeypatch):
    for name in ("here.keras", "other.json"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "dangling.keras").symlink_to(tmp_path / "gone")
    for to, message in (
        ("here.keras", "here.keras is there"),
        ("other.keras", "other.json is there"),
        ("dangling.keras", "dangling.keras is there"),
        ("m.h5", "--to must be a new file NAME.keras"),
        ("no/m.keras", "--to must be in a folder that exists"),
        ("m" * 300 + ".keras", "File name too long"),
    ):
        assert message in refused("fit", data, "--minutes", "0.01", "--to", str(tmp_path / to))
    assert (tmp_path / "other.json").read_text() == "mine"

    def denied(**settings):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(fit_command.tempfile, "NamedTemporaryFile", denied)
    said = refused("fit", data, "--minutes", "0.01", "--to", str(tmp_path / "m.keras"))
    assert "--to must be a file that can be written" in said and "Permission denied" in said


class Model:
    def save(self, path):
        Path(path).write_text("model")


def test_nothing_is_written_over_even_if_it_came_later(tmp_path):
    to = tmp_path / "m.keras"
    assert fit_command._save(Model(), to) == to
    (tmp_path / "m-2.json").write_text("mine")
    assert fit_command._save(Model(), to) == tmp_path / "m-3.keras"
    assert {path.name for path in tmp_path.iterdir()} == {"m.keras", "m-2.json", "m-3.keras"}


def test_a_folder_that_is_gone_does_not_lose_the_model(tmp_path, capsys):
    rescued = fit_command._save(Model(), tmp_path / "gone" / "m.keras")
    assert rescued.read_text() == "model" and str(rescued) in capsys.readouterr().err
    rescued.unlink()
    rescued.parent.rmdir()


@pytest.mark.parametrize(
    "args, message",
    [
        (
            ("--seed", "4294967296"),
            "seed must be a whole number from 0 to 2^32 - 1, got 4294967296",
        ),
        (("--minutes", "nan"), "minutes must be above 0, got nan"),
        (("--target", "y"), "--target must be left out unless DATA is a .csv"),
        (("--leave-out", "y"), "--leave-out must be left out unless DATA is a .csv"),
        (("--image-size", "8"), "--image-size must be left out unless DATA is a folder"),
    ],
)
def test_a_wrong_option_is_one_line(data, tmp_path, args, message):
    assert message in refused(
        "fit", data, "--minutes", "0.01", "--to", str(tmp_path / "m.keras"), *args
    )


def test_a_size_of_images_that_is_none_is_refused(tmp_path):
    for size in ("0", "-3", "100000"):
        said = refused("fit", str(tmp_path), "--image-size", size)
        assert f"--image-size must be a whole number of pixels in [1, 4096], got {size}" in said


def test_output_that_nobody_reads_does_not_end_a_fit(monkeypatch):
    class Closed:
        def write(self, text):
            raise BrokenPipeError

        def flush(self):
            pass

    monkeypatch.setattr(fit_command.sys, "stdout", Closed())
    fit_command._say("a line")
    fit_command._say("another")
    fit_command.sys.stdout.close()
