"""One small run, searched and retrained once for all tests that ask for either."""

import gc

import pytest

from tests.helpers.cli import QUICK, TINY, nas


def pytest_collection_finish():
    """What the tests' imports keep for ever is not looked through again for garbage."""
    gc.freeze()


@pytest.fixture(scope="session")
def searched(tmp_path_factory):
    """A run of three trials on digits, not retrained; its `retrain` settings are tiny."""
    folder = tmp_path_factory.mktemp("searched") / "run"
    said = nas(
        "search", *QUICK, "controller=random", "space=nasbench201", "max_trials=3",
        "retrain.seeds=[]", f"run_dir={folder}", *(f"retrain.{item}" for item in TINY),
    )  # fmt: skip
    assert said.status == 0, said
    return folder


@pytest.fixture(scope="session")
def retrained(searched):
    """The folder of `nas retrain` of that run from seeds 0 and 1."""
    folder = searched.parent / "retrained"
    said = nas("retrain", str(searched), "seeds=[0,1]", f"run_dir={folder}")
    assert said.status == 0, said
    return folder
