"""Tree-structured cells: what they are, their transforms, and what a grown cell inherits."""

import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.morphism.settings import MorphismSettings
from nas.morphism.tree_inheritance import inherit_tree_weights
from nas.ops.inference import moments, outputs
from nas.ops.recorder import describe
from nas.search_spaces.papers.path_level.space import PathLevelSpace
from nas.search_spaces.papers.path_level.trees import POOLS, Branch, Node, key, shares
from tests.helpers.morphism_networks import images, random_weights

RNG = np.random.default_rng
SHAPE = (6, 5, 2)
SKELETON = ImageSkeleton(image_shape=SHAPE, classes=3, cells=1, channels=8)
SPACE = PathLevelSpace(bottleneck=1)
GROWING = PathLevelSpace(bottleneck=1, only_grow=True)
LEAF = Branch("conv_3x3")


def encoded(**chosen):
    """The start with other answers: branch_0_1_edge="conv_1x1", root_merge=("add", 2)."""
    values = SPACE.decode(SPACE.start())
    named = {"/".join(n.removeprefix("branch_").rsplit("_", 1)): v for n, v in chosen.items()}
    return SPACE.encode(values | named)


def inherited(parent, child, **settings):
    """What both compute of the same images, whether that is said to be equal, and the weights."""
    old, new = (describe(SPACE, arch, SKELETON) for arch in (parent, child))
    weights, x = random_weights(old, RNG(1)), images(RNG(2), shape=SHAPE)
    carried, same = inherit_tree_weights(
        SPACE, parent, weights, child, SKELETON, RNG(3), **settings
    )
    fresh = random_weights(new, RNG(4))
    fits = {k: v for k, v in carried.items() if k in fresh and v.shape == fresh[k].shape}
    return outputs(old, weights, x), outputs(new, fresh | fits, x), same, fits


def test_the_trees_are_as_many_as_said():
    # An edge inside is one of 2: a node has 2 ways with one branch, 2^2 averaged, 2^2 concatenated.
    # A branch of the root has one of these 10 nodes or none: 11 + 2 * 11^2.
    small = PathLevelSpace(depth=2, add=(2,), edges=("identity", "conv_1x1"))
    assert small.size == 11 + 2 * 121
    # All of the code's: 7 edges, none, two or three branches averaged, two concatenated.
    leaves = 7 + 7**2 + 7**3 + 7**2
    inner = 7 * (1 + leaves)
    nodes = inner + inner**2 + inner**3 + inner**2
    assert PathLevelSpace().size == (1 + nodes) + 2 * (1 + nodes) ** 2 + (1 + nodes) ** 3


def test_decisions_are_a_tree():
    arch = encoded(
        root_merge=("add", 2), branch_1_expand=True, branch_1_merge=("concat", 2),
        branch_1_0_edge="conv_1x1", branch_1_1_expand=True, branch_1_1_0_edge="max_pool_3x3",
    )  # fmt: skip
    pool = Node("none", (Branch("max_pool_3x3"),))
    inner = Node("concat", (Branch("conv_1x1"), Branch("identity", pool)))
    assert SPACE.tree(arch) == Node("add", (LEAF, Branch("conv_3x3", inner)))
    with pytest.raises(ValueError, match="2/expand.* must be one of .0."):
        encoded(root_merge=("add", 2), branch_2_expand=True)


def test_identities_and_the_order_of_averages_change_no_key():
    pool = Branch("identity", Node("none", (Branch("max_pool_3x3"),)))
    one, two = Node("none", (pool,)), Node("none", (Branch("max_pool_3x3"),))
    cells = [Node("add", (Branch("conv_3x3", n), LEAF)) for n in (one, two)]
    cells.append(Node("add", (LEAF, Branch("conv_3x3", two))))
    assert len({key(cell) for cell in cells}) == 1
    assert key(cells[0]) != key(Node("concat", cells[0].branches))


def test_a_cell_is_convolutions_and_shares_of_channels():
    assert shares(7, 2) == [4, 3]
    arch = encoded(
        root_merge=("concat", 2), branch_0_expand=True, branch_0_merge=("concat", 2),
        branch_0_0_edge="depth_conv_5x5",
    )  # fmt: skip
    network = describe(SPACE, arch, SKELETON)
    names = [n.name for n in network.layers if n.name.startswith("cell0")]
    assert names == [
        "cell0_bottleneck_conv", "cell0_bottleneck_bn", "cell0_0_conv", "cell0_0_bn",
        "cell0_0_0_depthwise", "cell0_0_0_conv", "cell0_0_0_bn", "cell0_1_conv", "cell0_1_bn",
    ]  # fmt: skip
    assert [network[f"cell0_{n}_conv"].width for n in ("0", "0_0", "1")] == [4, 2, 4]
    assert network["cell0_0_0_depthwise"]["kernel"] == (5, 5)
    assert network.shapes["between0_conv"][2] == 12  # half of 16 and 8


# Transforms.


@pytest.mark.parametrize(
    "grown",
    [
        {"root_merge": ("add", 3)},
        {"root_merge": ("concat", 2)},
        {"branch_0_expand": True, "branch_0_merge": ("add", 2)},
        {"branch_0_expand": True, "branch_0_merge": ("concat", 2)},
        {"branch_0_expand": True, "branch_0_0_edge": "depth_conv_7x7"},
        {
            "root_merge": ("concat", 2), "branch_0_expand": True, "branch_0_merge": ("concat", 2),
            "branch_0_1_edge": "conv_1x1", "branch_0_1_expand": True, "branch_1_expand": True,
            "branch_0_1_merge": ("add", 3), "branch_0_1_2_edge": "depth_conv_3x3",
        },
    ],
    ids=["add", "concat", "inner-add", "inner-split", "identity", "all"],
)  # fmt: skip
def test_path_level_transforms_preserve(grown):
    before, after, same, _ = inherited(SPACE.start(), encoded(**grown))
    assert same
    np.testing.assert_allclose(after, before, atol=1e-5)


