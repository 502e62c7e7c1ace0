"""PPO of the LSTM policy: the clipped objective by hand, its gradient, and learning."""

import itertools
import json

import numpy as np
import pytest
import tensorflow as tf

from nas.controllers.policies.lstm import LSTMPolicy, start_nodes
from nas.controllers.policies.settings import AdamSettings, LSTMSettings
from nas.controllers.ppo import PPO, slopes
from nas.controllers.reinforce import Reinforce
from nas.core.space import Decision, Space
from nas.core.trial import ConfigError, Proposal, Trial
from nas.search_spaces.papers.enas_micro.space import ENASMicro
from nas.search_spaces.papers.zoph2017 import ZophConv

SMALL = {
    "lstm": LSTMSettings(layers=1, units=8, init_scale=0.1),
    "adam": AdamSettings(learning_rate=0.01),
    "batch_size": 10,
}


class Bits(Space):
    def __init__(self, count):
        self.decisions = tuple(Decision(f"bit{i}", (0, 1)) for i in range(count))


def share_of_ones(arch):
    return sum(arch) / len(arch)


def play(controller, trials, reward=share_of_ones, start=0):
    history = []
    for i in range(start, start + trials):
        (proposal,) = controller.ask(1)
        history.append(Trial(i, proposal, reward(proposal.arch)))
        controller.tell(history[-1:])
    return history


def policy(space, *, seed=0, entropy_weight=0.0, init_scale=1.0):
    return LSTMPolicy(
        space,
        LSTMSettings(layers=1, units=6, init_scale=init_scale),
        AdamSettings(learning_rate=0.01),
        entropy_weight=entropy_weight,
        rng=np.random.default_rng(seed),
    )


@pytest.mark.parametrize(
    "ratio, advantage, slope",
    [
        (1.0, 2.0, 2.0),  # an unchanged policy: REINFORCE
        (1.0, -2.0, -2.0),
        (1.1, 2.0, 2.2),  # within the clip: r A
        (0.9, -2.0, -1.8),
        (1.3, 2.0, 0.0),  # a good one has gained enough: min(1.3 A, 1.2 A) is flat
        (0.7, 2.0, 1.4),  # a good one has lost: min(0.7 A, 0.8 A) pulls it back
        (1.3, -2.0, -2.6),  # a bad one has gained: min(-2.6, -2.4)
        (0.7, -2.0, 0.0),  # a bad one has lost enough: min(-1.4, -1.6) is flat
    ],
)
def test_the_clipped_objective_by_hand(ratio, advantage, slope):
    assert slopes(np.array([ratio]), np.array([advantage]), 0.2) == pytest.approx([slope])

    def objective(log_ratio):  # Schulman et al. 2017, equation 7
        r = np.exp(log_ratio)
        return min(r * advantage, np.clip(r, 0.8, 1.2) * advantage)

    at, step = np.log(ratio), 1e-6
    numeric = (objective(at + step) - objective(at - step)) / (2 * step)
    assert numeric == pytest.approx(slope, abs=1e-5)


def test_the_gradient_is_that_of_the_clipped_objective():
    """Eight architectures with ratios from 0.5 to 2 and advantages of both signs."""
    model = policy(Bits(4), entropy_weight=0.03)
    archs = list(itertools.product((0, 1), repeat=3))
    archs = [(*arch, 1) for arch in archs]
    advantages = np.array([1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 0.1, -0.1])
    old = model.log_prob(archs).numpy() - np.log(np.linspace(0.5, 2.0, 8))
    with tf.GradientTape() as tape:
        log_p, entropy = model._score(*model._tensors(archs))
        ratio = tf.exp(log_p - tf.constant(old, tf.float32))
        clipped = tf.clip_by_value(ratio, 0.8, 1.2)
        both = tf.minimum(ratio * advantages, clipped * advantages)
        loss = -tf.reduce_mean(both + 0.03 * entropy)
    expected = tape.gradient(
        loss, model.variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
    )
    ratios = np.exp(model.log_prob(archs).numpy() - old)
    found = model.gradient(archs, slopes(ratios, advantages, 0.2))
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine, tf.convert_to_tensor(theirs), atol=1e-6)


def test_one_pass_is_reinforce():
    """In the first pass over a batch the policy is unchanged: all ratios are 1."""
    settings = {"entropy_weight": 0.01, **SMALL}
    once = PPO(Bits(3), seed=3, passes=1, baseline_decay=0.9, **settings)
    other = Reinforce(Bits(3), seed=3, baseline_decay=0.9, **settings)
    for trial in play(once, 30):
        other.tell([trial])
    assert once.baseline == other.baseline
    for mine, theirs in zip(once.policy.weights(), other.policy.weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, atol=1e-5)


def test_it_learns_to_count_ones():
    """A uniform policy: the mean of 50 architectures of 3 bits is 0.5, with deviation 0.041."""
    controller = PPO(Bits(3), seed=0, **(SMALL | {"adam": AdamSettings(learning_rate=0.05)}))
    history = play(controller, 120)
    deviation = 0.5 / np.sqrt(3 * 50)
    assert np.mean([trial.reward for trial in history[-50:]]) > 0.5 + 10 * deviation


