"""Hierarchical representations: entries counted, chains of identities, motifs that are shared."""

import collections
import itertools
import math

import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.ops.count import CountOps
from nas.search_spaces.papers.hierarchical.motifs import Motif, count
from nas.search_spaces.papers.hierarchical.space import OPERATIONS, Hierarchical

SPACE = Hierarchical()
FLAT = Hierarchical(nodes=(11,), motifs=(1,))
TINY = Hierarchical(nodes=(3, 2), motifs=(2, 1), mutations=20)
SMALL = ImageSkeleton(image_shape=(8, 8, 1), classes=10, channels=8, width=0.25)
both = pytest.mark.parametrize("space", [SPACE, FLAT], ids=["hierarchical", "flat"])


def tiny(**entries):
    """An architecture of TINY by its entries; the others are none. motif0_02="conv1x1"."""
    chosen = {decision.name: "none" for decision in TINY.decisions}
    for name, value in entries.items():
        motif, (source, target) = name.split("_")
        chosen[f"{motif}/edge{source}->{target}"] = value
    return TINY.encode(chosen)


def used(space, arch):
    """How often each operation is in the cell, by a count of what the network asks for."""
    asked = collections.Counter()

    class Asked(CountOps):
        def conv(self, x, *args, **settings):
            asked["conv"] += 1
            return super().conv(x, *args, **settings)

        def max_pool(self, x, *args, **settings):
            asked["max_pool"] += 1
            return super().max_pool(x, *args, **settings)

    space.network(Asked((8, 8, 1)), arch, SMALL)
    return asked


def test_four_nodes_have_6_entries_five_10_and_eleven_55():
    assert len(SPACE.decisions) == 6 * 6 + 10 == 46
    entries = collections.Counter(d.name.split("/")[0] for d in SPACE.decisions)
    assert entries == {f"motif{m}": 6 for m in range(6)} | {"cell": 10}
    assert len(FLAT.decisions) == 55


def test_entries_are_none_or_what_stands_one_level_below():
    assert SPACE.decisions[0].choices == ("none", *OPERATIONS)
    assert SPACE.decisions[-1].choices == ("none", *(f"motif{m}" for m in range(6)))
    assert SPACE.decisions[-1].anchors == (None, 0, 1, 2, 3, 4, 5)
    assert FLAT.decisions[-1].choices == ("none", *OPERATIONS)


@pytest.mark.parametrize("nodes, choices", [(2, 3), (3, 2), (3, 7), (4, 3)])
def test_motifs_are_counted_one_by_one(nodes, choices):
    motif = Motif("m", 2, nodes, 0, tuple(map(str, range(choices))))
    pairs = nodes * (nodes - 1) // 2
    every = itertools.product(range(choices), repeat=pairs)
    assert count(nodes, choices) == sum(motif.joined(list(arch)) for arch in every)


def test_the_size_is_what_is_open():
    def archs(space, arch=()):
        if len(arch) == len(space.decisions):
            return 1
        return sum(archs(space, (*arch, choice)) for choice in space.allowed(arch))

    small = Hierarchical(nodes=(3, 3), motifs=(1, 1))
    assert small.size == archs(small) == count(3, 7) * count(3, 2)
    assert SPACE.size == count(4, 7) ** 6 * count(5, 7)
    assert FLAT.size == count(11, 7)


@both
def test_the_trivial_genotype_is_a_chain_of_identities(space):
    arch = space.identity()
    space.check(arch)
    chosen = {name: value for name, value in space.decode(arch).items() if value != "none"}
    for name in chosen:
        source, target = name.split("edge")[1].split("->")
        assert int(target) == int(source) + 1
    assert set(chosen.values()) <= {"identity", "motif0"}
    assert all(all(m.reached(arch)) for level in space.levels for m in level)


def test_the_trivial_cell_is_its_1x1_convolutions():
    """Four times motif0, with a 1x1 convolution behind each; of the flat cell nothing is left."""
    around = 1 + 3  # the stem, and the separable convolution behind each of three cells
    assert used(SPACE, SPACE.identity()) == {"conv": around + 3 * 4}
    assert used(FLAT, FLAT.identity()) == {"conv": around}
    cost = FLAT.cost(FLAT.identity(), SMALL)
    ends = [9 * a + a * b + 2 * b for a, b in ((8, 16), (16, 32), (32, 32))]
    assert cost.parameters == (9 * 8 + 2 * 8) + sum(ends) + 32 * 10 + 10


