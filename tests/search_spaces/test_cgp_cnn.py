"""CGP-CNN's space: the gene table counted, a grid drawn by hand, sizes and channels joined."""

import math

import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.ops.count import CountOps
from nas.ops.keras import KerasOps
from nas.search_spaces.papers.cgp_cnn.space import CGPCNN

SPACE = CGPCNN()
FREE = {"min_active": 1, "max_active": 50}
# One row of five columns: 0 is the image, 1 to 5 the nodes, 6 the output.
CHAIN = CGPCNN(rows=1, columns=5, levels_back=6, filters=(8, 16), kernels=(3,), **FREE)
SMALL = ImageSkeleton(image_shape=(8, 8, 1), classes=10, channels=8, width=0.25)
FULL = ImageSkeleton(image_shape=(8, 8, 1), classes=10)


def chain(*rows, space=CHAIN):
    """An architecture by the functions and connections of its nodes; the last row is the output."""
    names = [str(function) for function in space.functions]
    table = [(names.index(name), a, b) for name, a, b in rows[:-1]]
    return space.from_genes([*table, (0, *rows[-1])])


# 1: conv of the image, 2: pooled, 3: sum of both, 4: idle, 5: concatenation of 3 and the image.
ROWS = [
    ("conv8_3", 0, 0),
    ("max_pool", 1, 0),
    ("sum", 2, 1),
    ("avg_pool", 3, 0),
    ("concat", 3, 0),
    (5, 0),
]
BY_HAND = chain(*ROWS)


def test_the_table_has_three_genes_for_each_of_150_nodes_and_the_output():
    arch = SPACE.sample(np.random.default_rng(0))
    assert len(arch) == (150 + 1) * 3
    table = SPACE.genes(arch)
    assert table.shape == (150 + 1, 3)
    assert SPACE.from_genes(table) == arch
    assert SPACE.from_genes(table.flatten()) == arch


def test_the_functions_are_those_of_the_code_in_its_order():
    blocks = [f"{{}}{f}_{k}" for f in (32, 64, 128) for k in (3, 5)]
    others = ["max_pool", "avg_pool", "concat", "sum"]
    for kind in ("conv", "res"):
        expected = [block.format(kind) for block in blocks] + others
        assert [str(f) for f in CGPCNN(blocks=kind).functions] == expected
    assert [f.inputs for f in SPACE.functions] == [1] * 8 + [2] * 2


