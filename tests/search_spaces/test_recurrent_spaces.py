"""Spaces of recurrent cells: published counts, a worked example, published cells."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from nas.core.language_skeleton import LanguageSkeleton
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.search_spaces.papers.highway_cells.space import RecurrentNodes
from nas.search_spaces.papers.zoph2017_rnn.space import ZophRNN
from nas.search_spaces.recurrent.genotypes import names, published
from nas.search_spaces.recurrent.published_cells import NASCell, NodesCell

ENAS = {"nodes": 11, "first": None, "average": "loose"}
SKELETON = LanguageSkeleton(vocabulary=10, units=4, embedding=3, layers=2, init=0.9)


@pytest.fixture(autouse=True)
def seeded():
    """Cells draw their weights from Keras' global generator."""
    keras.utils.set_random_seed(0)


def states(count, seed=0):
    rng = np.random.default_rng(seed)
    return tuple(tf.constant(rng.normal(size=(2, 4)), tf.float32) for _ in range(count))


def inputs(seed=1):
    return tf.constant(np.random.default_rng(seed).normal(size=(2, 3)), tf.float32)


def test_zoph_and_les_count():
    """8^15 trees, 15 x 15 indices, 8 injections: their "about 6 x 10^16" (section 4.2)."""
    assert ZophRNN().size == 8**15 * 15 * 15 * 8 == 63_331_869_759_897_600
    assert ZophRNN(base=2).size == 8**3 * 3 * 3 * 8 == 36_864


def test_the_counts_of_enas_and_darts():
    assert RecurrentNodes(**ENAS).size == 4**12 * math.factorial(11)
    assert RecurrentNodes().size == 4**8 * math.factorial(8)


def test_the_worked_example_of_base_2():
    """Zoph & Le 2017, section 3.4, Figure 5: c_t = (W3 x)(W4 h), and what follows from it."""
    space = ZophRNN(base=2)
    arch = space.encode(
        {
            "node0/combination": "add", "node0/activation": "tanh",
            "node1/combination": "elem_mult", "node1/activation": "relu",
            "node2/combination": "elem_mult", "node2/activation": "sigmoid",
            "inject/combination": "add", "inject/activation": "relu",
            "index/new_memory": 1, "index/old_memory": 0,
        }
    )  # fmt: skip
    cell, x, (h, c) = space.maker(arch)(3, 4, SKELETON), inputs(), states(2)
    w1, w3 = np.split(np.array(cell.kernel), 2, axis=1)
    w2, w4 = np.split(np.array(cell.recurrent_kernel), 2, axis=1)
    memory = (x @ w3) * (h @ w4)
    first = np.maximum(np.tanh(x @ w1 + h @ w2) + c, 0)
    expected = 1 / (1 + np.exp(-(first * np.maximum(memory, 0))))
    output, (again, after) = cell(x, (h, c))
    np.testing.assert_allclose(after, memory, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(output, again)


def test_nascell_lies_in_the_space_and_is_the_same_function():
    space = ZophRNN()
    ours = space.maker(space.parse("nascell"))(3, 4, SKELETON)
    theirs = NASCell(3, 4, SKELETON)
    ours.set_weights(theirs.get_weights())
    for a, b in zip(ours(inputs(), states(2))[1], theirs(inputs(), states(2))[1], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)


@pytest.mark.parametrize(
    "name, settings",
    [
        ("darts_rnn_v1", {}),
        ("darts_rnn_v2", {}),
        ("enas_lm", {}),
        ("enas_rnn", ENAS),
        ("enas_rnn_darts", ENAS),
    ],
)
def test_published_cells_lie_in_their_spaces(name, settings):
    space = RecurrentNodes(**settings)
    arch = space.parse(name)
    assert space.genotype(arch) == published(name)
    ours = space.maker(arch)(3, 4, SKELETON)
    theirs = NodesCell(3, 4, SKELETON, genotype=name)
    ours.set_weights(theirs.get_weights())
    np.testing.assert_array_equal(ours(inputs(), states(1))[0], theirs(inputs(), states(1))[0])


@pytest.mark.parametrize(
    "space", [ZophRNN(), RecurrentNodes(), RecurrentNodes(**ENAS)], ids=["tree", "darts", "enas"]
)
@pytest.mark.parametrize("tied", [False, True])
def test_built_models_have_the_parameters_that_were_said(space, tied):
    around = LanguageSkeleton(
        vocabulary=11, units=4, embedding=3, layers=3, tied=tied, last_units=3, softmax_bias=tied
    )
    arch = space.sample(np.random.default_rng(0))
    model = space.build(arch, around)
    logits = model(tf.zeros([2, 5], tf.int32))
    assert logits.shape == (2, 5, 11) and np.isfinite(logits).all()
    assert space.cost(arch, around).parameters == model.count_params()
    # Of one token: every weight of the cells once, and the softmax's product.
    cells = sum(math.prod(v.shape) for cell in model.cells for v in cell.trainable_variables)
    assert space.cost(arch, around).flops == cells + 3 * 11


def test_graphs_show_where_the_memory_comes_in_and_goes_out():
    space = ZophRNN()
    edges = space.graph(space.parse("nascell")).edges
    assert ("c", "inject/combination") in edges and (
        "inject/activation",
        "node12/combination",
    ) in edges
    assert ("node12/combination", "memory") in edges and ("node14/activation", "output") in edges


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ZophRNN(base=6), "space.base must be 2, 4, 8, 16 ..., got 6"),
        (lambda: ZophRNN(base=4).parse("nascell"), "genotype=nascell needs space.base=8, got 4"),
        (lambda: RecurrentNodes(nodes=0), "space.nodes must be a whole number, .* got 0"),
        (lambda: RecurrentNodes(functions=["sin"]), r"space.functions must be among .* got \['sin"),
        (lambda: RecurrentNodes(first="sin"), "space.first must be null or one of .* got sin"),
        (lambda: RecurrentNodes(average="max"), "space.average must be one of all, loose, got max"),
        (
            lambda: RecurrentNodes(nodes=3).parse("enas_lm"),
            "genotype=enas_lm must lie in the space",
        ),
        (
            lambda: RecurrentNodes(average="loose").parse("enas_lm"),
            "genotype=enas_lm must lie in the space, but begins with tanh and averages",
        ),
        (
            lambda: ZophRNN().build((0,) * 34, ImageSkeleton(image_shape=(8, 8, 1), classes=2)),
            "needs a skeleton of language models, got ImageSkeleton; set skeleton=grammar",
        ),
    ],
)
def test_what_cannot_be_is_named(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_enas_lms_string_of_darts_cell_is_darts_cell():
    assert set(names()) == {
        "enas_rnn", "enas_rnn_darts", "enas_lm", "darts_lm", "darts_rnn_v1", "darts_rnn_v2",
    }  # fmt: skip
    assert published("darts_lm") == published("darts_rnn_v2")