def test_a_batch_is_drawn_from_one_policy_and_what_is_left_of_it_is_thrown_away():
    controller = PPO(Bits(6), seed=0, **SMALL)
    first = controller.ask(13)  # from two draws of batches
    assert len(controller.drawn) == 7
    before = controller.policy.log_prob([proposal.arch for proposal in first]).numpy()
    noted = [proposal.notes["log_prob"] for proposal in first]
    np.testing.assert_allclose(noted, before, atol=1e-6)
    controller.tell([Trial(i, p, float(i % 2)) for i, p in enumerate(first)])
    assert controller.drawn == [] and len(controller.batch) == 3
    assert controller.policy.adam.updates.numpy() == 3  # passes


def test_a_failed_child_is_paid_failure_reward():
    controller = PPO(Bits(4), seed=0, failure_reward=-1.0, **SMALL)
    controller.tell([Trial(i, p, None) for i, p in enumerate(controller.ask(10))])
    assert controller.baseline == -1.0


def test_the_baseline_starts_as_the_first_mean_and_moves_with_each_reward():
    controller = PPO(Bits(4), seed=0, baseline_decay=0.5, **(SMALL | {"batch_size": 2}))
    first, second = controller.ask(2)
    controller.tell([Trial(0, first, 0.0), Trial(1, second, 1.0)])
    assert controller.baseline == 0.625  # 0.5, half way to 0, half way to 1


def test_a_restored_controller_goes_on_bit_for_bit():
    settings = SMALL | {"batch_size": 4, "passes": 2}
    whole = PPO(Bits(3), seed=1, **settings)
    expected = play(whole, 11)
    for moment in (3, 8):  # within a batch, and in the next one
        first = PPO(Bits(3), seed=1, **settings)
        begun = play(first, moment)
        state = first.state()
        weights = state.pop("weights")
        second = PPO(Bits(3), seed=99, **settings)
        second.load_state(json.loads(json.dumps(state)) | {"weights": weights})
        assert begun + play(second, 11 - moment, start=moment) == expected
        for mine, theirs in zip(second.policy.weights(), whole.policy.weights(), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_the_probabilities_of_all_architectures_sum_to_one():
    cell = ENASMicro(nodes=1, operations=["sep_3x3", "identity"])
    archs = list(itertools.product(*(range(len(d.choices)) for d in cell.decisions)))
    assert len(archs) == cell.size
    total = np.exp(policy(cell).log_prob(archs).numpy().astype(float)).sum()
    assert total == pytest.approx(1.0, abs=1e-5)


def test_the_inputs_of_a_cell_differ_from_the_start():
    cell = ENASMicro(nodes=1)
    assert start_nodes(cell) == [0, 1, 3, 4]  # of the normal and of the reduction cell
    assert start_nodes(ZophConv(layers=3)) == []
    older, newer = policy(cell).log_prob([(0,) * 8, (1,) + (0,) * 7]).numpy()
    assert abs(older - newer) > 1e-3


def test_gradients_reach_the_states_of_a_cells_inputs_and_are_the_difference_quotient():
    model = policy(ENASMicro(nodes=1))
    archs, advantages = [(0,) * 8, (1, 2, 0, 4, 1, 0, 1, 3)], np.array([1.0, -0.5])
    gradient = model.gradient(archs, advantages)[-1]
    start = model.node_starts.numpy()
    for at in ((0, 0), (1, 3), (3, 5)):
        losses = []
        for step in (0.01, -0.01):
            moved = start.copy()
            moved[at] += step
            model.node_starts.assign(moved)
            losses.append(-np.mean(advantages * model.log_prob(archs).numpy()))
        assert gradient[at] == pytest.approx((losses[0] - losses[1]) / 0.02, abs=1e-4)


def test_weights_saved_before_inputs_had_states_mean_what_they_did():
    saved = policy(ENASMicro(nodes=2), seed=5)
    archs = saved.sample(6, np.random.default_rng(0))
    saved.update(archs, np.arange(6.0))
    saved.node_starts.assign(tf.zeros_like(saved.node_starts))  # their value in older versions
    count = len(saved.variables)
    without = [
        weight
        for i, weight in enumerate(saved.weights())
        if i not in (count - 1, 3 * count - 2, 3 * count - 1)
    ]
    loaded = policy(ENASMicro(nodes=2), seed=6)
    loaded.set_weights(without)
    np.testing.assert_array_equal(loaded.log_prob(archs), saved.log_prob(archs))
    loaded.update(archs, np.arange(6.0))  # it continues to learn
    assert np.abs(loaded.node_starts.numpy()).max() > 0
    with pytest.raises(ValueError):
        loaded.set_weights(without[1:])


def test_a_space_without_such_nodes_keeps_its_weights():
    """Searches in other spaces draw what they drew in older versions."""
    model = policy(ZophConv(layers=2))
    assert len(model.variables) == 2 + 7 and len(model.weights()) == 3 * 9 + 1


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"batch_size": 0}, "controller.batch_size must be at least 1, got 0"),
        ({"passes": 0}, "controller.passes must be at least 1, got 0"),
        ({"clip": 0.0}, r"controller.clip must be in \(0, 1\), got 0.0"),
        ({"baseline_decay": 1.0}, r"controller.baseline_decay must be in \[0, 1\), got 1.0"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        PPO(Bits(3), seed=0, **settings)


def test_a_proposal_is_json():
    (proposal,) = PPO(Bits(3), seed=0, **SMALL).ask(1)
    assert proposal == Proposal(proposal.arch, notes=json.loads(json.dumps(proposal.notes)))
