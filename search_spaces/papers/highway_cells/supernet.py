"""The weights of all cells of highway nodes in one language model, which is traced once.

The architecture enters as a tensor. As [decisions] int32 a node reads one state and one matrix, of
those of its own that `space.shared` says (ENAS: Pham et al. 2018, arXiv:1802.03268, section 2.1).
As gates [questions, functions + 1] float32 it adds up all states and functions (DARTS: Liu et al.
2019, arXiv:1806.09055, section 2.2; code, rnn/model_search.py).

With space.normalised each state is normalised by the moments of its batch, without scale or offset,
as in DARTS' search. Departure: its code evaluates with moving averages, this with the batch's own.
"""

from typing import TYPE_CHECKING, Any

import keras
import tensorflow as tf

from nas.core.language_skeleton import LanguageSkeleton
from nas.core.trial import Arch
from nas.search_spaces.recurrent.cell import Noise, RecurrentCell, States
from nas.search_spaces.recurrent.language_model import LanguageModel
from nas.search_spaces.recurrent.published_cells import (
    ACTIVATIONS,
    NodesCell,
    highway,
    masked,
    sequence_masks,
)

if TYPE_CHECKING:
    from nas.search_spaces.papers.highway_cells.space import RecurrentNodes

# The gradient of each function from what it gave.
GRADIENTS = {
    "tanh": lambda y, dy: tf.raw_ops.TanhGrad(y=y, dy=dy),
    "relu": lambda y, dy: tf.raw_ops.ReluGrad(gradients=dy, features=y),
    "sigmoid": lambda y, dy: tf.raw_ops.SigmoidGrad(y=y, dy=dy),
    "identity": lambda y, dy: tf.identity(dy),
}
EPSILON = 1e-5  # of a normalization (PyTorch's)


class RecurrentSupernet:
    """What the space's `supernet(skeleton)` gives. `variables` are all trainable."""

    def __init__(self, space: "RecurrentNodes", skeleton: LanguageSkeleton):
        self.space, self.skeleton = space, skeleton
        self.model = LanguageModel(
            lambda inputs, units, skeleton: SharedNodes(inputs, units, skeleton, space=space),
            skeleton,
        )
        self.zero_states, self.losses = self.model.zero_states, self.model.losses

    @property
    def variables(self) -> list[keras.Variable]:
        return self.model.trainable_variables

    @property
    def tables(self) -> list[bool]:
        """Of each of `variables`, whether architectures have rows of their own in it."""
        own = {id(table) for cell in self.model.cells for table in cell.node_kernels}
        return [id(v) in own for v in self.variables]

    def outputs_of(
        self,
        tokens: tf.Tensor,
        states: tuple[States, ...],
        choice: tf.Tensor,
        seed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, tuple[States, ...]]:
        """As a LanguageModel's, of an architecture [decisions] or of gates [questions, width]."""
        cells = [cell.of(choice) for cell in self.model.cells]
        return self.model.outputs_of(tokens, states, seed, cells)

    def effective(self, archs: tf.Tensor) -> tf.Tensor:
        """What the network depends on: all choices."""
        return archs

    def static(self, arch: Arch) -> LanguageModel:
        """The model of `space.build(arch)` with these weights, copied."""
        model = self.space.build(arch, self.skeleton)
        apart = [v for v, is_table in zip(self.variables, self.tables, strict=True) if not is_table]
        kinds = {id(v) for cell in model.cells for v in cell.node_kernels.values()}
        others = [v for v in model.trainable_variables if id(v) not in kinds]
        for mine, theirs in zip(apart, others, strict=True):
            theirs.assign(mine)
        for shared, cell in zip(self.model.cells, model.cells, strict=True):
            kernels = shared.of(tf.constant(arch, tf.int32)).kernels
            for state, nodes in cell.readers.items():
                beside = tf.concat([kernels[k - 1] for k in nodes], -1)
                cell.node_kernels[str(state)].assign(beside)
        return model