@both
def test_a_mutation_changes_one_entry(space):
    rng = np.random.default_rng(0)
    for _ in range(20):
        arch = space.sample(rng)
        for _ in range(20):
            child = space.mutate(arch, rng)
            space.check(child)
            assert sum(a != b for a, b in zip(arch, child, strict=True)) == 1
            arch = child


def test_mutations_draw_a_level_first_then_a_motif_then_a_node():
    rng, arch = np.random.default_rng(0), SPACE.sample(np.random.default_rng(1))
    n = 4000
    where = collections.Counter()
    for _ in range(n):
        child = SPACE.mutate(arch, rng)
        (at,) = [i for i in range(len(arch)) if arch[i] != child[i]]
        where[SPACE.decisions[at].name.split("/")[0]] += 1
    # A half are of the cell, give or take those drawn again. Five standard deviations.
    assert abs(where["cell"] - n / 2) < 5 * math.sqrt(n / 4)
    for m in range(6):
        assert abs(where[f"motif{m}"] - n / 12) < 5 * math.sqrt(n / 12)


def test_a_thousand_mutations_leave_little_of_the_chain():
    rng = np.random.default_rng(0)
    archs = np.array([SPACE.sample(rng) for _ in range(100)])
    # Each entry is one of seven, nearly alike: 4,600 of them, six standard deviations.
    for choice in range(7):
        share = (archs == choice).mean()
        assert abs(share - 1 / 7) < 0.01 + 6 * math.sqrt(6 / 49 / archs.size)
    assert Hierarchical(mutations=0).sample(rng) == SPACE.identity()


@both
def test_motifs_keep_the_size_of_images_and_level_2_gives_the_channels_it_was_given(space):
    rng = np.random.default_rng(0)
    for _ in range(50):
        arch = space.sample(rng)
        for motif in [m for level in space.levels for m in level]:
            shape = space._motif(CountOps((8, 8, 3)), arch, (8, 8, 5), motif, 4, "x")
            assert shape[:2] == (8, 8)
            if motif is not space.cell:
                assert shape[2] == 5


def test_a_motif_that_is_changed_changes_every_place_where_it_is_used():
    """The cell leads 0 -> 1 by motif0; a pooling in it is one in each of three cells."""
    before = tiny(motif0_02="identity", motif1_02="conv1x1", cell_01="motif0")
    after = tiny(motif0_02="max_pool3x3", motif1_02="conv1x1", cell_01="motif0")
    assert used(TINY, before)["max_pool"] == 0
    assert used(TINY, after)["max_pool"] == 3
    # With one level more: two uses in each cell.
    space = Hierarchical(nodes=(2, 3), motifs=(1, 1))
    chosen = {
        "motif0/edge0->1": "max_pool3x3",
        "cell/edge0->1": "motif0",
        "cell/edge1->2": "motif0",
    }
    arch = space.encode({"cell/edge0->2": "none"} | chosen)
    assert used(space, arch)["max_pool"] == 6


def test_a_motif_that_is_not_used_and_a_node_that_leads_nowhere_do_not_matter():
    arch = tiny(motif0_02="conv1x1", motif1_02="conv1x1", cell_01="motif0")
    other = tiny(motif0_02="conv1x1", motif1_02="identity", cell_01="motif0")
    dead = tiny(motif0_02="conv1x1", motif0_01="max_pool3x3", motif1_02="conv1x1", cell_01="motif0")
    fed = tiny(motif0_02="conv1x1", motif0_12="max_pool3x3", motif1_02="conv1x1", cell_01="motif0")
    for same in (other, dead, fed):
        assert TINY.key(same) == TINY.key(arch)
        assert TINY.cost(same, SMALL) == TINY.cost(arch, SMALL)
    assert TINY.key(tiny(motif0_02="depthwise3x3", motif1_02="identity", cell_01="motif0")) != (
        TINY.key(arch)
    )


def test_the_numbers_of_motifs_and_identities_do_not_matter():
    arch = tiny(motif0_02="conv1x1", motif1_02="identity", cell_01="motif0")
    swapped = tiny(motif0_02="identity", motif1_02="conv1x1", cell_01="motif1")
    chain = tiny(motif0_01="identity", motif0_12="conv1x1", motif1_02="identity", cell_01="motif0")
    assert TINY.key(arch) == TINY.key(swapped) == TINY.key(chain)
    twice = tiny(
        motif0_02="conv1x1", motif0_01="identity", motif0_12="identity", motif1_02="identity",
        cell_01="motif0",
    )  # fmt: skip
    assert TINY.key(twice) != TINY.key(arch)  # concatenated with the image


