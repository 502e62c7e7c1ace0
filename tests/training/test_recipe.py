"""The recipe by hand: each schedule's numbers, each optimiser's steps, each error message."""

import math

import keras
import numpy as np
import pytest

from nas.core.trial import ConfigError
from nas.training.loop import EpochLoop
from nas.training.recipe import Recipe, learning_rates
from tests.helpers.small_images import make, some

# Schedules.


def rates(steps_per_epoch=1, **settings):
    settings = {"learning_rate": 1.0} | settings
    return learning_rates(Recipe(**settings), steps_per_epoch)


def test_every_step_has_a_rate():
    for name in ("constant", "cosine", "cosine_restarts", "cosine_waves", "step"):
        schedule = rates(3, epochs=4, schedule=name)
        assert schedule.shape == (12,) and schedule.dtype == np.float32
        assert schedule[0] == 1.0


def test_constant():
    assert (rates(epochs=5, schedule="constant", learning_rate=0.25) == np.float32(0.25)).all()


def test_cosine():
    """(1 + cos(pi t)) / 2 at quarters of the way: cos 45 degrees is 1 / sqrt 2."""
    r = 1 / math.sqrt(2)
    quarters = [1, (1 + r) / 2, 0.5, (1 - r) / 2]
    assert rates(epochs=4, schedule="cosine") == pytest.approx(quarters)
    assert rates(2, epochs=2, schedule="cosine") == pytest.approx(quarters)
    shifted = [0.2 + 0.8 * share for share in quarters]
    assert rates(epochs=4, schedule="cosine", min_learning_rate=0.2) == pytest.approx(shifted)


def test_cosine_with_restarts():
    """Periods of 1, 2 and 4 epochs, the last cut short: Loshchilov & Hutter 2017, T_0 1, T_mult 2.

    Two steps an epoch: half-way down the first period at step 1, and so on.
    """
    schedule = rates(2, epochs=5, schedule="cosine_restarts", restart_first=1, restart_factor=2)
    r = 1 / math.sqrt(2)
    eighth = [(1 + math.cos(math.pi * i / 8)) / 2 for i in range(4)]
    expected = [1, 0.5] + [1, (1 + r) / 2, 0.5, (1 - r) / 2] + eighth
    assert schedule == pytest.approx(expected)


def test_enas_rates_stand_still_within_an_epoch():
    """The cosine of Pham et al. 2018 from 0.05 to 0.0005, periods of 10, 20, 40 ... epochs."""
    schedule = rates(
        5, epochs=71, schedule="cosine_restarts", learning_rate=0.05, min_learning_rate=0.0005,
        rate_by_epoch=True,
    ).reshape(71, 5)  # fmt: skip
    assert (schedule == schedule[:, :1]).all()
    expected = {0: 0.05, 9: 0.00171, 10: 0.05, 20: 0.02525, 30: 0.05, 70: 0.05}
    for epoch, rate in expected.items():
        assert schedule[epoch, 0] == pytest.approx(rate, abs=5e-6)


def test_restarts_of_equal_periods():
    schedule = rates(
        epochs=6, schedule="cosine_restarts", restart_first=2, restart_factor=1,
        min_learning_rate=0.5,
    )  # fmt: skip
    assert schedule == pytest.approx([1, 0.75] * 3)


def test_waves_rise_as_they_fell():
    """PyTorch's cosine beyond its T_max of 2 epochs: the top again at epoch 4."""
    schedule = rates(epochs=6, schedule="cosine_waves", restart_first=2, min_learning_rate=0.5)
    assert schedule == pytest.approx([1, 0.75, 0.5, 0.75, 1, 0.75])


def test_steps():
    """Huang et al. 2017 (DenseNet): divided by 10 at 1/2 and 3/4 of the epochs."""
    assert rates(epochs=8, schedule="step") == pytest.approx([1] * 4 + [0.1] * 2 + [0.01] * 2)
    schedule = rates(2, epochs=3, schedule="step", step_at=(2 / 3, 1 / 3), step_factor=0.5)
    assert schedule == pytest.approx([1, 1, 0.5, 0.5, 0.25, 0.25])
    assert rates(epochs=2, schedule="step", step_at=()) == pytest.approx([1, 1])
    schedule = rates(epochs=4, schedule="step", step_at=(0.75, 0.25), step_factor=(0.1, 10))
    assert schedule == pytest.approx([1, 10, 10, 1])


