"""Transforms preserve the function of a network, or refuse with the reason."""

import numpy as np
import pytest

from nas.core.ops import BN_EPSILON
from nas.core.skeleton import ImageSkeleton
from nas.morphism.skips import add_skip, concat_skip
from nas.morphism.transforms import IdentityBlock, deeper, replication, wider
from nas.ops.count import CountOps
from nas.ops.inference import moments, outputs
from nas.ops.recorder import Recorder, describe
from nas.search_spaces.papers.nasbench201.space import NASBench201
from tests.helpers.morphism_networks import (
    IMAGE,
    images,
    keras_model,
    random_network,
    random_weights,
)

RNG = np.random.default_rng


def described(write, seed=0):
    """The network that `write(ops, image)` writes, with random weights and images for it."""
    ops = Recorder(IMAGE)
    network = ops.network(write(ops, ops.image()))
    rng = RNG(seed)
    return network, random_weights(network, rng), images(rng)


def chain(ops, x):
    for i, filters in enumerate((4, 6)):
        x = ops.conv(x, filters, (3, 3), name=f"c{i}_conv")
        x = ops.relu(ops.batch_norm(x, name=f"c{i}_bn"))
    return ops.classifier(x, 3, dropout=0.0)


def same(before, after, x, atol=1e-5):
    np.testing.assert_allclose(outputs(*after, x), outputs(*before, x), atol=atol)


# Net2Net, section 3.2.


def test_the_first_units_are_themselves_and_the_others_copies():
    g = replication(64, 96, RNG(0))
    assert g[:64].tolist() == list(range(64))
    assert g.min() >= 0 and g.max() < 64 and len(g) == 96
    copies = np.bincount(g, minlength=64)
    assert (1 / copies[g]).sum() == pytest.approx(64)  # each old unit counts once


def test_widening_keeps_the_old_filters_and_shares_what_reads_them():
    network, weights, x = described(chain)
    after = wider(network, weights, "c0_conv", 7, RNG(1))
    same((network, weights), after, x)
    new = after[1]
    assert after[0]["c0_conv"].width == 7
    np.testing.assert_array_equal(new["c0_conv/kernel"][..., :4], weights["c0_conv/kernel"])
    np.testing.assert_array_equal(new["c0_bn/gamma"][:4], weights["c0_bn/gamma"])
    g = replication(4, 7, RNG(1))
    np.testing.assert_array_equal(new["c0_conv/kernel"], weights["c0_conv/kernel"][..., g])
    shares = weights["c1_conv/kernel"][:, :, g] / np.bincount(g)[g][:, None]
    np.testing.assert_allclose(new["c1_conv/kernel"], shares, rtol=1e-6)


def test_what_a_transform_is_given_stays_as_it_was():
    network, weights, x = described(chain)
    copies = {name: value.copy() for name, value in weights.items()}
    wider(network, weights, "c0_conv", 6, RNG(0), noise=0.1)
    deeper(network, weights, network["c1_conv"].inputs[0], "new", RNG(0), noise=0.1)
    assert all(np.array_equal(weights[name], copies[name]) for name in copies)
    assert set(weights) == set(copies)


def test_noise_is_on_the_copies_alone():
    network, weights, x = described(chain)
    plain, noisy = (
        wider(network, weights, "c0_conv", 400, RNG(1), noise=noise)[1] for noise in (0.0, 0.01)
    )
    change = noisy["c0_conv/kernel"] - plain["c0_conv/kernel"]
    assert not change[..., :4].any()
    # 7,128 draws: their sd is within 5 % of its value by more than 5 standard errors.
    assert change[..., 4:].std() == pytest.approx(
        0.01 * plain["c0_conv/kernel"][..., 4:].std(), rel=0.05
    )
    np.testing.assert_array_equal(noisy["c1_conv/kernel"], plain["c1_conv/kernel"])


def test_equal_seeds_are_equal():
    network, weights, _ = described(chain)
    one, two = (wider(network, weights, "c0_conv", 9, RNG(3), noise=0.1)[1] for _ in range(2))
    assert all(np.array_equal(one[name], two[name]) for name in one)


