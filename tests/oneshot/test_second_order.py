"""Second-order DARTS: its gradient on functions with known gradients, and in a supernet."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from nas.core.trial import ConfigError
from nas.oneshot import gates as oneshot_gates
from nas.oneshot.optimizer import GroupedOptimizer
from nas.training.recipe import Recipe
from nas.training.second_order import unrolled_gradient
from tests.oneshot.test_oneshot import METHODS, RECIPE, SPACE, one_epoch, snapshot, weights


def test_the_quadratic_of_one_weight():
    """L_train = (w - a)^2, L_val = (w' - 1)^2, w' = w - xi 2 (w - a): d/da = 2 (w' - 1) 2 xi.

    In one graph, as the epochs are.
    """
    a, w, xi = tf.Variable([0.3]), tf.Variable([2.0]), 0.1

    @tf.function(autograph=False)
    def gradient():
        of_choice, (loss,) = unrolled_gradient(
            a,
            [w],
            lambda: tf.reduce_sum((w - a) ** 2),
            lambda: [tf.reduce_sum((w - 1.0) ** 2)],
            lambda gradients: [w - xi * gradients[0]],
            tf.constant(xi),
        )
        return of_choice, loss

    ahead = 2.0 - xi * 2 * (2.0 - 0.3)
    of_choice, loss = gradient()
    assert of_choice.numpy() == pytest.approx([2 * (ahead - 1) * 2 * xi], abs=1e-4)
    assert loss.numpy() == pytest.approx((ahead - 1) ** 2, abs=1e-5)
    assert w.numpy() == [2.0]


def test_a_loss_that_both_read_by_hand():
    """L_train = a w^2, L_val = (w' - a)^2, w' = w - xi 2 a w: two ways from a to the loss."""
    a, w, xi = tf.Variable(0.5), tf.Variable(1.5), 0.2
    of_choice, _ = unrolled_gradient(
        a,
        [w],
        lambda: a * w**2,
        lambda: [(w - a) ** 2],
        lambda gradients: [w - xi * gradients[0]],
        tf.constant(xi),
    )
    ahead = 1.5 - xi * 2 * 0.5 * 1.5
    assert float(of_choice) == pytest.approx(2 * (ahead - 0.5) * (-xi * 2 * 1.5 - 1), abs=1e-4)


@pytest.mark.parametrize("limit", [0.5, 10.0])
def test_clipped_as_the_recurrent_architect(limit):
    """The step's gradient has norm 3.4, the direction 2 (w' - 1).

    Where nothing is clipped, the implicit part is stretched all the same, as in the code.
    """
    a, w, xi = tf.Variable([0.3]), tf.Variable([2.0]), 0.1
    of_choice, _ = unrolled_gradient(
        a,
        [w],
        lambda: tf.reduce_sum((w - a) ** 2),
        lambda: [tf.reduce_sum((w - 1.0) ** 2)],
        lambda gradients: [w - xi * gradients[0]],
        tf.constant(xi),
        limit,
    )
    ahead = 2.0 - xi * min(3.4, limit)
    direction = min(2 * (ahead - 1), limit)
    # The derivative of d L_train / d w with respect to a is -2.
    expected = -xi * (limit / 3.4) * -2 * direction
    assert of_choice.numpy() == pytest.approx([expected], rel=1e-3)


@pytest.mark.parametrize("nesterov", [False, True])
def test_ahead_is_where_the_step_goes(nesterov):
    recipe = Recipe(weight_decay=0.1, momentum=0.9, nesterov=nesterov)
    groups = [
        [keras.Variable(np.ones([2, 2], np.float32))],
        [keras.Variable(np.ones(3, np.float32))],
    ]
    optimizer, rate = GroupedOptimizer(recipe, groups), tf.constant(0.1)
    gradients = [[tf.ones([2, 2])], [tf.fill([3], -2.0)]]
    for step in range(3):
        ahead = optimizer.ahead([g for group in gradients for g in group], rate)
        optimizer.apply(gradients, [True, True], rate, tf.constant(step))
        for (variable,), value in zip(groups, ahead, strict=True):
            np.testing.assert_allclose(value, variable, rtol=1e-6)


def test_a_step_of_the_gates_is_that_of_the_difference_quotient():
    """The validation loss behind a step of the weights, with the choices' weights moved by hand."""
    recipe = RECIPE.replace(nesterov=False, pad_crop=0, flip=False)
    shared, method = weights(recipe), oneshot_gates.Gates(space=SPACE, seed=3, order=2)
    method.start(shared)
    order, rates = one_epoch(recipe)
    number, rate = tf.constant(0), tf.constant(rates[0] * 10)
    at = {"train": tf.constant(order[0], tf.int32), "valid": tf.range(5)}

    def loss(part):
        gates = method.gates(method.weights, tf.constant(1.0), tf.constant([0, 0]))
        return shared.loss(part, at[part], gates, number)

    every = [v for group in shared.optimizer.variables for v in group]

    @tf.function(autograph=False)
    def gradient_of_gates():
        return method._gradient(lambda: loss("train"), lambda: loss("valid"), rate)[0]

    @tf.function(autograph=False)
    def behind_a_step():
        before = [tf.identity(v) for v in every]
        with tf.GradientTape() as tape:
            value = loss("train")[0][0]
        gradients = tape.gradient(value, every)
        for v, there in zip(every, shared.optimizer.ahead(gradients, rate), strict=True):
            v.assign(there)
        result = loss("valid")[0][0]
        for v, start in zip(every, before, strict=True):
            v.assign(start)
        return result

    kept = [v.numpy() for v in every]
    gradient, start = gradient_of_gates().numpy(), method.weights.numpy()
    for question, choice in ((0, 2), (1, 1)):
        losses = []
        for step in (0.05, -0.05):
            moved = start.copy()
            moved[question, choice] += step
            method.weights.assign(moved)
            losses.append(float(behind_a_step()))
        method.weights.assign(start)
        quotient = (losses[0] - losses[1]) / 0.1
        assert gradient[question, choice] == pytest.approx(quotient, rel=0.05, abs=1e-4)
    for v, was in zip(every, kept, strict=True):
        np.testing.assert_array_equal(v, was)  # the weights are what they were


def test_an_epoch_is_one_trace_and_moves_both():
    shared, method = weights(), METHODS["darts2"]()
    before, choices = snapshot(shared), method.weights.numpy()
    method.start(shared)
    for epoch in range(2):
        values = method.epoch(epoch, *one_epoch(epoch=epoch))
    assert method.epoch_graph.experimental_get_tracing_count() == 1
    assert np.isfinite(values["valid_loss"])
    assert (method.weights.numpy() != choices)[~method.closed].all()
    assert any((a != b).any() for a, b in zip(before, snapshot(shared), strict=True))


def test_it_looks_ahead_of_sgd_alone():
    shared, method = weights(RECIPE.replace(optimizer="adam")), METHODS["darts2"]()
    with pytest.raises(ConfigError, match="recipe.optimizer must be sgd .* got adam"):
        method.start(shared)
