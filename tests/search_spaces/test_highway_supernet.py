"""The recurrent supernet: each cell in it is the one built alone, outputs and gradients."""

import numpy as np
import pytest
import tensorflow as tf

from nas.core.capabilities import supernet_space
from nas.core.language_skeleton import LanguageSkeleton
from nas.core.trial import ConfigError
from nas.search_spaces.papers.highway_cells.space import RecurrentNodes
from nas.search_spaces.papers.zoph2017_rnn.space import ZophRNN

SKELETON = LanguageSkeleton(
    vocabulary=11, units=6, embedding=5, layers=1, softmax_bias=True,
    variational=True, dropout_cell_input=0.3, dropout_cell_state=0.3,
)  # fmt: skip
PAPER = RecurrentNodes(
    nodes=4, functions=("tanh", "relu", "identity", "sigmoid"), first=None, average="loose",
    shared="edge", normalised=False,
)  # fmt: skip
RELEASED = RecurrentNodes(nodes=4, shared="function", normalised=False)
DARTS = RecurrentNodes(nodes=3)
TOKENS = np.random.default_rng(0).integers(0, 11, [3, 6]).astype(np.int32)
SEED = tf.constant([1, 2])


def made(space, skeleton=SKELETON):
    tf.keras.utils.set_random_seed(3)
    return space.supernet(skeleton)


class Step:
    """Loss, outputs, last state and gradients of all weights; one trace for all architectures."""

    def __init__(self, net):
        self.net = net
        self.graph = tf.function(self.run, autograph=False)

    def run(self, arch, tokens):
        with tf.GradientTape() as tape:
            outputs, _, states = self.net.outputs_of(
                tokens[:, :-1], self.net.zero_states(3), arch, SEED
            )
            targets = tf.reshape(tf.transpose(tokens[:, 1:]), [-1])
            loss = tf.reduce_sum(self.net.losses(outputs, targets))
        return outputs, states, tape.gradient(loss, [v.value for v in self.net.variables])


def alone(model):
    outputs, _, states = model.outputs_of(TOKENS[:, :-1], model.zero_states(3), SEED)
    return outputs, states, model.losses(outputs, TOKENS[:, 1:].T.reshape(-1))


def rows_used(space, arch):
    chosen = space.genotype(arch)
    for k, (function, state) in enumerate(chosen.nodes, 1):
        yield space.rules.row(k, state, space.functions.index(function))


@pytest.mark.parametrize("space", [PAPER, RELEASED], ids=["edge", "function"])
def test_a_cell_of_the_supernet_is_the_cell_built_alone(space):
    """20 random cells in all: outputs, states and gradients; what was not chosen has none."""
    net = made(space)
    step = Step(net)
    tokens = tf.TensorSpec([3, None], tf.int32)
    run = step.graph.get_concrete_function(tf.TensorSpec([len(space.decisions)], tf.int32), tokens)
    rng = np.random.default_rng(5)
    for _ in range(10):
        arch = space.sample(rng)
        outputs, states, gradients = run(tf.constant(arch, tf.int32), tf.constant(TOKENS))
        model = net.static(arch)
        with tf.GradientTape() as tape:
            expected, last, losses = alone(model)
            loss = tf.reduce_sum(losses)
        np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(states[0][0], last[0][0], rtol=1e-5, atol=1e-6)
        theirs = dict(zip(map(id, model.trainable_variables), tape.gradient(
            loss, model.trainable_variables), strict=True))  # fmt: skip
        mine = dict(zip(map(id, net.variables), map(dense, gradients), strict=True))
        (shared,), (cell,) = net.model.cells, model.cells
        for a, b in (
            (shared.kernel, cell.kernel), (shared.recurrent_kernel, cell.recurrent_kernel),
            (net.model.embedding, model.embedding), (net.model.softmax, model.softmax),
        ):  # fmt: skip
            np.testing.assert_allclose(mine[id(a)], dense(theirs[id(b)]), rtol=1e-5, atol=1e-5)
        for k, row in enumerate(rows_used(space, arch), 1):
            table = mine[id(shared.node_kernels[k - 1])]
            state = cell.genotype.nodes[k - 1][1]
            at = cell.readers[state].index(k) * 12
            expected = theirs[id(cell.node_kernels[str(state)])][:, at : at + 12]
            np.testing.assert_allclose(table[row], expected, rtol=1e-5, atol=1e-5)
            assert not np.any(np.delete(table, row, 0))
    assert step.graph.experimental_get_tracing_count() == 1


