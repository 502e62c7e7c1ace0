"""nas retrain of language models: cells by name, genotypes, the best of a search; resuming."""

import functools
import json
import math

import numpy as np
import pytest
from hydra import compose, initialize_config_module

from nas.commands.retrain import _implied
from nas.core.language_skeleton import LanguageSkeleton
from nas.data.text import TextData
from nas.language.recipe import LanguageRecipe
from nas.language.retrain import retrain_language
from nas.report.words import test_result as result_text
from nas.run.config import make
from nas.run.folder import read_run
from nas.run.summary import read_summary
from nas.search_spaces.papers.highway_cells.space import RecurrentNodes
from nas.search_spaces.recurrent.cell import LSTM
from nas.search_spaces.recurrent.language_model import LanguageModel
from tests.helpers.cli import nas, refused
from tests.helpers.hydra_configs import chosen

SMALL = (
    "dataset.train_size=2000", "dataset.valid_size=300", "dataset.test_size=300",
    "skeleton.units=4", "skeleton.embedding=4", "recipe.epochs=1",
)  # fmt: skip


def text(level="word"):
    tokens = (np.arange(300) ** 2 % 7).astype(np.int32)
    return TextData(
        name="t", train=tokens, valid=tokens[:90], test=tokens[:80], words=tuple("abcdefg"),
        level=level,
    )  # fmt: skip


def retrained(data, folder, seeds, on_epoch=None):
    skeleton = functools.partial(LanguageSkeleton, units=3, embedding=3, layers=1)
    recipe = LanguageRecipe(epochs=3, batch_size=3, bptt=5, optimizer="adam", weight_decay=1e-4)
    return retrain_language(
        lambda made: LanguageModel(LSTM, made),
        data,
        skeleton,
        recipe,
        seeds=seeds,
        folder=folder,
        on_epoch=on_epoch,
    )


