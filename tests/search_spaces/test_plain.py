"""Convolutions, then hidden dense layers, plain or with skips; growth preserves functions."""

import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.morphism.inheritance import inherit_weights
from nas.ops.inference import moments, outputs
from nas.ops.recorder import describe
from nas.search_spaces.papers.growing.plain import Plain
from nas.search_spaces.papers.growing.settings import GrowthSettings
from tests.helpers.morphism_networks import random_weights

RNG = np.random.default_rng
SKELETON = ImageSkeleton(image_shape=(8, 6, 3), classes=4)
SPACE = Plain(
    slots=4, kernels=(1, 3), filters=(4, 8), pool_after=(2,),
    hidden=3, units=(5, 7),
    growth=GrowthSettings(only_grow=True, start_units=(5,), start_filters=[[4], [8]]),
)  # fmt: skip
SKIPS = Plain(
    slots=4, kernels=(1, 3), filters=(4, 8), pool_after=(2,), skips=True,
    hidden=2, units=(4, 8),
    growth=GrowthSettings(
        only_grow=True, doubling=True, start_units=(4,), start_filters=[[4], [4]]
    ),
)  # fmt: skip


def with_units(*units):
    chosen = SPACE.decode(SPACE.start())
    return SPACE.encode(chosen | {f"hidden{i}/units": n for i, n in enumerate(units)})


def test_hidden_layers_stand_between_the_mean_and_the_logits():
    network = describe(SPACE, with_units(5, 0, 7), SKELETON)
    kinds = [layer.kind for layer in network.layers]
    convolution, hidden = ["conv", "batch_norm", "relu"], ["dense", "batch_norm", "relu"]
    assert kinds == [
        "image", *convolution, "max_pool", *convolution, "avg_pool", *hidden, *hidden, "dropout",
        "dense",
    ]  # fmt: skip
    named = [layer.name for layer in network.layers if layer.kind == "dense"]
    assert named == ["hidden0_dense", "hidden2_dense", "logits"]
    pooled = next(layer for layer in network.layers if layer.kind == "avg_pool")
    assert network.shapes[pooled.name] == (1, 1, 8)


def test_the_mean_is_over_the_image_alone():
    """4x3 pixels are left, pooled as 4x4."""
    network = describe(SPACE, with_units(0, 0, 0), SKELETON)
    weights = random_weights(network, np.random.default_rng(0))
    images = np.random.default_rng(1).random((2, 8, 6, 3)).astype(np.float32)
    pooled = next(layer for layer in network.layers if layer.kind == "avg_pool")
    before = outputs(network, weights, images, pooled.inputs[0])
    assert before.shape == (2, 4, 3, 8)
    found = outputs(network, weights, images, pooled.name)
    np.testing.assert_allclose(found[:, 0, 0], before.mean((1, 2)), rtol=1e-5)


def test_what_an_architecture_says_of_its_hidden_layers():
    assert SPACE.hidden(SPACE.start()) == {0: 5}
    assert SPACE.key(with_units(5, 7, 0)) == SPACE.key(with_units(0, 5, 7))
    assert SPACE.key(with_units(5, 7, 0)) != SPACE.key(with_units(7, 5, 0))
    chain = SPACE.as_chain(with_units(5, 0, 7)).layers
    assert chain[-3:] == (("dense", (5,)), ("dense", (7,)), ("classifier", ()))
    convolutions = Plain(
        slots=4, kernels=(1, 3), filters=(4, 8), pool_after=(2,), hidden=0, growth=GrowthSettings()
    )
    assert SPACE.size == convolutions.size * 3**3


@pytest.mark.parametrize(
    "space, hidden", [(SPACE, {0: 7, 1: 7, 2: 7}), (SKIPS, {0: 8, 1: 8})], ids=["plain", "skips"]
)
def test_growing_mutations_preserve_until_nothing_can_grow(space, hidden):
    rng, parent = np.random.default_rng(0), space.start()
    network = describe(space, parent, SKELETON)
    weights = random_weights(network, rng)
    images = rng.random((2, 8, 6, 3)).astype(np.float32)
    expected = outputs(network, weights, images)
    while (child := space.mutate(parent, rng)) != parent:
        new = describe(space, child, SKELETON)
        weights, same = inherit_weights(network, weights, new, rng)
        assert same, (space.decode(parent), space.decode(child))
        parent, network = child, new
    assert space.hidden(parent) == hidden
    assert all(space.slot(parent, i).filters == 8 for i in range(4))
    assert [bool(space.slot(parent, i).skip) for i in range(4)] == [False, *[space is SKIPS] * 3]
    np.testing.assert_allclose(outputs(network, weights, images), expected, atol=1e-5)