def test_warm_up_is_linear_and_multiplies_the_schedule():
    schedule = rates(2, epochs=3, schedule="constant", warmup_epochs=2)
    assert schedule == pytest.approx([0.25, 0.5, 0.75, 1, 1, 1])
    cosine = rates(2, epochs=2, schedule="cosine")
    warm = rates(2, epochs=2, schedule="cosine", warmup_epochs=1)
    assert warm == pytest.approx(cosine * [0.5, 1, 1, 1])


# Steps, on a linear classifier: flattened pixels [batch, 60] -> 2 logits.

DATA = make(*some(40))
ORDER = np.arange(24, dtype=np.int32).reshape(4, 6)  # steps, batch
RATES = np.array([0.5, 0.2, 0.1, 0.05], np.float32)


def trained(**settings):
    """Kernel and bias after the four steps, and what the epoch said."""
    model = linear()
    recipe = Recipe(epochs=1, batch_size=6, **settings)
    said = EpochLoop(model, DATA, recipe, seed=0).run(ORDER, RATES, 0)
    return [v.numpy() for v in model.trainable_variables], said


def linear():
    keras.utils.set_random_seed(1)
    shape = keras.Input(DATA.image_shape)
    logits = keras.layers.Dense(2, bias_initializer="normal")(keras.layers.Flatten()(shape))
    return keras.Model(shape, logits)


def by_hand(rule, *, weight_decay=0.0, clip_norm=None, clip_decay=True, label_smoothing=0.0):
    """The same in float64. rule(gradient, memory, rate, step) -> what is added to the variable."""
    variables = [v.numpy().astype(np.float64) for v in linear().trainable_variables]
    memories = [{"m": 0.0, "v": 0.0} for _ in variables]
    losses = []
    for number, (batch, rate) in enumerate(zip(ORDER, RATES.astype(np.float64), strict=True), 1):
        x = ((DATA.train_images[batch] / 255.0 - DATA.mean) / DATA.std).reshape(len(batch), -1)
        target = np.eye(2)[DATA.train_labels[batch]]
        target = target * (1 - label_smoothing) + label_smoothing / 2
        logits = x @ variables[0] + variables[1]
        log_p = logits - np.log(np.exp(logits).sum(1, keepdims=True))
        losses.append(-(target * log_p).sum(1).mean())
        error = (np.exp(log_p) - target) / len(batch)
        raw, decay = [x.T @ error, error.sum(0)], [weight_decay * variables[0], 0.0]
        whole = [g + d for g, d in zip(raw, decay, strict=True)]
        norm = math.sqrt(sum((g**2).sum() for g in (whole if clip_decay else raw)))
        scale = 1.0 if clip_norm is None else min(1.0, clip_norm / norm)
        gradients = [scale * g for g in whole]
        if not clip_decay:
            gradients = [scale * g + d for g, d in zip(raw, decay, strict=True)]
        for i, (g, memory) in enumerate(zip(gradients, memories, strict=True)):
            variables[i] = variables[i] + rule(g, memory, rate, number)
    return variables, np.mean(losses)


def plain(g, memory, rate, step):
    return -rate * g


def momentum(g, memory, rate, step):
    memory["m"] = 0.9 * memory["m"] - rate * g
    return memory["m"]


def nesterov(g, memory, rate, step):
    """Sutskever et al. 2013, in the form that looks ahead from where the weights are."""
    memory["m"] = 0.9 * memory["m"] - rate * g
    return 0.9 * memory["m"] - rate * g


def adam(g, memory, rate, step):
    """Kingma & Ba 2015, end of section 2: the corrections in the step size; beta 0.8 and 0.99."""
    memory["m"] = 0.8 * memory["m"] + 0.2 * g
    memory["v"] = 0.99 * memory["v"] + 0.01 * g**2
    rate = rate * math.sqrt(1 - 0.99**step) / (1 - 0.8**step)
    return -rate * memory["m"] / (np.sqrt(memory["v"]) + 1e-3)


def rmsprop(g, memory, rate, step):
    """Hinton's lecture 6e, with momentum and epsilon within the root."""
    memory["v"] = 0.7 * memory["v"] + 0.3 * g**2
    memory["m"] = 0.5 * memory["m"] + rate * g / np.sqrt(memory["v"] + 1e-3)
    return -memory["m"]


