"""NASCell beside tensorflow-addons', weights given."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from nas.core.language_skeleton import LanguageSkeleton
from nas.search_spaces.recurrent.cell import over_time
from nas.search_spaces.recurrent.published_cells import NASCell
from tests.references.drawn import drawn

ANSWER = json.loads((Path(__file__).parent / "nascell.json").read_text())


@pytest.mark.parametrize("bias", [False, True])
def test_outputs_and_states_of_a_sequence(bias):
    skeleton = LanguageSkeleton(vocabulary=2, units=ANSWER["units"], embedding=ANSWER["inputs"])
    cell = NASCell(ANSWER["inputs"], ANSWER["units"], skeleton, bias=bias)
    for name in ("kernel", "recurrent_kernel", "bias") if bias else ("kernel", "recurrent_kernel"):
        variable = getattr(cell, name)
        variable.assign(drawn(f"cell/{name}", variable.shape, ANSWER["seed"]))
    zeros = tf.zeros([ANSWER["batch"], ANSWER["units"]])
    outputs, (h, c) = over_time(cell, tf.constant(ANSWER["x"]), (zeros, zeros), None)
    theirs = ANSWER["with_bias" if bias else "without_bias"]
    np.testing.assert_allclose(outputs, theirs["outputs"], atol=1e-6)
    # Theirs lists the memory c first.
    for ours, state in zip((c, h), theirs["states"], strict=True):
        np.testing.assert_allclose(ours, state, atol=1e-6)
