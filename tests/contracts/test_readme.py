"""What the README shows is what works: its examples are written out and run as it says."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

README = Path(__file__).parents[2] / "README.md"
pytestmark = pytest.mark.skipif(not README.exists(), reason="not in a clone: no README.md")


def blocks():
    return re.findall(r"^```\w*\n(.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)


def test_the_examples_of_what_to_add_run_as_they_stand(tmp_path):
    files = [found for text in blocks() if (found := re.match(r"(?:# @.*\n)?# (mine/\S+)\n", text))]
    assert len(files) == 7
    for found in files:
        path = tmp_path / found[1]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found.string)
    (shown,) = (text for text in blocks() if "export PYTHONPATH=mine" in text)
    environment = os.environ | {"PYTHONPATH": "mine"}
    for line in shown.splitlines()[1:]:
        word, *args = shlex.split(line)
        assert word == "nas"
        done = subprocess.run(
            [sys.executable, "-m", "nas", *args, *_serial(args)],
            cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "runs/hill/summary.json").read_text())
    assert (summary["controller"], summary["space"], summary["trials"]) == ("hill", "chain", 4)
    assert summary["retrained"]["test_accuracy"] > 0.5
    assert list(tmp_path.glob("runs/hill/retrain/*/best.keras"))


def _serial(args):
    """In this process: two workers would each import TensorFlow for a training of a second."""
    return ["executor=serial"] if args[0] == "search" else []


def commands():
    for text in blocks():
        for line in text.splitlines():
            if line.startswith("nas ") and "mine/yaml" not in line:
                yield line.split("#")[0].strip()


@pytest.mark.parametrize("line", sorted({c for c in commands() if "-m " not in c}))
def test_every_command_shown_composes(line):
    """Groups and settings it names exist; nothing is run."""
    from hydra import compose, initialize_config_module

    from nas.commands.cli import COMMANDS

    _, word, *args = shlex.split(line)
    assert word in COMMANDS
    if word in ("search", "compare", "retrain"):
        given = [arg for arg in args if "=" in arg and not arg.startswith("-")]
        with initialize_config_module("nas.conf", version_base="1.3"):
            compose(word, overrides=given)


def test_every_part_the_papers_table_names_exists():
    conf = README.parent / "conf"
    rows = [
        line for line in README.read_text().splitlines() if line.startswith("| ") and "`" in line
    ]
    named = re.findall(r"`(\w+)=(\w+)`", "\n".join(rows))
    assert named
    for group, name in named:
        assert (conf / group / f"{name}.yaml").is_file(), f"{group}={name}"
