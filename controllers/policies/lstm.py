"""An LSTM that answers a space's decisions one after another (Zoph & Le 2017, sections 3.1, 3.3).

Each answer is embedded and is the next step's input. A decision is a softmax over its choices. A
run of yes/no decisions of one node, each pointing at an earlier node j, is one step: node j is
chosen with probability sigmoid(v . tanh(W_prev h_j + W_curr h_i)), h_j the LSTM's output at the
last step of node j. Choices that all point at nodes are a softmax over the same scores. A node that
answers nothing, such as an input of a cell, has a learned vector in place of h_j, so that no two of
them look alike; the paper has no such nodes.
"""

import dataclasses
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from nas.core.space import Space
from nas.core.trial import Arch


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of the LSTM: the decisions it answers, and the nodes their choices point at."""

    decisions: tuple[int, ...]
    node: int | None
    anchors: tuple[int, ...] | None  # one per decision of a run, or one per choice
    is_run: bool  # independent yes/no decisions


def steps_of(space: Space) -> list[Step]:
    """A space's decisions as steps."""
    steps: list[Step] = []
    for i, decision in enumerate(space.decisions):
        anchors = decision.anchors
        if anchors is None:
            steps.append(Step((i,), decision.node, None, False))
        elif len(anchors) == 2 and anchors[0] is None and anchors[1] is not None:
            last = steps[-1] if steps else None
            if last and last.is_run and last.node == decision.node and last.anchors is not None:
                together = (*last.decisions, i), (*last.anchors, anchors[1])
                steps[-1] = Step(together[0], decision.node, together[1], True)
            else:
                steps.append(Step((i,), decision.node, (anchors[1],), True))
        else:
            nodes = tuple(-1 if a is None else a for a in anchors)
            steps.append(Step((i,), decision.node, nodes, False))
    return steps


def start_nodes(space: Space) -> list[int]:
    """The nodes that choices point at but no decision belongs to, such as the inputs of a cell."""
    pointed = {a for d in space.decisions for a in d.anchors or () if a is not None}
    return sorted(pointed - {d.node for d in space.decisions})


