"""Every experiment is whole, and runs at scale=smoke: a new file is tested by being there."""

import json
from importlib import resources
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module

from nas.experiment.parts import build
from nas.run.config import make
from nas.training.recipe import learning_rates
from tests.helpers.cli import nas

FILES = sorted(Path(str(resources.files("nas.conf"))).glob("experiment/*.yaml"))
ONESHOT = [file.stem for file in FILES if "override /method:" in file.read_text()]
# Of which nothing is searched: a cell is trained.
CELLS = [file.stem for file in FILES if "override /cell:" in file.read_text()]
EXPERIMENTS = [file.stem for file in FILES if file.stem not in (*ONESHOT, *CELLS)]
QUICK = {"metaqnn_cifar10", "genetic_cnn_cifar10"}  # of which a run takes a few seconds


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_is_made_of_parts_that_fit(name):
    """With the paper's numbers, but for the data set, which need not be here."""
    with initialize_config_module("nas.conf", version_base="1.3"):
        chosen = [f"experiment={name}", "dataset=digits", "run_dir=none", "name=test"]
        config = compose("search", overrides=chosen)
    parts = build(config)
    (proposal,) = parts.controller.ask(1)
    parts.space.check(proposal.arch)
    assert parts.retraining.recipe.epochs >= 1


@pytest.mark.parametrize("name", ONESHOT)
def test_an_experiment_with_shared_weights_is_made_of_parts_that_fit(name):
    """But for the shared weights themselves, which take a while to make."""
    config = of_oneshot(f"experiment={name}")
    parts = {"seed": 0, "run_dir": Path("none"), "cost": None}
    for group in ("space", "recipe", "reward", "controller", "method"):
        parts[group] = make(config[group], group, **parts)
    (proposal,) = parts["controller"].ask(1)
    parts["space"].check(proposal.arch)
    own = {"image_shape": (32, 32, 3), "classes": 10}
    if hasattr(parts["space"], "maker"):  # of recurrent cells
        own = {"vocabulary": 10_000}
    small, large = (make(c.skeleton, "skeleton")(**own) for c in (config, config.retrain))
    found = [parts["space"].cost(proposal.arch, s).parameters for s in (small, large)]
    # Searched wide and trained narrower, or searched in the form and for longer than trained.
    assert found[0] < found[1] or name == "enas_rnn_ptb" or "nasbench201" in name
    epochs = make(config.retrain.recipe, "retrain.recipe").epochs
    assert epochs >= parts["recipe"].epochs or (epochs == 200 and "nasbench201" in name)


def of_oneshot(*chosen):
    with initialize_config_module("nas.conf", version_base="1.3"):
        return compose("oneshot", overrides=[*chosen, "run_dir=none", "name=test"])


@pytest.mark.parametrize(
    "name, low, epochs, last",
    [
        ("enas_macro_cifar10", 0.001, 310, 310),
        ("enas_macro_cifar10_released", 0.0005, 310, 310),
        ("enas_micro_cifar10", 0.001, 150, 630),
        ("enas_micro_cifar10_released", 0.0005, 150, 630),
    ],
)
def test_the_rates_of_enas_restart_and_end_with_a_cosine(name, low, epochs, last):
    config = of_oneshot(f"experiment={name}")
    rates = learning_rates(make(config.recipe, "recipe"), 1)
    assert len(rates) == epochs and config.retrain.recipe.epochs == last
    middle = low + 0.5 * (0.05 - low)
    expected = {0: 0.05, 10: 0.05, 20: middle, 30: 0.05, 70: 0.05}
    assert {epoch: rates[epoch] for epoch in expected} == pytest.approx(expected)
    assert rates[-1] == pytest.approx(low, abs=2e-5)
    if "released" in name:
        assert rates[9] == pytest.approx(0.00171, abs=5e-6)


@pytest.mark.parametrize("name", ["enas_macro_cifar10", "enas_micro_cifar10"])
def test_enas_as_published_and_as_released_differ_where_paper_and_code_do(name):
    paper, code = of_oneshot(f"experiment={name}"), of_oneshot(f"experiment={name}_released")
    assert (paper.recipe.clip_norm, code.recipe.clip_norm) == (5.0, None)
    assert (paper.controller.logits.temperature, code.controller.logits.temperature) == (5.0, None)
    assert (paper.controller.adam.beta_1, code.controller.adam.beta_1) == (0.9, 0.0)
    weights = [c.controller.regularization.entropy_weight for c in (paper, code)]
    assert weights == [0.1, 1e-4]
    is_macro = "macro" in name
    assert (paper.controller.logits.tanh_constant, code.controller.logits.tanh_constant) == (
        2.5, 1.5 if is_macro else 1.1
    )  # fmt: skip
    forms = paper.retrain.skeleton.form, code.retrain.skeleton.form
    assert forms == ("final", "released" if is_macro else "final")
    assert code.batch_statistics == (not is_macro)
    for skeletons in (
        [paper.skeleton, code.skeleton],
        [paper.retrain.skeleton, code.retrain.skeleton],
    ):
        heads = [(s.auxiliary_weight, s.auxiliary_trained) for s in skeletons]
        assert heads == ([(0.0, True)] * 2 if is_macro else [(0.4, True), (0.4, False)])
    for config in (paper, code):  # a gradient for all that are asked for at a time
        assert config.controller.batch_size == config.method.samples_per_step


