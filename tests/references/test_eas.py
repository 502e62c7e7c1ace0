"""EAS beside its authors' code: Net2Net with noise, the policy's probabilities, one update.

tests/references/README.md says how eas.npz was made.
"""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from nas.controllers.eas import EAS
from nas.controllers.growing.controller import tan_reward
from nas.controllers.growing.settings import UpdateSettings
from nas.controllers.policies.settings import AdamSettings, EncoderSettings
from nas.core.ops import BN_EPSILON
from nas.morphism.layer_copy import copy_layer
from nas.morphism.transforms import deeper, identity_kernel, wider
from nas.ops.description import Description, Weights
from nas.ops.recorder import Recorder
from nas.search_spaces.papers.growing.plain import Plain
from nas.search_spaces.papers.growing.settings import GrowthSettings

ANSWERS = dict(np.load(Path(__file__).with_name("eas.npz")))
NORM = ("gamma", "beta", "moving_mean", "moving_variance")


class Drawn:
    """Gives the choices and the normal draws that the reference made, in turn."""

    def __init__(self, choices=(), normals=()):
        self.choices, self.normals = iter(choices), iter(normals)

    def integers(self, low, high, size):
        drawn = next(self.choices)
        assert len(drawn) == size and low <= drawn.min() and drawn.max() < high
        return drawn

    def standard_normal(self, shape):
        drawn = next(self.normals)
        assert drawn.shape == shape
        return drawn


def taken(prefix: str, layer: str, norm: str = "") -> Weights:
    """The reference's weights of a layer (and of its normalization) under our names."""
    found = {k.rpartition("/")[2]: v for k, v in ANSWERS.items() if k.startswith(f"{prefix}/")}
    kernel = found.pop("kernel" if "kernel" in found else "W")
    weights = {f"{layer}/kernel": kernel}
    weights |= {f"{norm}/{name}": found[name] for name in NORM if norm}
    weights |= {f"{layer}/bias": found["bias"]} if "bias" in found else {}
    return {name: value.astype(np.float32) for name, value in weights.items()}


def described(write, shape) -> Description:
    ops = Recorder(shape)
    return ops.network(write(ops, ops.image()))


def plain(ops, x):
    for name, filters in (("slot0", 4), ("slot2", 5)):
        x = ops.conv(x, filters, (3, 3), name=f"{name}_conv")
        x = ops.max_pool(ops.relu(ops.batch_norm(x, name=f"{name}_bn")), 2, strides=2)
    x = ops.dense(ops.avg_pool(x, 4, strides=4), 6, name="hidden0_dense")
    x = ops.relu(ops.batch_norm(x, name="hidden0_bn"))
    return ops.dense(x, 3, name="logits")


def plain_weights(when: str) -> Weights:
    weights = taken(f"wider/{when}/logits", "logits")
    for name, kind in (("slot0", "conv"), ("slot2", "conv"), ("hidden0", "dense")):
        weights |= taken(f"wider/{when}/{name}", f"{name}_{kind}", f"{name}_bn")
    return weights


def same(found: Weights, expected: Weights) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_wider_layers_with_noise():
    network, weights = described(plain, (16, 16, 3)), plain_weights("before")
    weights["hidden0_dense/bias"] = np.zeros(6, np.float32)  # ours alone; its norm cancels it
    for name, layer, old in (
        ("slot0", "slot0_conv", 4), ("slot2", "slot2_conv", 5), ("hidden0", "hidden0_dense", 6),
    ):  # fmt: skip
        indices = ANSWERS[f"wider/indices/{name}"]
        drawn = Drawn([indices[old:]], [ANSWERS[f"wider/draws/{name}"]])
        network, weights = wider(network, weights, layer, len(indices), drawn, noise=0.01)
    same(weights, plain_weights("after"))


def test_a_deeper_layer_with_noise():
    network = described(plain, (16, 16, 3))
    moments = ANSWERS["deeper/mean"], ANSWERS["deeper/variance"]
    after = network[network["hidden0_dense"].inputs[0]].inputs[0]  # behind the last convolution
    drawn = Drawn(normals=[ANSWERS["deeper/draws"]])
    _, found = deeper(network, {}, after, "new", drawn, moments=moments, noise=0.001)
    expected = taken("deeper/after", "new_conv", "new_bn")
    np.testing.assert_allclose(found["new_conv/kernel"], expected["new_conv/kernel"], atol=1e-7)
    assert found["new_conv/kernel"].std() > identity_kernel((3, 3), 5).std()
    # The code's epsilon is 1e-5.
    expected["new_bn/gamma"] = np.sqrt(expected["new_bn/gamma"] ** 2 - 1e-5 + BN_EPSILON)
    same(found, expected)


