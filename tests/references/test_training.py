"""Optimisers, learning rates, label smoothing and cutout beside PyTorch's and two papers' code."""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from nas.training.augment import augment
from nas.training.objective import cross_entropy
from nas.training.optimizer import Optimizer
from nas.training.recipe import Recipe, learning_rates

ANSWER = json.loads((Path(__file__).parent / "training.json").read_text())
SGD = {"optimizer": "sgd", "nesterov": False}
RECIPES = {
    "sgd": SGD | {"momentum": 0.0, "learning_rate": 0.1},
    "sgd_momentum": SGD | {"learning_rate": 0.1},
    "sgd_nesterov_decay": SGD | {"learning_rate": 0.1, "nesterov": True, "weight_decay": 5e-4},
    "sgd_momentum_decay": SGD | {"learning_rate": 0.025, "weight_decay": 3e-4},
    "adam": {"optimizer": "adam", "learning_rate": 0.001, "epsilon": 1e-8},
    "adam_darts": {
        "optimizer": "adam", "learning_rate": 3e-4, "beta_1": 0.5, "epsilon": 1e-8,
        "weight_decay": 1e-3,
    },
}  # fmt: skip


def trained(recipe: Recipe, rates: list[float]) -> list[np.ndarray]:
    """The weights after each of the five given gradients."""
    variable = tf.Variable(np.array(ANSWER["weights"], np.float32))
    optimizer, after = Optimizer(recipe, [variable]), []
    for step, (gradient, rate) in enumerate(zip(ANSWER["gradients"], rates, strict=True)):
        optimizer.descend(
            [tf.constant(gradient, tf.float32)], tf.constant(rate), tf.constant(step),
            values=[variable], decays=[True],
        )  # fmt: skip
        after.append(variable.numpy().copy())
    return after


@pytest.mark.parametrize("name", RECIPES)
def test_one_and_five_steps_are_pytorchs(name):
    recipe = Recipe(**RECIPES[name])
    after = trained(recipe, [recipe.learning_rate] * 5)
    np.testing.assert_allclose(after[0], ANSWER["cases"][name][0], rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(after[-1], ANSWER["cases"][name][-1], rtol=2e-6, atol=5e-6)


@pytest.mark.parametrize("name", ["sgd_momentum", "sgd_nesterov"])
def test_where_the_rate_falls_earlier_gradients_keep_the_rate_they_came_with(name):
    """Keras' momentum has the rate inside, PyTorch's and TensorFlow 1's outside. Only the steps
    behind a change of the rate differ: by what the momentum of earlier gradients moves.
    """
    rates = ANSWER["falling_rates"]
    recipe = Recipe(optimizer="sgd", nesterov=name == "sgd_nesterov")
    after, theirs = trained(recipe, rates), np.array(ANSWER["cases"][f"{name}_falling"])
    changed = int(np.flatnonzero(np.diff(rates))[0]) + 1
    np.testing.assert_allclose(after[:changed], theirs[:changed], atol=1e-6)
    gradients, momentum = np.array(ANSWER["gradients"]), recipe.momentum
    buffer = sum(momentum ** (changed - t) * gradients[t] for t in range(changed))
    factor = momentum if recipe.nesterov else 1.0
    by_hand = theirs[changed] - factor * (rates[0] - rates[changed]) * buffer
    np.testing.assert_allclose(after[changed], by_hand, atol=1e-6)


def test_clipping_is_pytorchs():
    (clipped,), _ = tf.clip_by_global_norm([tf.constant(ANSWER["gradients"][0])], 0.25)
    np.testing.assert_allclose(clipped, ANSWER["clipped"], rtol=1e-5)


@pytest.mark.parametrize("name", ["autodl_cosine", "autodl_cosine_min", "torch_cosine"])
def test_cosines_are_the_codes(name):
    """At the first step of every epoch, and with rate_by_epoch at every step."""
    answer = ANSWER["schedules"][name]
    settings = {
        "schedule": "cosine", "epochs": answer["epochs"], "min_learning_rate": answer["min"],
        "learning_rate": answer["learning_rate"],
    }  # fmt: skip
    first = learning_rates(Recipe(**settings), 3)[::3]
    np.testing.assert_allclose(first, answer["rates"], rtol=1e-5)
    whole = learning_rates(Recipe(**settings, rate_by_epoch=True), 3)
    np.testing.assert_allclose(whole, np.repeat(answer["rates"], 3), rtol=1e-5)


def test_steps_are_autodls():
    answer = ANSWER["schedules"]["autodl_multistep"]
    recipe = Recipe(
        schedule="step", epochs=answer["epochs"], learning_rate=answer["learning_rate"],
        step_at=answer["step_at"], step_factor=answer["factor"],
    )  # fmt: skip
    rates = learning_rates(recipe, 4)
    np.testing.assert_allclose(rates, np.repeat(answer["rates"], 4), rtol=1e-6)


def test_label_smoothing_is_autodls():
    answer = ANSWER["smoothing"]
    losses = cross_entropy(tf.constant(answer["labels"]), tf.constant(answer["logits"]), 0.1)
    assert float(tf.reduce_mean(losses)) == pytest.approx(answer["loss"], rel=1e-6)


@pytest.mark.parametrize("size", [16, 8])
def test_cutouts_holes_are_those_of_darts_code(size):
    """Every hole is one of the 32 intervals that the code cuts, in rows and in columns."""
    intervals = {tuple(interval) for interval in ANSWER["cutout"][str(size)]}
    images = augment(tf.ones([600, 32, 32, 1]), Recipe(cutout=size), tf.constant([0, 0])).numpy()
    seen = set()
    for image in images[..., 0]:
        for line in ((image == 0).any(1), (image == 0).any(0)):
            hole = np.flatnonzero(line)
            seen.add((int(hole[0]), int(hole[-1]) + 1))
    assert seen == intervals


TENSORFLOW_1 = json.loads((Path(__file__).parent / "tensorflow1.json").read_text())["optimisers"]


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("momentum", SGD | {"learning_rate": 0.1}),
        ("nesterov", SGD | {"learning_rate": 0.1, "nesterov": True}),
        ("adam", {"optimizer": "adam", "learning_rate": 0.001, "epsilon": 1e-8}),
        (
            "adam_enas",
            {"optimizer": "adam", "learning_rate": 0.001, "beta_1": 0.0, "epsilon": 1e-3},
        ),
    ],
)
def test_five_steps_are_tensorflow_1s(name, settings):
    recipe = Recipe(**settings)
    after = trained(recipe, [recipe.learning_rate] * 5)
    np.testing.assert_allclose(after, TENSORFLOW_1[name], rtol=2e-6, atol=5e-6)


