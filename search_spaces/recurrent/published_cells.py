"""Published recurrent cells: NASCell, and the graphs of nodes that ENAS and DARTS found.

Sources: Zoph & Le 2017 (arXiv:1611.01578, section 4.2; TensorFlow's nas_cell.py), Pham et al. 2018
(arXiv:1802.03268, section 2.1; the authors' second code, enas_lm), Liu et al. 2019
(arXiv:1806.09055, section 3; rnn/model.py). The graphs themselves are data, which
search_spaces/recurrent/genotypes.py reads.
"""

from collections.abc import Callable

import tensorflow as tf

from nas.core.language_skeleton import LanguageSkeleton
from nas.search_spaces.recurrent.cell import Noise, RecurrentCell, States, mask
from nas.search_spaces.recurrent.genotypes import Nodes, published

ACTIVATIONS = {"tanh": tf.tanh, "relu": tf.nn.relu, "sigmoid": tf.sigmoid, "identity": tf.identity}


class NASCell(RecurrentCell):
    """The cell that Zoph & Le's search found.

    bias: adds a bias to the product of the state, as TensorFlow's cell does.
    """

    states = 2  # output h, memory c

    def __init__(self, inputs: int, units: int, skeleton: LanguageSkeleton, *, bias: bool = False):
        super().__init__(inputs, units, skeleton)
        self.kernel = self.weights_of("kernel", inputs, 8 * units)
        self.recurrent_kernel = self.weights_of("recurrent_kernel", units, 8 * units)
        self.bias = self.weights_of("bias", 8 * units) if bias else None

    def project(self, inputs: tf.Tensor, noise: Noise = None) -> tf.Tensor:
        return tf.tensordot(inputs, self.kernel, 1)

    def step(self, projected: tf.Tensor, states: States, noise: Noise = None):
        h, c = states
        product = tf.matmul(h, self.recurrent_kernel)
        if self.bias is not None:
            product += self.bias
        x, y = tf.split(projected, 8, axis=-1), tf.split(product, 8, axis=-1)
        a0 = tf.tanh(tf.sigmoid(x[0] + y[0]) * tf.nn.relu(x[1] + y[1]))
        a1 = tf.tanh(tf.sigmoid(x[2] + y[2]) + tf.nn.relu(x[3] * y[3]))
        a2 = tf.tanh(tf.tanh(x[4] + y[4]) * tf.sigmoid(x[5] + y[5]))
        a3 = tf.sigmoid(tf.tanh(x[6] + y[6]) + tf.sigmoid(x[7] + y[7]))
        c = tf.tanh(a0 + c) * a1
        h = tf.tanh(c * tf.tanh(a2 + a3))
        return h, (h, c)


class NodesCell(RecurrentCell):
    """A graph of highway nodes: s_k = s_j + sigmoid(t)(f(h) - s_j), [t, h] = s_j W_k.

    Dropout has one mask for the input of the cell and one for all states that a product reads; both
    stay the same for a sequence (as in enas_lm and DARTS).

    genotype: a name of genotypes.json, or the graph.
    """

    drops = ("dropout_cell_input", "dropout_cell_state")

    def __init__(
        self,
        inputs: int,
        units: int,
        skeleton: LanguageSkeleton,
        *,
        genotype: str | Nodes = "darts_rnn_v2",
    ):
        super().__init__(inputs, units, skeleton)
        self.genotype = genotype if isinstance(genotype, Nodes) else published(genotype)
        self.kernel = self.weights_of("kernel", inputs, 2 * units)
        self.recurrent_kernel = self.weights_of("recurrent_kernel", units, 2 * units)
        # The weights of all nodes that read a state lie side by side, so that one product serves
        # them all.
        self.readers: dict[int, list[int]] = {}
        for k, (_, state) in enumerate(self.genotype.nodes, 1):
            self.readers.setdefault(state, []).append(k)
        self.node_kernels = {
            str(state): self.weights_of(f"kernel_of_state_{state}", units, 2 * units * len(nodes))
            for state, nodes in self.readers.items()
        }

    def noise(self, batch: int, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return sequence_masks(self, batch, seed)

    def project(self, inputs: tf.Tensor, noise: Noise = None) -> tf.Tensor:
        return tf.tensordot(masked(inputs, noise, "inputs"), self.kernel, 1)

    def step(self, projected: tf.Tensor, states: States, noise: Noise = None):
        (last,) = states
        gates = projected + tf.matmul(masked(last, noise, "states"), self.recurrent_kernel)
        node_states = {0: highway(gates, last, ACTIVATIONS[self.genotype.first])}
        gates_of: dict[int, tf.Tensor] = {}  # node: its part of a product
        for k, (function, state) in enumerate(self.genotype.nodes, 1):
            if k not in gates_of:
                kernel = self.node_kernels[str(state)]
                product = tf.matmul(masked(node_states[state], noise, "states"), kernel)
                nodes = self.readers[state]
                parts = tf.split(product, len(nodes), axis=-1)
                gates_of |= dict(zip(nodes, parts, strict=True))
            node_states[k] = highway(gates_of[k], node_states[state], ACTIVATIONS[function])
        outputs = [node_states[k] for k in self.genotype.outputs]
        output = tf.add_n(outputs) / len(outputs)
        return output, (output,)


def sequence_masks(cell: RecurrentCell, batch: int, seed: tf.Tensor) -> dict[str, tf.Tensor]:
    """Dropout masks: "inputs" for the input of the cell, "states" for what its products read.

    A mask whose rate is 0 is left out.
    """
    rates = (cell.skeleton.dropout_cell_input, cell.skeleton.dropout_cell_state)
    sizes = {"inputs": cell.inputs, "states": cell.units}
    return {
        name: mask([batch, size], rate, tf.random.experimental.stateless_fold_in(seed, i))
        for i, ((name, size), rate) in enumerate(zip(sizes.items(), rates, strict=True))
        if rate
    }


def highway(gates: tf.Tensor, state: tf.Tensor, function: Callable) -> tf.Tensor:
    """A highway node: gates [..., 2 * units], state [..., units] -> [..., units]."""
    gate, candidate = tf.split(gates, 2, axis=-1)
    return state + tf.sigmoid(gate) * (function(candidate) - state)


def masked(x: tf.Tensor, noise: Noise, name: str) -> tf.Tensor:
    """x times the mask of that name, if there is one."""
    return x * noise[name] if noise and name in noise else x