def dense(gradient):
    return tf.convert_to_tensor(gradient).numpy()


@pytest.mark.parametrize(
    "space, rows", [(PAPER, [1, 2, 3, 4]), (RELEASED, [4, 8, 12, 16]), (DARTS, [1, 1, 1])],
    ids=["edge", "function", "node"],
)  # fmt: skip
def test_what_has_a_matrix_of_its_own(space, rows):
    net = made(space)
    shapes = [v.shape for v, own in zip(net.variables, net.tables, strict=True) if own]
    assert shapes == [(n, 6, 12) for n in rows]


def test_gates_of_one_function_of_one_state_are_that_cell():
    """With nothing normalised; the last column, none, takes its share away."""
    space = RecurrentNodes(nodes=3, normalised=False)
    net = made(space)
    arch = (0, 1, 1, 2, 0, 3)  # node 1: relu of 0, node 2: sigmoid of 1, node 3: identity of 0
    gates = np.zeros([6, 5], np.float32)
    gates[[0, 2, 3], [1, 2, 3]] = 1  # edges 0-1, 0-2, 1-2, 0-3, 1-3, 2-3
    found = net.outputs_of(TOKENS, net.zero_states(3), tf.constant(gates), SEED)
    path = net.outputs_of(TOKENS, net.zero_states(3), tf.constant(arch), SEED)
    np.testing.assert_allclose(found[0], path[0], rtol=1e-5, atol=1e-6)


def test_gates_by_hand():
    """A node of equal gates, all in numpy as the authors' code has it."""
    space = RecurrentNodes(nodes=2)
    skeleton = LanguageSkeleton(vocabulary=11, units=6, embedding=5, layers=1)
    net = made(space, skeleton)
    (cell,) = net.model.cells
    gates = np.full([3, 5], 0.2, np.float32)
    x = np.random.default_rng(1).normal(size=[4, 5]).astype(np.float32)
    h = np.random.default_rng(2).normal(size=[4, 6]).astype(np.float32)
    output, _ = cell.of(tf.constant(gates)).step(cell.project(tf.constant(x)), (tf.constant(h),))

    def sigmoid(a):
        return 1 / (1 + np.exp(-a))

    def norm(s):
        return (s - s.mean(0)) / np.sqrt(s.var(0) + 1e-5)

    product = x @ cell.kernel.numpy() + h @ cell.recurrent_kernel.numpy()
    states = [norm(h + sigmoid(product[:, :6]) * (np.tanh(product[:, 6:]) - h))]
    for kernels in cell.node_kernels:
        s = 0
        for state in states:
            c, new = np.split(state @ kernels.numpy()[0], 2, 1)
            for value in (np.tanh(new), np.maximum(new, 0), sigmoid(new), new):
                s = s + 0.2 * (state + sigmoid(c) * (value - state))
        states.append(norm(s))
    np.testing.assert_allclose(output, (states[1] + states[2]) / 2, rtol=1e-4, atol=1e-5)


def test_what_is_derived_from_gates_by_hand():
    """Of a node the edge whose best function is strongest; none counts in its softmax alone."""
    space = RecurrentNodes(nodes=2)
    assert space.gate_counts() == (5, 5, 5)
    weights = np.zeros([3, 5], np.float32)
    weights[0] = 0, 0, 1, 0, 9  # node 1 has one edge; none is never taken
    weights[1] = 2, 0, 0, 0, 8  # of node 2 the edge from state 0, mostly none
    weights[2] = 0, 0, 0, 1, 0
    assert space.decode(space.architecture_from_gates(weights)) == {
        "node1/input": 0, "node1/function": "sigmoid", "node2/input": 1,
        "node2/function": "identity",
    }  # fmt: skip


@pytest.mark.parametrize(
    "space, said",
    [
        (PAPER, "space.average must be all where all functions run at once, got loose"),
        (RELEASED, "space.shared must be node or edge where all functions run at once, got functi"),
    ],
)
def test_gates_are_refused_where_they_cannot_say_it(space, said):
    with pytest.raises(ConfigError, match=said):
        space.gate_counts()


def test_wrong_settings():
    with pytest.raises(ConfigError, match="space.shared must be one of node, edge, function, got"):
        RecurrentNodes(shared="all")
    with pytest.raises(ConfigError, match="space must be one with a supernet, got ZophRNN"):
        supernet_space(ZophRNN())