def test_connections_lead_to_the_ten_columns_before_and_to_the_image_from_the_first_ten():
    for decision in SPACE.decisions:
        if "input" not in decision.name:
            continue
        column = decision.node // 5
        ours = {(source - 1) // 5 for source in decision.choices if source}
        assert ours == set(range(max(0, column - 10), column))
        assert (0 in decision.choices) == (column < 10)
        assert len(decision.choices) == (50 if column >= 10 else 1 + 5 * column)


def test_the_size_is_the_product_of_all_genes():
    sources = math.prod((1 + 5 * c if c < 10 else 50) ** (2 * 5) for c in range(30))
    assert SPACE.size == 10**150 * sources * 50**2


def test_active_nodes_and_genes_by_hand():
    assert CHAIN.active(BY_HAND) == (0, 1, 2, 4, 5)
    # Both connections of the sum and the concatenation, one of the others, none of node 3.
    assert CHAIN.active_genes(BY_HAND) == {0, 1, 3, 4, 6, 7, 8, 12, 13, 14, 15, 16}


def test_samples_and_mutations_have_10_to_50_active_nodes():
    rng = np.random.default_rng(0)
    for _ in range(50):
        arch = SPACE.sample(rng)
        for _ in range(5):
            assert 10 <= len(SPACE.active(arch)) <= 50
            arch = SPACE.mutate(arch, rng)


def test_active_nodes_are_a_graph_that_leads_from_the_image_to_the_output():
    rng = np.random.default_rng(1)
    for _ in range(50):
        graph = SPACE.graph(SPACE.sample(rng))
        order = {name: i for i, (name, _, _) in enumerate(graph.nodes)}
        assert all(order[a] < order[b] for a, b in graph.edges)
        assert {a for a, _ in graph.edges} == set(order) - {"output"}
        assert {b for _, b in graph.edges} == set(order) - {"image"}


def test_a_gene_that_is_not_active_changes_no_key_and_no_network():
    rng = np.random.default_rng(2)
    for _ in range(20):
        arch = SPACE.sample(rng)
        active = SPACE.active_genes(arch)
        child = tuple(
            choice if i in active else int(rng.random() * len(decision.choices))
            for i, (choice, decision) in enumerate(zip(arch, SPACE.decisions, strict=True))
        )
        assert child != arch
        assert SPACE.key(child) == SPACE.key(arch)
        assert SPACE.active(child) == SPACE.active(arch)
        assert SPACE.cost(child, SMALL) == SPACE.cost(arch, SMALL)


def test_the_place_in_the_grid_and_the_order_of_a_sum_do_not_matter():
    swapped = [row if row[0] != "sum" else ("sum", 1, 2) for row in ROWS]
    assert CHAIN.key(chain(*swapped)) == CHAIN.key(BY_HAND)
    # The idle node stands second to last: all before it one place further.
    moved = chain(
        ("avg_pool", 0, 0), ("conv8_3", 0, 0), ("max_pool", 2, 0), ("sum", 3, 2), ("concat", 4, 0),
        (5, 0),
    )  # fmt: skip
    assert CHAIN.key(moved) == CHAIN.key(BY_HAND)
    other = [row if row[0] != "concat" else ("concat", 0, 3) for row in ROWS]
    assert CHAIN.key(chain(*other)) != CHAIN.key(BY_HAND)
    other = [row if row[0] != "max_pool" else ("avg_pool", 1, 0) for row in ROWS]
    assert CHAIN.key(chain(*other)) != CHAIN.key(BY_HAND)


def test_the_larger_image_is_pooled_and_a_dense_layer_reads_all_values():
    """8x8x1: conv to 8 channels, 4x4 pooled, their sum 4x4x8, with the image 4x4x9."""
    count = CountOps(FULL.image_shape)
    CHAIN.network(count, BY_HAND, FULL)
    assert count.parameters == (9 * 8 + 2 * 8) + (4 * 4 * 9 * 10 + 10)
    model = CHAIN.build(BY_HAND, FULL)
    assert model.get_layer("logits").kernel.shape == (4 * 4 * 9, 10)
    pools = [layer for layer in model.layers if layer.__class__.__name__ == "MaxPooling2D"]
    assert len(pools) == 3  # node 1, the first input of the sum, the image of the concatenation


@pytest.mark.parametrize("first, second", [("conv8_3", "conv16_3"), ("conv16_3", "conv8_3")])
def test_a_sum_fills_the_channels_that_are_missing_with_zeros(first, second):
    import keras

    arch = chain(
        (first, 0, 0), (second, 0, 0), ("sum", 1, 2), ("conv8_3", 0, 0), ("conv8_3", 0, 0), (3, 0)
    )
    model = CHAIN.build(arch, FULL)
    (add,) = [layer for layer in model.layers if layer.__class__.__name__ == "Add"]
    shorter, longer = add.input
    inside = keras.Model(model.input, [shorter, longer, add.output])
    images = np.random.default_rng(0).random((2, 8, 8, 1), np.float32)
    less, more, total = (np.asarray(x) for x in inside(images))
    assert less.shape == more.shape == (2, 8, 8, 16)
    assert less[..., :8].any() and not less[..., 8:].any()
    assert more[..., 8:].any()
    np.testing.assert_allclose(total, less + more, rtol=1e-6)


def test_pooling_stops_at_one_pixel():
    arch = chain(*[("max_pool", i, 0) for i in range(5)], (5, 0))
    model = CHAIN.build(arch, FULL)  # 8, 4, 2, 1, 1, 1
    assert model.get_layer("logits").kernel.shape == (1, 10)


def test_a_res_block_adds_its_input_to_two_convolutions():
    space = CGPCNN(
        rows=1, columns=2, levels_back=3, blocks="res", filters=(8, 4), kernels=(3,), **FREE
    )
    arch = chain(("res8_3", 0, 0), ("res4_3", 1, 0), (2, 0), space=space)
    convs = [9 * a * b + 2 * b for a, b in ((1, 8), (8, 8), (8, 4), (4, 4))]
    # 4 channels and the 8 of the input: the sum has 8.
    assert space.cost(arch, FULL).parameters == sum(convs) + 64 * 8 * 10 + 10
    kinds = [layer.__class__.__name__ for layer in space.build(arch, FULL).layers]
    assert kinds.count("ReLU") == 4 and kinds.count("Add") == 2


@pytest.mark.parametrize("blocks", ["conv", "res"])
def test_five_random_networks_cost_what_keras_counts(blocks):
    space, rng = CGPCNN(blocks=blocks), np.random.default_rng(0)
    for _ in range(5):
        arch = space.sample(rng)
        model = space.build(arch, SMALL)
        assert model(np.zeros((2, 8, 8, 1), np.float32)).shape == (2, 10)
        counted = sum(math.prod(v.shape) for v in model.trainable_variables)
        assert space.cost(arch, SMALL).parameters == counted


def test_odd_and_flat_images_are_served():
    rng = np.random.default_rng(0)
    for shape in ((28, 28, 1), (7, 5, 3), (4, 1, 1), (1, 1, 2)):
        small = ImageSkeleton(image_shape=shape, classes=3, width=0.05)
        for _ in range(20):
            SPACE.network(CountOps(shape), SPACE.sample(rng), small)
        arch = SPACE.sample(rng)
        ops = KerasOps(shape)
        assert SPACE.network(ops, arch, small).shape == (None, 3)


def test_features_count_the_functions_and_who_feeds_whom():
    (row,) = CHAIN.features([BY_HAND])
    labels = ["image", *map(str, CHAIN.functions), "output"]
    counts = row.reshape(len(labels), len(labels) + 1)
    seen = {name: n for name, n in zip(labels, counts[:, -1], strict=True) if n}
    assert seen == {"conv8_3": 1, "max_pool": 1, "sum": 1, "concat": 1, "output": 1}
    feeds = {
        (labels[a], labels[b]) for a in range(len(labels)) for b in range(len(labels))
        if counts[a, b]
    }  # fmt: skip
    assert feeds == {
        ("image", "conv8_3"), ("conv8_3", "max_pool"), ("max_pool", "sum"), ("conv8_3", "sum"),
        ("sum", "concat"), ("image", "concat"), ("concat", "output"),
    }  # fmt: skip


def test_the_graph_by_hand():
    graph = CHAIN.graph(BY_HAND)
    assert graph.nodes == (
        ("image", "image", "input"),
        ("node0", "conv 3x3, 8", "conv8_3"),
        ("node1", "max pool", "max_pool"),
        ("node2", "sum", "sum"),
        ("node4", "concat", "concat"),
        ("output", "classifier", "classifier"),
    )
    assert set(graph.edges) == {
        ("image", "node0"), ("node0", "node1"), ("node1", "node2"), ("node0", "node2"),
        ("node2", "node4"), ("image", "node4"), ("node4", "output"),
    }  # fmt: skip


def test_limits_that_leave_nothing_to_draw_are_refused():
    space = CGPCNN(rows=1, columns=5, levels_back=1, min_active=1, max_active=6)
    space.max_active = 5  # levels_back 1: all six are always active
    with pytest.raises(ConfigError, match="must leave networks to draw, got none of 10000; set "):
        space.sample(np.random.default_rng(0))


def test_a_connection_that_is_not_open_is_refused():
    table = CHAIN.genes(BY_HAND)
    table[2, 1] = 3
    with pytest.raises(ValueError, match=r"node2/input1 must be one of \[0, 1, 2\], got 3"):
        CHAIN.from_genes(table)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"rows": 0}, "rows must be at least 1, got 0"),
        ({"columns": 0}, "columns must be at least 1, got 0"),
        ({"levels_back": 0}, "levels_back must be at least 1, got 0"),
        ({"min_active": 0}, "min_active and space.max_active must rise, .* got 0 and 50"),
        ({"min_active": 51}, "min_active and .* got 51 and 50"),
        ({"min_active": 1, "max_active": 3}, "min_active and .* at least 4 for the second"),
        ({"rows": 1, "columns": 8}, "min_active and .* at most 9 for the first"),
        ({"blocks": "dense"}, "blocks must be one of conv, res, got dense"),
        ({"filters": ()}, r"filters must be different whole numbers from 1, got \[\]"),
        ({"kernels": (3, 3)}, r"kernels must be different .* got \[3, 3\]"),
    ],
)
def test_wrong_settings_are_refused_saying_where_to_change_them(settings, message):
    with pytest.raises(ConfigError, match="space." + message + ".*; set space."):
        CGPCNN(**settings)
