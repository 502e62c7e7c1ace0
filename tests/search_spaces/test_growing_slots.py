"""The growing space: what its slots mean, its mutations, and what a child inherits."""

import itertools

import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.morphism.inheritance import inherit_weights
from nas.ops.inference import moments, outputs
from nas.ops.recorder import describe
from nas.search_spaces.papers.growing.settings import GrowthSettings
from nas.search_spaces.papers.growing.slots import MorphismSpace, Slot
from tests.helpers.morphism_networks import images, random_weights

RNG = np.random.default_rng
SHAPE = (7, 6, 2)
SKELETON = ImageSkeleton(image_shape=SHAPE, classes=3, width=0.1)
LINEAR = {"pool_after": (), "strides": (1, 2), "filled": 0.0, "head": "flatten"}


def encoded(space, **chosen):
    """The architecture with these decisions, the first choice for all others."""
    values = {d.name: d.choices[0] for d in space.decisions}
    slots = {name.replace("_", "/", name[0] == "s"): value for name, value in chosen.items()}
    return space.encode(values | slots)


def network(space, **chosen):
    return describe(space, encoded(space, **chosen), SKELETON)


def test_slots_are_as_many_as_said_and_empty_ones_ask_nothing():
    space = MorphismSpace(slots=2, kernels=(1, 3), filters=(0, 16), pool_after=())
    # Nothing; one of two slots: 2 kernels x 2 filters; both: 4 x 4 x (no skip, add, concat).
    assert space.size == 1 + 4 + 4 + 4 * 4 * 3
    every = itertools.product(*(range(len(d.choices)) for d in space.decisions))
    valid = [arch for arch in every if is_valid(space, arch)]
    assert len(valid) == space.size
    with_rates = MorphismSpace(slots=2, kernels=(1, 3), filters=(0, 16), pool_after=(),
                               learning_rates=(0.1, 0.2, 0.3))  # fmt: skip
    assert with_rates.size == 3 * space.size
    plain = MorphismSpace(slots=2, kernels=(1,), filters=(0,), pool_after=(), skips=False)
    assert plain.size == 4


def is_valid(space, arch):
    try:
        space.check(arch)
    except ValueError:
        return False
    return True


def test_a_slot_is_convolution_normalization_skip_and_relu():
    space = MorphismSpace(slots=3, strides=(1, 2), pool_after=(2,))
    made = {
        "slot0_kernel": 3, "slot0_filters": 32,
        "slot1_kernel": 5, "slot1_filters": 0, "slot1_stride": 2, "slot1_skip": ("add", 0),
        "slot2_kernel": 1, "slot2_filters": 16, "slot2_skip": ("concat", 0),
    }  # fmt: skip
    arch = encoded(space, **made)
    assert space.slot(arch, 1) == Slot(5, 0, 2, ("add", 0))
    found = describe(space, arch, SKELETON)
    kinds = [layer.kind for layer in found.layers]
    assert kinds == [
        "image", "conv", "batch_norm", "relu",
        "conv", "batch_norm", "conv", "add", "relu", "max_pool",
        "conv", "batch_norm", "max_pool", "concatenate", "conv", "relu", "classifier",
    ]  # fmt: skip
    assert found["slot1_conv"].width == found["slot0_conv"].width == 3  # 32 x width 0.1
    assert found["slot1_skip"]["strides"] == (2, 2)
    assert found["slot2_skip"].width == 2
    assert found.shapes["slot2_conv"] == (2, 2, 2)


def test_the_linear_model_is_what_growth_starts_from():
    space = MorphismSpace(slots=3, **LINEAR)
    start = space.sample(RNG(0))
    assert not any(start)
    assert [layer.kind for layer in describe(space, start, SKELETON).layers] == [
        "image", "dropout", "dense",
    ]  # fmt: skip
    pooled = MorphismSpace(slots=3, pool_after=(), filled=0.0)
    assert describe(pooled, start[:0] + pooled.sample(RNG(0)), SKELETON).output == "logits"


def test_half_of_the_slots_are_filled_at_random():
    space = MorphismSpace(slots=12)
    archs = [space.sample(RNG(seed)) for seed in range(200)]
    filled = [space.slot(arch, i) is not None for arch in archs for i in range(12)]
    assert np.mean(filled) == pytest.approx(0.5, abs=5 * (0.25 / 2400) ** 0.5)  # 5 sd


