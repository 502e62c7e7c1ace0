"""Every command that a page or a message prints works as it stands."""

import ast
import html
import os
import re
import shlex
import shutil
from pathlib import Path

import pytest

from nas.commands.cli import COMMANDS
from nas.engine.store import Store
from nas.report.report import write_report
from nas.run.summary import read_summary
from tests.helpers.cli import QUICK, nas, refused

ROOT = Path(__file__).parents[2]
OLD = ROOT / "tests" / "data"
TABLE = ("evaluator=digits201", "space=nasbench201", "retrain=none", "executor=serial")


def printed(folder: Path, word: str) -> list[str] | None:
    """The words of a command that the report prints, as a shell reads them."""
    page = html.unescape((folder / "report.html").read_text(encoding="utf-8"))
    found = re.search(rf"^(?:.*<code>)?nas ({word} [^\n<]*)", page, re.MULTILINE)
    return None if found is None else shlex.split(found[1])


@pytest.mark.parametrize(
    "name, settings",
    [
        ("plain", ()),
        ("a=b, größe (x)", ("seed=3",)),
        ("it's", ("reward=accuracy", "reward.power=2.0", "+note='x,y'", "controller=random")),
    ],
)
def test_the_command_that_continues_a_run_continues_it(tmp_path, monkeypatch, name, settings):
    monkeypatch.chdir(tmp_path)
    quoted = "'" + name.replace("'", "\\'") + "'"
    said = nas("search", *TABLE, "max_trials=3", *settings, f"run_dir={quoted}")
    assert said.status == 0, said
    words = printed(tmp_path / name, "search")
    again = nas(*[word.replace("max_trials=3", "max_trials=5") for word in words])
    assert again.status == 0 and "3 trials done before" in again.out, again
    assert nas(*printed(tmp_path / name, "report")).status == 0


@pytest.mark.parametrize("old", ["run_of_f8e4ffc", "run_of_efb1990"])
def test_that_of_an_older_run_does_as_well(tmp_path, old):
    """It has not kept its command: choices and settings tell it."""
    folder = tmp_path / "run"
    shutil.copytree(OLD / old, folder)
    with Store(folder) as store:
        pending = store.pending()
        for i in pending:  # whose training would take its time
            store._db.execute("DELETE FROM pending WHERE id = ?", (i,))
        store._db.execute("UPDATE total SET pending = 0")
        done = len(store.trials())
    write_report(folder)
    words = printed(folder, "search")
    words = [f"max_trials={done}" if w.startswith("max_trials=") else w for w in words]
    said = nas(*words, "retrain.seeds=[]", "executor=serial")
    assert f"{done} trials done before" in said.out, said


def test_the_command_that_retrains_is_one_that_works(searched, tmp_path, monkeypatch):
    folder = tmp_path / "run, of=a sweep"
    shutil.copytree(searched, folder)
    write_report(folder)
    words = printed(folder, "retrain")
    assert words == ["retrain", str(folder), "seeds=[0,1,2]"]
    shown = nas(*words, "--cfg", "job")
    assert shown.status == 0 and f"run: {folder}" in " ".join(shown.out.split()), shown


def test_where_nothing_can_be_retrained_no_command_is_printed(tmp_path):
    said = nas(
        "search", *QUICK, "evaluator._target_=tests.helpers.cli.Failing", "space=nasbench201",
        "controller=random", "max_trials=2", "retrain=none", f"run_dir={tmp_path}",
    )  # fmt: skip
    assert said.status == 2 and "no trial has succeeded, the last one is crashed" in said.err
    assert printed(tmp_path, "retrain") is None
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "nothing can be: no trial has succeeded." in page
    assert read_summary(tmp_path)["failed"] == 2


def test_scale_and_no_retraining_leave_a_run_that_can_be_retrained(tmp_path):
    """The scale has set single values of the recipe that the run did not choose."""
    run = (
        "scale=smoke",
        "controller=random",
        "max_trials=1",
        "retrain=none",
        f"run_dir={tmp_path}",
    )
    assert nas("search", *QUICK, *run).status == 0
    shown = nas("retrain", str(tmp_path), "skeleton.cells=2", "--cfg", "job")
    assert shown.status == 0, shown
    assert "epochs: 1\n" in shown.out and "channels: 4\n" in shown.out
    assert "cells: 2\n" in shown.out  # the command line's own


def messages() -> list[str]:
    """Every `nas ...` in a text of the program."""
    found = set()
    for file in sorted((ROOT / "nas").rglob("*.py")):
        if any(parent.is_symlink() for parent in file.parents):
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                found |= set(re.findall(r"`(nas [^`]*)`", node.value))
    return sorted(found)


STAND_IN = {"RUN": "runs/mine", "GROUP": "space", "COMMAND": "search", "FOLDER": "out"}


@pytest.mark.parametrize("line", messages())
def test_a_command_in_a_message_is_a_command(line):
    word, *rest = [STAND_IN.get(word, word) for word in line.split()[1:]]
    assert word in (*COMMANDS, "-v", "-sc", "--help", "...")
    if word in COMMANDS:
        assert nas(word, "--help").status == 0


# Folders that cannot be written.


def test_a_finished_run_on_a_disk_that_cannot_be_written(searched, tmp_path, monkeypatch):
    """It is reported elsewhere, and another search begins with it."""
    before = {path.name: path.read_bytes() for path in searched.iterdir() if path.is_file()}
    real = os.access
    monkeypatch.setattr("os.access", lambda path, mode: Path(path) != searched and real(path, mode))
    assert f"nas report {searched} --to FOLDER writes it elsewhere" in refused(
        "report", str(searched)
    )
    said = nas("report", str(searched), "--to", str(tmp_path / "page"))
    assert said.status == 0 and said.out.strip() == str(tmp_path / "page" / "report.html")
    assert {"report.html", "rewards.png"} <= {p.name for p in (tmp_path / "page").iterdir()}
    warm = nas(
        "search", *QUICK, "controller=regularized_evolution", "space=nasbench201", "max_trials=2",
        "retrain=none", f"warm_start={searched}", f"run_dir={tmp_path / 'run'}",
    )  # fmt: skip
    assert warm.status == 0, warm
    assert {p.name: p.read_bytes() for p in searched.iterdir() if p.is_file()} == before