def test_dense_layers_widen_behind_images_and_behind_each_other():
    def write(ops, x):
        x = ops.relu(ops.conv(x, 3, (3, 3), name="conv"))
        x = ops.relu(ops.dense(x, 4, name="a"))
        return ops.dense(x, 3, name="b")

    network, weights, x = described(write)
    for name, width in (("conv", 5), ("a", 9)):
        after = wider(network, weights, name, width, RNG(0))
        same((network, weights), after, x)
        network, weights = after
    assert weights["a/kernel"].shape == (6 * 5 * 5, 9)
    plain = IdentityBlock(batch_norm=False)
    after = deeper(network, weights, network["b"].inputs[0], "c", RNG(0), block=plain)
    assert after[0]["c_dense"].width == 9
    same((network, weights), after, x)


def test_a_concatenation_is_widened_within_its_slice():
    def write(ops, x):
        a, b = (ops.relu(ops.conv(x, 3, (3, 3), name=name)) for name in "ab")
        x = ops.batch_norm(ops.concatenate([a, b]), name="bn")
        return ops.classifier(ops.relu(ops.conv(x, 4, (1, 1), name="c")), 3, dropout=0.0)

    network, weights, x = described(write)
    after = wider(network, weights, "a", 5, RNG(0))
    same((network, weights), after, x)
    old, new = weights["c/kernel"], after[1]["c/kernel"]
    assert new.shape == (1, 1, 8, 4)
    np.testing.assert_array_equal(new[:, :, 5:], old[:, :, 3:])  # b's slice


def test_summands_are_widened_by_the_same_map():
    def write(ops, x):
        a = ops.relu(ops.batch_norm(ops.conv(x, 3, (3, 3), name="a"), name="a_bn"))
        b = ops.relu(ops.conv(x, 3, (3, 3), name="b"))
        c = ops.conv(a, 3, (3, 3), name="c")
        return ops.classifier(ops.add([ops.relu(ops.add([a, b])), c]), 3, dropout=0.0)

    network, weights, x = described(write)
    after = wider(network, weights, "b", 6, RNG(0))
    same((network, weights), after, x)
    assert [after[0][name].width for name in "abc"] == [6, 6, 6]
    g = replication(3, 6, RNG(0))
    for name in "abc":
        kernel = after[1][f"{name}/kernel"]
        np.testing.assert_array_equal(kernel[..., 3:] == kernel[..., g[3:]], True)


# Deeper.


def test_a_new_layer_is_the_identity_with_and_without_normalization():
    network, weights, x = described(chain)
    after = network["c1_conv"].inputs[0]
    for settings in ({}, {"batch_norm": False}, {"activation": None}, {"kernel": (5, 1)}):
        grown = deeper(network, weights, after, "new", RNG(0), block=IdentityBlock(**settings))
        same((network, weights), grown, x)
        assert "new_conv" in grown[0]
        assert ("new_bn" in grown[0]) == settings.get("batch_norm", True)


def test_with_moments_the_normalization_is_the_identity_in_training():
    def write(ops, x):
        x = ops.relu(ops.conv(x, 4, (3, 3), name="a"))
        return ops.classifier(x, 3, dropout=0.0)

    network, weights, x = described(write)
    after = network["logits"].inputs[0]
    found = moments(network, weights, x, after)
    grown = deeper(network, weights, after, "new", RNG(0), moments=found)
    np.testing.assert_allclose(grown[1]["new_bn/beta"], found[0])
    gamma = np.sqrt(found[1] + BN_EPSILON)
    np.testing.assert_allclose(grown[1]["new_bn/gamma"], gamma, rtol=1e-6)
    same((network, weights), grown, x)
    # A batch with the statistics of the whole: the layer changes nothing.
    trained = keras_model(*grown)(x, training=True)
    np.testing.assert_allclose(trained, outputs(network, weights, x), atol=1e-5)
    without = keras_model(*deeper(network, weights, after, "new", RNG(0)))(x, training=True)
    assert np.abs(without - trained).max() > 0.01