def test_replication_copies_weights_or_divides_filters():
    _, _, _, add = inherited(SPACE.start(), encoded(root_merge=("add", 3)))
    one, *others = [add[f"cell1_{i}_conv/kernel"] for i in range(3)]
    assert all(np.array_equal(one, other) for other in others)
    _, _, _, parts = inherited(SPACE.start(), encoded(root_merge=("concat", 2)))
    both = np.concatenate([parts[f"cell1_{i}_conv/kernel"] for i in range(2)], -1)
    np.testing.assert_array_equal(both, one)


def test_noise_is_on_copies_and_identities_alone():
    grown = encoded(root_merge=("add", 2), branch_1_expand=True, branch_1_0_edge="conv_1x1")
    plain, noisy = (
        inherited(SPACE.start(), grown, settings=MorphismSettings(wider_noise=n, deeper_noise=n))[3]
        for n in (0.0, 0.01)
    )
    changed = {name for name in plain if not np.array_equal(plain[name], noisy[name])}
    assert changed == {f"cell{c}_1{n}_conv/kernel" for c in range(3) for n in ("", "_0")}


def test_with_moments_new_normalizations_are_the_identity_in_training():
    grown = encoded(branch_0_expand=True, branch_0_merge=("concat", 2), branch_0_1_edge="conv_1x1")
    x = images(RNG(2), shape=SHAPE)
    measured = lambda network, known, name: moments(network, known, x, name)  # noqa: E731
    before, after, same, new = inherited(SPACE.start(), grown, moments=measured)
    assert same
    np.testing.assert_allclose(after, before, atol=1e-5)
    mean = new["cell0_0_1_bn/moving_mean"]
    np.testing.assert_array_equal(new["cell0_0_1_bn/beta"], mean)
    assert mean.shape == (4,) and mean.max() > 0.01


@pytest.mark.parametrize(
    "parent, child, kept",
    [
        ({}, {"branch_0_expand": True, "branch_0_0_edge": "max_pool_3x3"}, "cell0_0_conv/kernel"),
        ({"root_merge": ("add", 2)}, {"root_merge": ("concat", 2)}, "cell2_bottleneck_conv/kernel"),
        ({"root_merge": ("add", 2)}, {}, "cell0_0_conv/kernel"),
        (
            {"branch_0_expand": True, "branch_0_0_edge": "conv_1x1"},
            {"branch_0_expand": True, "branch_0_0_edge": "depth_conv_3x3"},
            "logits/kernel",
        ),
    ],
    ids=["pool", "merge", "removed", "edge"],
)
def test_what_cannot_be_preserved_keeps_what_it_can(parent, child, kept):
    _, _, same, fits = inherited(encoded(**parent), encoded(**child))
    assert not same and kept in fits


def test_growing_mutations_preserve_and_reach_every_transform():
    rng, parent, grown = RNG(0), GROWING.start(), set()
    for _ in range(8):
        child = GROWING.mutate(parent, rng)
        GROWING.check(child)
        before, after, same, _ = inherited(parent, child)
        assert same, (GROWING.tree(parent), GROWING.tree(child))
        np.testing.assert_allclose(after, before, atol=1e-5)
        at = next(i for i in range(len(child)) if child[i] != parent[i])
        grown.add(GROWING.decisions[at].name.split("/")[1])
        parent = child
    assert grown == {"merge", "expand", "edge"}
    assert not any(edge in repr(GROWING.tree(parent)) for edge in POOLS)


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize("merge", [("add", 3), ("concat", 2)])
def test_grouped_convolutions_are_copied_or_their_groups_divided(groups, merge):
    """As PathLevel-EAS (models/layers.py, ConvLayer.split): a branch gets its share of groups."""
    space = PathLevelSpace(depth=1, bottleneck=1, groups=groups)
    child = space.encode({**space.decode(space.start()), "root/merge": merge})
    old, new = (describe(space, arch, SKELETON) for arch in (space.start(), child))
    weights, x = random_weights(old, RNG(1)), images(RNG(2), shape=SHAPE)
    # A group reads its share of the 8 channels and writes its share of the 8 filters.
    assert weights["cell0_0_conv/kernel"].shape == (3, 3, 8 // groups, 8 // groups)
    carried, same = inherit_tree_weights(space, space.start(), weights, child, SKELETON, RNG(3))
    assert same
    np.testing.assert_allclose(outputs(new, carried, x), outputs(old, weights, x), atol=1e-5)


def test_after_any_mutation_what_is_said_to_be_preserved_is():
    preserved = []
    for seed in range(12):
        rng = RNG(seed)
        parent = SPACE.start() if seed % 2 else SPACE.sample(rng)
        before, after, same, _ = inherited(parent, SPACE.mutate(parent, rng))
        preserved.append(same)
        if same:
            np.testing.assert_allclose(after, before, atol=1e-5, err_msg=str(seed))
    assert 0 < sum(preserved) < 12


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"depth": 4}, r"space.depth must be in \[1, 3\], got 4"),
        ({"add": (1,)}, r"space.add must be different numbers of branches in \[2, 9\]"),
        ({"concat": (3,)}, r"space.concat must be different numbers of branches in \[2, 2\]"),
        ({"groups": 3}, r"space.groups must be 1 or a multiple of space.concat=\[2\], got 3"),
        ({"edges": ("conv_1x1",)}, "space.edges must be different ones of identity, .* first"),
    ],
)
def test_wrong_settings_are_told(wrong, told):
    with pytest.raises(ConfigError, match=told):
        PathLevelSpace(**wrong)
