"""One language model, traced once, that holds the weights of all cells of highway nodes.

The architecture enters as a tensor, in one of two forms:

  [decisions] int32: a node reads one state and uses one of its own matrices, which `rules.shared`
    distinguishes (ENAS: Pham et al. 2018, arXiv:1802.03268, section 2.1).
  [questions, functions + 1] float32, the gates: a node adds up all states and functions (DARTS: Liu
    et al. 2019, arXiv:1806.09055, section 2.2; code, rnn/model_search.py).

With rules.normalised, each state is normalised by the moments of its batch, without scale or
offset, as in DARTS' search. Departure: DARTS' code evaluates with moving averages; here the moments
of the batch are used in evaluation too.
"""

from typing import Any

import keras
import tensorflow as tf

from nas.core.language_skeleton import LanguageSkeleton
from nas.core.trial import Arch
from nas.search_spaces.papers.highway_cells.rules import HighwayRules
from nas.search_spaces.recurrent.cell import Noise, RecurrentCell, States
from nas.search_spaces.recurrent.language_model import LanguageModel
from nas.search_spaces.recurrent.published_cells import (
    ACTIVATIONS,
    NodesCell,
    highway,
    masked,
    sequence_masks,
)
from nas.search_spaces.recurrent.space import RecurrentSpace

# The gradient of each function, computed from its output y.
GRADIENTS = {
    "tanh": lambda y, dy: tf.raw_ops.TanhGrad(y=y, dy=dy),
    "relu": lambda y, dy: tf.raw_ops.ReluGrad(gradients=dy, features=y),
    "sigmoid": lambda y, dy: tf.raw_ops.SigmoidGrad(y=y, dy=dy),
    "identity": lambda y, dy: tf.identity(dy),
}
EPSILON = 1e-5  # of a normalization (PyTorch's)


class RecurrentSupernet:
    """The language model with shared weights, as the space's `supernet(skeleton)` returns it.

    space: builds the model of one architecture. rules: those of the space.
    """

    def __init__(self, space: RecurrentSpace, rules: HighwayRules, skeleton: LanguageSkeleton):
        self.space, self.skeleton = space, skeleton
        self.model = LanguageModel(
            lambda inputs, units, skeleton: SharedNodes(inputs, units, skeleton, rules=rules),
            skeleton,
        )
        self.zero_states, self.losses = self.model.zero_states, self.model.losses

    @property
    def variables(self) -> list[keras.Variable]:
        """All variables; each is trainable."""
        return self.model.trainable_variables

    @property
    def tables(self) -> list[bool]:
        """For each of `variables`, whether architectures have rows of their own in it."""
        tables = {id(table) for cell in self.model.cells for table in cell.node_kernels}
        return [id(v) in tables for v in self.variables]

    @property
    def cubed(self) -> list[bool]:
        """For each of `variables`, whether enas_lm's weight decay reaches it (child.py, var_s)."""
        cells = self.model.cells
        decayed = {id(v) for c in cells for v in (c.kernel, c.recurrent_kernel)}
        decayed |= {id(v) for c in cells for v in c.node_kernels[1:]}
        return [id(v) in decayed for v in self.variables]

    def outputs_of(
        self,
        tokens: tf.Tensor,
        states: tuple[States, ...],
        choice: tf.Tensor,
        seed: tf.Tensor | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, tuple[States, ...]]:
        """As LanguageModel.outputs_of, with the cells of a choice.

        choice: an architecture [decisions] int32, or gates [questions, functions + 1] float32.
        """
        cells = [cell.of(choice) for cell in self.model.cells]
        return self.model.outputs_of(tokens, states, seed, cells)

    def effective(self, archs: tf.Tensor) -> tf.Tensor:
        """The choices that the network depends on, which are all."""
        return archs

    def static(self, arch: Arch) -> LanguageModel:
        """The model of `space.build(arch)`, with a copy of these weights."""
        model = self.space.build(arch, self.skeleton)
        common = [
            v for v, is_table in zip(self.variables, self.tables, strict=True) if not is_table
        ]
        node_kernels = {id(v) for cell in model.cells for v in cell.node_kernels.values()}
        others = [v for v in model.trainable_variables if id(v) not in node_kernels]
        for source, target in zip(common, others, strict=True):
            target.assign(source)
        for shared, cell in zip(self.model.cells, model.cells, strict=True):
            kernels = Path(shared, tf.constant(arch, tf.int32)).kernels
            for state, nodes in cell.readers.items():
                side_by_side = tf.concat([kernels[k - 1] for k in nodes], -1)
                cell.node_kernels[str(state)].assign(side_by_side)
        return model