def test_an_entry_that_would_leave_the_output_without_an_input_is_closed():
    names = [decision.name for decision in TINY.decisions[:3]]
    assert names == ["motif0/edge0->1", "motif0/edge0->2", "motif0/edge1->2"]
    assert TINY.allowed(()) == tuple(range(7))
    assert TINY.allowed((0,)) == tuple(range(1, 7))  # node 1 is not reached
    assert TINY.allowed((1,)) == tuple(range(7))
    assert TINY.allowed((1, 0)) == tuple(range(1, 7))
    assert TINY.allowed((1, 3)) == tuple(range(7))
    with pytest.raises(ValueError, match=r"decision 2 \(motif0/edge1->2\) must be one of \[1, "):
        TINY.check((1, 0, 0, *TINY.identity()[3:]))


@pytest.mark.slow  # each has some 300 layers
@both
def test_five_random_networks_cost_what_keras_counts(space):
    rng = np.random.default_rng(0)
    for _ in range(5):
        arch = space.sample(rng)
        model = space.build(arch, SMALL)
        assert model(np.zeros((2, 8, 8, 1), np.float32)).shape == (2, 10)
        counted = sum(math.prod(v.shape) for v in model.trainable_variables)
        assert space.cost(arch, SMALL).parameters == counted


def test_every_cell_has_a_separable_convolution_behind_it():
    large = ImageSkeleton(image_shape=(32, 32, 3), classes=10, cells=2, channels=64)
    model = SPACE.build(SPACE.identity(), large)
    ends = [layer for layer in model.layers if layer.name.endswith("_end_depthwise")]
    assert [layer.strides[0] for layer in ends] == [1, 2, 1, 2, 1, 1]
    convs = [model.get_layer(layer.name.replace("depthwise", "conv")) for layer in ends]
    assert [layer.filters for layer in convs] == [64, 128, 128, 256, 256, 256]


def test_three_levels_of_motifs_can_stand_above_the_operations():
    space, rng = Hierarchical(nodes=(3, 3, 3), motifs=(2, 2, 1)), np.random.default_rng(0)
    names = list(dict.fromkeys(d.name.split("/")[0] for d in space.decisions))
    assert names == ["motif0", "motif1", "motif2", "motif3", "cell"]
    assert space.decisions[-1].choices == ("none", "motif2", "motif3")
    for _ in range(20):
        arch = space.sample(rng)
        space.check(arch)
        assert space.cost(arch, SMALL).parameters > 0
        assert space.used(arch)[-1] is space.cell


def test_the_graph_has_the_motifs_that_are_used():
    graph = TINY.graph(tiny(motif0_02="conv1x1", motif1_02="identity", cell_01="motif1"))
    assert graph.nodes == (
        ("motif1/0", "motif1: input", "input"),
        ("motif1/0->2", "identity", "identity"),
        ("motif1/2", "motif1: output", "output"),
        ("cell/0", "cell: input", "input"),
        ("cell/0->1", "motif1", "motif1"),
        ("cell/1", "cell: output", "output"),
    )
    assert graph.edges == (
        ("motif1/0", "motif1/0->2"),
        ("motif1/0->2", "motif1/2"),
        ("cell/0", "cell/0->1"),
        ("cell/0->1", "cell/1"),
    )


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"nodes": (4, 1)}, r"nodes must be whole numbers from 2, one a level, got \[4, 1\]"),
        ({"nodes": ()}, r"nodes must be whole numbers from 2, one a level, got \[\]"),
        ({"motifs": (6, 2)}, r"motifs must be .* with 1 as the last, got \[6, 2\]"),
        ({"motifs": (1,)}, r"motifs must be .* each of the 2 levels .* got \[1\]"),
        ({"motifs": (0, 1)}, r"motifs must be .* got \[0, 1\]"),
        ({"mutations": -1}, "mutations must be at least 0, got -1"),
    ],
)
def test_wrong_settings_are_refused_saying_where_to_change_them(settings, message):
    with pytest.raises(ConfigError, match="space." + message + ".*; set space."):
        Hierarchical(**settings)
