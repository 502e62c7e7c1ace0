"""ENAS' controller: the number of its weights, its terms by hand, its draws and its learning."""

import itertools

import hydra
import numpy as np
import pytest
import tensorflow as tf
from omegaconf import OmegaConf

from nas.controllers.enas import ENAS
from nas.controllers.policies.enas import enas_steps
from nas.controllers.policies.settings import Regularization
from nas.core.trial import ConfigError, Trial
from nas.run.config import make
from nas.search_spaces.papers.enas_macro.space import ENASMacro
from nas.search_spaces.papers.enas_micro.space import ENASMicro
from nas.search_spaces.papers.highway_cells.space import RecurrentNodes
from nas.search_spaces.papers.nasbench201.space import NASBench201
from tests.helpers.hydra_configs import composed


def macro(layers):
    return ENASMacro(layers=layers)


def made(space, name="enas", **changes):
    config = OmegaConf.create(composed("controller", name))
    return hydra.utils.instantiate(config, space=space, seed=0, **changes)


def without_weights(controller):
    for variable in controller.policy.variables:
        variable.assign(tf.zeros_like(variable))
    return controller.policy


def all_of(space):
    return list(itertools.product(*(range(len(d.choices)) for d in space.decisions)))


@pytest.mark.parametrize(
    "space, name, count",
    [(macro(12), "enas", 41_856), (ENASMicro(), "enas_micro", 41_733)],
    ids=["macro", "micro"],
)
def test_the_policy_has_as_many_weights_as_the_official_one(space, name, count):
    """64 units, one LSTM of [128, 256]; counted from the official code."""
    policy = made(space, name).policy
    assert sum(int(tf.size(v)) for v in policy.variables) == count


def test_it_asks_in_the_order_of_the_official_code():
    """In each cell its inputs; at each node two states, two operations, a step without decision."""
    space = ENASMicro(nodes=2)
    asked = [[space.decisions[i].name for i in step.decisions] for step in enas_steps(space)]
    nodes = [
        [[f"{cell}/node{k}/{q}"] for q in ("input1", "input2", "op1", "op2")] + [[]]
        for cell in ("normal", "reduction")
        for k in (2, 3)
    ]
    assert asked == [[], [], *nodes[0], *nodes[1], [], [], *nodes[2], *nodes[3]]
    space = macro(3)
    asked = [[space.decisions[i].name for i in step.decisions] for step in enas_steps(space)]
    assert asked == [
        ["layer0/op"], [], ["layer1/op"], ["layer1/skip0"],
        ["layer2/op"], ["layer2/skip0", "layer2/skip1"],
    ]  # fmt: skip


def test_terms_of_a_policy_without_weights():
    """Six equal operations and bits of probability 1/2: entropies and divergence are known."""
    policy = without_weights(made(macro(3)))
    (entropy,), (penalty,) = policy.terms([(0,) * 6])
    assert entropy == pytest.approx(3 * np.log(6) / 6 + 3 * 0.5 * np.log(2), rel=1e-5)
    per_bit = 0.5 * np.log(0.5 / 0.4) + 0.5 * np.log(0.5 / 0.6)
    assert per_bit == pytest.approx(0.0204, abs=5e-5)
    assert penalty == pytest.approx(1.5 * per_bit, rel=1e-4)  # layers of one and of two bits
    draws = np.array(policy.sample(400, np.random.default_rng(0)))[:, [2, 4, 5]]
    # Fails by chance once in 10^6 runs.
    assert abs(draws.mean() - 0.5) < 5 * 0.5 / np.sqrt(draws.size)


def test_the_entropy_of_all_choices_is_that_of_the_softmaxes():
    policy = without_weights(made(macro(3), regularization={"entropy_of": "all"}))
    (entropy,), _ = policy.terms([(0,) * 6])
    assert entropy == pytest.approx(3 * np.log(6) + 3 * np.log(2), rel=1e-5)


def test_separable_convolutions_start_favoured_and_more_so_in_the_normal_cell():
    space = ENASMicro(nodes=1)
    policy = made(space, "enas_micro").policy
    for variable in policy.variables:
        if variable is not policy.out_biases[0]:
            variable.assign(tf.zeros_like(variable))
    ahead = 1.1 / 2.5 * np.tanh(10.0)
    for cell, prior in (("normal", 0.25), ("reduction", 0.0)):
        of = [d.name == f"{cell}/node2/op1" for d in space.decisions].index(True)
        archs = np.zeros((5, 8), int)
        archs[:, of] = range(5)
        p = np.exp(np.array([ahead + prior] * 2 + [-prior] * 3))
        found = policy.log_prob([tuple(a) for a in archs.tolist()]).numpy()
        np.testing.assert_allclose(found - found[0], np.log(p / p[0]), atol=1e-5)