def test_a_third_of_the_growth_each_is_deeper_wider_and_a_skip():
    """Auto-Keras, whatever there is to choose from: here 5 ways deeper, 3 wider, 2 skips."""
    parent, rng = SKIPS.start(), np.random.default_rng(0)
    counts = {"deeper": 0, "wider": 0, "skip": 0}
    for _ in range(3000):
        old, new = SKIPS.decode(parent), SKIPS.decode(SKIPS.mutate(parent, rng))
        name = next(name for name in old if old[name] != new[name])
        part = name.split("/")[-1]
        wider = part == "filters" or (part == "units" and old[name])
        counts["skip" if part == "skip" else "wider" if wider else "deeper"] += 1
        if wider:
            assert new[name] == 2 * old[name]
    assert max(abs(n - 1000) for n in counts.values()) < 5 * (3000 * 2 / 9) ** 0.5  # 5 sd


def test_a_chain_has_the_skips_as_well():
    chosen = SKIPS.decode(SKIPS.start()) | {"slot2/skip": ("concat", 0)}
    chain = SKIPS.as_chain(SKIPS.encode(chosen))
    assert chain.layers == (
        ("conv", (4, 3, 1)), ("max_pool", (2, 2)), ("conv", (4, 3, 1)), ("dense", (4,)),
        ("classifier", ()),
    )  # fmt: skip
    assert chain.skips == ((1, 3, "concat"),)


@pytest.mark.parametrize("measured", [False, True], ids=["inference", "with_moments"])
@pytest.mark.parametrize(
    "parent, child",
    [
        ((5, 0, 0), (7, 0, 0)),
        ((5, 0, 0), (5, 0, 5)),
        ((5, 0, 0), (5, 7, 7)),
        ((0, 5, 0), (0, 7, 7)),
        ((5, 0, 7), (7, 7, 7)),
    ],
    ids=str,
)
def test_wider_and_more_hidden_layers_preserve(parent, child, measured):
    rng = RNG(0)
    images = rng.random((4, 8, 6, 3)).astype(np.float32)
    old, new = (describe(SPACE, with_units(*units), SKELETON) for units in (parent, child))
    weights = random_weights(old, rng)

    def of_images(network, known, name):
        return moments(network, known, images, name)

    carried, same = inherit_weights(old, weights, new, rng, moments=of_images if measured else None)
    assert same
    expected = outputs(old, weights, images)
    np.testing.assert_allclose(outputs(new, carried, images), expected, atol=1e-5)


def test_a_hidden_layer_in_front_of_all_others_inherits_nothing():
    """Nor does its normalization, though it has as many units as there are filters to read."""
    space = Plain(
        slots=1, filters=(8,), pool_after=(), hidden=2, units=(8,), growth=GrowthSettings()
    )
    start, rng = space.decode(space.start()), RNG(0)
    old, new = (
        describe(space, space.encode(start | {"hidden0/units": n, "hidden1/units": 8}), SKELETON)
        for n in (0, 8)
    )
    carried, same = inherit_weights(old, random_weights(old, rng), new, rng)
    assert not same and "hidden1_bn/gamma" in carried
    assert not [name for name in carried if name.startswith("hidden0")]


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"hidden": -1}, "space.hidden must be at least 0, got -1; set space.hidden=1"),
        ({"units": (8, 8)}, r"space.units must be different whole numbers from 1, got \[8, 8\]"),
        (
            {"growth": GrowthSettings(start_units=(9,))},
            r"space.growth.start_units must be at most space.hidden=3 of space.units",
        ),
        ({"conv_dropout": 1}, r"space.conv_dropout must be in \[0, 1\), got 1"),
        ({"hidden": 0}, r"space.hidden=0 of space.units=\[64, 128, 256\], got \[64\]"),
    ],
)
def test_wrong_settings_are_told(wrong, told):
    with pytest.raises(ConfigError, match=told):
        Plain(**wrong)


def test_dropout_stands_behind_every_convolution_but_the_first():
    """EAS' code, models/convnet.py:68-75. Growth preserves what is computed, as without it."""
    settings = {"slots": 4, "kernels": (3,), "filters": (4, 8), "pool_after": (2,), "hidden": 1}
    growth = GrowthSettings(only_grow=True, start_units=(5,), start_filters=[[4], [4]])
    space = Plain(**settings, units=(5, 7), growth=growth, conv_dropout=0.2)
    start, rng = space.start(), RNG(0)
    layers = describe(space, start, SKELETON).layers
    kinds = [layer.kind for layer in layers if layer.kind in ("conv", "dropout", "dense")]
    # The last one is that before the logits, of the skeleton's rate.
    assert kinds == ["conv", "conv", "dropout", "dense", "dropout", "dense"]
    assert [layer["rate"] for layer in layers if layer.kind == "dropout"] == [0.2, 0.0]
    parent, images = start, rng.normal(size=(2, 8, 6, 3)).astype(np.float32)
    while (child := space.mutate(parent, rng)) != parent:
        old, new = (describe(space, arch, SKELETON) for arch in (parent, child))
        weights = random_weights(old, rng)
        carried, same = inherit_weights(old, weights, new, rng)
        assert same
        np.testing.assert_allclose(
            outputs(new, carried, images), outputs(old, weights, images), rtol=1e-4, atol=1e-4
        )
        parent = child
