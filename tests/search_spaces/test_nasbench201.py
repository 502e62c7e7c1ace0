"""NAS-Bench-201: the published counts, the table's weights, cells that carry nothing."""

import itertools
import os

import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.search_spaces.papers.nasbench201.space import (
    NASBench201,
    from_string,
    live_edges,
    to_string,
    unique_string,
)

SPACE = NASBench201()
CELLS = list(itertools.product(range(5), repeat=6))
NONE, SKIP, CONV_1X1, CONV_3X3, AVG_POOL = range(5)
PAPER = ImageSkeleton(image_shape=(32, 32, 3), classes=10, cells=5, channels=16)
TINY = ImageSkeleton(image_shape=(8, 8, 1), classes=3, cells=2, channels=4)


@pytest.fixture(scope="module")
def table():
    path = os.environ.get("NASBENCH201_NPZ")
    if not path:
        pytest.skip("NASBENCH201_NPZ is not set: it names the table of NAS-Bench-201")
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in ("ops", "arch_str", "cifar10valid_params_M")}


def test_the_space_has_as_many_cells_as_published():
    assert SPACE.size == len(CELLS) == 15_625
    assert len({unique_string(cell, fold_none=False) for cell in CELLS}) == 12_751
    assert len({SPACE.key(cell) for cell in CELLS}) == 6_466


def test_every_string_is_read_back():
    strings = [to_string(cell) for cell in CELLS]
    assert len(set(strings)) == 15_625
    assert [from_string(text) for text in strings] == CELLS
    assert [SPACE.parse(text) for text in strings[::500]] == CELLS[::500]


def test_the_string_of_a_cell_worked_by_hand():
    text = "|nor_conv_3x3~0|+|nor_conv_3x3~0|avg_pool_3x3~1|+|skip_connect~0|none~1|nor_conv_1x1~2|"
    cell = (CONV_3X3, CONV_3X3, AVG_POOL, SKIP, NONE, CONV_1X1)
    assert to_string(cell) == text
    assert from_string(text) == cell
    assert SPACE.decode(cell)["edge1->2"] == "avg_pool_3x3"


@pytest.mark.parametrize(
    "text",
    [
        "|nor_conv_3x3~0|",
        "|skip~0|+|none~0|none~1|+|none~0|none~1|none~2|",
        "|none~0|+|none~1|none~0|+|none~0|none~1|none~2|",
    ],
)
def test_other_strings_are_refused(text):
    with pytest.raises(ConfigError, match=r"a cell must be \|OP~0\|\+.* got \|"):
        SPACE.parse(text)


def test_keys_fold_skips_the_order_of_sums_and_none():
    conv_then_skip = (CONV_3X3, NONE, NONE, NONE, SKIP, NONE)
    conv_alone = (NONE, NONE, NONE, CONV_3X3, NONE, NONE)
    assert SPACE.key(conv_then_skip) == SPACE.key(conv_alone)
    assert unique_string(conv_alone, fold_none=False) != unique_string(
        conv_then_skip, fold_none=False
    )
    assert SPACE.key((CONV_3X3, *[NONE] * 5)) == SPACE.key((NONE,) * 6)


def test_live_edges_lie_on_a_way_from_input_to_output():
    assert live_edges((NONE,) * 6) == ()
    assert live_edges((SKIP,) * 6) == (0, 1, 2, 3, 4, 5)
    assert live_edges((CONV_3X3, NONE, NONE, SKIP, NONE, CONV_3X3)) == (3,)  # 0 unread, 5 unfed
    assert live_edges((SKIP, NONE, SKIP, NONE, NONE, SKIP)) == (0, 2, 5)


def test_parameters_counted_by_hand():
    fixed = 432 + 32 + 14_464 + 57_600 + 128 + 650  # stem, its BN, residual blocks, last BN, dense
    assert SPACE.cost((NONE,) * 6, PAPER).parameters == fixed == 73_306
    conv = sum(9 * c * c + 2 * c for c in (16, 32, 64))
    assert SPACE.cost((CONV_3X3,) * 6, PAPER).parameters == fixed + 5 * 6 * conv == 1_531_546


