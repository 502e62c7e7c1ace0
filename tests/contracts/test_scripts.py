"""Every script of scripts/ can be started: what it imports exists, and it answers --help."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = sorted((ROOT / "scripts").rglob("*.py"))
# PyTorch is no dependency: an environment of its own runs this script.
NEEDS_TORCH = "enas_macro_pytorch.py"

# Starts each script with --help, all in one process, which imports TensorFlow once.
HELP = """
import runpy
import sys

for script in sys.argv[1:]:
    sys.argv = [script, "--help"]
    sys.path.insert(0, script.rpartition("/")[0])
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as error:
        if error.code != 0:
            raise
    else:
        sys.exit(f"{script} does not end after --help")
    del sys.path[0]
"""


def imports(script: Path) -> set[tuple[str, str]]:
    """(module, name) of each import of this project's, wherever it stands in the file.

    name is empty if the module itself is imported.
    """
    pairs = set()
    for node in ast.walk(ast.parse(script.read_text())):
        if isinstance(node, ast.ImportFrom):
            pairs |= {(node.module or "", alias.name) for alias in node.names}
        elif isinstance(node, ast.Import):
            pairs |= {(alias.name, "") for alias in node.names}
    beside = {file.stem for file in script.parent.glob("*.py")}
    return {pair for pair in pairs if pair[0].split(".")[0] in {"nas", *beside}}


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.stem)
def test_what_a_script_imports_exists(script):
    for module, name in imports(script):
        if module.split(".")[0] == "nas":
            imported = importlib.import_module(module)
            if name and not hasattr(imported, name):
                importlib.import_module(f"{module}.{name}")
        else:
            tree = ast.parse((script.parent / f"{module}.py").read_text())
            defined = {getattr(node, "name", "") for node in tree.body}
            for node in tree.body:
                if isinstance(node, ast.Assign):
                    names = ast.walk(node.targets[0])
                    defined |= {part.id for part in names if isinstance(part, ast.Name)}
            assert name in defined, f"{script.name}: {module} has no {name}"


def test_every_script_answers_help():
    scripts = [str(script) for script in SCRIPTS if script.name != NEEDS_TORCH]
    done = subprocess.run(
        [sys.executable, "-c", HELP, *scripts], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("usage: ") == len(scripts)
