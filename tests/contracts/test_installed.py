"""What is installed owns one name, `nas`: folders of its user with the names of ours are no matter.

The user's folder has packages or plain folders called conf, controllers, benchmarks and
search_spaces, as any Hydra project may, and a controller of its own in them. Two environments are
tried: one that sees the clone's nas/ alone, as an editable install does, and one with the wheel.
"""

import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINKED = ("search_spaces", "controllers", "benchmarks", "conf")
pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").exists(), reason="not in a clone: no pyproject.toml"
)

CONTROLLER = """
from nas.core.trial import Proposal


class Mine:
    def __init__(self, space, *, seed):
        self.space = space

    def ask(self, n):
        return [Proposal(tuple(0 for _ in self.space.decisions)) for _ in range(n)]

    def tell(self, trials):
        pass

    def state(self):
        return {}

    def load_state(self, state):
        pass
"""

COMMANDS = """
import sys

from nas.commands.cli import main

SEARCH = [
    "space=nasbench201", "evaluator=digits201", "retrain=none", "executor=serial", "max_trials=2",
]
if __name__ == "__main__":
    for args in (
        ["list", "controller"],
        ["search", *SEARCH, "controller=random", "run_dir=runs/theirs"],
        ["search", "--config-dir", "conf", *SEARCH, "controller=mine", "run_dir=runs/mine"],
    ):
        if status := main(args):
            sys.exit(status)
"""

FIT = """
import numpy as np

import nas

x = np.random.default_rng(0).normal(size=(60, 3))
fitted = nas.fit(x, x[:, 0] > 0, minutes=0.04)
assert fitted.predict(x).shape == (60,)
"""


def environment(folder: Path) -> Path:
    """A virtual environment with this one's packages except nas. Returns its site-packages."""
    venv.create(folder, symlinks=True, with_pip=False)
    (packages,) = (folder / "lib").glob("python*/site-packages")
    # The .pth files of that folder are not read, so an editable nas in it is not seen.
    (packages / "others.pth").write_text(sysconfig.get_path("purelib"))
    return packages


@pytest.fixture(scope="module")
def linked(tmp_path_factory):
    """An environment that finds the clone's nas/, and nothing beside it."""
    folder = tmp_path_factory.mktemp("linked")
    (environment(folder) / "nas").symlink_to(ROOT / "nas")
    return folder / "bin/python"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy so that no build folder stays in the clone."""
    folder = tmp_path_factory.mktemp("wheel")
    files = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout.splitlines()
    for name in files:
        copy = folder / "clone" / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_symlink():
            copy.symlink_to((ROOT / name).readlink())
        elif (ROOT / name).exists():
            copy.write_bytes((ROOT / name).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", "."],
        cwd=folder / "clone", check=True, capture_output=True,
    )  # fmt: skip
    (built,) = (folder / "dist").glob(
        "*.whl"
    )  # built from the source archive, which is built first
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An environment with the wheel."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(environment(folder))
    return folder / "bin/python"


def user_folder(folder: Path, *, packages: bool) -> Path:
    """A project whose folders have the names of ours. packages: with an __init__.py in each."""
    for name in LINKED:
        (folder / name).mkdir()
        if packages:
            (folder / name / "__init__.py").touch()
    (folder / "controllers/mine.py").write_text(CONTROLLER)
    (folder / "conf/controller").mkdir()
    (folder / "conf/controller/mine.yaml").write_text("_target_: controllers.mine.Mine\n")
    (folder / "conf/search.yaml").write_text("not: ours\n")
    (folder / "commands.py").write_text(COMMANDS)
    (folder / "fit.py").write_text(FIT)
    return folder


def run(python: Path, folder: Path, script: str, path: str | None) -> None:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    if path is not None:
        environment["PYTHONPATH"] = path
    done = subprocess.run(
        [python, script], cwd=folder, env=environment, capture_output=True, text=True, timeout=200
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", [None, "."])
@pytest.mark.parametrize("packages", [False, True])
def test_commands_run_beside_folders_of_the_same_names(linked, tmp_path, packages, path):
    folder = user_folder(tmp_path, packages=packages)
    run(linked, folder, "commands.py", path)
    assert (folder / "runs/mine/summary.json").exists()


def test_fit_runs_beside_folders_of_the_same_names(linked, tmp_path):
    run(linked, user_folder(tmp_path, packages=True), "fit.py", ".")


@pytest.mark.slow
@pytest.mark.parametrize("path", [None, "."])
@pytest.mark.parametrize("packages", [False, True])
def test_the_wheel_runs_beside_folders_of_the_same_names(installed, tmp_path, packages, path):
    folder = user_folder(tmp_path, packages=packages)
    run(installed, folder, "commands.py", path)
    run(installed, folder, "fit.py", path)


@pytest.mark.slow
def test_the_wheel_has_one_package_with_all_it_reads_and_no_tests(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    tops = {name.split("/")[0] for name in names}
    assert tops == {"nas", next(top for top in tops if top.endswith(".dist-info"))}
    in_clone = [
        *ROOT.glob("nas/**/*.py"),
        *(file for top in LINKED for file in (ROOT / top).rglob("*.py")),
        *ROOT.glob("conf/**/*.yaml"),
        ROOT / "nas/py.typed",
        ROOT / "search_spaces/published/genotypes.json",
        ROOT / "benchmarks/digits201.npz",
        ROOT / "benchmarks/results/RESULTS.md",
    ]
    expected = {str(file.relative_to(ROOT)) for file in in_clone}
    expected = {name if name.startswith("nas/") else f"nas/{name}" for name in expected}
    assert expected == {name for name in names if name.startswith("nas/")}


def test_the_folders_at_the_top_are_linked_into_the_package():
    for name in LINKED:
        link = ROOT / "nas" / name
        assert link.is_symlink() and link.resolve() == ROOT / name, (
            f"nas/{name} must be a link to ../{name}: git needs core.symlinks=true"
        )
