"""DARTS' search networks and the gradients of their alphas are those of the official code.

The official columns have `none` first, ours last. Weights are drawn in the official order.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from nas.core.language_skeleton import LanguageSkeleton
from nas.core.skeleton import ImageSkeleton
from nas.search_spaces.papers.darts.space import DARTS
from nas.search_spaces.papers.highway_cells.space import RecurrentNodes
from nas.search_spaces.recurrent.published_cells import NodesCell
from nas.training import devices
from nas.training.second_order import unrolled_gradient

ANSWERS = np.load(Path(__file__).parent / "darts.npz")
CELLS = ("stage0_cell0", "reduction1", "stage1_cell0", "reduction2", "stage2_cell0")
EDGES = ((2, 0), (2, 1), (3, 0), (3, 1), (3, 2))  # (node, state), in the order of both
PARTS = {  # of a separable or dilated convolution: index in the official module -> ours
    "op.1": "0_depthwise", "op.2": "0_conv", "op.5": "1_depthwise", "op.6": "1_conv",
    "conv_1": "even_conv", "conv_2": "odd_conv",
}  # fmt: skip


def rolled(columns):
    return np.roll(columns, -1, -1)


def image_variable(name):
    """The layer and the weight that the official `name` is called here."""
    if name.startswith("stem"):
        weights = {"stem.0.weight": "stem_conv/kernel", "stem.1.weight": "stem_bn/gamma"}
        return weights.get(name, "stem_bn/beta")
    if name.startswith("classifier"):
        return "logits/kernel" if name.endswith("weight") else "logits/bias"
    _, cell, module, *rest = name.removesuffix(".weight").replace(".op.op", ".op").split(".")
    place = CELLS[int(cell)]
    if module.startswith("preprocess"):
        side = "older" if module == "preprocess0" else "newer"
        return f"{place}_{side}_{PARTS.get(rest[0], 'conv')}/kernel"
    edge, operation, part = int(rest[0]), int(rest[2]) - 1, ".".join(rest[3:5])
    question = edge + len(EDGES) * place.startswith("reduction")
    layer = f"{place}_node{EDGES[edge][0]}side_{PARTS[part]}__{question}_{operation}"
    return f"{layer}/kernel"


@pytest.fixture(scope="module")
def images():
    """The supernet with the official weights, and images, labels and alphas."""
    devices.prepare()
    skeleton = ImageSkeleton(image_shape=(8, 8, 3), classes=3, cells=1, channels=2, form="search")
    net = DARTS(nodes=2).supernet(skeleton)
    ours = {"/".join(v.path.split("/")[-2:]): v for v in net.variables if v.trainable}
    rng = np.random.default_rng(0)
    for name, shape in json.loads(str(ANSWERS["cnn_names"])):
        fan = np.prod(shape[1:])
        drawn = (
            rng.normal(size=shape) * np.sqrt(2 / fan)
            if len(shape) > 1
            else rng.uniform(0.5, 1.5, shape)
        )
        variable = ours.pop(image_variable(name))
        if len(shape) == 4:
            axes = (2, 3, 0, 1) if "depthwise" in image_variable(name) else (2, 3, 1, 0)
            drawn = drawn.transpose(axes)
        variable.assign(drawn.T if len(shape) == 2 else drawn)
    assert not ours
    x, y = rng.normal(size=(2, 16, 8, 8, 3)), rng.integers(0, 3, (2, 16))
    alphas = rng.normal(size=(2, 5, 8)).astype(np.float32)
    return net, x.astype(np.float32), y, alphas


@pytest.mark.slow
def test_the_logits_and_the_first_order_of_the_search_network(images):
    net, x, y, alphas = images
    weights = tf.Variable(rolled(alphas).reshape(10, 8))
    with tf.GradientTape() as tape:
        logits = net(tf.constant(x[0]), tf.nn.softmax(weights), training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y[0], logits))
    np.testing.assert_allclose(logits, ANSWERS["cnn_logits"], rtol=1e-3, atol=1e-3)
    first = rolled(ANSWERS["cnn_first"]).reshape(10, 8)
    np.testing.assert_allclose(tape.gradient(loss, weights), first, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_second_order_of_the_search_network(images):
    """The step has neither momentum nor decay. ReLUs make the quotient rough in 32 bits."""
    net, x, y, alphas = images
    weights = tf.Variable(rolled(alphas).reshape(10, 8))
    variables = [v.value for group in net.groups.values() for v in group]

    def loss(part):
        logits = net(tf.constant(x[part]), tf.nn.softmax(weights), training=True)
        return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(y[part], logits))

    gradient, _ = unrolled_gradient(
        weights, variables, lambda: loss(0), lambda: [loss(1)],
        lambda gradients: [v - 0.025 * g for v, g in zip(variables, gradients, strict=True)],
        tf.constant(0.025),
    )  # fmt: skip
    expected = rolled(ANSWERS["cnn_second"]).reshape(10, 8)
    error = np.linalg.norm(gradient - expected) / np.linalg.norm(expected)
    assert error < 0.02


@pytest.fixture(scope="module")
def text():
    """The recurrent supernet with the official weights, tokens, states and alphas."""
    devices.prepare()
    skeleton = LanguageSkeleton(
        vocabulary=12, units=6, embedding=6, layers=1, tied=True, softmax_bias=True
    )
    space = RecurrentNodes()
    net, rng = space.supernet(skeleton), np.random.default_rng(0)
    drawn = {
        name: rng.normal(size=shape) * 0.4 for name, shape in json.loads(str(ANSWERS["rnn_names"]))
    }
    (cell,) = net.model.cells
    fill(cell.kernel, cell.recurrent_kernel, drawn["rnns.0._W0"])
    for k, table in enumerate(cell.node_kernels):
        table.assign(drawn[f"rnns.0._Ws.{k}"][None])
    net.model.embedding.assign(drawn["encoder.weight"])
    net.model.bias.assign(drawn["decoder.bias"])
    tokens = rng.integers(0, 12, (2, 5, 5))
    states = (rng.normal(size=(2, 5, 6)) * 0.5).astype(np.float32)
    alphas = rng.normal(size=(36, 5)).astype(np.float32)
    return net, tokens, states, alphas


def fill(kernel, recurrent_kernel, together):
    kernel.assign(together[: kernel.shape[0]])
    recurrent_kernel.assign(together[kernel.shape[0] :])


def text_loss(net, tokens, states, weights):
    read = tf.constant(tokens, tf.int32)
    outputs, _, _ = net.outputs_of(read[:, :-1], ((tf.constant(states),),), tf.nn.softmax(weights))
    targets = tf.reshape(tf.transpose(read[:, 1:]), [-1])
    return tf.reduce_mean(net.losses(outputs, targets)), outputs


def test_the_recurrent_search_network(text):
    net, tokens, states, alphas = text
    weights = tf.Variable(rolled(alphas))
    with tf.GradientTape() as tape:
        loss, outputs = text_loss(net, tokens[0], states[0], weights)
    assert float(loss) == pytest.approx(float(ANSWERS["rnn_loss"]), rel=1e-5)
    np.testing.assert_allclose(outputs, ANSWERS["rnn_outputs"], atol=1e-5)
    first = tape.gradient(loss, weights)
    np.testing.assert_allclose(first, rolled(ANSWERS["rnn_first"]), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name, limit", [("clipped", 0.05), ("stretched", 50.0)])
def test_the_second_order_of_the_recurrent_search_network(text, name, limit):
    """With a decay of 0.01; where nothing is clipped the official code stretches the quotient.

    Its step leaves the tied embedding where it is: load_state_dict writes the decoder's old weights
    over the encoder's new ones.
    """
    net, tokens, states, alphas = text
    weights = tf.Variable(rolled(alphas))
    variables = [v.value for v in net.variables]
    before, embedding = [v.numpy() for v in variables], net.model.embedding.value

    def loss(part):
        return text_loss(net, tokens[part], states[part], weights)[0]

    def ahead(gradients):
        pairs = zip(variables, gradients, strict=True)
        moved = [(v, v - 0.5 * (g + 0.01 * v)) for v, g in pairs]
        return [tf.identity(v) if v is embedding else there for v, there in moved]

    gradient, _ = unrolled_gradient(
        weights, variables, lambda: loss(0), lambda: [loss(1)], ahead, tf.constant(0.5), limit
    )
    expected = rolled(ANSWERS[f"rnn_{name}"])
    error = np.linalg.norm(gradient - expected) / np.linalg.norm(expected)
    assert error < 0.01
    for v, was in zip(variables, before, strict=True):
        np.testing.assert_array_equal(v, was)


def test_the_cell_that_was_found():
    """DARTS_V2, from the official draws behind those of the search network."""
    rng = np.random.default_rng(0)
    for _, shape in json.loads(str(ANSWERS["rnn_names"])):
        rng.normal(size=shape)
    rng.integers(0, 12, (2, 5, 5))
    states = rng.normal(size=(2, 5, 6)) * 0.5
    rng.normal(size=(36, 5))
    skeleton = LanguageSkeleton(vocabulary=12, units=6, embedding=6, layers=1)
    cell = NodesCell(6, 6, skeleton, genotype="darts_rnn_v2")
    fill(cell.kernel, cell.recurrent_kernel, rng.normal(size=(12, 12)) * 0.4)
    kernels = [rng.normal(size=(6, 12)) * 0.4 for _ in range(8)]
    for state, nodes in cell.readers.items():
        together = np.concatenate([kernels[k - 1] for k in nodes], -1)
        cell.node_kernels[str(state)].assign(together)
    inputs = tf.constant(rng.normal(size=(4, 5, 6)), tf.float32)
    state, outputs = (tf.constant(states[0], tf.float32),), []
    for projected in tf.unstack(cell.project(inputs)):
        output, state = cell.step(projected, state)
        outputs.append(output)
    np.testing.assert_allclose(tf.stack(outputs), ANSWERS["rnn_cell"], atol=1e-5)
