"""Every experiment is whole, and runs at scale=smoke: a new file is tested by being there."""

import json
from importlib import resources
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from nas.config import make
from nas.recipe import learning_rates
from nas.search_command import build
from tests.command import nas

FILES = sorted(Path(str(resources.files("conf"))).glob("experiment/*.yaml"))
ONESHOT = [file.stem for file in FILES if "override /method:" in file.read_text()]
EXPERIMENTS = [file.stem for file in FILES if file.stem not in ONESHOT]
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


@pytest.mark.parametrize("name", ONESHOT)
def test_an_experiment_with_shared_weights_is_made_of_parts_that_fit(name):
    """But for the shared weights themselves, which take a while to make."""
    with initialize_config_module("conf", version_base="1.3"):
        config = compose("oneshot", overrides=[f"experiment={name}", "run_dir=none", "name=test"])
    parts = {"seed": 0, "run_dir": Path("none")}
    for group in ("space", "recipe", "reward", "controller", "method"):
        parts[group] = make(config[group], group, **parts)
    (proposal,) = parts["controller"].ask(1)
    parts["space"].check(proposal.arch)
    image = {"image_shape": (32, 32, 3), "classes": 10}
    small, large = (make(c.skeleton, "skeleton")(**image) for c in (config, config.retrain))
    found = [parts["space"].cost(proposal.arch, s).parameters for s in (small, large)]
    assert found[0] < found[1]
    assert make(config.retrain.recipe, "retrain.recipe").epochs > parts["recipe"].epochs


@pytest.mark.slow
@pytest.mark.parametrize("name", ONESHOT)
def test_an_experiment_with_shared_weights_runs_at_scale_smoke(name, tmp_path):
    said = nas("oneshot", f"experiment={name}", "scale=smoke", f"run_dir={tmp_path}")
    assert said.status == 0, said.err
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["failed"] == 0 and summary["best"]["arch"]


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_another_controller_may_take_an_experiment_over(name):
    """Its controller's numbers stand in the controller's file, where another has its own."""
    with initialize_config_module("conf", version_base="1.3"):
        config = compose("search", overrides=[f"experiment={name}", "controller=random"])
    space = make(config.space, "space")
    (proposal,) = make(config.controller, "controller", space=space, seed=0).ask(1)
    space.check(proposal.arch)


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


@pytest.mark.parametrize(
    "name, expected",
    [
        ("metaqnn_cifar10", {0: 0.025, 39: 0.025, 40: 0.0125, 79: 0.0125, 80: 1e-4, 240: 1e-5}),
        ("cgp_cnn_cifar10", {4: 0.01, 5: 0.1, 249: 0.1, 250: 0.01, 375: 1e-3, 499: 1e-3}),
    ],
)
def test_the_rates_of_a_retraining_are_the_papers(name, expected):
    with initialize_config_module("conf", version_base="1.3"):
        config = compose("search", overrides=[f"experiment={name}"])
    rates = learning_rates(make(config.retrain.recipe, "retrain.recipe"), 1)
    assert {epoch: rates[epoch] for epoch in expected} == pytest.approx(expected)


def test_an_experiment_of_ones_own_that_sets_what_another_has_not_is_told(tmp_path):
    own = tmp_path / "yaml" / "experiment"
    own.mkdir(parents=True)
    (own / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /controller: genetic\n"
        "controller: {population_size: 4, bit_rate: 0.1}\n"
    )
    mine = ("search", "--config-dir", f"{tmp_path}/yaml", "experiment=mine", "controller=random")
    said = nas(*mine, f"run_dir={tmp_path}/run")
    assert said.status == 2
    assert "must have settings of controllers.random_search.RandomSearch, got " in said.err
    assert "'~controller.population_size' '~controller.bit_rate'" in said.err
