"""The table that ships with nas: whole, of the recipe it names, and what `nas compare` takes."""

import json

import numpy as np
from scipy.stats import kendalltau

from nas.benchmarks.tables.tabulated import DIGITS201, digits201
from nas.commands.cli import main
from nas.core.capabilities import TableEvaluator
from nas.core.trial import Proposal
from nas.search_spaces.papers.nasbench201.space import NASBench201
from nas.tables.enumeration import architectures, unique
from nas.tables.table_file import read_table

CELLS, SEEDS, EPOCHS = 6_466, 2, 4


def test_every_different_cell_is_held_from_two_seeds():
    arrays, about = read_table(DIGITS201)  # and its checksum is right
    space = NASBench201()
    rows, row_of = unique(space, architectures(space))
    assert [tuple(arch) for arch in arrays["archs"].tolist()] == rows
    np.testing.assert_array_equal(arrays["row_of"], row_of)
    sizes = about["dataset"]
    assert [sizes[part] for part in ("train", "valid", "test")] == [576, 287, 360]
    for part in ("valid", "test"):
        hits = arrays[f"{part}_hits"]
        assert hits.shape == (CELLS, SEEDS, EPOCHS) and hits.max() <= sizes[part]
    assert (arrays["seconds"] > 0).all()  # none has failed
    assert DIGITS201.stat().st_size < 1_000_000


def test_one_seed_ranks_cells_as_the_other_does():
    """A table whose differences were noise alone would teach nothing of controllers."""
    arrays, _ = read_table(DIGITS201)
    first, second = arrays["test_hits"][:, :, -1].astype(float).T
    assert kendalltau(first, second).statistic > 0.3


def test_it_is_a_table_whose_searches_have_a_budget():
    evaluate = digits201(NASBench201())
    assert isinstance(evaluate, TableEvaluator)
    assert evaluate.budget is not None and evaluate.budget > 0
    assert set(evaluate.best_possible()) == set(evaluate.final((3,) * 6)) == {"valid", "test"}


def test_a_cell_of_nothing_guesses():
    guess = digits201(NASBench201())(0, Proposal((0,) * 6))["valid_accuracy"]
    assert guess < 0.15


def test_compare_needs_nothing_but_what_ships(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("NASBENCH201_NPZ", raising=False)
    few = ["controllers=[random,local_search]", "seeds=2", "executor=serial"]
    assert main(["compare", f"run_dir={tmp_path}/duel", *few]) == 0, capsys.readouterr().err
    numbers = json.loads((tmp_path / "duel" / "comparison.json").read_text())
    best = numbers["best_possible"]
    assert set(best) == {"valid", "test"}
    for found in numbers["controllers"].values():
        assert found["test"]["mean"] <= best["test"]