def same(actual, expected):
    for one, other in zip(actual, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize(
    "settings, rule",
    [
        ({"momentum": 0.0}, plain),
        ({"nesterov": False}, momentum),
        ({}, nesterov),
        ({"optimizer": "adam", "beta_1": 0.8, "beta_2": 0.99, "epsilon": 1e-3}, adam),
        ({"optimizer": "rmsprop", "rho": 0.7, "momentum": 0.5, "epsilon": 1e-3}, rmsprop),
    ],
)
def test_optimisers(settings, rule):
    variables, (loss, accuracy) = trained(**settings)
    expected, expected_loss = by_hand(rule)
    same(variables, expected)
    assert loss == pytest.approx(expected_loss, rel=1e-4)
    assert 0 <= accuracy <= 1


@pytest.mark.parametrize(
    "settings",
    [
        {"weight_decay": 0.3},  # of the kernel, not of the bias
        {"clip_norm": 0.5},  # of both together
        {"clip_norm": 1e6},
        {"weight_decay": 0.3, "clip_norm": 0.5, "clip_decay": False},
        {"label_smoothing": 0.2},
        {"weight_decay": 0.3, "clip_norm": 0.5, "label_smoothing": 0.2},
    ],
)
def test_what_is_added_to_the_gradient(settings):
    variables, (loss, _) = trained(**settings)
    expected, expected_loss = by_hand(nesterov, **settings)
    same(variables, expected)
    assert loss == pytest.approx(expected_loss, rel=1e-4)


def test_each_setting_changes_something():
    ordinary, _ = trained()
    for settings in ({"weight_decay": 0.3}, {"clip_norm": 0.5}, {"label_smoothing": 0.2}):
        assert not np.allclose(trained(**settings)[0][0], ordinary[0], rtol=1e-3)


# Errors.


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"optimizer": "lion"}, "recipe.optimizer must be one of sgd, adam, rmsprop, got lion"),
        (
            {"schedule": "triangle"},
            "recipe.schedule must be one of constant, .*, cosine_waves, linear, step, got triangle",
        ),
        ({"epochs": 0}, "recipe.epochs must be at least 1, got 0"),
        ({"epochs": 2.5}, "recipe.epochs must be at least 1, got 2.5"),
        ({"batch_size": 0}, "recipe.batch_size must be at least 1, got 0"),
        ({"eval_batch_size": -1}, "recipe.eval_batch_size must be at least 1, got -1"),
        ({"restart_first": 0}, "recipe.restart_first must be at least 1, got 0"),
        ({"restart_factor": 0.5}, "recipe.restart_factor must be at least 1, got 0.5"),
        ({"weight_decay": -1e-4}, "recipe.weight_decay must not be negative, got -0.0001"),
        ({"weight_decay": math.nan}, "recipe.weight_decay must not be negative, got nan"),
        ({"pad_crop": -1}, "recipe.pad_crop must not be negative, got -1"),
        ({"cutout": -1}, "recipe.cutout must not be negative, got -1"),
        ({"warmup_epochs": -1}, "recipe.warmup_epochs must not be negative, got -1"),
        ({"min_learning_rate": -1}, "recipe.min_learning_rate must not be negative, got -1"),
        ({"learning_rate": 0}, "recipe.learning_rate must be positive, got 0"),
        ({"learning_rate": math.nan}, "recipe.learning_rate must be positive, got nan"),
        ({"epsilon": 0}, "recipe.epsilon must be positive, got 0"),
        ({"clip_norm": 0}, "recipe.clip_norm must be positive, got 0"),
        ({"upsample_crop": 0}, "recipe.upsample_crop must be positive, got 0"),
        ({"momentum": 1.0}, r"recipe.momentum must be in \[0, 1\), got 1.0"),
        ({"beta_1": -0.1}, r"recipe.beta_1 must be in \[0, 1\), got -0.1"),
        ({"beta_2": 1}, r"recipe.beta_2 must be in \[0, 1\), got 1"),
        (
            {"step_factor": [0.1, 0.2, 0.3]},
            r"recipe.step_factor must be a number, or one for each of recipe.step_at=\[0.5, 0.75\]",
        ),
        ({"rho": 2}, r"recipe.rho must be in \[0, 1\), got 2"),
        ({"label_smoothing": 1}, r"recipe.label_smoothing must be in \[0, 1\), got 1"),
        ({"xla": "yes"}, "recipe.xla must be auto, true or false, got yes"),
    ],
)
def test_wrong_settings_are_told(settings, message):
    with pytest.raises(ConfigError, match=message):
        Recipe(**settings)


def test_a_replaced_recipe_is_checked_as_well():
    recipe = Recipe(epochs=3)
    assert recipe.replace(epochs=4) == Recipe(epochs=4) and recipe.epochs == 3
    with pytest.raises(ConfigError, match="recipe.epochs"):
        recipe.replace(epochs=0)
