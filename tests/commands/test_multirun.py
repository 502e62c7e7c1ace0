"""Sweeps: every combination has a run folder of its own, and another process changes nothing."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.hydra_config import HydraConfig

from nas.engine.store import Store
from nas.run import folder as runs
from nas.run.summary import read_summary
from tests.helpers.cli import QUICK, nas

ROOT = Path(__file__).parents[2]
SMALL = (*QUICK, "space=nasbench201", "max_trials=3", "retrain=none")


def elsewhere(*args: str) -> None:
    """The command in a process of its own."""
    command = [sys.executable, "-m", "nas", *args]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def history(folder: Path) -> list:
    with Store(folder, read_only=True) as store:
        return store.trials()


def swept(sweep: Path) -> dict:
    """(controller, seed) -> trials, of every run below the folder of a sweep, each whole."""
    found = {}
    for folder in (path for path in sweep.iterdir() if path.is_dir()):
        config, summary = runs.read_run(folder), read_summary(folder)
        controller = config.choices.controller
        assert f"controller={controller}" in folder.name and f"seed={config.seed}" in folder.name
        assert (summary["trials"], summary["controller"]) == (3, controller)
        assert (folder / "report.html").is_file() and (folder / "log.txt").is_file()
        found[controller, config.seed] = history(folder)
    return found


def test_a_sweep_is_as_many_searches_as_combinations(tmp_path):
    sweep = tmp_path / "sweep"
    args = ("-m", "controller=random,regularized_evolution", "seed=0,1", f"run_dir={sweep}")
    said = nas("search", *args, *SMALL)
    assert said.status == 0, said
    found = swept(sweep)
    assert set(found) == {(c, s) for c in ("random", "regularized_evolution") for s in (0, 1)}
    assert found["random", 0] != found["random", 1]
    one = tmp_path / "one"
    elsewhere("search", *SMALL, "controller=random", "seed=0", f"run_dir={one}")
    assert history(one) == found["random", 0]  # seed 0 is a seed as well


def test_a_sweep_without_a_folder_is_given_one_for_all_its_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    HydraConfig.instance().cfg = None  # as in a process that has run nothing
    table = ("evaluator=digits201", "space=nasbench201", "max_trials=3", "retrain=none")
    said = nas("search", "-m", "controller=random,regularized_evolution", "seed=0", *table)
    assert said.status == 0, said
    (sweep,) = (tmp_path / "runs/sweep").iterdir()
    assert set(swept(sweep)) == {("random", 0), ("regularized_evolution", 0)}


def test_folders_of_a_sweep_with_many_settings_are_named_by_what_is_swept(tmp_path):
    settings = [f"recipe.step_at=[{','.join(['0.5'] * 60)}]", "controller=random"]
    said = nas("search", "-m", "seed=0,1", *settings, *SMALL, f"run_dir={tmp_path}")
    assert said.status == 0, said
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"seed=0", "seed=1"}


def test_a_run_of_a_sweep_that_fails_is_told_and_the_others_are_kept(tmp_path):
    said = nas("search", "-m", "controller=random", "seed=0,-1", *SMALL, f"run_dir={tmp_path}")
    assert said.status == 2
    assert said.err.splitlines()[-1].startswith("nas: seed must be an integer of at least 0")
    assert set(swept(tmp_path)) == {("random", 0)}


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_the_documented_sweep(tmp_path, launcher):
    """With the LSTM controller, and workers below the launcher's own."""
    if importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is None:
        pytest.skip("hydra-joblib-launcher is not installed")
    elsewhere(
        "search", "-m", f"hydra/launcher={launcher}", "controller=random,reinforce", "seed=0,1",
        f"run_dir={tmp_path}", *SMALL, "executor=processes", "executor.workers=1",
    )  # fmt: skip
    found = swept(tmp_path)
    assert set(found) == {(c, s) for c in ("random", "reinforce") for s in (0, 1)}
    for controller in ("random", "reinforce"):
        assert found[controller, 0] != found[controller, 1]
    one = tmp_path.parent / f"{tmp_path.name}-one"
    elsewhere("search", *SMALL, "controller=reinforce", "seed=1", f"run_dir={one}")
    assert history(one) == found["reinforce", 1]