def test_logits_are_bounded_however_large_the_weights():
    """With |q| <= 1.5 the odds of [-q, q] are at most exp(3), and those of operations too."""
    policy = made(macro(2), lstm={"init_scale": 50.0}).policy
    archs = all_of(macro(2))
    found = policy.log_prob(archs).numpy().reshape(6, 6, 2)
    bit = found[..., 1] - found[..., 0]
    assert np.abs(bit).max() <= 3 + 1e-4 and np.abs(bit).min() > 2.9  # saturated
    operation = np.log(np.exp(found).sum((1, 2)))
    assert operation.max() - operation.min() <= 3 + 1e-4


def test_a_temperature_divides_before_the_bound():
    logits = tf.constant([[0.5, -1.0]])
    policy = made(macro(2), logits={"temperature": 5.0, "tanh_constant": 2.5}).policy
    np.testing.assert_allclose(policy._bounded(logits), 2.5 * np.tanh(np.array(logits) / 5))
    assert made(macro(2), logits={"tanh_constant": None}).policy._bounded(logits) is logits


@pytest.mark.parametrize(
    "space",
    [macro(2), ENASMicro(nodes=1, operations=["sep_3x3", "identity"])],
    ids=["macro", "micro"],
)
def test_it_draws_what_its_probabilities_say(space):
    policy = made(space, lstm={"init_scale": 1.0, "units": 6}).policy
    archs = all_of(space)
    p = np.exp(policy.log_prob(archs).numpy().astype(float))
    assert p.sum() == pytest.approx(1.0, abs=1e-4)
    draws = policy.sample(500, np.random.default_rng(1))
    found = np.array([draws.count(arch) for arch in archs]) / len(draws)
    assert (np.abs(found - p) < 6 * np.sqrt(p / len(draws)) + 2 / len(draws)).all()


def test_the_baseline_moves_before_the_advantage_is_formed(monkeypatch):
    """It starts at 0; with decay 0.5 it is 0.5 after a 1 and 0.75 after another; entropy counts."""
    controller = made(
        macro(2), batch_size=2, baseline_decay=0.5, regularization={"entropy_weight": 0.1}
    )
    found = []
    monkeypatch.setattr(controller.policy, "update", lambda archs, a: found.extend(a))
    proposals = controller.ask(2)
    entropies, _ = controller.policy.terms([p.arch for p in proposals])
    controller.tell([Trial(i, p, 1.0) for i, p in enumerate(proposals)])
    first, second = 1 + 0.1 * entropies
    baselines = [first / 2, first / 4 + second / 2]
    np.testing.assert_allclose(found, [first - baselines[0], second - baselines[1]], rtol=1e-6)
    assert controller.baseline == pytest.approx(baselines[1])


def test_a_baseline_may_stand_still_for_an_epoch():
    """The first three trials are their own baseline; the last one's stands from then on."""
    entropy = Regularization(entropy_weight=0.0)
    enas, again = (ENAS(macro(1), seed=0, baseline_trials=3, regularization=entropy) for _ in "12")
    none = np.zeros(3)
    first = enas._advantages(np.array([0.2, 0.4, 0.6]), none)
    assert first.tolist() == [0, 0, 0] and enas.baseline == 0.6
    second = enas._advantages(np.array([1.0, 0.1]), none[:2])  # beside 0.604 and 0.595
    assert second == pytest.approx([0.396, -0.495])
    assert enas.baseline == 0.6
    again.load_state(enas.state())
    for controller in (enas, again):
        assert controller._advantages(np.array([0.8]), none[:1]) == pytest.approx([0.198])
        assert controller.baseline == pytest.approx(0.602)
    assert "since_moved" not in ENAS(macro(1), seed=0).state()


def test_a_step_of_adam_without_momentum_and_with_a_large_epsilon():
    """Bias-corrected, the first second moment is g^2: the step is rate * g / (|g| + eps')."""
    policy = made(macro(2), adam={"learning_rate": 0.01}).policy
    archs, advantages = [(0, 1, 1), (3, 2, 0)], np.array([1.0, -0.5])
    before = [v.numpy() for v in policy.variables]
    gradient = policy.gradient(archs, advantages)
    policy.update(archs, advantages)
    scale = np.sqrt(1 - 0.999)
    for v, b, g in zip(policy.variables, before, gradient, strict=True):
        step = 0.01 * scale * g / (scale * np.abs(g) + 1e-3)
        np.testing.assert_allclose(v.numpy(), b - step, atol=1e-6)


