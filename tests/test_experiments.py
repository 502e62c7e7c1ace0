"""Every experiment is whole, and runs at scale=smoke: a new file is tested by being there."""

import json
from importlib import resources
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from nas.search_command import build
from tests.command import nas

EXPERIMENTS = sorted(
    file.stem for file in Path(str(resources.files("conf"))).glob("experiment/*.yaml")
)
QUICK = {"metaqnn_cifar10", "genetic_cnn_cifar10"}  # of which a run takes a few seconds


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_is_made_of_parts_that_fit(name):
    """With the paper's numbers, but for the data set, which need not be here."""
    with initialize_config_module("conf", version_base="1.3"):
        chosen = [f"experiment={name}", "dataset=digits", "run_dir=none", "name=test"]
        config = compose("search", overrides=chosen)
    parts = build(config)
    (proposal,) = parts["controller"].ask(1)
    parts["space"].check(proposal.arch)
    assert parts["retrain_recipe"].epochs >= 1


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in EXPERIMENTS]
)
def test_an_experiment_runs_at_scale_smoke(name, tmp_path):
    said = nas(
        "search", f"experiment={name}", "scale=smoke", "executor=serial", f"run_dir={tmp_path}"
    )
    assert said.status == 0, said.err
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["trials"], summary["failed"]) == (2, 0)
    assert 0 <= summary["retrained"]["test_accuracy"] <= 1
