"""Zaremba et al.'s model beside TensorFlow 1's own cells, as its tutorial puts them together.

The words that a step reads all differ. TensorFlow's norm of a gathered embedding's gradient does
not add the rows of a word that is read twice, so the tutorial clips by another norm there; the
authors' own code has one vector of gradients, and ours has the norm of that.
"""

import functools
import json
from pathlib import Path

import numpy as np
import pytest

from nas.core.language_skeleton import LanguageSkeleton
from nas.language.graph import Training
from nas.language.recipe import LanguageRecipe
from nas.search_spaces.recurrent.cell import LSTM
from nas.search_spaces.recurrent.language_model import LanguageModel
from tests.references.drawn import drawn

FILE = Path(__file__).parent / "tensorflow1.json"


def test_two_steps_of_training_and_the_state_between_them():
    """Loss summed over time and averaged over streams, clipping, descent with a rate of 1."""
    everything = json.loads(FILE.read_text())
    answer, seed = everything["zaremba"], everything["seed"]
    skeleton = LanguageSkeleton(
        vocabulary=answer["words"], units=answer["units"], embedding=answer["units"],
        layers=answer["layers"], init=0.1, init_embedding=0.1,
    )  # fmt: skip
    model = LanguageModel(functools.partial(LSTM, forget_bias=0.0), skeleton)
    weights = {"embedding": model.embedding, "softmax": model.softmax, "softmax_bias": model.bias}
    for i, cell in enumerate(model.cells):
        for name in ("kernel", "recurrent_kernel", "bias"):
            weights[f"layer{i}/{name}"] = getattr(cell, name)
    spelled = {"embedding": "embedding/kernel", "softmax": "softmax/kernel"}
    spelled["softmax_bias"] = "softmax/bias"
    for name, variable in weights.items():
        variable.assign(drawn(spelled.get(name, name), variable.shape, seed))
    recipe = LanguageRecipe(
        epochs=1, batch_size=answer["streams"], bptt=answer["steps"], learning_rate=answer["rate"],
        decay_after=1, clip_norm=answer["clip"], sum_over_time=True,
    )  # fmt: skip
    loss = Training(model, np.array(answer["text"], np.int32), recipe, seed=0).epoch(0)
    assert min(answer["norms"]) > answer["clip"]  # so clipping was tried as well
    assert loss == pytest.approx(np.mean(answer["costs"]) / answer["steps"], rel=1e-5)
    for name, variable in weights.items():
        np.testing.assert_allclose(variable, answer["weights"][name], atol=2e-6, err_msg=name)