def test_the_gradient_is_that_of_reward_and_penalty():
    policy = made(
        macro(3), lstm={"init_scale": 1.0, "units": 4}, regularization={"skip_weight": 2.0}
    ).policy
    archs, advantages = [(0, 1, 1, 2, 0, 1), (3, 2, 0, 5, 1, 1)], np.array([1.0, -0.5])
    chosen, masks = policy._tensors(archs)
    gradient = policy.gradient(archs, advantages)
    for variable, at in ((policy.w_curr, (1, 2)), (policy.start, (0, 3)), (policy.v, (0,))):
        k = next(i for i, v in enumerate(policy.variables) if v is variable)
        value, losses = variable.numpy(), []
        for step in (0.01, -0.01):
            moved = value.copy()
            moved[at] += step
            variable.assign(moved)
            log_p = policy.log_prob(archs).numpy()
            _, penalty = policy.terms(archs)
            losses.append(np.mean(2.0 * penalty - advantages * log_p))
        variable.assign(value)
        assert gradient[k][at] == pytest.approx((losses[0] - losses[1]) / 0.02, abs=1e-3)


def test_skips_are_drawn_to_their_target():
    """Without a reward only the penalty moves the policy, towards sigmoid(q) = 0.2."""
    policy = made(
        macro(2),
        regularization={"skip_target": 0.2, "skip_weight": 1.0},
        adam={"learning_rate": 0.1},
    ).policy

    def share():
        yes, no = policy.log_prob([(0, 0, 1), (0, 0, 0)]).numpy()
        return 1 / (1 + np.exp(-(yes - no) / 2))

    before = share()
    for _ in range(8):
        policy.update([(0, 0, 0)], np.zeros(1))
    assert abs(share() - 0.2) < 0.3 * abs(before - 0.2)


def test_it_learns_what_pays():
    """The share of the first operation, a sixth at the start, in 200 draws of one layer."""
    controller = made(macro(1), batch_size=20, adam={"learning_rate": 0.1})
    for i in range(10):
        trials = [
            Trial(20 * i + k, p, float(p.arch[0] == 0)) for k, p in enumerate(controller.ask(20))
        ]
        controller.tell(trials)
    draws = np.array(controller.policy.sample(200, np.random.default_rng(0))) == 0
    assert draws.mean() > 1 / 6 + 6 * np.sqrt(5 / 36 / draws.size)


def test_without_nodes_to_point_at_it_is_one_softmax_after_another():
    """NAS-Bench-201: six edges share one softmax and one embedding."""
    policy = made(NASBench201(), "enas_nasbench201").policy
    assert [len(step.decisions) for step in policy.steps] == [1] * 6
    assert len(policy.embeddings) == len(policy.out_kernels) == len(policy.out_biases) == 1
    assert len(policy.biases) == 2


@pytest.mark.parametrize(
    "settings, words",
    [
        ({"batch_size": 0}, "controller.batch_size must be at least 1, got 0"),
        ({"baseline_trials": 0}, "controller.baseline_trials must be at least 1, got 0"),
        ({"baseline_decay": 1.0}, r"controller.baseline_decay must be in \[0, 1\), got 1.0"),
    ],
)
def test_wrong_settings_are_refused(settings, words):
    with pytest.raises(ConfigError, match=words):
        ENAS(macro(2), seed=0, **settings)


@pytest.mark.parametrize(
    "record, settings, words",
    [
        ("logits", {"temperature": 0.0}, "logits.temperature must be above 0, got 0.0"),
        ("logits", {"tanh_constant": -1.0}, "logits.tanh_constant must be above 0, got -1.0"),
        ("logits", {"op_tanh_reduce": 0.0}, "logits.op_tanh_reduce must be above 0, got 0.0"),
        ("logits", {"locality": 0.0}, "logits.locality must be above 0, got 0.0"),
        (
            *("regularization", {"entropy_of": "none"}),
            "regularization.entropy_of must be all or chosen, got none",
        ),
        (
            *("regularization", {"skip_target": 1.0}),
            r"regularization.skip_target must be in \(0, 1\), got 1.0",
        ),
    ],
)
def test_wrong_settings_of_a_nested_node_are_refused(record, settings, words):
    config = OmegaConf.create(composed("controller", "enas"))
    config[record].update(settings)
    with pytest.raises(ConfigError, match=f"controller.{words}"):
        make(config, "controller", space=macro(2), seed=0)


def test_near_nodes_are_liked_as_in_the_second_code():
    """With zero weights only the distance counts: at node k, j has the logit -(k - j)^2 / 6."""
    space = RecurrentNodes(nodes=2)
    policy = without_weights(made(space, "enas_rnn_released"))
    near, far = np.exp(-1 / 6), np.exp(-4 / 6)
    for state, weight in ((1, near), (0, far)):  # of the second node; the first has one choice
        expected = np.log(weight / (near + far)) + 2 * np.log(1 / 4)
        found = float(policy.log_prob([(0, 2, state, 3)])[0])
        assert found == pytest.approx(expected, rel=1e-4)