def test_every_kind_of_change_happens_as_often():
    space = MorphismSpace(slots=4, learning_rates=(0.1, 0.2), strides=(1, 2), pool_after=())
    arch = encoded(space, slot0_kernel=3, slot1_kernel=3, slot1_skip=("add", 0), slot2_kernel=3)
    rng, kinds = RNG(0), []
    for _ in range(2000):
        child = space.mutate(arch, rng)
        space.check(child)
        at = next(i for i in range(len(arch)) if arch[i] != child[i])
        part, old, new = space.decisions[at].name.split("/")[-1], arch[at], child[at]
        added = " added" if not old else " removed" if not new else ""
        kinds.append(part + added * (part in ("kernel", "skip")))
    names, counts = np.unique(kinds, return_counts=True)
    assert set(names) == {
        "learning_rate", "kernel", "kernel added", "kernel removed", "filters", "stride",
        "skip", "skip added", "skip removed",
    }  # fmt: skip
    expected = 2000 / len(names)
    assert np.abs(counts - expected).max() < 5 * expected**0.5  # 5 sd


def test_a_removed_slot_takes_its_skips_along():
    space = MorphismSpace(slots=3, pool_after=())
    arch = encoded(space, slot0_kernel=3, slot1_kernel=3, slot2_kernel=3, slot2_skip=("add", 0))
    rng = RNG(0)
    for _ in range(200):
        child = space.mutate(arch, rng)
        if not space.slot(child, 0):
            assert space.slot(child, 2).skip is None
            return
    raise AssertionError("never removed")


def test_insertion_and_removal_are_a_round_trip():
    space = MorphismSpace(slots=3, pool_after=())
    arch = encoded(space, slot0_kernel=3)
    grown = encoded(space, slot0_kernel=3, slot1_kernel=3)
    rng = RNG(0)
    assert grown in {space.mutate(arch, rng) for _ in range(500)}
    assert arch in {space.mutate(grown, rng) for _ in range(500)}


def test_the_identity_changes_nothing_in_its_share():
    space = MorphismSpace(slots=3, growth=GrowthSettings(identity_share=1.0), pool_after=())
    arch = encoded(space, slot0_kernel=3)
    assert space.mutate(arch, RNG(0)) == arch


def test_equal_networks_have_equal_keys():
    space = MorphismSpace(slots=6, pool_after=(3,))
    first = encoded(space, slot0_kernel=3, slot1_kernel=3, slot1_skip=("add", 0))
    later = encoded(space, slot1_kernel=3, slot2_kernel=3, slot2_skip=("add", 1))
    behind = encoded(space, slot0_kernel=3, slot3_kernel=3, slot3_skip=("add", 0))
    assert space.key(first) == space.key(later)
    assert len({space.key(a) for a in (first, behind, encoded(space, slot0_kernel=3))}) == 3


def test_the_learning_rate_is_a_decision_where_wanted():
    space = MorphismSpace(learning_rates=(0.1, 0.05))
    assert space.learning_rate(encoded(space, learning_rate=0.05)) == 0.05
    assert MorphismSpace().learning_rate(encoded(MorphismSpace())) is None


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"slots": 0}, "space.slots must be at least 1, got 0"),
        ({"kernels": ()}, r"space.kernels must be different whole numbers from 1, got \[\]"),
        ({"filters": (-1,)}, "space.filters must be different whole numbers from 0"),
        ({"strides": (2, 2)}, "space.strides must be different"),
        ({"pool_after": (12,)}, r"space.pool_after must rise within \[1, space.slots=12\)"),
        ({"head": "none"}, "space.head must be one of pool, flatten, got none"),
        ({"learning_rates": (0.1, 0)}, "space.learning_rates must be different and positive"),
        ({"filled": 1.5}, r"space.filled must be in \[0, 1\], got 1.5"),
    ],
)
def test_wrong_settings_are_told(wrong, told):
    with pytest.raises(ConfigError, match=told):
        MorphismSpace(**wrong)


# What a child takes from its parent.


def inherited(space, parent, child, **settings):
    """Both networks' outputs of the same images, and whether carry says they are equal."""
    rng = RNG(1)
    old, new = (describe(space, arch, SKELETON) for arch in (parent, child))
    weights, x = random_weights(old, rng), images(rng, shape=SHAPE)
    carried, same = inherit_weights(old, weights, new, rng, **settings)
    fresh = random_weights(new, rng)
    fits = {k: v for k, v in carried.items() if k in fresh and v.shape == fresh[k].shape}
    return outputs(old, weights, x), outputs(new, fresh | fits, x), same, fits


