"""AWD-LSTM beside its authors' code: a step, an evaluation, dropped weights, the start of NT-ASGD.

The second bias of PyTorch's LSTM, which only ever is added to the first, was held at zero; with
both trained the norm of the gradient is larger (`gradient_norm_with_two_biases`).
"""

import functools
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from nas.core.language_skeleton import LanguageSkeleton
from nas.language.graph import EvaluationLoop, Training
from nas.language.recipe import LanguageRecipe, starts_averaging
from nas.search_spaces.recurrent.cell import LSTM, over_time
from nas.search_spaces.recurrent.language_model import LanguageModel
from tests.references.drawn import drawn

ANSWER = json.loads((Path(__file__).parent / "awd_lstm.json").read_text())
SETTINGS = ANSWER["settings"]


def named(model: LanguageModel) -> dict:
    weights = {"embedding": model.embedding, "softmax_bias": model.bias}
    for i, cell in enumerate(model.cells):
        weights[f"layer{i}/kernel"] = cell.kernel
        weights[f"layer{i}/recurrent_kernel"] = cell.recurrent_kernel
        weights[f"layer{i}/bias"] = cell.bias
    return weights


@pytest.fixture
def model() -> LanguageModel:
    skeleton = LanguageSkeleton(
        vocabulary=ANSWER["words"], units=ANSWER["units"], last_units=ANSWER["embedding"],
        embedding=ANSWER["embedding"], layers=ANSWER["layers"], tied=True, variational=True,
        init=None, init_embedding=0.1, weight_drop=0.0,
    )  # fmt: skip
    made = LanguageModel(functools.partial(LSTM, forget_bias=0.0), skeleton)
    spelled = {"embedding": "embedding/kernel", "softmax_bias": "softmax/bias"}
    for name, variable in named(made).items():
        variable.assign(drawn(spelled.get(name, name), variable.shape, ANSWER["seed"]))
    return made


def test_one_step_of_training(model):
    """Cross entropy, both regularisations of activations, clipping, weight decay, descent."""
    recipe = LanguageRecipe(
        epochs=1, batch_size=ANSWER["streams"], bptt=ANSWER["steps"], learning_rate=SETTINGS["lr"],
        decay_after=1, clip_norm=SETTINGS["clip"], weight_decay=SETTINGS["decay"],
        sum_over_time=False, activation_regularization=SETTINGS["alpha"], slowness=SETTINGS["beta"],
    )  # fmt: skip
    loss = Training(model, np.array(ANSWER["text"], np.int32), recipe, seed=0).epoch(0)
    assert loss == pytest.approx(ANSWER["step"]["raw_loss"], rel=1e-6)
    assert ANSWER["step"]["gradient_norm"] > SETTINGS["clip"]  # so clipping was tried as well
    for name, variable in named(model).items():
        theirs = ANSWER["step"]["weights"][name]
        np.testing.assert_allclose(variable, theirs, atol=2e-6, err_msg=name)


def test_the_loss_of_a_text(model):
    """Their mean divides by the length of the text, of which one token is no target."""
    recipe = LanguageRecipe(bptt=7)
    loss = EvaluationLoop(model, np.array(ANSWER["evaluated_text"], np.int32), 1, recipe).run()
    length = ANSWER["evaluated"]["length"]
    theirs = ANSWER["evaluated"]["mean_by_length"] * length / (length - 1)
    assert loss == pytest.approx(theirs, rel=1e-6)


def test_dropped_weights_of_a_sequence(model):
    """Whole recurrent kernels lose entries, and the others are divided by 1 - rate."""
    rate, text = ANSWER["weight_drop"]["rate"], np.array(ANSWER["text"])
    tokens = text.reshape(ANSWER["streams"], -1)[:, : ANSWER["steps"]]
    x = tf.gather(tf.convert_to_tensor(model.embedding), tokens.T)
    for cell, states in zip(model.cells, model.zero_states(ANSWER["streams"]), strict=True):
        kernel = np.array(cell.recurrent_kernel)
        rng = np.random.default_rng([ANSWER["seed"], *kernel.shape[::-1]])
        noise = {
            "recurrent_kernel": tf.constant(
                kernel * (rng.random(kernel.shape) >= rate) / (1 - rate)
            )
        }
        noise = {name: tf.cast(value, tf.float32) for name, value in noise.items()}
        x, _ = over_time(cell, x, states, noise)
    np.testing.assert_allclose(x, ANSWER["weight_drop"]["outputs"], atol=1e-6)


@pytest.mark.parametrize("case", ANSWER["switches"])
def test_averaging_starts_after_the_epoch_in_which_their_loop_switches(case):
    losses, window = case["losses"], case["nonmonotone"]
    starts = [i + 1 for i, loss in enumerate(losses) if starts_averaging(losses[:i], loss, window)]
    assert (starts[0] if starts else None) == case["after_epoch"]
