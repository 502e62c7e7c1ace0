"""REINFORCE of Zoph & Le 2017: probabilities, gradient and baseline by hand, and growing depth."""

import itertools
import json
import math

import numpy as np
import pytest

from nas.controllers.policies.lstm import LSTMPolicy, steps_of
from nas.controllers.policies.settings import AdamSettings, LSTMSettings
from nas.controllers.reinforce import Reinforce
from nas.core.space import Decision, Space
from nas.core.trial import ConfigError, Trial
from nas.search_spaces.papers.zoph2017 import ZophConv

SMALL = {"lstm": LSTMSettings(layers=1, units=4, init_scale=0.08), "batch_size": 3}


class Bandit(Space):
    decisions = (Decision("arm", (0, 1)),)


def policy(space, *, scale=0.5, layers=2, fixed=0):
    lstm = LSTMSettings(layers=layers, units=5, init_scale=scale)
    adam, rng = AdamSettings(learning_rate=0.01), np.random.default_rng(0)
    return LSTMPolicy(space, lstm, adam, entropy_weight=0.0, rng=rng, fixed=fixed)


def told(controller, proposals, reward, first=0):
    trials = [Trial(i, p, reward(p.arch)) for i, p in enumerate(proposals, first)]
    controller.tell(trials)
    return [trial.arch for trial in trials]


def growing(**settings):
    space = ZophConv(layers=[1, 2, 3], filter_heights=(1, 3), filter_widths=(1, 3), filters=(8,))
    return Reinforce(space, seed=0, **(SMALL | {"samples_per_depth": 4} | settings))


def test_a_layer_is_a_softmax_a_question_and_one_step_for_all_its_skips():
    steps = steps_of(ZophConv(layers=4))
    assert [len(step.decisions) for step in steps if step.is_run] == [1, 2, 3]
    assert sum(len(step.decisions) for step in steps if step.is_run) == 4 * 3 / 2
    assert sum(not step.is_run for step in steps) == 4 * 3


def test_with_zero_weights_all_is_alike_and_a_skip_is_a_coin():
    """Section 3.3: every pair of layers is one more Bernoulli factor of the probability."""
    for layers in (1, 3, 5):
        space = ZophConv(layers=layers)
        arch = space.sample(np.random.default_rng(0))
        (log_p,) = policy(space, scale=0.0).log_prob([arch]).numpy()
        expected = layers * math.log(1 / 64) + layers * (layers - 1) / 2 * math.log(1 / 2)
        assert log_p == pytest.approx(expected, rel=1e-5)


def test_the_gradient_of_a_bandit_by_hand():
    """d log p is 1 - p for the chosen arm's logit and -p for the other; advantages are +-0.5."""
    model = policy(Bandit(), scale=0.0, layers=1)
    at = next(i for i, v in enumerate(model.variables) if v is model.out_bias)
    gradient = model.gradient([(1,), (0,)], np.array([0.5, -0.5]))[at]
    # Minus the mean of 0.5 x (-0.5, 0.5) and -0.5 x (0.5, -0.5).
    np.testing.assert_allclose(gradient, [[0.25, -0.25]], atol=1e-6)


def test_the_gradient_is_the_difference_quotient_with_skips():
    space = ZophConv(layers=3, filter_heights=(1, 3), filter_widths=(1,), filters=(8, 16))
    model, advantages = policy(space, scale=1.0), np.array([1.0, -0.5])
    archs = [space.sample(np.random.default_rng(seed)) for seed in (0, 1)]
    gradients = model.gradient(archs, advantages)
    for k in (0, 2, 5, len(model.variables) - 1):  # a kernel, a bias, the embedding, v
        value = model.variables[k].numpy()
        at = np.unravel_index(np.abs(gradients[k]).argmax(), value.shape)
        losses = []
        for step in (0.01, -0.01):
            moved = value.copy()
            moved[at] += step
            model.variables[k].assign(moved)
            losses.append(-np.mean(advantages * model.log_prob(archs).numpy()))
        model.variables[k].assign(value)
        assert gradients[k][at] == pytest.approx((losses[0] - losses[1]) / 0.02, rel=0.02, abs=1e-4)