class SharedNodes(RecurrentCell):
    """node_kernels[k - 1]: the matrices of node k, [rows, units, 2 * units]. See RecurrentNodes."""

    drops = NodesCell.drops

    def __init__(
        self, inputs: int, units: int, skeleton: LanguageSkeleton, *, space: "RecurrentNodes"
    ):
        super().__init__(inputs, units, skeleton)
        self.space = space
        self.kernel = self.weights_of("kernel", inputs, 2 * units)
        self.recurrent_kernel = self.weights_of("recurrent_kernel", units, 2 * units)
        self.node_kernels = [
            self.weights_of(f"kernels_of_node_{k}", space.rows(k), units, 2 * units)
            for k in range(1, space.nodes + 1)
        ]

    def of(self, choice: tf.Tensor) -> "Path | Gated":
        """The cell of an architecture or of gates, for one sequence."""
        return Path(self, choice) if choice.shape.rank == 1 else Gated(self, choice)

    def noise(self, batch: int, seed: tf.Tensor) -> dict[str, tf.Tensor]:
        return sequence_masks(self, batch, seed)

    def project(self, inputs: tf.Tensor, noise: Noise = None) -> tf.Tensor:
        return tf.tensordot(masked(inputs, noise, "inputs"), self.kernel, 1)

    def first_gates(self, projected: tf.Tensor, last: tf.Tensor, noise: Noise) -> tf.Tensor:
        return projected + tf.matmul(masked(last, noise, "states"), self.recurrent_kernel)

    def normalised(self, x: tf.Tensor) -> tf.Tensor:
        """x: [..., batch, units]."""
        if not self.space.normalised:
            return x
        mean, variance = tf.nn.moments(x, [-2], keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + EPSILON)


class Path:
    """The cell of one architecture [decisions] int32, its matrices read from the tables once."""

    is_written_out = False

    def __init__(self, cell: SharedNodes, arch: tf.Tensor):
        space = cell.space
        self.cell, self.noise, self.project = cell, cell.noise, cell.project
        at = 0 if space.first else 1
        self.first: Any = space.first or arch[0]
        self.inputs = [arch[at + 2 * k] for k in range(space.nodes)]
        self.functions = [arch[at + 2 * k + 1] for k in range(space.nodes)]
        self.kernels = [
            tf.gather(table.value, space.row(k, state, function))
            for k, (table, state, function) in enumerate(
                zip(cell.node_kernels, self.inputs, self.functions, strict=True), 1
            )
        ]
        self.weights = self._weights()

    def step(self, projected: tf.Tensor, states: States, noise: Noise = None):
        (last,) = states
        gates = self.cell.first_gates(projected, last, noise)
        output = self._nodes(self._made(gates, last, self.first), noise)
        return output, (output,)

    def _nodes(self, first: tf.Tensor, noise: Noise) -> tf.Tensor:
        """The cell's output from its first state, each [batch, units].

        A state is chosen by a branch, without a copy, and waits for that state alone; an array is
        written and read in one order. TensorFlow's own gradient of a branch has zeros for all that
        was not chosen, and their sums; here the gradient is added to the chosen state's.
        """

        @tf.custom_gradient
        def nodes(first, *kernels):
            states, reads, tapes = [first], [], []
            for k, kernel in enumerate(kernels):
                reads.append(pick(states, self.inputs[k]))
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch([reads[k], kernel])
                    gates = tf.matmul(masked(reads[k], noise, "states"), kernel)
                    states.append(self._made(gates, reads[k], self.functions[k]))
                tapes.append(tape)

            def gradient(upstream):
                owed = [tf.zeros_like(first), *self._shares(upstream)]
                d_kernels = []
                for k in reversed(range(len(kernels))):
                    d_state, d_kernel = tapes[k].gradient(
                        states[k + 1], [reads[k], kernels[k]], owed.pop()
                    )
                    d_kernels.append(d_kernel)
                    owed = add_at(owed, self.inputs[k], d_state)
                return owed[0], *reversed(d_kernels)

            return self._average(states[1:]), gradient

        return nodes(first, *self.kernels)

    def _made(self, gates: tf.Tensor, state: tf.Tensor, function: Any) -> tf.Tensor:
        chosen = (
            ACTIVATIONS[function]
            if isinstance(function, str)
            else lambda x: activation(x, self.cell.space.functions, function)
        )
        return self.cell.normalised(highway(gates, state, chosen))

    def _weights(self) -> list[tf.Tensor] | None:
        """Of each node in the average; None: all have the same."""
        if self.cell.space.average == "all":
            return None
        nodes = len(self.kernels)
        read = tf.reduce_max(tf.one_hot(tf.stack(self.inputs), nodes + 1), 0)[1:]
        loose = 1 - read
        return tf.unstack(loose / tf.reduce_sum(loose))

    def _average(self, made: list[tf.Tensor]) -> tf.Tensor:
        if self.weights is None:
            return tf.add_n(made) / len(made)
        return tf.add_n([w * s for w, s in zip(self.weights, made, strict=True)])

    def _shares(self, upstream: tf.Tensor) -> list[tf.Tensor]:
        """The gradient of the average by each node."""
        if self.weights is None:
            return [upstream / len(self.kernels)] * len(self.kernels)
        return [w * upstream for w in self.weights]


