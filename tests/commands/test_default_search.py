"""The main job, whole: `nas search` with its defaults."""

import json

import pytest

from tests.helpers.cli import nas


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_default_search_finds_a_network_of_97_percent(seed, tmp_path):
    said = nas("search", f"seed={seed}", f"run_dir={tmp_path}")
    assert said.status == 0, said.err
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["trials"], summary["failed"]) == (30, 0)
    assert summary["retrained"]["test_accuracy"] >= 0.97