def test_a_killed_retraining_ends_as_one_that_was_not_and_done_seeds_stand(tmp_path):
    def stop(seed, epoch, values):
        if (seed, epoch) == (0, 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        retrained(text(), tmp_path, [0], stop)
    heard = []
    found = retrained(text(), tmp_path, [0], lambda *what: heard.append(what[:2]))
    assert heard == [(0, 2)]
    whole = retrained(text("character"), None, [0])
    assert found["test_perplexities"] == whole["test_perplexities"]
    assert found["valid_perplexities"] == whole["valid_perplexities"]
    bits = math.log2(found["test_perplexity"])
    assert whole["test_bits_per_character"] == pytest.approx(bits)
    assert result_text(whole) == f"test bits per character {bits:.4f} (n = 1)"
    assert "test_bits_per_character" not in found
    assert retrained(text(), tmp_path, [0], lambda *what: heard.append(what)) == found
    assert len(heard) == 1


@pytest.fixture(scope="module")
def lstm(tmp_path_factory):
    """The folder of `nas retrain cell=lstm` from seed 0."""
    folder = tmp_path_factory.mktemp("lstm") / "run"
    said = nas("retrain", "cell=lstm", *SMALL, "seeds=[0]", f"run_dir={folder}")
    assert said.status == 0, said
    assert "test perplexity" in said.out and "the text's own" in said.out
    return folder


def test_a_cell_by_name_is_trained_and_further_seeds_are_added(lstm):
    first = read_summary(lstm)
    assert first["cell"] == "lstm" and first["dataset"] == "grammar"
    assert first["retrained"]["parameters"] == 4 * 4 * 9 + 80 * 4 * 2 + 80
    assert first["retrained"]["test_perplexity"] > first["retrained"]["test_perplexity_floor"] > 5
    said = nas("retrain", "cell=lstm", *SMALL, "seeds=[0,1]", f"run_dir={lstm}")
    assert said.status == 0, said
    both = read_summary(lstm)["retrained"]
    assert both["seeds"] == [0, 1] and both["history"][0] == first["retrained"]["history"][0]
    assert both["test_perplexity"] == pytest.approx(np.mean(both["test_perplexities"]))
    assert both["test_perplexities"][0] != both["test_perplexities"][1]


def test_other_settings_or_an_export_of_it_are_refused(lstm):
    args = ("retrain", "cell=lstm", *SMALL, f"run_dir={lstm}")
    assert "holds a run with recipe.bptt=20, got recipe.bptt=9" in refused(*args, "recipe.bptt=9")
    assert "nas export writes image classifiers, got language models" in refused(
        "export", str(lstm)
    )


def test_a_search_retrains_its_best_and_reports_perplexities(tmp_path):
    run = tmp_path / "run"
    args = ("space=darts_rnn", "space.nodes=1", *SMALL, "executor=serial", "controller=random")
    larger = (f"retrain.{setting}" for setting in SMALL[-3:])
    said = nas("search", *args, *larger, "max_trials=1", f"run_dir={run}")
    assert said.status == 0, said
    summary = json.loads((run / "summary.json").read_text())
    assert summary["retrained"]["seeds"] == [0] and summary["best"]["trial"] == 0
    perplexity = summary["best"]["metrics"]["valid_perplexity"]
    assert f"validation perplexity {perplexity:.4f}" in said.out
    page = (run / "report.html").read_text()
    for words in ("test perplexity", "valid. perplexity", "lower is better"):
        assert words in page
    assert [file.name for file in sorted((run / "trial0").iterdir())] == ["seed0.json", "seed0.npz"]
    again = tmp_path / "again"
    said = nas("retrain", str(run), "recipe.bptt=9", "seeds=[1]", f"run_dir={again}")
    assert said.status == 0, said
    config = read_run(again)  # the run's own parts, and what the command line changes
    assert (config.recipe.bptt, config.recipe.epochs, config.skeleton.units) == (9, 1, 4)
    assert "no setting recipe.pad_crop" in refused("retrain", str(run), "recipe.pad_crop=1")


@pytest.mark.parametrize(
    "args, message",
    [
        (("cell=lstm", "dataset=digits"), "retraining needs a text, got digits; set dataset=gramm"),
        (("cell=lstm", "recipe=search"), "retraining needs a recipe of language models, got"),
        (("cell=lstm", "skeleton=small"), "retraining needs a skeleton of language models; set sk"),
        (("cell=lstm", "genotype=nascell"), "retrain needs either a run folder"),
        (("cell=lsmt",), "no cell=lsmt; nearest: cell=lstm"),
        (("genotype=nasnet_a", "dataset=grammar"), "retraining needs images, got grammar; set"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_told_before_training(args, message, tmp_path):
    assert message in refused("retrain", *args, "seeds=[0]", f"run_dir={tmp_path / 'new'}")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    "args, message",
    [
        (("evaluator=scratch",), "this evaluator needs a space of images, got ZophRNN; set space="),
        (("skeleton=small",), "evaluator=language needs a skeleton of language models; set"),
        (("retrain=default",), "set recipe=grammar skeleton=grammar: set retrain=lan"),
    ],
)  # fmt: skip
def test_a_search_of_cells_tells_it_before_its_first_trial(args, message, tmp_path):
    folder = tmp_path / "run"
    assert message in refused("search", "space=zoph2017_rnn", *args, f"run_dir={folder}")
    assert not folder.exists()


TEXT = {"dataset": "grammar", "recipe": "grammar", "skeleton": "grammar"}


def test_what_the_command_line_leaves_open_is_a_languages():
    said = chosen("search", "space=zoph2017_rnn", "seed=1")
    search = {
        "evaluator": "language", "reward": "perplexity", "retrain": "language",
        "recipe@retrain.recipe": "grammar", "skeleton@retrain.skeleton": "grammar",
    }  # fmt: skip
    assert said.items() >= (TEXT | search).items()
    said = chosen("retrain", "cell=lstm", "recipe=zaremba_small", "dataset=ptb")
    named = {"recipe": "zaremba_small", "dataset": "ptb", "skeleton": "zaremba_small"}
    assert said.items() >= named.items()
    assert _implied(["genotype=darts_rnn_v2"]) == ["space=darts_rnn"]
    assert chosen("retrain", "space=darts_rnn").items() >= TEXT.items()
    images = {"dataset": "digits", "recipe": "search", "skeleton": "small", "retrain": "default"}
    assert chosen("search", "space=nasbench201").items() >= images.items()
    images = {"dataset": "digits", "recipe": "retrain", "skeleton": "large"}
    assert chosen("retrain").items() >= images.items()
    assert _implied(["genotype=darts_v2"]) == ["space=darts"]
    assert _implied(["genotype=3,0,1"]) == _implied(["genotype=x", "space=darts"]) == []


@pytest.mark.parametrize(
    "given, recipe, skeleton, retraining",
    [
        ("recipe=zaremba_small", "zaremba_small", "zaremba_small", "zaremba_small"),
        ("recipe=search", "search", "grammar", "search"),
        ("recipe=nasbench201", "nasbench201", "grammar", "nasbench201"),
        ("skeleton=enas_lm", "grammar", "enas_lm", "grammar"),
        ("recipe@retrain.recipe=enas_lm", "grammar", "grammar", "enas_lm"),
        ("retrain=none", "grammar", "grammar", None),
    ],
)
def test_what_the_command_line_chooses_stands(given, recipe, skeleton, retraining):
    said = chosen("search", "space=darts_rnn", given)
    assert (said["recipe"], said["skeleton"]) == (recipe, skeleton)
    assert said.get("recipe@retrain.recipe") == retraining
    if retraining is not None:
        assert said["skeleton@retrain.skeleton"] == skeleton


def test_an_experiment_of_a_cell_names_everything():
    said = chosen("retrain", "experiment=nascell_char_ptb", "cell=lstm")
    named = {"dataset": "ptb_characters", "recipe": "zaremba_small", "cell": "lstm"}
    assert said.items() >= named.items()


def test_published_cells_bring_their_space_along():
    assert RecurrentNodes().published == (
        "enas_lm", "darts_lm", "darts_rnn_v1", "darts_rnn_v2",
    )  # fmt: skip


def test_the_character_models_size_is_near_the_papers():
    """16.28 million parameters (Zoph & Le 2017, Table 3); 600,000 steps."""
    with initialize_config_module("nas.conf", version_base="1.3"):
        config = compose("retrain", overrides=["experiment=nascell_char_ptb"])
    skeleton = make(config.skeleton, "skeleton")(vocabulary=50)
    model = make(config.model, "model")(make(config.cell, "cell"), skeleton)
    assert model.count_params() == 16_225_650
    recipe = make(config.recipe, "recipe")
    steps = (5_017_482 // recipe.batch_size - 1) // recipe.bptt
    assert recipe.epochs * steps == pytest.approx(600_000, rel=0.001)


def test_cells_are_compared_at_equal_numbers_of_parameters():
    """Zaremba et al.'s small LSTM has 4,651,600."""
    script = pytest.importorskip("scripts.compare.cells", reason="not in a clone: no scripts/")

    def skeleton(units, **vocabulary):
        return LanguageSkeleton(units=units, embedding=units, **vocabulary)

    lstm, nascell = (script.Parameters(name, skeleton, 10_000) for name in ("lstm", "nascell"))
    assert lstm(200) == 4_651_600 and lstm.nearest(4_651_600) == 200
    assert nascell(nascell.nearest(4_651_600)) == pytest.approx(4_651_600, rel=0.005)
    whole = LanguageRecipe()
    assert script.shortened(whole, 13) == whole
    assert [script.shortened(whole, 3).rate(epoch) for epoch in range(3)] == [1, 0.5, 0.25]
