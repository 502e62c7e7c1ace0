"""A search that version f8e4ffc began and that was killed: this version continues it.

Its trials and its retrained accuracy are those of the search that nothing stopped.

tests/data/run_of_f8e4ffc holds its folder, with three trials and a fourth that was being trained,
and what the same search gave there when nothing stopped it. One thread trained.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nas.core.trial import ConfigError
from nas.engine.store import Store
from nas.run import folder as runs
from nas.run.summary import read_summary
from tests.helpers.cli import nas, refused

ROOT = Path(__file__).parents[2]
OLD = ROOT / "tests" / "data" / "run_of_f8e4ffc"
SEARCH = (
    "search", "space=nasbench201", "controller=ppo", "controller.lstm.units=4",
    "controller.batch_size=2", "dataset.train_size=300", "executor=serial", "max_trials=6",
    "recipe.epochs=1", "recipe.batch_size=32", "skeleton.channels=2", "skeleton.cells=1",
    "retrain.recipe.epochs=1", "retrain.recipe.batch_size=32", "retrain.skeleton.channels=2",
    "retrain.skeleton.cells=1",
)  # fmt: skip
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
)


# All commands in one process, which imports TensorFlow once; its last line is their output.
COMMANDS = """
import json, sys
from tests.helpers.cli import nas
print(json.dumps([(said := nas(*args)).out + said.err for args in json.loads(sys.argv[1])]))
"""


def commands(*lines: tuple[str, ...]) -> list[str]:
    """Runs `nas ...` for each line, in a process where one thread trains. Returns the outputs."""
    done = subprocess.run(
        [sys.executable, "-c", COMMANDS, json.dumps(lines)],
        cwd=ROOT,
        env=os.environ | ONE_THREAD,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def copied(folder: Path) -> Path:
    shutil.copytree(OLD, folder)
    return folder


@dataclasses.dataclass
class Continued:
    """The continued run, its retraining, and what the commands printed."""

    folder: Path
    retrained: Path
    search: str
    report: str
    export: str


@pytest.fixture(scope="module")
def continued(tmp_path_factory) -> Continued:
    folder = copied(tmp_path_factory.mktemp("old") / "run")
    retrained, exported = folder.parent / "retrained", folder.parent / "export"
    search, report, _, export = commands(
        (*SEARCH, f"run_dir={folder}"),
        ("report", str(folder)),
        ("retrain", str(folder), "seeds=[0]", "trial=2", f"run_dir={retrained}"),
        ("export", str(folder), "--to", str(exported), "--formats", "keras"),
    )
    return Continued(folder, retrained, search, report, export)


EXPECTED = json.loads((OLD / "uninterrupted.json").read_text())


def test_it_ends_as_the_uninterrupted_search_of_that_version(continued):
    assert "3 trials done before" in continued.search
    with Store(continued.folder, read_only=True) as store:
        trials = store.trials()
    found = [
        {
            "id": trial.id,
            "arch": list(trial.arch),
            "reward": trial.reward,
            "status": trial.status,
            "metrics": {k: v for k, v in trial.metrics.items() if "seconds" not in k},
        }
        for trial in trials
    ]
    assert found == EXPECTED["trials"]
    summary = read_summary(continued.folder)
    assert summary["best"]["trial"] == EXPECTED["best"]
    assert summary["retrained"]["test_accuracy"] == EXPECTED["test_accuracy"]


def test_it_is_reported_retrained_and_exported(continued):
    assert "report.html" in continued.report
    retrained = read_summary(continued.retrained)["retrained"]
    assert retrained["test_accuracy"] == EXPECTED["test_accuracy"]
    assert "every format loads in a fresh process" in continued.export


@pytest.mark.parametrize(
    "other, said",
    [
        ("recipe.batch_size=16", "recipe.batch_size=32, got recipe.batch_size=16"),
        ("seed=1", "seed=0, got seed=1"),
    ],
)
def test_it_is_not_continued_with_other_settings(other, said, tmp_path):
    folder = copied(tmp_path / "run")
    assert f"holds a run with {said}" in refused(*SEARCH, other, f"run_dir={folder}")


def test_its_configuration_has_todays_names():
    config = runs.read_run(OLD)
    assert config.space._target_ == "nas.search_spaces.papers.nasbench201.space.NASBench201"
    assert config.retrain.recipe._target_ == "nas.training.recipe.Recipe"


def test_another_search_begins_with_it(tmp_path):
    said = nas(
        "search", "space=nasbench201", "controller=local_search", "evaluator=digits201",
        "reward=accuracy_cubed", "max_trials=4", "retrain=none", "executor=serial",
        f"warm_start={OLD}", f"run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert said.status == 0, said
    assert "the controller begins with 3 trials of warm_start" in said.out


def test_a_setting_that_an_older_version_had_not_is_at_its_default(tmp_path):
    """A run continues where a part has got a setting since, if that is at its default."""
    recipe = {"_target_": "nas.training.recipe.Recipe", "epochs": 3, "clip_decay": True}
    runs.open_run(tmp_path, {"recipe": recipe}).close()
    runs.open_run(tmp_path, {"recipe": recipe | {"step_at": [0.5, 0.75], "cutout": 0}}).close()
    with pytest.raises(ConfigError, match="recipe.cutout=null, got recipe.cutout=4"):
        runs.open_run(tmp_path, {"recipe": recipe | {"cutout": 4}})


# A run of a version that is older still: tests/data/run_of_efb1990, four trials of a table.
OLDEST = ROOT / "tests" / "data" / "run_of_efb1990"


def test_a_run_of_efb1990_ends_as_the_uninterrupted_search_of_that_version(tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(OLDEST, folder)
    said = nas(
        "search", "space=nasbench201", "controller=regularized_evolution", "evaluator=digits201",
        "controller.population_size=2", "controller.sample_size=2", "executor=serial",
        "retrain=none", "seed=5", "max_trials=7", f"run_dir={folder}",
    )  # fmt: skip
    assert said.status == 0 and "4 trials done before" in said.out, said
    with Store(folder, read_only=True) as store:
        found = [
            {"id": trial.id, "arch": list(trial.arch), "reward": trial.reward}
            for trial in store.trials()
        ]
    assert found == json.loads((OLDEST / "uninterrupted.json").read_text())["trials"]


def test_a_setting_of_the_command_that_an_older_version_had_not_is_at_its_default(tmp_path):
    called = runs.Called(tmp_path, {}, ["search"])
    object.__setattr__(called, "defaults", lambda: {"seed": 0, "patience": 3, "probe": {"size": 2}})
    old = {"seed": 7, "choices": {"space": "x", "local": "default"}}
    runs.open_run(tmp_path, old, called).close()
    new = {"seed": 7, "patience": 3, "probe": {"size": 2}, "choices": {"space": "x", "new": "y"}}
    runs.open_run(tmp_path, new, called).close()
    with pytest.raises(ConfigError, match="holds a run with patience=null, got patience=4"):
        runs.open_run(tmp_path, new | {"patience": 4}, called)
    with pytest.raises(ConfigError, match="seed=7, got seed=0"):
        runs.open_run(tmp_path, new | {"seed": 0}, called)


def test_a_run_folder_keeps_the_version_and_the_command(tmp_path):
    words = ["search", "seed=1"]
    runs.open_run(tmp_path, {"seed": 1}, runs.Called(tmp_path, {}, words)).close()
    saved = runs.read_run(tmp_path)
    assert (saved.config_version, saved.command, saved.seed) == (2, words, 1)