def test_the_copy_of_a_densenets_layer():
    def write(ops, x):
        for name, growth in (("a", 2), ("b", 3)):
            y = ops.relu(ops.batch_norm(x, name=f"{name}_first_bn"))
            y = ops.conv(y, 2 * growth, (1, 1), name=f"{name}_bottleneck")
            y = ops.relu(ops.batch_norm(y, name=f"{name}_bn"))
            x = ops.concatenate([x, ops.conv(y, growth, (3, 3), name=f"{name}_conv")])
        x = ops.relu(ops.batch_norm(x, name="last_bn"))
        return ops.classifier(ops.conv(x, 4, (1, 1), name="last"), 2, dropout=0.0)

    def weights(when: str, *names: str) -> Weights:
        found = taken(f"copy/{when}/last", "last", "last_bn")
        for i, name in enumerate(names):
            found |= taken(f"copy/{when}/{i}/bottleneck", f"{name}_bottleneck", f"{name}_first_bn")
            found |= taken(f"copy/{when}/{i}/conv", f"{name}_conv", f"{name}_bn")
        return found

    network = described(write, (8, 8, 6))
    draws = [ANSWERS["copy/draws/bottleneck"], ANSWERS["copy/draws/conv"]]
    drawn = Drawn([ANSWERS["copy/channels"]], draws)
    _, found = copy_layer(network, weights("before", "a", "b"), "a_conv", "new", drawn, noise=0.01)
    same(found, weights("after", "a", "new", "b"))


# The policy. The space has the blocks, layers and sizes that the reference was given.

SPACE = Plain(
    slots=8, kernels=(1, 3, 5), filters=(4, 8), pool_after=(4,), hidden=4, units=(8, 16),
    growth=GrowthSettings(start_filters=((4,), (8,)), start_units=(8,)),
)  # fmt: skip
# What the reference chose: the wider step, then block, layer and kernel of two deeper steps.
WIDER, DEEPER = ANSWERS["controller/wider_chosen"], ANSWERS["controller/deeper_chosen"]
ACTIONS = [
    [WIDER[n][[0, 2, 4]].tolist(), *([int(a)] for step in DEEPER[:, n] for a in step)]
    for n in range(2)
]


def code(word: str) -> int:
    """Our number of a word of the reference."""
    if word == "pool":
        return 0
    kind, size, *kernel = word.split("-")
    if kind == "fc":
        return 2 * 4 + [0, 8, 16].index(int(size))
    return 1 + [4, 8].index(int(size)) * 4 + [0, 1, 3, 5].index(int(kernel[0]))


def given(when: str) -> dict[str, np.ndarray]:
    prefix = f"controller/{when}/"
    return {k.removeprefix(prefix): v for k, v in ANSWERS.items() if k.startswith(prefix)}


def ordered(weights: dict[str, np.ndarray], policy) -> list[tuple[tf.Variable, np.ndarray]]:
    """Our variables and the reference's values for them. TensorFlow adds 1 to forget gates."""

    def lstm(name):
        kernel, bias = weights[f"{name}/lstm_cell/kernel"], weights[f"{name}/lstm_cell/bias"]
        i, candidate, f, o = np.split(kernel, 4, 1)
        bi, bc, bf, bo = np.split(bias, 4)
        return np.concatenate([i, f, candidate, o], 1), np.concatenate([bi, bf + 1, bc, bo])

    def layer(name):
        return weights[f"{name}/W"], weights[f"{name}/bias"]

    actor = "deeper_actor"
    pairs = [*zip(policy.forward, lstm("encoder/fw"), strict=True)]
    pairs += zip(policy.backward, lstm("encoder/bw"), strict=True)
    pairs += zip(policy.widen, layer("wider_actor"), strict=True)
    pairs += zip(policy.decoder, lstm(f"{actor}/rnn"), strict=True)
    tables = [policy.first, *policy.answers]
    pairs += [(t, weights[f"{actor}/{actor}_embedding_{i}"]) for i, t in enumerate(tables)]
    for i, output in enumerate(policy.outputs):
        pairs += zip(output, layer(f"{actor}/classifier_{i}"), strict=True)
    return pairs