BASE = {"slot1_kernel": 3, "slot1_filters": 32, "slot3_kernel": 3, "slot4_kernel": 3}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"slot1_filters": 64},
        {"slot3_filters": 64, "slot4_filters": 128},
        {"slot2_kernel": 5},
        {"slot5_kernel": 1},
        {"slot2_kernel": 3, "slot2_filters": 128},
        {"slot3_skip": ("add", 1)},
        {"slot4_skip": ("concat", 1)},
        {"slot2_kernel": 1, "slot4_skip": ("add", 3), "slot1_filters": 128},
    ],
    ids=str,
)
@pytest.mark.parametrize("head", ["pool", "flatten"])
def test_growth_preserves_the_function(change, head):
    space = MorphismSpace(slots=6, pool_after=(2, 4), head=head)
    parent, child = encoded(space, **BASE), encoded(space, **(BASE | change))
    before, after, same, _ = inherited(space, parent, child)
    assert same
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_growth_preserves_what_has_skips_already():
    space = MorphismSpace(slots=6, pool_after=(2, 4))
    base = BASE | {"slot3_skip": ("add", 1), "slot4_skip": ("concat", 3)}
    for change in (
        {"slot1_filters": 64},
        {"slot3_filters": 128},
        {"slot2_kernel": 3},
        {"slot5_kernel": 3, "slot5_skip": None},
    ):
        before, after, same, _ = inherited(
            space, encoded(space, **base), encoded(space, **(base | change))
        )
        assert same, change
        np.testing.assert_allclose(after, before, atol=1e-5)


@pytest.mark.parametrize(
    "change, kept",
    [
        ({"slot4_kernel": 0}, {"slot1_conv/kernel", "slot3_conv/kernel", "logits/kernel"}),
        ({"slot3_kernel": 5}, {"slot1_conv/kernel", "slot3_bn/gamma", "slot4_conv/kernel"}),
        ({"slot3_stride": 2}, {"slot1_conv/kernel", "slot3_conv/kernel", "slot4_conv/kernel"}),
        ({"slot1_filters": 16}, {"logits/bias"}),
    ],
)
def test_what_cannot_be_preserved_keeps_the_weights_of_the_same_shape(change, kept):
    space = MorphismSpace(slots=6, pool_after=(2,), strides=(1, 2))
    parent, child = encoded(space, **BASE), encoded(space, **(BASE | change))
    _, _, same, fits = inherited(space, parent, child)
    assert not same
    assert kept <= set(fits)


def test_the_linear_model_grows_by_its_first_convolutions():
    """Images may be negative, so that a ReLU in front of the logits cannot preserve."""
    space = MorphismSpace(slots=3, **LINEAR)
    start, child = space.sample(RNG(0)), encoded(space, slot1_kernel=3)
    _, _, same, fits = inherited(space, start, child)
    assert not same
    assert set(fits) == {"logits/kernel", "logits/bias"}
    before, after, same, _ = inherited(
        space, child, encoded(space, slot1_kernel=3, slot0_skip=None)
    )
    assert same
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_growing_mutations_always_preserve_until_nothing_can_grow():
    growth = GrowthSettings(only_grow=True)
    space = MorphismSpace(slots=4, filters=(0, 16, 64), pool_after=(2,), growth=growth)
    rng, parent, steps = RNG(0), space.start(), 0
    while (child := space.mutate(parent, rng)) != parent:
        before, after, same, _ = inherited(space, parent, child)
        assert same, (space.decode(parent), space.decode(child))
        np.testing.assert_allclose(after, before, atol=1e-5)
        parent, steps = child, steps + 1
    assert 4 <= steps <= 12  # 4 slots: a layer, more filters, a skip


def test_after_any_mutation_what_is_said_to_be_preserved_is():
    space, preserved = MorphismSpace(slots=6, pool_after=(3,), strides=(1, 2)), []
    for seed in range(60):
        rng = RNG(seed)
        parent = space.sample(rng)
        before, after, same, _ = inherited(
            space,
            parent,
            space.mutate(parent, rng),
            moments=lambda network, weights, name: moments(
                network, weights, images(RNG(0), shape=SHAPE), name
            ),
        )
        preserved.append(same)
        if same:
            np.testing.assert_allclose(after, before, atol=1e-5, err_msg=str(seed))
    assert 10 < sum(preserved) < 50