class SharedNodes(RecurrentCell):
    """The weights of all cells. node_kernels[k - 1]: of node k, [rows, units, 2 * units]."""

    drops = NodesCell.drops

    def __init__(self, inputs: int, units: int, skeleton: LanguageSkeleton, *, rules: HighwayRules):
        super().__init__(inputs, units, skeleton)
        self.rules = rules
        self.kernel = self.weights_of("kernel", inputs, 2 * units)
        self.recurrent_kernel = self.weights_of("recurrent_kernel", units, 2 * units)
        self.node_kernels = [
            self.weights_of(f"kernels_of_node_{k}", rules.rows(k), units, 2 * units)
            for k in range(1, rules.nodes + 1)
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
        """x [..., batch, units], normalised over the batch if the rules ask for it."""
        if not self.rules.normalised:
            return x
        mean, variance = tf.nn.moments(x, [-2], keepdims=True)
        return (x - mean) * tf.math.rsqrt(variance + EPSILON)


class Path:
    """The cell of one architecture [decisions] int32, which reads its matrices once."""

    is_written_out = False

    def __init__(self, cell: SharedNodes, arch: tf.Tensor):
        rules = cell.rules
        self.cell, self.noise, self.project = cell, cell.noise, cell.project
        at = 0 if rules.first else 1
        self.first: Any = rules.first or arch[0]
        self.inputs = [arch[at + 2 * k] for k in range(rules.nodes)]
        self.functions = [arch[at + 2 * k + 1] for k in range(rules.nodes)]
        self.kernels = [
            tf.gather(table.value, rules.row(k, state, function))
            for k, (table, state, function) in enumerate(
                zip(cell.node_kernels, self.inputs, self.functions, strict=True), 1
            )
        ]
        self.weights = self._weights()

    def step(self, projected: tf.Tensor, states: States, noise: Noise = None):
        (last,) = states
        gates = self.cell.first_gates(projected, last, noise)
        output = self._nodes(self._state(gates, last, self.first), noise)
        return output, (output,)

    def _nodes(self, first: tf.Tensor, noise: Noise) -> tf.Tensor:
        """The output of the cell from its first state, each [batch, units].

        A branch chooses the state that a node reads. It copies nothing and waits only for that
        state; an array of states would be written and read in one order. TensorFlow's own gradient
        of a branch has zeros for all states that were not chosen, and adds them up; here the
        gradient is added to that of the chosen state alone.
        """

        @tf.custom_gradient
        def nodes(first, *kernels):
            states, reads, tapes = [first], [], []
            for k, kernel in enumerate(kernels):
                reads.append(pick(states, self.inputs[k]))
                with tf.GradientTape(watch_accessed_variables=False) as tape:
                    tape.watch([reads[k], kernel])
                    gates = tf.matmul(masked(reads[k], noise, "states"), kernel)
                    states.append(self._state(gates, reads[k], self.functions[k]))
                tapes.append(tape)

            def gradient(upstream):
                d_states = [tf.zeros_like(first), *self._shares(upstream)]
                d_kernels = []
                for k in reversed(range(len(kernels))):
                    d_state, d_kernel = tapes[k].gradient(
                        states[k + 1], [reads[k], kernels[k]], d_states.pop()
                    )
                    d_kernels.append(d_kernel)
                    d_states = add_at(d_states, self.inputs[k], d_state)
                return d_states[0], *reversed(d_kernels)

            return self._average(states[1:]), gradient

        return nodes(first, *self.kernels)

    def _state(self, gates: tf.Tensor, read: tf.Tensor, function: Any) -> tf.Tensor:
        """The state of a node that reads `read`. function: its name, or its index [] int32."""
        chosen = (
            ACTIVATIONS[function]
            if isinstance(function, str)
            else lambda x: activation(x, self.cell.rules.functions, function)
        )
        return self.cell.normalised(highway(gates, read, chosen))

    def _weights(self) -> list[tf.Tensor] | None:
        """The weight of each node in the average; None: all weights are equal."""
        if self.cell.rules.average == "all":
            return None
        nodes = len(self.kernels)
        is_read = tf.reduce_max(tf.one_hot(tf.stack(self.inputs), nodes + 1), 0)[1:]
        loose = 1 - is_read
        return tf.unstack(loose / tf.reduce_sum(loose))

    def _average(self, states: list[tf.Tensor]) -> tf.Tensor:
        if self.weights is None:
            return tf.add_n(states) / len(states)
        return tf.add_n([w * s for w, s in zip(self.weights, states, strict=True)])

    def _shares(self, upstream: tf.Tensor) -> list[tf.Tensor]:
        """The gradient of the average with respect to each node."""
        if self.weights is None:
            return [upstream / len(self.kernels)] * len(self.kernels)
        return [w * upstream for w in self.weights]


class Gated:
    """The cell of gates [questions, functions + 1] float32, whose last column is `none`."""

    is_written_out = False

    def __init__(self, cell: SharedNodes, gates: tf.Tensor):
        self.cell, self.noise, self.project = cell, cell.noise, cell.project
        rules = cell.rules
        self.first: Any = None if rules.first else gates[0]
        at = 0 if rules.first else 1
        self.gates = []  # for each node, the gates of its edges: [states, functions + 1]
        for k in range(1, rules.nodes + 1):
            self.gates.append(gates[at : at + k])
            at += k

    def step(self, projected: tf.Tensor, states: States, noise: Noise = None):
        (last,) = states
        cell = self.cell
        gates = cell.first_gates(projected, last, noise)
        first = cell.rules.first
        state = highway(gates, last, ACTIVATIONS[first] if first else lambda x: self._mix(x))
        earlier = cell.normalised(state)[None]  # [states, batch, units]
        for table, gate in zip(cell.node_kernels, self.gates, strict=True):
            kernels = table.value  # [1 or states, units, 2 * units]
            gates = tf.matmul(masked(earlier, noise, "states"), kernels)
            summed = tf.reduce_sum(self._mixed(gates, earlier, gate), 0)
            earlier = tf.concat([earlier, cell.normalised(summed)[None]], 0)
        output = tf.reduce_mean(earlier[1:], 0)
        return output, (output,)

    def _mix(self, x: tf.Tensor) -> tf.Tensor:
        """The first state's functions of x, weighted by their gates."""
        functions = self.cell.rules.functions
        return tf.add_n([self.first[i] * ACTIVATIONS[f](x) for i, f in enumerate(functions)])

    def _mixed(self, gates: tf.Tensor, earlier: tf.Tensor, gate: tf.Tensor) -> tf.Tensor:
        """What the edge from each earlier state adds to a node: [states, batch, units]."""
        t, candidate = tf.split(gates, 2, axis=-1)
        functions = self.cell.rules.functions
        shares = [gate[:, i, None, None] for i in range(len(functions))]
        mix = tf.add_n(
            [s * ACTIVATIONS[name](candidate) for s, name in zip(shares, functions, strict=True)]
        )
        kept = tf.add_n(shares) * earlier
        return kept + tf.sigmoid(t) * (mix - kept)


def pick(states: list[tf.Tensor], at: tf.Tensor) -> tf.Tensor:
    """states[at]."""
    if len(states) == 1:
        return states[0]
    return tf.switch_case(at, [lambda s=s: tf.identity(s) for s in states])


def add_at(values: list[tf.Tensor], at: tf.Tensor, x: tf.Tensor) -> list[tf.Tensor]:
    """`values`, with x added to values[at]."""
    if len(values) == 1:
        return [values[0] + x]

    def added(i):
        return [value + x if k == i else tf.identity(value) for k, value in enumerate(values)]

    return tf.switch_case(at, [lambda i=i: added(i) for i in range(len(values))])


def activation(x: tf.Tensor, functions: tuple[str, ...], chosen: tf.Tensor) -> tf.Tensor:
    """functions[chosen] of x. No other function is computed, forwards or backwards."""

    @tf.custom_gradient
    def apply(x):
        y = tf.switch_case(chosen, [lambda f=f: ACTIVATIONS[f](x) for f in functions])

        def gradient(dy):
            return tf.switch_case(chosen, [lambda f=f: GRADIENTS[f](y, dy) for f in functions])

        return y, gradient

    return apply(x)