def test_noise_of_the_identity_is_small_and_repeats():
    network, weights, _ = described(chain)
    after = network["c1_conv"].inputs[0]
    one, two = (
        deeper(network, weights, after, "new", RNG(5), noise=1e-3)[1]["new_conv/kernel"]
        for _ in range(2)
    )
    np.testing.assert_array_equal(one, two)
    identity = deeper(network, weights, after, "new", RNG(5))[1]["new_conv/kernel"]
    # 144 draws: within a third by more than 5 standard errors.
    assert (one - identity).std() == pytest.approx(1e-3 * identity.std(), rel=0.33)


# Skips.


def test_skips_preserve_also_across_sizes_and_can_be_widened():
    def write(ops, x):
        a = ops.relu(ops.conv(x, 3, (3, 3), name="a"))
        b = ops.batch_norm(ops.conv(ops.max_pool(a, 2, strides=2), 4, (3, 3), name="b"), name="bn")
        return ops.classifier(ops.relu(b), 3, dropout=0.0)

    network, weights, x = described(write)
    source = network.readers("a")[0].name  # the relu
    for skip in (add_skip, concat_skip):
        grown = skip(network, weights, source, "bn", "skip", shrink=2)
        same((network, weights), grown, x)
        for name in ("a", "b"):
            wide = wider(*grown, name, 7, RNG(0))
            same((network, weights), wide, x)
        assert ("skip_pool" in grown[0]) == (skip is concat_skip)


# Refusals.


def refuse(match, transform, *args, **settings):
    with pytest.raises(ValueError, match=match):
        transform(*args, **settings)


def test_what_cannot_preserve_is_refused():
    network, weights, _ = described(chain)
    relu = network["c1_conv"].inputs[0]
    refuse("a conv.* or a hidden dense layer", wider, network, weights, "logits", 9, RNG(0))
    refuse("a conv.* or a hidden dense layer", wider, network, weights, "c0_bn", 9, RNG(0))
    refuse("must become wider than 4, got 4", wider, network, weights, "c0_conv", 4, RNG(0))
    refuse("has no layer x; it has image", wider, network, weights, "x", 4, RNG(0))
    refuse(
        r"must be relu or None, got tanh: tanh\(tanh\(x\)\)",
        IdentityBlock, activation="tanh",
    )  # fmt: skip
    refuse("odd sides", IdentityBlock, kernel=(2, 3))
    refuse("c0_bn may be negative", deeper, network, weights, "c0_bn", "n", RNG(0))
    refuse("name of its own, got c1_conv", deeper, network, weights, relu, "c1", RNG(0))
    refuse("must start before c0_bn", add_skip, network, weights, "c1_bn", "c0_bn", "s")
    refuse("must join images", add_skip, network, weights, relu, "logits", "s")


def test_channels_that_reach_what_cannot_widen_are_refused():
    def logits(ops, x):
        return ops.relu(ops.conv(x, 3, (3, 3), name="a"))

    def image(ops, x):
        return ops.classifier(ops.add([x, ops.conv(x, 2, (3, 3), name="a")]), 3, dropout=0.0)

    def orders(ops, x):
        a, b = (ops.conv(x, 3, (3, 3), name=name) for name in "ab")
        both = [ops.concatenate([a, b]), ops.concatenate([b, a])]
        return ops.classifier(ops.add(both), 3, dropout=0.0)

    def first(ops, x):
        a = ops.conv(x, 3, (3, 3), name="a")
        return ops.classifier(ops.first(a, 2), 3, dropout=0.0)

    for write, match in (
        (logits, "are the network's output"),
        (image, "added to image"),
        (orders, "adds channels in different orders"),
        (first, r"\(first\) reads it"),
    ):
        network, weights, _ = described(write)
        refuse(match, wider, network, weights, "a", 5, RNG(0))


