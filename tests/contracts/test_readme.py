"""What README.md and docs/ show works: examples run, commands compose, links lead to files."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.cli import nas

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [README, *sorted((ROOT / "docs").rglob("*.md"))]
pytestmark = pytest.mark.skipif(not README.exists(), reason="not in a clone: no README.md")
LONGEST_README = 150  # lines


def blocks(kind: str | None = None) -> list[tuple[Path, str]]:
    """(page, text) of every fenced block; kind: python, yaml, or "" for a shell's."""
    pattern = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
    return [
        (page, text)
        for page in PAGES
        for language, text in pattern.findall(page.read_text())
        if kind in (None, language)
    ]


# Examples of what to add.


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    """A folder with every file that the pages name in its first line, as `# mine/FILE`."""
    folder = tmp_path_factory.mktemp("user")
    names = []
    for _, text in blocks():
        if match := re.match(r"(?:# @.*\n)?# (mine/\S+)\n", text):
            path = folder / match[1]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            names.append(match[1])
    assert len(names) == len(set(names)) == 11
    return folder


def run(folder: Path, *args: str) -> str:
    done = subprocess.run(
        [sys.executable, *args], cwd=folder, env=os.environ | {"PYTHONPATH": f"mine:{ROOT}"},
        capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# All commands in one process, which imports TensorFlow once.
IN_TURN = """
import json, sys
from nas.commands.cli import main
for args in json.loads(sys.argv[1]):
    if status := main(args):
        sys.exit(f"{args} ended with status {status}")
"""


def test_the_examples_of_what_to_add_run_as_they_stand(mine):
    (shown,) = (text for _, text in blocks("") if "export PYTHONPATH=mine" in text)
    calls = [shlex.split(line) for line in shown.splitlines()[1:]]
    assert {word for word, *_ in calls} == {"nas"}
    run(mine, "-c", IN_TURN, json.dumps([[*args, *_serial(args)] for _, *args in calls]))
    summary = json.loads((mine / "runs/hill/summary.json").read_text())
    assert (summary["controller"], summary["space"], summary["trials"]) == ("hill", "chain", 4)
    assert summary["retrained"]["test_accuracy"] > 0.5
    assert list(mine.glob("runs/hill/retrain/*/best.keras"))
    summary = json.loads((mine / "runs/keras/summary.json").read_text())
    assert (summary["trials"], summary["failed"]) == (2, 0)


def _serial(args):
    """In this process: two workers would each import TensorFlow for a training of a second."""
    return ["executor=serial"] if args[0] == "search" else []


@pytest.mark.parametrize("script", ["with_search", "ask_and_tell"])
def test_the_scripts_run_as_they_stand(mine, script):
    assert run(mine, f"mine/{script}.py")


def test_the_examples_import_nas_alone():
    for _, text in blocks("python"):
        imported = set(re.findall(r"^from (nas\.\S+) import", text, re.MULTILINE))
        assert imported <= {"nas.controllers.regularized_evolution"}


def test_the_other_python_examples_run(tmp_path):
    """Those of README and docs/fit.md, on small arrays and with little time."""
    data = (
        "import numpy as np\n"
        "x = np.random.default_rng(0).normal(size=(60, 3)).astype('float32')\n"
        "y = (x[:, 0] > 0).astype(int)\n"
    )
    texts = [text for _, text in blocks("python") if not text.startswith("# mine/")]
    assert len(texts) == 3
    script = data + "\n".join(text.replace("minutes=10", "minutes=0.04") for text in texts)
    (tmp_path / "examples.py").write_text(script)
    run(tmp_path, "examples.py")


# Commands.


def commands() -> list[str]:
    """Every line that calls nas, without its comment; parts of the reader's own left out."""
    lines = [line for _, text in blocks("") for line in text.splitlines()]
    calls = [re.sub(r"^([A-Z_]+=\S+ )+", "", line).split(" #")[0].strip() for line in lines]
    return sorted({call for call in calls if call.startswith("nas ") and "mine/yaml" not in call})


def hydra(line: str) -> bool:
    from nas.commands.cli import COMMANDS, HYDRA

    word = shlex.split(line)[1]
    assert word in COMMANDS
    return word in HYDRA


@pytest.mark.parametrize("line", [line for line in commands() if hydra(line)])
def test_every_command_of_hydras_composes(line):
    """The groups and settings that it names exist; nothing is run."""
    from hydra import compose, initialize_config_module

    _, word, *args = shlex.split(line)
    settings = [arg for arg in args if "=" in arg and not arg.startswith("-")]
    if "-m" in args:  # the first run of the sweep; the launcher need not be installed
        settings = [arg for arg in settings if not arg.startswith("hydra")]
        settings = [arg.split(",")[0] for arg in settings]
    with initialize_config_module("nas.conf", version_base="1.3"):
        compose(word, overrides=settings)


@pytest.mark.parametrize(
    "line", [line for line in commands() if not hydra(line) and "prepare" not in line]
)
def test_every_other_command_has_the_options_shown(line, tmp_path, monkeypatch):
    """It answers, or refuses a file that is not there; an option that is none gets its usage."""
    monkeypatch.chdir(tmp_path)
    said = nas(*shlex.split(line)[1:])
    assert "usage:" not in said.err and said.status in (0, 2)


# Pages.


def test_the_readme_is_short():
    assert len(README.read_text().splitlines()) <= LONGEST_README


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_every_link_and_picture_leads_to_a_file(page):
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#\s]+)", text) + re.findall(r'src="([^"]+)"', text):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


def test_every_page_is_listed():
    """Pages of docs/ in README.md, pages of a folder below it in that folder's README.md."""
    for page in PAGES[1:]:
        if page.name != "README.md":
            in_docs = page.parent == ROOT / "docs"
            listing, name = (
                (README, f"docs/{page.name}") if in_docs else (page.parent / "README.md", page.name)
            )
            assert f"({name})" in listing.read_text(), page
        else:
            assert f"({page.relative_to(ROOT)})" in README.read_text()


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name)
def test_every_file_that_is_named_exists(page):
    """Names in backquotes or commands that begin with a folder of the clone."""
    folders = "nas|search_spaces|controllers|benchmarks|conf|scripts|tests|docs"
    text = re.sub(r"https?://\S+", "", page.read_text())
    for name in re.findall(rf"\b((?:{folders})/[\w./-]+\w)", text):
        assert (ROOT / name).exists(), name


def test_every_part_the_papers_table_names_exists():
    text = (ROOT / "docs/papers.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith("| ") and "`" in line]
    named = re.findall(r"`(\w+)=(\w+)`", "\n".join(rows))
    assert len(named) > 40
    for group, name in named:
        assert (ROOT / "conf" / group / f"{name}.yaml").is_file(), f"{group}={name}"


def test_every_capability_is_listed():
    import nas.core.capabilities as capabilities

    shown = (ROOT / "docs/extending.md").read_text()
    for name, value in vars(capabilities).items():
        if getattr(value, "_is_protocol", False) and value.__module__ == capabilities.__name__:
            assert f"| `{name}` |" in shown, name


def test_every_section_of_the_results_begins_with_its_finding():
    text = (ROOT / "benchmarks/results/RESULTS.md").read_text()
    for section in text.split("\n## ")[1:]:
        head, _, body = section.partition("\n\n")
        assert body.startswith("**"), head
        assert "\n\nSetup: " in body and "\n|" in body, head