class Gated:
    """The cell of gates [questions, functions + 1] float32; the last column is `none`."""

    is_written_out = False

    def __init__(self, cell: SharedNodes, gates: tf.Tensor):
        self.cell, self.noise, self.project = cell, cell.noise, cell.project
        space = cell.space
        self.first: Any = None if space.first else gates[0]
        at = 0 if space.first else 1
        self.gates = []  # of the edges into each node, [states, functions + 1]
        for k in range(1, space.nodes + 1):
            self.gates.append(gates[at : at + k])
            at += k

    def step(self, projected: tf.Tensor, states: States, noise: Noise = None):
        (last,) = states
        cell = self.cell
        gates = cell.first_gates(projected, last, noise)
        first = cell.space.first
        made = highway(gates, last, ACTIVATIONS[first] if first else lambda x: self._mix(x))
        known = cell.normalised(made)[None]  # [states, batch, units]
        for table, gate in zip(cell.node_kernels, self.gates, strict=True):
            kernels = table.value  # [1 or states, units, 2 * units]
            gates = tf.matmul(masked(known, noise, "states"), kernels)
            summed = tf.reduce_sum(self._mixed(gates, known, gate), 0)
            known = tf.concat([known, cell.normalised(summed)[None]], 0)
        output = tf.reduce_mean(known[1:], 0)
        return output, (output,)

    def _mix(self, x: tf.Tensor) -> tf.Tensor:
        functions = self.cell.space.functions
        return tf.add_n([self.first[i] * ACTIVATIONS[f](x) for i, f in enumerate(functions)])

    def _mixed(self, gates: tf.Tensor, known: tf.Tensor, gate: tf.Tensor) -> tf.Tensor:
        """What each edge adds: [states, batch, units]."""
        t, new = tf.split(gates, 2, axis=-1)
        functions = self.cell.space.functions
        shares = [gate[:, i, None, None] for i in range(len(functions))]
        mix = tf.add_n(
            [s * ACTIVATIONS[name](new) for s, name in zip(shares, functions, strict=True)]
        )
        old = tf.add_n(shares) * known
        return old + tf.sigmoid(t) * (mix - old)


def pick(states: list[tf.Tensor], at: tf.Tensor) -> tf.Tensor:
    """states[at]."""
    if len(states) == 1:
        return states[0]
    return tf.switch_case(at, [lambda s=s: tf.identity(s) for s in states])


def add_at(owed: list[tf.Tensor], at: tf.Tensor, more: tf.Tensor) -> list[tf.Tensor]:
    """owed, and `more` added to owed[at]."""
    if len(owed) == 1:
        return [owed[0] + more]

    def added(i):
        return [o + more if k == i else tf.identity(o) for k, o in enumerate(owed)]

    return tf.switch_case(at, [lambda i=i: added(i) for i in range(len(owed))])


def activation(x: tf.Tensor, functions: tuple[str, ...], chosen: tf.Tensor) -> tf.Tensor:
    """functions[chosen] of x; that one alone is computed, forwards and backwards."""

    @tf.custom_gradient
    def apply(x):
        y = tf.switch_case(chosen, [lambda f=f: ACTIVATIONS[f](x) for f in functions])

        def gradient(dy):
            return tf.switch_case(chosen, [lambda f=f: GRADIENTS[f](y, dy) for f in functions])

        return y, gradient

    return apply(x)