def test_skips_of_other_sizes_are_refused():
    def write(ops, x):
        a = ops.conv(x, 2, (1, 1), name="a")
        return ops.classifier(ops.max_pool(a, 2, strides=2), 3, dropout=0.0)

    network, weights, _ = described(write)
    target = network["logits"].inputs[0]
    message = r"a must be as large as max_pool2, \(3, 3\), got \(6, 5\) with shrink=1"
    for skip in (add_skip, concat_skip):
        refuse(message, skip, network, weights, "a", target, "s")


# Descriptions.


def test_a_description_is_the_network_that_keras_and_the_counter_get():
    space = NASBench201()
    skeleton = ImageSkeleton(image_shape=(8, 8, 1), classes=7, channels=4)
    for seed in range(3):
        arch = space.sample(RNG(seed))
        network = describe(space, arch, skeleton)
        count = CountOps(skeleton.image_shape)
        network.write(count)
        assert count.parameters == space.cost(arch, skeleton).parameters
        assert count.flops == space.cost(arch, skeleton).flops


def test_values_and_keras_agree_before_and_after():
    for seed in range(6):
        rng = RNG(seed)
        network = random_network(rng)
        weights, x = random_weights(network, rng), images(rng)
        for _ in range(2):
            np.testing.assert_allclose(
                keras_model(network, weights)(x), outputs(network, weights, x), atol=2e-5
            )
            network, weights, _ = random_transform(network, weights, rng, "again", x)


def test_keys_tell_networks_apart_and_ignore_the_names_of_what_has_no_weights():
    network, weights, _ = described(chain)
    again, _, _ = described(lambda ops, x: chain(ops, ops.conv(x, 2, (1, 1), name="first")))

    def key(n, widths=True):
        return n.keys(widths=widths)[n.output]

    assert key(network) != key(again)
    wide, _ = wider(network, weights, "c0_conv", 5, RNG(0))
    assert key(wide) != key(network)
    assert key(wide, widths=False) == key(network, widths=False)


# Any network, any transforms.


def random_transform(network, weights, rng, name, x):
    """Applies a random transform that is possible. Returns the network, its weights, the kind."""
    for _ in range(50):
        kind = rng.choice(["wider", "deeper", "add_skip", "concat_skip"])
        one, two = (network.layers[i].name for i in rng.integers(len(network.layers), size=2))
        try:
            if kind == "wider":
                width = network.shapes[one][2] + int(rng.integers(1, 4))
                return *wider(network, weights, one, width, rng), kind
            if kind == "deeper":
                block = IdentityBlock(
                    kernel=tuple(int(k) for k in rng.choice([1, 3], 2)),
                    batch_norm=bool(rng.random() < 0.5),
                    activation="relu" if network.is_non_negative(one) else None,
                )
                found = moments(network, weights, x, one) if rng.random() < 0.5 else None
                if one == network.output:
                    continue
                return *deeper(network, weights, one, name, rng, block=block, moments=found), kind
            skip = add_skip if kind == "add_skip" else concat_skip
            shrink = int(rng.integers(1, 4))
            return *skip(network, weights, one, two, name, shrink=shrink), kind
        except ValueError:
            continue
    raise AssertionError("no transform applies")


@pytest.mark.parametrize("count", [150, pytest.param(1000, marks=pytest.mark.slow)])
def test_any_network_computes_the_same_after_any_transforms(count):
    done = set()
    for seed in range(count):
        rng = RNG(seed)
        network = random_network(rng)
        weights, x = random_weights(network, rng), images(rng)
        before = outputs(network, weights, x)
        for step in range(3):
            network, weights, kind = random_transform(network, weights, rng, f"new{step}", x)
            done.add(kind)
        difference = np.abs(outputs(network, weights, x) - before).max()
        assert difference < 1e-5 * max(1.0, np.abs(before).max()), (seed, difference)
        assert all(value.dtype == np.float32 for value in weights.values())
    assert done == {"wider", "deeper", "add_skip", "concat_skip"}
