"""The space of Real et al. 2017: the first individual, the eleven mutations, skips that are
identities."""

from collections import Counter

import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.ops.inference import outputs
from nas.ops.recorder import describe
from nas.search_spaces.papers.growing.large_scale_evolution import (
    BN_RELU,
    CONVOLUTION,
    KINDS,
    LINEAR,
    ONE_TO_ONE,
    RESET,
    Edge,
    LargeScaleEvolution,
)

RNG = np.random.default_rng
CIFAR = ImageSkeleton(image_shape=(32, 32, 3), classes=10)
SPACE = LargeScaleEvolution(slots=6, filled=0.0)
PLAIN = {"height": 3, "width": 3, "factor": 1.0, "stride": 1, "vertex": LINEAR, "skip": None}


def encoded(space, *slots):
    """The architecture with these slots: None, or a dictionary of what differs from PLAIN."""
    chosen = {decision.name: decision.choices[0] for decision in space.decisions}
    chosen["learning_rate"] = space.learning_rate(space.start())
    for i, slot in enumerate(slots):
        if slot is not None:
            values = PLAIN | {"edge": CONVOLUTION} | slot
            if values["edge"] == ONE_TO_ONE:
                values = {name: values[name] for name in ("edge", "vertex", "skip")}
            chosen |= {f"slot{i}/{name}": value for name, value in values.items()}
    return space.encode(chosen)


def children(arch, count, space=SPACE):
    rng = RNG(0)
    return [space.mutate_or_reset(arch, rng) for _ in range(count)]


def test_the_first_individual_is_a_linear_layer_of_pooled_channels():
    arch = SPACE.sample(RNG(0))
    assert arch == SPACE.start() and SPACE.learning_rate(arch) == 0.1
    kinds = [layer.kind for layer in describe(SPACE, arch, CIFAR).layers]
    assert kinds == ["image", "classifier"]  # the classifier pools globally
    assert SPACE.cost(arch, CIFAR).parameters == 3 * 10 + 10
    # It sees nothing but the means: an image and its pixels in another order are one to it.
    skeleton = ImageSkeleton(image_shape=(4, 4, 2), classes=3)
    images = RNG(0).standard_normal((2, 16, 2)).astype(np.float32)
    weights = {"logits/kernel": np.ones((2, 3), np.float32), "logits/bias": np.zeros(3, np.float32)}
    moved = images[:, RNG(1).permutation(16)]
    both = [
        outputs(describe(SPACE, arch, skeleton), weights, x.reshape(2, 4, 4, 2))
        for x in (images, moved)
    ]
    np.testing.assert_allclose(both[0], both[1], atol=1e-6)


def test_there_are_eleven_mutations_and_five_of_them_apply_to_the_first_individual():
    """Each has the same probability: 4,000 draws, four deviations of 0.0063."""
    assert len(KINDS) == len(set(KINDS)) == 11
    start = SPACE.start()
    assert set(SPACE.mutations(start)) == {
        "alter learning rate", "identity", RESET, "insert convolution", "insert one-to-one",
    }  # fmt: skip
    found = Counter()
    for child, reset in children(start, 4000):
        edges = [e.kind for i in range(6) if (e := SPACE.edge(child, i))]
        if reset or child == start:
            found["reset" if reset else "identity"] += 1
            assert child == start
        else:
            found[edges[0] if edges else "rate"] += 1
    assert set(found) == {"reset", "identity", "rate", CONVOLUTION, ONE_TO_ONE}
    assert all(abs(n / 4000 - 1 / 5) < 4 * 0.0063 for n in found.values())


def test_all_eleven_apply_to_a_network_with_a_skip_and_space():
    arch = encoded(SPACE, {}, {}, {"skip": 0}, {"edge": ONE_TO_ONE})
    assert set(SPACE.mutations(arch)) == set(KINDS)
    every = [SPACE.mutate(arch, RNG(seed)) for seed in range(300)]
    assert arch in every  # identity
    assert all(SPACE.check(child) is None for child in every)


def test_an_inserted_convolution_is_3x3_with_stride_1_or_2_and_its_inputs_channels():
    """Stride and vertex are drawn at random: 1,000 draws, four deviations of 0.016."""
    inserted = [
        edge
        for child, _ in children(SPACE.start(), 6000)
        if (edge := next(filter(None, (SPACE.edge(child, i) for i in range(6))), None))
        and edge.kind == CONVOLUTION
    ][:1000]
    assert len(inserted) == 1000
    assert {(e.height, e.width, e.factor, e.skip) for e in inserted} == {(3, 3, 1.0, None)}
    assert {e.stride for e in inserted} == {1, 2} and {e.vertex for e in inserted} == {
        LINEAR, BN_RELU,
    }  # fmt: skip
    assert abs(np.mean([e.stride == 2 for e in inserted]) - 0.5) < 4 * 0.016
    assert abs(np.mean([e.vertex == LINEAR for e in inserted]) - 0.5) < 4 * 0.016


