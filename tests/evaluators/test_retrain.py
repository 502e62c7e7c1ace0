"""nas retrain: of a run, of a trial, of a genotype; several seeds; the test split once each."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from omegaconf import OmegaConf

from nas.benchmarks.images import digits
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import NAN, ConfigError, EvaluationError
from nas.engine.search import best
from nas.engine.store import Store
from nas.evaluators.retrain import retrain
from nas.run import folder as runs
from nas.run.summary import SUMMARY, read_summary
from nas.search_spaces.papers.nasbench201.space import NASBench201
from nas.training import loop as image
from nas.training.recipe import Recipe
from tests.helpers.cli import QUICK, TINY, nas, refused
from tests.helpers.small_images import make, some

TRIVIAL = keras.Sequential([keras.Input([1]), keras.layers.Dense(1)])
SMALL = ("space=nasbench201", *TINY)


def trials(folder):
    with Store(folder, read_only=True) as store:
        return store.trials()


def faked(monkeypatch):
    """Trains nothing and lists the trainings that were asked for."""
    seen = []

    def fit(model, data, recipe, *, seed, train_on, evaluate_on, on_epoch):
        seen.append((seed, train_on, evaluate_on, recipe))
        return {"test_accuracy": [0.5 + seed / 10], "test_loss": [1.0], "seconds": [2.0]}

    monkeypatch.setattr(image, "fit", fit)
    monkeypatch.setattr(image, "build", lambda *args: TRIVIAL)
    monkeypatch.setattr(image, "servable", lambda model, data: model)
    return seen


def test_the_best_of_a_run_is_trained_from_each_seed(searched, retrained):
    top = best(trials(searched))
    folder = retrained
    summary = read_summary(folder)
    result = summary["retrained"]
    assert summary["arch"] == list(top.arch) and summary["dataset"] == "digits"
    assert result["seeds"] == [0, 1] and len(result["test_accuracies"]) == 2
    assert result["test_accuracy"] == pytest.approx(np.mean(result["test_accuracies"]))
    assert result["test_accuracy_sd"] == pytest.approx(np.std(result["test_accuracies"], ddof=1))
    assert [len(history["loss"]) for history in result["history"]] == [1, 1]
    assert result["history"][0]["loss"] != result["history"][1]["loss"]
    assert (folder / runs.MODEL).is_file() and (folder / "log.txt").is_file()


def test_the_recipe_and_the_skeleton_are_the_runs_own(searched, retrained):
    saved = runs.read_run(retrained)
    ours = runs.read_run(searched).retrain
    assert saved.recipe == ours.recipe and saved.recipe.epochs == 1
    assert saved.skeleton == ours.skeleton and saved.skeleton.channels == 2


def test_the_saved_model_is_that_of_the_first_seed(retrained):
    """Its accuracy on the raw test pixels is that of seed 0 in the summary."""
    data = digits.load()
    model = keras.saving.load_model(retrained / runs.MODEL, safe_mode=True)
    answers = model.predict(data.test_images.astype(np.float32), verbose=0)
    assert answers.sum(-1) == pytest.approx(1, abs=1e-5)
    accuracy = float((answers.argmax(-1) == data.test_labels).mean())
    said = read_summary(retrained)["retrained"]["test_accuracies"][0]
    assert accuracy == pytest.approx(said, abs=1.5 / len(answers))


def test_test_is_touched_once_and_not_by_training(monkeypatch):
    """Other test images change the test score and no loss of the training."""
    data = make(*some(60, shape=(8, 8, 3)))
    other = make(*some(60, shape=(8, 8, 3)))
    other.test_images[:] = 255 - other.test_images
    touched = []
    evaluate = image.make_evaluate

    def spy(model, scored, recipe, part):
        images, _ = scored.part(part)
        touched.append(images is data.test_images or images is other.test_images)
        return evaluate(model, scored, recipe, part)

    monkeypatch.setattr(image, "make_evaluate", spy)
    recipe = Recipe(epochs=2, batch_size=16)

    def skeleton(**shape):
        return ImageSkeleton(channels=2, **shape)

    arch = (1, 0, 0, 3, 0, 0)
    one, two = (
        retrain(NASBench201(), arch, images, skeleton, recipe, seeds=[7])
        for images in (data, other)
    )
    assert one["history"][0]["loss"] == two["history"][0]["loss"]
    assert one["test_losses"] != two["test_losses"]
    assert touched == [True, True]  # once each, and nothing else was scored


def test_any_trial_can_be_trained(searched, monkeypatch, tmp_path):
    seen = faked(monkeypatch)
    chosen = trials(searched)[1]
    args = (str(searched), "trial=1", "seeds=[3,5]", "recipe.epochs=9", f"run_dir={tmp_path}")
    assert nas("retrain", *args).status == 0
    assert [(seed, on, scored) for seed, on, scored, _ in seen] == [
        (3, "train+valid", "test"),
        (5, "train+valid", "test"),
    ]
    assert {recipe.epochs for *_, recipe in seen} == {9}  # the command line's
    assert {recipe.batch_size for *_, recipe in seen} == {128}  # the run's
    summary = read_summary(tmp_path)
    assert summary["arch"] == list(chosen.arch)
    assert summary["retrained"]["test_accuracies"] == [0.8, 1.0]
    assert summary["retrained"]["test_accuracy"] == pytest.approx(0.9)
    assert summary["retrained"]["seconds"] == 4.0


def test_the_command_lines_choice_replaces_the_runs(searched, monkeypatch, tmp_path):
    seen = faked(monkeypatch)
    args = (str(searched), "recipe=search", "seeds=[0]", f"run_dir={tmp_path}")
    assert nas("retrain", *args).status == 0
    assert seen[0][-1].epochs == 8 and seen[0][-1].batch_size == 64  # conf/recipe/search.yaml


@pytest.mark.parametrize(
    "genotype",
    ["3,0,1,2,4,4", "'3,0,1,2,4,4'", "[3,0,1,2,4,4]"],
)
def test_a_genotype_is_trained_as_it_is_written(monkeypatch, tmp_path, genotype):
    faked(monkeypatch)
    args = (*SMALL, f"genotype={genotype}", "seeds=[0]", f"run_dir={tmp_path}")
    assert nas("retrain", *args).status == 0
    summary = read_summary(tmp_path)
    assert summary["arch"] == [3, 0, 1, 2, 4, 4]
    assert summary["retrained"]["test_accuracy_sd"] is None  # of one seed


@pytest.mark.parametrize(
    "name, space",
    [("nasnet_a", "nasnet"), ("amoebanet_a", "amoebanet"), ("darts_v2", "darts")],
)
def test_a_published_architecture_brings_its_space_along(monkeypatch, tmp_path, name, space):
    faked(monkeypatch)
    tiny = ("skeleton.channels=4", "skeleton.cells=1")
    said = nas("retrain", f"genotype={name}", *tiny, "seeds=[0]", f"run_dir={tmp_path}")
    assert said.status == 0, said.err
    saved = OmegaConf.load(tmp_path / runs.CONFIG)
    assert saved.space._target_.startswith(f"nas.search_spaces.papers.{space}.")
    line = refused("retrain", "genotype=nasnet_z", "seeds=[0]", f"run_dir={tmp_path}/other")
    assert "genotype must be" in line


def test_without_run_dir_it_goes_below_the_run(searched, monkeypatch, tmp_path):
    faked(monkeypatch)
    shutil.copytree(searched, tmp_path / "run")
    assert nas("retrain", str(tmp_path / "run"), "seeds=[0]").status == 0
    (folder,) = (tmp_path / "run" / "retrain").iterdir()
    assert (folder / SUMMARY).is_file()


def test_what_a_folder_holds_is_not_overwritten(searched, retrained):
    for folder in (searched, retrained):
        files = (folder / runs.CONFIG, folder / SUMMARY)
        before = [file.read_text() for file in files]
        line = refused("retrain", str(searched), "seeds=[0]", f"run_dir={folder}")
        of_a_search = f"run_dir must be a new folder, got {folder}, which holds a run already"
        of_more = f"run_dir={folder} holds a retraining from seeds [0, 1], got seeds=[0]"
        assert (of_a_search if folder == searched else of_more) in line
        assert [file.read_text() for file in files] == before


def test_a_training_that_fails_says_what_may_help(monkeypatch, tmp_path):
    faked(monkeypatch)

    def fit(*args, **settings):
        raise EvaluationError(NAN, "the loss is nan after epoch 2")

    monkeypatch.setattr(image, "fit", fit)
    line = refused("retrain", *SMALL, "genotype=0,0,0,0,0,1", f"run_dir={tmp_path}")
    assert "retraining from seed 0 ended as nan: the loss is nan after epoch 2; another" in line


@pytest.mark.parametrize(
    "args, message",
    [
        ((), "retrain needs either a run folder .`nas retrain RUN`. or genotype="),
        (("RUN", "genotype=1"), "retrain needs either a run folder"),
        (("gone",), "gone is not a run folder: it has no config.yaml"),
        (("RUN", "seeds=[]"), r"seeds must list at least one seed, got \[\]; set seeds=\[0\]"),
        (("RUN", "seeds=3"), r"seeds must list at least one seed, got 3; set seeds=\[0\]"),
        (("RUN", "trial=9"), "trial must be one of the run's 3, got 9"),
        (("space=nasbench201", "genotype=9,3"), "genotype must be 6 choices .* got 2"),
        (("-m", "run=a,b"), "run must be one run folder; call nas retrain once for each"),
        (("RUN", "recipe.epoch=3"), "no setting recipe.epoch; nearest: recipe.epochs"),
    ],
)
def test_what_is_wrong_is_refused(searched, args, message, tmp_path):
    line = refused(
        "retrain", *(str(searched) if arg == "RUN" else arg for arg in args),
        f"run_dir={tmp_path / 'new'}",
    )  # fmt: skip
    with pytest.raises(ConfigError, match=message):
        raise ConfigError(line)
    assert not (tmp_path / "new").exists()


def altered(searched, tmp_path, change) -> Path:
    """A copy of the run with another configuration."""
    shutil.copytree(searched, tmp_path / "run")
    config = runs.read_run(tmp_path / "run")
    change(config)
    (tmp_path / "run" / runs.CONFIG).write_text(OmegaConf.to_yaml(config))
    return tmp_path / "run"


def test_a_run_without_a_data_set_must_be_given_one(searched, tmp_path):
    run = altered(searched, tmp_path, lambda config: config.update(dataset=None))
    assert "was searched without a dataset; set dataset=NAME" in refused("retrain", str(run))


def test_a_run_that_names_foreign_code_is_refused(searched, tmp_path):
    run = altered(searched, tmp_path, lambda config: config.space.update(_target_="os.abort"))
    for command in ("retrain", "report"):
        assert "space must be one that a file of conf/ names, got _tar" in refused(
            command, str(run)
        )


def test_a_run_without_success_has_nothing_to_retrain(searched, tmp_path):
    run = altered(searched, tmp_path, lambda config: None)
    with Store(run) as store:
        store._db.execute("UPDATE trials SET reward = NULL, status = 'nan', checksum = NULL")
    assert "has no trial that succeeded: nothing to retrain" in refused("retrain", str(run))


def test_a_search_whose_retraining_fails_keeps_its_report(tmp_path):
    message = refused(
        "search", *QUICK, "controller=random", "space=nasbench201", "max_trials=2",
        "retrain.seeds=[0]", f"run_dir={tmp_path}", *(f"retrain.{item}" for item in TINY),
        "retrain.recipe.learning_rate=1e30",
    )  # fmt: skip
    assert "retraining from seed 0 ended as nan" in message
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["trials"], summary["retrained"]) == (2, None)
    assert (tmp_path / "report.html").is_file()