WORDS = [word for word in ANSWERS["controller/tokens"].tolist() if word != "PAD"]


@pytest.fixture
def policy():
    updates = UpdateSettings(episode=2, entropy_weight=float(ANSWERS["controller/entropy_penalty"]))
    controller = EAS(
        SPACE, seed=0, wider_steps=1, deeper_steps=2, updates=updates,
        encoder=EncoderSettings(embedding=4, units=3),
        adam=AdamSettings(float(ANSWERS["controller/learning_rate"])),
    )  # fmt: skip
    before = given("before")
    for variable, value in ordered(before, controller.policy):
        variable.assign(value.astype(np.float32))
    table = np.zeros(controller.policy.words.shape, np.float32)
    table[[code(word) for word in WORDS]] = before["layer_embedding"][1:]
    controller.policy.words.assign(table)
    return controller.policy


def replayed(policy, actions):
    """What the policy was asked: the words read, and the probabilities of each question."""
    read, asked, left = [], [], iter(actions)
    encoded = policy._encoded

    def spied(arch):
        read.append(policy.growth.tokens(arch))
        return encoded(arch)

    def choose(probabilities, allowed, step):
        asked.append((probabilities.numpy() * allowed, step))
        return next(left)

    policy._encoded = spied
    policy._grow(choose)
    policy._encoded = encoded
    return read, asked


@pytest.mark.parametrize("n", [0, 1])
def test_the_policy_reads_and_answers_as_the_code(policy, n):
    read, asked = replayed(policy, ACTIONS[n])
    words = [line.split() for line in ANSWERS["controller/words"].tolist()]
    assert read == [[code(word) for word in words[2 * step + n]] for step in range(3)]
    (wide, _), *deep = asked
    expected = ANSWERS["controller/wider_probs"][n, [0, 2, 4]]
    np.testing.assert_allclose(wide[[0, 2], 1], expected[[0, 2]], atol=1e-6)
    for i, (found, step) in enumerate(deep):
        expected = ANSWERS[f"controller/deeper_probs/{i % 3}"][2 * (step - 1) + n]
        # Here a layer needs an empty slot behind it; in these networks all layers have one.
        np.testing.assert_allclose(found[0] / found.sum(), expected, atol=1e-6)


def test_the_objective_and_the_entropy_are_the_codes(policy):
    scores = [policy.score(actions) for actions in ACTIONS]
    rewards = ANSWERS["controller/rewards"]
    objective = sum(float(s) * r for (s, _), r in zip(scores, rewards, strict=True)) / 2
    assert objective == pytest.approx(float(ANSWERS["controller/objective"]), rel=1e-5)
    # Of three steps of each network, the first is a wider one.
    wide, deep = (float(ANSWERS[f"controller/{kind}_entropy"]) for kind in ("wider", "deeper"))
    entropy = np.mean([float(entropy) for _, entropy in scores])
    assert entropy == pytest.approx((wide + 2 * deep) / 3, rel=1e-5)


def test_one_update_is_the_codes(policy):
    """To 2 % of a step of 0.01: TensorFlow adds Adam's epsilon before it corrects the bias."""
    policy.update(ACTIONS, ANSWERS["controller/rewards"])
    after = given("after")
    for variable, value in ordered(after, policy):
        np.testing.assert_allclose(variable.numpy(), value, atol=2e-4)
    found = policy.words.numpy()[[code(word) for word in WORDS]]
    np.testing.assert_allclose(found, after["layer_embedding"][1:], atol=2e-4)


def test_advantages_over_three_episodes_are_the_codes():
    controller = EAS(SPACE, seed=0)
    for accuracies, expected in zip(
        ANSWERS["advantages/accuracies"], ANSWERS["advantages/advantages"], strict=True
    ):
        rewards = np.array([tan_reward(accuracy) for accuracy in accuracies])
        np.testing.assert_allclose(rewards - controller._baseline(rewards.mean()), expected)