def test_rmsprop_is_tensorflow_1s_but_for_where_its_mean_square_starts():
    """TensorFlow 1 starts the mean of squares at 1; Keras, and ours, at 0. An epsilon of 1 is
    added to the mean of squares, below the root, in both.
    """
    recipe = Recipe(optimizer="rmsprop", learning_rate=0.1, epsilon=1.0)
    variable = tf.Variable(np.array(ANSWER["weights"], np.float32))
    optimizer = Optimizer(recipe, [variable])
    optimizer.slots[0][0].assign(tf.ones_like(variable))
    for step, (gradient, theirs) in enumerate(
        zip(ANSWER["gradients"], TENSORFLOW_1["rmsprop"], strict=True)
    ):
        optimizer.apply([tf.constant(gradient, tf.float32)], tf.constant(0.1), tf.constant(step))
        np.testing.assert_allclose(variable, theirs, rtol=2e-6, atol=2e-6)
    from_zero = trained(recipe, [0.1] * 5)
    g, w = np.array(ANSWER["gradients"][0]), np.array(ANSWER["weights"])
    np.testing.assert_allclose(from_zero[0], w - 0.1 * g / np.sqrt(0.1 * g * g + 1), rtol=1e-5)
    np.testing.assert_allclose(
        TENSORFLOW_1["rmsprop"][0], w - 0.1 * g / np.sqrt(0.9 + 0.1 * g * g + 1), rtol=1e-5
    )


def test_pytorchs_average_begins_with_the_second_step():
    """Ours begins with the first (nas/language/loop.py); both are plain means from there."""
    weights, averages = (np.array(ANSWER["asgd"][name]) for name in ("weights", "averages"))
    for step in range(1, len(weights)):
        np.testing.assert_allclose(averages[step], weights[1 : step + 1].mean(0), atol=1e-6)