def test_numbers_change_by_a_factor_within_a_half_and_two():
    """The learning rate by 2^u, u uniform in -1 .. 1 (section S1): 16 values of u, without 0."""
    start, seen = SPACE.start(), Counter()
    for _ in range(40):
        for at, (choice,) in SPACE.mutations(start)["alter learning rate"][0]:
            ratio = SPACE.decisions[at].choices[choice] / 0.1
            seen[round(8 * np.log2(ratio))] += 1
    assert seen == {k: 40 for k in range(-8, 9) if k}

    arch = encoded(SPACE, {"height": 5, "factor": 2.0, "stride": 2})
    mutations = SPACE.mutations(arch)
    (channels,) = mutations["alter number of channels"]
    factors = [SPACE.decisions[at].choices[new] for at, (new,) in channels]
    assert min(factors) == 1.0 and max(factors) == 4.0 and 2.0 not in factors
    sizes = [{SPACE.decisions[at].choices[c] for at, (c,) in p} for p in mutations["filter size"]]
    assert sizes == [{3, 7, 9}, {5}]  # odd and within a factor of two of 5, and of 3
    (strides,) = mutations["alter stride"]
    assert {SPACE.decisions[at].choices[c] for at, (c,) in strides} == {1, 4}


def test_skips_join_vertices_that_no_edge_joins_and_leave_with_their_beginning():
    arch = encoded(SPACE, {}, None, {}, {}, {"skip": 0})
    pairs = {
        (int(SPACE.decisions[at].name[4]), SPACE.decisions[at].choices[new])
        for place in SPACE.mutations(arch)["add skip"]
        for at, (new,) in place
    }
    assert pairs == {(3, 0)}  # 2 follows 0 and 3 follows 2; 4 has a skip
    ((at, new),) = SPACE.mutations(arch)["remove convolution"][0]
    assert SPACE.decisions[at].name == "slot0/edge" and not any(new)
    removed = next(
        child
        for seed in range(500)
        if SPACE.edge(child := SPACE.mutate(arch, RNG(seed)), 0) is None
    )
    assert SPACE.edge(removed, 4) == Edge(CONVOLUTION, 3, 3, 1.0, 1, LINEAR, None)


def test_convolutions_have_as_many_channels_as_their_input_times_a_factor():
    arch = encoded(SPACE, {"factor": 4.0}, {"factor": 0.5, "vertex": BN_RELU}, {"factor": 4.0})
    widths = [layer.width for layer in describe(SPACE, arch, CIFAR).layers if layer.kind == "conv"]
    assert widths == [12, 6, 24]
    narrow = LargeScaleEvolution(slots=6, max_filters=10)
    widths = [layer.width for layer in describe(narrow, arch, CIFAR).layers if layer.kind == "conv"]
    assert widths == [10, 5, 10]
    weights = 9 * (3 * 12 + 12 * 6 + 6 * 24) + 2 * 6 + 24 * 10 + 10  # no biases but the last
    assert SPACE.cost(arch, CIFAR).parameters == weights


@pytest.mark.parametrize("factor, kept", [(0.5, [0]), (4.0, [0, 1])])
def test_a_skip_is_the_identity_at_every_second_pixel_cut_or_filled_with_zeros(factor, kept):
    skeleton = ImageSkeleton(image_shape=(5, 4, 2), classes=8)
    arch = encoded(
        SPACE, {"edge": ONE_TO_ONE}, {"stride": 2, "factor": factor, "skip": 0}
    )  # fmt: skip
    network = describe(SPACE, arch, skeleton)
    images = RNG(0).standard_normal((3, 5, 4, 2)).astype(np.float32)
    channels = round(2 * factor)
    weights = {
        "slot1_conv/kernel": np.zeros((3, 3, 2, channels), np.float32),
        "logits/kernel": np.eye(channels, 8, dtype=np.float32),
        "logits/bias": np.zeros(8, np.float32),
    }
    expected = np.zeros((3, 8))
    expected[:, kept] = images[:, ::2, ::2, kept].mean((1, 2))
    np.testing.assert_allclose(outputs(network, weights, images), expected, atol=1e-6)


def test_empty_slots_change_nothing_and_the_size_is_counted():
    one, other = (
        encoded(SPACE, None, {}, {}, {"skip": 1}),
        encoded(SPACE, {}, {}, None, {"skip": 0}),
    )
    assert SPACE.key(one) == SPACE.key(other) != SPACE.key(SPACE.start())
    small = LargeScaleEvolution(slots=2, sizes=(3,), strides=(1,), octaves=(0, 1))
    # 9 rates; a filled slot: 33 factors or one-to-one, each with 2 vertices; perhaps a skip.
    assert small.size == 9 * (1 + 2 * 68 + 68 * 68 * 2)


@pytest.mark.parametrize(
    "settings, told",
    [
        ({"slots": 0}, "space.slots must be at least 1, got 0"),
        ({"max_filters": 0}, "space.max_filters must be at least 1, got 0"),
        (
            {"sizes": [1, 2]},
            r"space.sizes must be rising odd numbers with 3 among them, got \[1, 2",
        ),
        ({"strides": [1, 3]}, r"space.strides must be the powers of two from 1 on, got \[1, 3\]"),
        ({"learning_rate": 0}, "space.learning_rate must be positive, got 0"),
        ({"octaves": [-1, 0]}, r"space.octaves must be a number .* from 0 on, got \[-1, 0\]"),
        ({"filled": 2}, r"space.filled must be in \[0, 1\], got 2"),
    ],
)
def test_wrong_settings_are_told(settings, told):
    with pytest.raises(ConfigError, match=told):
        LargeScaleEvolution(**settings)