def test_rewards_that_equal_the_baseline_change_nothing():
    controller = Reinforce(ZophConv(layers=2), seed=0, **SMALL)
    before = [v.numpy().copy() for v in controller.policy.variables]
    told(controller, controller.ask(3), lambda arch: 0.7)  # the first mean is the baseline
    assert controller.baseline == pytest.approx(0.7)
    assert controller.policy.adam.updates.numpy() == 1
    for old, new in zip(before, controller.policy.variables, strict=True):
        np.testing.assert_array_equal(old, new.numpy())


def test_the_baseline_is_a_moving_average_of_earlier_rewards():
    controller = Reinforce(Bandit(), seed=0, baseline_decay=0.5, **(SMALL | {"batch_size": 2}))
    rewards = iter([0.0, 1.0])
    told(controller, controller.ask(2), lambda arch: next(rewards))
    assert controller.baseline == 0.625  # 0.5, half way to 0, half way to 1


def test_weights_start_uniform_within_the_scale():
    controller = Reinforce(ZophConv(layers=3), seed=0)
    values = np.concatenate([v.numpy().ravel() for v in controller.policy.variables])
    assert np.abs(values).max() <= 0.08
    # A uniform variable has deviation 0.08 / sqrt(3); the tolerance is six standard errors.
    assert values.std() == pytest.approx(0.08 / math.sqrt(3), rel=6 * 0.45 / math.sqrt(values.size))


def test_networks_get_deeper_after_so_many_samples():
    controller = growing()
    assert controller.ask(2) and controller.asked == 2
    archs = [p.arch for p in controller.ask(12)]
    assert [arch[0] for arch in archs] == [0] * 2 + [1] * 4 + [2] * 6  # the last depth stays
    for arch in archs:
        assert len(controller.policy.space.layers_of(arch)) == arch[0] + 1


def test_the_depth_is_no_choice_of_the_policy():
    """The probabilities of all networks of one depth sum to 1, without a factor for the depth."""
    space = ZophConv(layers=[1, 2], filter_heights=(1, 3), filter_widths=(1,), filters=(8,))
    model = policy(space, scale=1.0, fixed=1)
    two, one = (0, 1), (0,)  # depth; height, width and filters of each layer, and the skip
    archs = [(1, *rest) for rest in itertools.product(two, one, one, two, one, one, two)]
    assert np.exp(model.log_prob(archs).numpy()).sum() == pytest.approx(1, abs=1e-5)
    shallow = [(0, first, *[0] * 6) for first in (0, 1)]
    assert np.exp(model.log_prob(shallow).numpy()).sum() == pytest.approx(1, abs=1e-5)
    # Decisions that only deeper networks have get no gradient from a shallow one.
    at = next(i for i, v in enumerate(model.variables) if v is model.out_kernel)
    head = model.gradient(shallow, np.array([1.0, -0.5]))[at]
    assert np.abs(head[1]).max() > 0 and not head[4:].any() and not head[0].any()


def test_a_batch_may_have_two_depths_and_a_restored_one_goes_on():
    whole = growing()
    archs = [told(whole, whole.ask(1), lambda a: sum(a) / 9, i)[0] for i in range(10)]
    first = growing()
    begun = [told(first, first.ask(1), lambda a: sum(a) / 9, i)[0] for i in range(5)]
    state = first.state()
    weights = state.pop("weights")
    second = growing()
    second.load_state(json.loads(json.dumps(state)) | {"weights": weights})
    assert (
        begun + [told(second, second.ask(1), lambda a: sum(a) / 9, i)[0] for i in range(5, 10)]
        == archs
    )


def test_a_depth_that_cannot_grow_is_refused():
    with pytest.raises(ConfigError, match="samples_per_depth must be null where .* with ZophConv"):
        Reinforce(ZophConv(layers=6), seed=0, samples_per_depth=1600)
    with pytest.raises(ConfigError, match="samples_per_depth must be null or at least 1, got 0"):
        growing(samples_per_depth=0)