class LSTMPolicy:
    """The distribution over architectures, its samples and its gradient steps.

    given: so many of the first decisions are told to `sample` and no part of the distribution.
    """

    def __init__(
        self,
        space: Space,
        *,
        layers: int,
        units: int,
        init_scale: float,
        learning_rate: float,
        entropy_weight: float,
        rng: np.random.Generator,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        given: int = 0,
    ):
        self.space, self.units, self.entropy_weight = space, units, entropy_weight
        self.steps = [s for s in self._steps() if not s.decisions or s.decisions[0] >= given]
        self.width = max(len(decision.choices) for decision in space.decisions)
        self.nodes = 1 + max((d.node for d in space.decisions if d.node is not None), default=0)
        self.start_nodes = start_nodes(space)

        def weight(*shape: int) -> tf.Variable:
            start = rng.uniform(-init_scale, init_scale, shape).astype(np.float32)
            return tf.Variable(start)

        self.variables = self._weights(layers, weight)
        self.moments = [tf.Variable(tf.zeros_like(v)) for v in self.variables for _ in range(2)]
        self.updates = tf.Variable(0.0)
        self.learning_rate = learning_rate
        self.beta_1, self.beta_2, self.epsilon = beta_1, beta_2, epsilon

    def _steps(self) -> list[Step]:
        return steps_of(self.space)

    def _weights(self, layers: int, weight: Callable[..., tf.Variable]) -> list[tf.Variable]:
        """Makes what is learnt, in the order that it is drawn in. weight: shape -> variable."""
        units, count = self.units, len(self.space.decisions)
        self.kernels = [weight(2 * units, 4 * units) for _ in range(layers)]
        self.biases = [weight(4 * units) for _ in range(layers)]
        self.start = weight(1, units)
        self.embedding = weight(count * self.width, units)
        self.out_kernel = weight(count, units, self.width)
        self.out_bias = weight(count, self.width)
        self.w_prev, self.w_curr, self.v = weight(units, units), weight(units, units), weight(units)
        variables = [
            *self.kernels,
            *self.biases,
            self.start,
            self.embedding,
            self.out_kernel,
            self.out_bias,
            self.w_prev,
            self.w_curr,
            self.v,
        ]
        if self.start_nodes:  # last of all, so that a state saved without them can be told
            self.node_starts = weight(len(self.start_nodes), units)
            variables.append(self.node_starts)
        return variables

    def sample(self, n: int, rng: np.random.Generator, given: Arch = ()) -> list[Arch]:
        """n architectures, drawn with `rng`. given: the first choices of each."""
        uniform = rng.random((n, len(self.space.decisions)))
        made = np.zeros(uniform.shape, np.int32)
        made[:, : len(given)] = given
        state = self._begun(made)
        for step in self.steps:
            probabilities, state = self._ahead(state, step)
            p = probabilities.numpy()  # [n, decisions of the step, width]
            for row in range(n):
                for k, i in enumerate(step.decisions):
                    made[row, i] = self._draw(made[row, :i], p[row, k], uniform[row, i])
            chosen = made[:, list(step.decisions)]
            state = self._fed(state, step, tf.constant(chosen))
        return [tuple(int(choice) for choice in row) for row in made]

    def _draw(self, prefix: np.ndarray, p: np.ndarray, uniform: float) -> int:
        allowed = self.space.allowed(tuple(prefix.tolist()))
        below = np.cumsum(p[list(allowed)], dtype=np.float64)
        return allowed[min(int(np.searchsorted(below, uniform * below[-1])), len(allowed) - 1)]

    def log_prob(self, archs: list[Arch]) -> tf.Tensor:
        """Log-probability of each architecture: [n] float32."""
        return self._score(*self._tensors(archs))[0]

    def update(self, archs: list[Arch], advantages: np.ndarray) -> None:
        """One Adam step along mean(advantage * d log p) + entropy_weight * d entropy."""
        chosen, masks = self._tensors(archs)
        self._update(chosen, masks, tf.constant(advantages, tf.float32))

    def gradient(self, archs: list[Arch], advantages: np.ndarray) -> list[np.ndarray]:
        """The gradient of the loss, for each of `variables`."""
        chosen, masks = self._tensors(archs)
        return [
            g.numpy() for g in self._gradient(chosen, masks, tf.constant(advantages, tf.float32))
        ]

    def weights(self) -> list[np.ndarray]:
        return [np.asarray(v) for v in [*self.variables, *self.moments, self.updates]]

    def set_weights(self, weights: list[np.ndarray]) -> None:
        """Takes what `weights` gave, also before there were learned vectors of start nodes."""
        if self.start_nodes and len(weights) == 3 * len(self.variables) - 2:
            zero = np.zeros_like(self.node_starts)  # what such a node was then
            before = len(self.variables) - 1
            weights = [*weights[:before], zero, *weights[before:-1], zero, zero, weights[-1]]
        for variable, value in zip(
            [*self.variables, *self.moments, self.updates], weights, strict=True
        ):
            variable.assign(value)

    def _tensors(self, archs: list[Arch]) -> tuple[tf.Tensor, tf.Tensor]:
        """chosen [n, decisions] int32 and masks [n, decisions, width]: 1 where a choice is open."""
        masks = np.zeros((len(archs), len(self.space.decisions), self.width), np.float32)
        for row, arch in enumerate(archs):
            for i in range(len(arch)):
                masks[row, i, list(self.space.allowed(tuple(arch[:i])))] = 1.0
        return tf.constant(archs, tf.int32), tf.constant(masks)

    def _answers(self, chosen, masks) -> Iterator[tuple[Step, tf.Tensor, tf.Tensor]]:
        """Along the way: a step, [n, decisions, width] log-probabilities, [n, decisions] chosen."""
        state = self._begun(chosen)
        for step in self.steps:
            probabilities, state = self._ahead(state, step)
            at = list(step.decisions)
            answers = tf.gather(chosen, tf.constant(at, tf.int32), axis=1)
            if at:
                p = probabilities * tf.gather(masks, at, axis=1)
                p = p / tf.reduce_sum(p, -1, keepdims=True)
                yield step, tf.math.log(tf.maximum(p, 1e-30)), answers
            state = self._fed(state, step, answers)

    def _score(self, chosen, masks) -> tuple[tf.Tensor, tf.Tensor]:
        """Log-probability and entropy along the way: [n] each."""
        n = chosen.shape[0]
        total, entropy = tf.zeros([n]), tf.zeros([n])
        for _, log_p, answers in self._answers(chosen, masks):
            total += tf.reduce_sum(tf.gather(log_p, answers, batch_dims=2), 1)
            entropy -= tf.reduce_sum(tf.exp(log_p) * log_p, [1, 2])
        return total, entropy

    def _loss(self, chosen, masks, advantages) -> tf.Tensor:
        log_p, entropy = self._score(chosen, masks)
        return -tf.reduce_mean(advantages * log_p + self.entropy_weight * entropy)

    def _gradient(self, chosen, masks, advantages) -> list[tf.Tensor]:
        # Eager: tracing the unrolled steps takes seconds, an eager pass a fraction of one, and a
        # batch of children between two passes takes far longer than either.
        with tf.GradientTape() as tape:
            loss = self._loss(chosen, masks, advantages)
        gradients = tape.gradient(
            loss, self.variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return [tf.convert_to_tensor(g) for g in gradients]

    def _update(self, chosen, masks, advantages) -> None:
        """Adam (Kingma & Ba 2015), with its slots in plain sight so that they are saved."""
        self.updates.assign_add(1.0)
        t, beta_1, beta_2 = self.updates, self.beta_1, self.beta_2
        rate = self.learning_rate * tf.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        for k, (g, v) in enumerate(
            zip(self._gradient(chosen, masks, advantages), self.variables, strict=True)
        ):
            m, s = self.moments[2 * k], self.moments[2 * k + 1]
            m.assign(beta_1 * m + (1 - beta_1) * g)
            s.assign(beta_2 * s + (1 - beta_2) * g * g)
            v.assign_sub(rate * m / (tf.sqrt(s) + self.epsilon))

    def _begun(self, chosen) -> dict:
        """The state before the first step. chosen: [n, decisions], of which the given count."""
        return self._begin(chosen.shape[0])

    def _begin(self, n: int) -> dict:
        zero = tf.zeros([n, self.units])
        nodes = [zero] * self.nodes
        for row, node in enumerate(self.start_nodes):
            nodes[node] = tf.repeat(self.node_starts[row : row + 1], n, 0)
        return {
            "input": tf.repeat(tf.convert_to_tensor(self.start), n, 0),
            "cells": [(zero, zero) for _ in self.kernels],  # (h, c) of each layer
            "nodes": nodes,  # h at the last step of each node
        }

    def _cells(self, state: dict) -> tuple[tf.Tensor, list[tuple[tf.Tensor, tf.Tensor]]]:
        """The LSTM reads its input: its output [n, units], and (h, c) of each layer."""
        x, cells = state["input"], []
        for layer, ((h, c), kernel) in enumerate(zip(state["cells"], self.kernels, strict=True)):
            gates = tf.concat([x, h], 1) @ kernel
            i, f, g, o = tf.split(gates + self.biases[layer] if self.biases else gates, 4, 1)
            c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
            x = tf.sigmoid(o) * tf.tanh(c)
            cells.append((x, c))
        return x, cells

    def _ahead(self, state: dict, step: Step) -> tuple[tf.Tensor, dict]:
        """One step of the LSTM: probabilities [n, decisions of the step, width], and its state."""
        x, cells = self._cells(state)
        nodes = list(state["nodes"])
        if step.anchors is None:
            p = tf.stack([tf.nn.softmax(self._logits(x, i)) for i in step.decisions], 1)
        else:
            past = _stacked(nodes, step.anchors, tf.zeros_like(x))
            scores = tf.tanh(past @ self.w_prev + (x @ self.w_curr)[:, None])
            p = self._attended(tf.reduce_sum(scores * self.v, -1), step)
        p = tf.pad(p, [[0, 0], [0, 0], [0, self.width - p.shape[-1]]])
        if step.node is not None:
            nodes[step.node] = x
        return p, {"input": x, "cells": cells, "nodes": nodes}

    def _logits(self, x: tf.Tensor, decision: int) -> tf.Tensor:
        """x [n, units], the LSTM's output -> [n, choices]."""
        count = len(self.space.decisions[decision].choices)
        return (x @ self.out_kernel[decision] + self.out_bias[decision])[:, :count]

    def _attended(self, scores: tf.Tensor, step: Step) -> tf.Tensor:
        """scores [n, anchors] -> [n, 1, anchors], of a run [n, anchors, 2]: no and yes."""
        if not step.is_run:
            return tf.nn.softmax(scores)[:, None]
        yes = tf.sigmoid(scores)
        return tf.stack([1 - yes, yes], -1)

    def _fed(self, state: dict, step: Step, chosen: tf.Tensor) -> dict:
        """chosen: [n, decisions of the step]. The answer becomes the next step's input."""
        if step.anchors is None:
            fed = self._embedded(step.decisions[0], chosen[:, 0])
        else:
            past = _stacked(state["nodes"], step.anchors, tf.zeros_like(state["input"]))
            if step.is_run:
                weight = tf.cast(chosen, tf.float32)[:, :, None]
                count = tf.reduce_sum(weight, 1)
                fed = tf.reduce_sum(weight * past, 1) / (1.0 + count)
            else:
                fed = tf.gather(past, chosen[:, 0], batch_dims=1)
        return state | {"input": fed}

    def _embedded(self, decision: int, chosen: tf.Tensor) -> tf.Tensor:
        """chosen [n] -> [n, units]."""
        return tf.gather(tf.convert_to_tensor(self.embedding), decision * self.width + chosen)


def _stacked(nodes: list[tf.Tensor], anchors: tuple[int, ...], zero: tf.Tensor) -> tf.Tensor:
    """The states [n, units] that anchors point at, zero for -1: [n, anchors, units]."""
    return tf.stack([nodes[j] if j >= 0 else zero for j in anchors], 1)