def test_what_carries_nothing_is_not_built_but_counted_officially():
    dead = (CONV_3X3, NONE, NONE, SKIP, NONE, CONV_1X1)
    assert SPACE.cost(dead, PAPER).parameters == 73_306
    both = sum(10 * c * c + 4 * c for c in (16, 32, 64))
    assert SPACE.official_parameters(dead, PAPER) == 73_306 + 5 * both


@pytest.mark.parametrize("cell", [(NONE,) * 6, (CONV_3X3, AVG_POOL, NONE, NONE, NONE, NONE)])
def test_a_cell_of_zeros_gives_constant_logits_and_can_be_trained(cell):
    import tensorflow as tf

    model = SPACE.build(cell, TINY)
    images = np.random.default_rng(0).normal(size=(5, 8, 8, 1)).astype(np.float32)
    logits = model(images).numpy()
    np.testing.assert_array_equal(logits, np.tile(logits[:1], (5, 1)))
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(images, training=True)))
    assert None not in tape.gradient(loss, model.trainable_variables)


def test_a_cell_of_skips_and_pools_is_the_sum_worked_by_hand():
    """Input x: node1 = x, node2 = x + x, output = x + pool(x) + 2x, as `cell` alone computes it."""
    import keras

    from nas.ops.keras import KerasOps
    from nas.search_spaces.papers.nasbench201.cell import cell as write_cell

    ops = KerasOps((4, 4, 2))
    arch = (SKIP, SKIP, SKIP, SKIP, AVG_POOL, SKIP)
    model = ops.model(write_cell(ops, ops.image(), arch, 2, "cell"))
    x = np.random.default_rng(0).random((1, 4, 4, 2), np.float32)
    pooled = np.zeros_like(x)
    for i, j in itertools.product(range(4), repeat=2):
        pooled[0, i, j] = x[0, max(i - 1, 0) : i + 2, max(j - 1, 0) : j + 2].mean((0, 1))
    np.testing.assert_allclose(model(x), 3 * x + pooled, rtol=1e-5)
    assert isinstance(model, keras.Model)


@pytest.mark.data
def test_weights_of_every_cell_equal_the_table(table):
    """The table counts in millions, edges that carry nothing included."""
    wrong = [
        str(text)
        for ops, text, millions in zip(
            table["ops"][::10], table["arch_str"][::10], table["cifar10valid_params_M"][::10],
            strict=True,
        )
        if SPACE.official_parameters(tuple(ops.tolist()), PAPER) != round(1e6 * float(millions))
    ]  # fmt: skip
    assert wrong == []
    assert [to_string(tuple(ops.tolist())) for ops in table["ops"]] == table["arch_str"].tolist()


@pytest.mark.data
@pytest.mark.slow
def test_weights_of_built_cells_equal_the_table(table):
    """50 random cells without dead convolutions, built: model.count_params, as Keras counts."""
    rng, left = np.random.default_rng(0), 50
    for index in rng.permutation(len(CELLS)).tolist():
        cell = tuple(table["ops"][index].tolist())
        live = live_edges(cell)
        if any(choice in (CONV_1X1, CONV_3X3) and e not in live for e, choice in enumerate(cell)):
            continue
        weights = SPACE.build(cell, PAPER).trainable_weights
        millions = float(table["cifar10valid_params_M"][index])
        assert sum(int(np.prod(w.shape)) for w in weights) == round(1e6 * millions)
        left -= 1
        if not left:
            break
    assert left == 0


def test_a_mutation_changes_one_operation_by_either_rule():
    rng = np.random.default_rng(0)
    for mutation in ("edge", "node"):
        space = NASBench201(mutation=mutation)
        arch = space.sample(rng)
        for _ in range(50):
            child = space.mutate(arch, rng)
            space.check(child)
            assert sum(a != b for a, b in zip(arch, child, strict=True)) == 1


def test_an_unknown_rule_of_mutation_is_refused():
    with pytest.raises(ConfigError, match="mutation must be edge or node, got both; set space"):
        NASBench201(mutation="both")