def test_a_scale_makes_the_controllers_part_of_an_epoch_shorter_too():
    macro = "experiment=enas_macro_cifar10_released"
    steps = [
        of_oneshot(macro, f"scale={s}").method.controller_steps for s in ("paper", "cpu", "smoke")
    ]
    assert steps == [50, 10, 1]
    assert of_oneshot(macro, "scale=cpu", "method.controller_steps=7").method.controller_steps == 7
    rates = learning_rates(make(of_oneshot(macro, "scale=cpu").recipe, "recipe"), 1)
    assert len(rates) == 6 and rates[2] == pytest.approx(0.05)  # two cosines, of 2 and 4 epochs
    assert "controller_steps" not in of_oneshot("experiment=darts_cifar10", "scale=cpu").method


@pytest.mark.parametrize(
    "name, epochs, rates",
    [
        # As RANDOM.config, DARTS.config, ... of AutoDL-Projects; ENAS.config has T_max = 10.
        ("rsps", 250, {0: 0.025, 125: 0.013, 249: 0.001}),
        ("darts", 50, {0: 0.025, 25: 0.013, 49: 0.001}),
        ("darts_second", 50, {0: 0.025, 25: 0.013, 49: 0.001}),
        ("gdas", 250, {0: 0.025, 125: 0.013, 249: 0.001}),
        ("setn", 250, {0: 0.025, 125: 0.013, 249: 0.001}),
        ("enas", 250, {0: 0.05, 5: 0.02525, 10: 0.0005, 15: 0.02525, 20: 0.05, 249: 0.00171}),
    ],
)
def test_weight_sharing_on_nasbench201_has_the_numbers_of_its_code(name, epochs, rates):
    config = of_oneshot(f"experiment={name}_nasbench201")
    found = learning_rates(make(config.recipe, "recipe"), 2)[::2]
    assert len(found) == epochs
    assert {epoch: found[epoch] for epoch in rates} == pytest.approx(rates, abs=3e-5)
    assert (config.skeleton.form, config.skeleton.cells, config.skeleton.channels) == (
        "search", 5, 16
    )  # fmt: skip
    batches = {"rsps": 512, "enas": 128, "setn": 512}
    method = config.method
    own = method.derivation.batch_size if "derivation" in method else method.derive_batch_size
    assert own == batches.get(name)
    assert config.recipe.clip_norm == (None if name == "setn" else 5.0)
    assert config.max_trials == (100 if name in batches else 1)
    if "weights_first" in method:
        assert method.weights_first == (name != "darts_second")


@pytest.mark.slow
@pytest.mark.parametrize("name", ONESHOT)
def test_an_experiment_with_shared_weights_runs_at_scale_smoke(name, tmp_path):
    scale = "smoke_language" if "_rnn_" in name else "smoke"
    said = nas("oneshot", f"experiment={name}", f"scale={scale}", f"run_dir={tmp_path}")
    assert said.status == 0, said.err
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["failed"] == 0 and summary["best"]["arch"]


@pytest.mark.parametrize("name", CELLS)
def test_an_experiment_of_a_cell_runs_at_scale_smoke(name, tmp_path):
    said = nas(
        "retrain", f"experiment={name}", "scale=smoke_language", "seeds=[0]", f"run_dir={tmp_path}"
    )
    assert said.status == 0, said.err
    found = json.loads((tmp_path / "summary.json").read_text())["retrained"]
    assert 1 < found["test_perplexity"] < 200


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_another_controller_may_take_an_experiment_over(name):
    """Its controller's numbers stand in the controller's file, where another has its own."""
    with initialize_config_module("nas.conf", version_base="1.3"):
        config = compose("search", overrides=[f"experiment={name}", "controller=random"])
    space = make(config.space, "space")
    (proposal,) = make(config.controller, "controller", space=space, seed=0, cost=None).ask(1)
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
    with initialize_config_module("nas.conf", version_base="1.3"):
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
    assert "must have settings of nas.controllers.random_search.RandomSearch, got " in said.err
    assert "'~controller.population_size' '~controller.bit_rate'" in said.err
