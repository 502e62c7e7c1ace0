"""Growing DenseNets: known numbers, what a copied layer is, and that growth preserves."""

import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.morphism.inheritance import inherit_weights
from nas.morphism.layer_copy import copy_layer
from nas.morphism.settings import MorphismSettings
from nas.ops.inference import outputs
from nas.ops.recorder import Recorder, describe
from nas.search_spaces.papers.growing.densenet import DenseNet
from tests.helpers.morphism_networks import images, random_weights

RNG = np.random.default_rng
SKELETON = ImageSkeleton(image_shape=(6, 5, 2), classes=3)
SPACE = DenseNet(blocks=2, slots=4, growth_rates=(2, 3, 5), bottleneck=2, start_growth=2)
GROWING = DenseNet(
    blocks=2, slots=4, growth_rates=(2, 3, 5), bottleneck=2, start_growth=2, only_grow=True
)  # fmt: skip


def grown(parent, child, **settings):
    """What a parent and its child compute, and the child's weights."""
    old, new = (describe(SPACE, arch, SKELETON) for arch in (parent, child))
    weights, x = random_weights(old, RNG(0)), images(RNG(1), shape=(6, 5, 2))
    carried, same = inherit_weights(old, weights, new, RNG(2), **settings)
    fresh = random_weights(new, RNG(3))
    fits = {k: carried[k] if np.shape(carried.get(k)) == v.shape else v for k, v in fresh.items()}
    return outputs(old, weights, x), outputs(new, fits, x), same, fits, weights


def test_a_densenet_bc_has_the_parameters_of_its_paper():
    # Huang et al. 2017, Table 2: L = 100, k = 12 has 0.8M; 16 layers a block.
    small = DenseNet(slots=16, growth_rates=(12,), start_layers=16, start_growth=12)
    skeleton = ImageSkeleton(image_shape=(32, 32, 3), classes=10)
    # By hand: 769,162 (as counted of the network in many places), batch normalization included.
    assert small.cost(small.start(), skeleton).parameters == 769_162


def test_layers_are_concatenated_and_the_first_convolution_follows_the_mean():
    network = describe(SPACE, (1, 3, 0, 0, 0, 0, 2, 0), SKELETON)
    assert network["first_conv"].width == 6  # int(2 * (2 + 5 + 3) / 3)
    assert network["slot1_bottleneck"].width == 10 and network["slot1_conv"].width == 5
    assert network.shapes["slot1_first_bn"][2] == 6 + 2
    assert network["between0_conv"].width == 6  # int((6 + 2 + 5) / 2)
    assert network.shapes["last_bn"] == (3, 3, 6 + 3)


def test_a_copy_ignores_what_it_copies_and_is_read_in_its_place():
    before, after, same, new, old = grown((1, 0, 0, 1) + (1,) * 4, (1, 1, 0, 1) + (1,) * 4)
    assert same
    np.testing.assert_allclose(after, before, atol=1e-5)
    first = old["slot0_bottleneck/kernel"]
    np.testing.assert_array_equal(new["slot1_bottleneck/kernel"][:, :, :-2], first)
    assert not new["slot1_bottleneck/kernel"][:, :, -2:].any()
    columns = {tuple(c) for c in old["slot0_conv/kernel"].reshape(-1, 2).T.tolist()}
    assert {tuple(c) for c in new["slot1_conv/kernel"].reshape(-1, 2).T.tolist()} <= columns
    # Of slot 0's channels slot 3 reads as much as before, from both.
    read = [w["slot3_bottleneck/kernel"][0, 0, 4:].sum(0) for w in (old, new)]
    np.testing.assert_allclose(read[1], read[0], rtol=1e-5)


@pytest.mark.parametrize(
    "child",
    [
        (2, 0, 0, 0, 1, 0, 0, 0), (3, 0, 0, 0, 3, 0, 0, 0), (2, 2, 3, 0, 1, 1, 3, 2),
        (1, 1, 1, 1, 1, 1, 1, 1),
    ],
)  # fmt: skip
def test_wider_and_copied_layers_preserve(child):
    before, after, same, _, _ = grown(SPACE.start(), child)
    assert same
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_a_layer_before_all_others_of_its_block_is_new():
    _, _, same, new, old = grown((0, 1, 0, 0, 1, 0, 0, 0), (1, 1, 0, 0, 1, 0, 0, 0))
    assert not same
    np.testing.assert_array_equal(new["slot1_conv/kernel"], old["slot1_conv/kernel"])


def test_growing_mutations_preserve_until_nothing_can_grow():
    rng, parent, steps = RNG(0), GROWING.start(), 0
    while (child := GROWING.mutate(parent, rng)) != parent:
        before, after, same, _, _ = grown(parent, child)
        assert same, (parent, child)
        np.testing.assert_allclose(after, before, atol=1e-5)
        parent, steps = child, steps + 1
    assert set(parent) == {3} and steps >= 6


def test_noise_is_on_the_copys_kernels_and_on_what_is_wider_behind_it():
    child = (1, 1, 0, 0, 1, 0, 0, 0)
    _, _, _, plain, _ = grown(SPACE.start(), child)
    _, _, _, noisy, _ = grown(SPACE.start(), child, settings=MorphismSettings())
    changed = {name for name in plain if not np.array_equal(plain[name], noisy[name])}
    assert changed == {"slot1_bottleneck/kernel", "slot1_conv/kernel", "between0_conv/kernel"}


def test_what_is_no_dense_layer_is_not_copied():
    def write(ops, join):
        x = ops.conv(ops.image(), 3, (3, 3), name="a_conv")
        y = ops.conv(ops.relu(x), 3, (1, 1), name="b_conv")
        return ops.network(ops.classifier(join(ops, x, y), 3, dropout=0.0))

    for join, match in (
        (lambda ops, x, y: ops.add([x, y]), "b_conv must be concatenated behind another layer"),
        (lambda ops, x, y: ops.concatenate([y, x]), "b_conv must be concatenated behind another"),
        (lambda ops, x, y: ops.concatenate([ops.relu(x), y]), "at the end of layers in a row"),
        (
            lambda ops, x, y: ops.add([ops.conv(x, 6, (1, 1), name="c"), ops.concatenate([x, y])]),
            "it is added to others",
        ),
    ):
        network = write(Recorder((6, 5, 2)), join)
        with pytest.raises(ValueError, match=match):
            copy_layer(network, random_weights(network, RNG(0)), "b_conv", "d", RNG(0))


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"blocks": 0}, "space.blocks must be at least 1, got 0"),
        ({"growth_rates": (8, 4)}, "space.growth_rates must be whole numbers from 1, rising"),
        ({"first_ratio": 0.5}, "space.first_ratio must be at least 1, got 0.5"),
        ({"reduction": 0}, r"space.reduction must be in \(0, 1\], got 0"),
        ({"start_layers": 5}, r"space.start_layers must be in \[1, space.slots=4\], got 5"),
        ({"start_growth": 5}, "space.start_growth must be one of space.growth_rates="),
    ],
)
def test_wrong_settings_are_told(wrong, told):
    with pytest.raises(ConfigError, match=told):
        DenseNet(**wrong)
