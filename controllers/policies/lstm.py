"""An LSTM that answers a space's decisions one after another (Zoph & Le 2017, sections 3.1, 3.3).

Each answer is embedded and becomes the input of the next step. A decision is a softmax over its
choices. A run of yes/no decisions of one node, each pointing at an earlier node j, is one step:
node j is chosen with probability sigmoid(v . tanh(W_prev h_j + W_curr h_i)), where h_j is the
LSTM's output at the last step of node j. If all choices of a decision point at nodes, it is a
softmax over the same scores. A node that answers nothing, such as an input of a cell, has a learned
vector in place of h_j, so that such nodes differ from each other; the paper has no such nodes.
"""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nas.controllers.policies.adam import Adam
from nas.controllers.policies.lstm_step import State, lstm_step
from nas.controllers.policies.settings import AdamSettings, LSTMSettings
from nas.core.space import Space
from nas.core.trial import Arch


@dataclasses.dataclass(frozen=True)
class Step:
    """One step of the LSTM: the decisions it answers, and the nodes their choices point at."""

    decisions: tuple[int, ...]
    node: int | None
    anchors: tuple[int, ...] | None  # one for each decision of a run, or one for each choice
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
                run, run_anchors = (*last.decisions, i), (*last.anchors, anchors[1])
                steps[-1] = Step(run, decision.node, run_anchors, True)
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

    Args:
      entropy_weight: of the policy's entropy in the objective.
      rng: draws the initial weights.
      fixed: the number of first decisions that are no part of the distribution; `sample` is given
        their choices.
    """

    def __init__(
        self,
        space: Space,
        lstm: LSTMSettings,
        adam: AdamSettings,
        *,
        entropy_weight: float,
        rng: np.random.Generator,
        fixed: int = 0,
    ):
        self.space, self.units, self.entropy_weight = space, lstm.units, entropy_weight
        self.gate_bias = lstm.gate_bias
        self.steps = [s for s in self._steps() if not s.decisions or s.decisions[0] >= fixed]
        self.width = max(len(decision.choices) for decision in space.decisions)
        self.nodes = 1 + max((d.node for d in space.decisions if d.node is not None), default=0)
        self.start_nodes = start_nodes(space)

        def weight(*shape: int) -> tf.Variable:
            start = rng.uniform(-lstm.init_scale, lstm.init_scale, shape).astype(np.float32)
            return tf.Variable(start)

        self.variables = self._weights(lstm.layers, weight)
        self.adam = Adam(self.variables, adam)

    def _steps(self) -> list[Step]:
        return steps_of(self.space)

    def _weights(self, layers: int, weight: Callable[..., tf.Variable]) -> list[tf.Variable]:
        """Makes all learned variables, in the order in which rng draws them.

        weight: makes a variable of the shape that it is called with.
        """
        units, count = self.units, len(self.space.decisions)
        self._lstm_weights(layers, weight)
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
        if self.start_nodes:  # last, so that `set_weights` recognises a state saved without them
            self.node_starts = weight(len(self.start_nodes), units)
            variables.append(self.node_starts)
        return variables

    def _lstm_weights(self, layers: int, weight: Callable[..., tf.Variable]) -> None:
        units = self.units
        self.kernels = [weight(2 * units, 4 * units) for _ in range(layers)]
        self.biases = [weight(4 * units) for _ in range(layers)] if self.gate_bias else []

    def sample(self, n: int, rng: np.random.Generator, first: Arch = ()) -> list[Arch]:
        """n architectures, drawn with `rng`. first: the first choices of each."""
        uniform = rng.random((n, len(self.space.decisions)))
        archs = np.zeros(uniform.shape, np.int32)
        archs[:, : len(first)] = first
        state = self._begun(archs)
        for step in self.steps:
            probabilities, state = self._ahead(state, step)
            p = probabilities.numpy()  # [n, decisions of the step, width]
            for row in range(n):
                for k, i in enumerate(step.decisions):
                    archs[row, i] = self._draw(archs[row, :i], p[row, k], uniform[row, i])
            chosen = archs[:, list(step.decisions)]
            state = self._fed(state, step, tf.constant(chosen))
        return [tuple(int(choice) for choice in row) for row in archs]

    def _draw(self, prefix: np.ndarray, p: np.ndarray, uniform: float) -> int:
        allowed = self.space.allowed(tuple(prefix.tolist()))
        cumulative = np.cumsum(p[list(allowed)], dtype=np.float64)
        at = int(np.searchsorted(cumulative, uniform * cumulative[-1]))
        return allowed[min(at, len(allowed) - 1)]

    def log_prob(self, archs: Sequence[Arch]) -> tf.Tensor:
        """Log-probability of each architecture: [n] float32."""
        return self._score(*self._tensors(archs))[0]

    def update(self, archs: Sequence[Arch], advantages: np.ndarray) -> None:
        """One Adam step along mean(advantage * d log p) + entropy_weight * d entropy.

        advantages: [n], one for each architecture.
        """
        chosen, masks = self._tensors(archs)
        self.adam.step(self._gradient(chosen, masks, tf.constant(advantages, tf.float32)))

    def gradient(self, archs: Sequence[Arch], advantages: np.ndarray) -> list[np.ndarray]:
        """The gradient of the loss, for each of `variables`."""
        chosen, masks = self._tensors(archs)
        gradients = self._gradient(chosen, masks, tf.constant(advantages, tf.float32))
        return [gradient.numpy() for gradient in gradients]

    def weights(self) -> list[np.ndarray]:
        """The variables and the optimiser's state."""
        return [np.asarray(v) for v in [*self.variables, *self.adam.saved()]]

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Takes what `weights` gave, also before there were learned vectors of start nodes."""
        if self.start_nodes and len(weights) == 3 * len(self.variables) - 2:
            zero = np.zeros_like(self.node_starts)  # the state of such a node was zero then
            before = len(self.variables) - 1
            weights = [*weights[:before], zero, *weights[before:-1], zero, zero, weights[-1]]
        for variable, value in zip([*self.variables, *self.adam.saved()], weights, strict=True):
            variable.assign(value)

    def _tensors(self, archs: Sequence[Arch]) -> tuple[tf.Tensor, tf.Tensor]:
        """chosen [n, decisions] int32 and masks [n, decisions, width]: 1 where a choice is open."""
        masks = np.zeros((len(archs), len(self.space.decisions), self.width), np.float32)
        for row, arch in enumerate(archs):
            for i in range(len(arch)):
                masks[row, i, list(self.space.allowed(tuple(arch[:i])))] = 1.0
        return tf.constant(archs, tf.int32), tf.constant(masks)

    def _answers(
        self, chosen: tf.Tensor, masks: tf.Tensor
    ) -> Iterator[tuple[Step, tf.Tensor, tf.Tensor]]:
        """Each step with decisions, with log-probabilities and answers.

        Log-probabilities: [n, decisions of the step, width]; answers: [n, decisions of the step].
        """
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

    def _score(self, chosen: tf.Tensor, masks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Log-probability and the sum of the entropies of all answers: [n] each."""
        n = chosen.shape[0]
        total, entropy = tf.zeros([n]), tf.zeros([n])
        for _, log_p, answers in self._answers(chosen, masks):
            total += tf.reduce_sum(tf.gather(log_p, answers, batch_dims=2), 1)
            entropy -= tf.reduce_sum(tf.exp(log_p) * log_p, [1, 2])
        return total, entropy

    def _loss(self, chosen: tf.Tensor, masks: tf.Tensor, advantages: tf.Tensor) -> tf.Tensor:
        log_p, entropy = self._score(chosen, masks)
        return -tf.reduce_mean(advantages * log_p + self.entropy_weight * entropy)

    def _gradient(
        self, chosen: tf.Tensor, masks: tf.Tensor, advantages: tf.Tensor
    ) -> list[tf.Tensor]:
        # Eager: tracing the unrolled steps takes seconds and an eager pass a fraction of one, while
        # a batch of trials between two passes takes far longer than either.
        with tf.GradientTape() as tape:
            loss = self._loss(chosen, masks, advantages)
        gradients = tape.gradient(
            loss, self.variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        return [tf.convert_to_tensor(g) for g in gradients]

    def _begun(self, chosen: tf.Tensor) -> dict[str, Any]:
        """The state before the first step.

        chosen: [n, decisions]; only n and the fixed first decisions matter.
        """
        return self._begin(chosen.shape[0])

    def _begin(self, n: int) -> dict[str, Any]:
        zero = tf.zeros([n, self.units])
        nodes = [zero] * self.nodes
        for row, node in enumerate(self.start_nodes):
            nodes[node] = tf.repeat(self.node_starts[row : row + 1], n, 0)
        return {
            "input": tf.repeat(tf.convert_to_tensor(self.start), n, 0),
            "cells": [(zero, zero) for _ in self.kernels],  # (h, c) of each layer
            "nodes": nodes,  # h at the last step of each node
        }

    def _cells(self, state: dict[str, Any]) -> tuple[tf.Tensor, list[State]]:
        """The LSTM reads its input: its output [n, units], and (h, c) of each layer."""
        x, cells = state["input"], []
        for layer, (before, kernel) in enumerate(zip(state["cells"], self.kernels, strict=True)):
            cells.append(lstm_step(x, before, kernel, self.biases[layer] if self.biases else None))
            x, _ = cells[-1]
        return x, cells

    def _ahead(self, state: dict[str, Any], step: Step) -> tuple[tf.Tensor, dict[str, Any]]:
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
        """x: the LSTM's output, [n, units] -> [n, choices]."""
        count = len(self.space.decisions[decision].choices)
        return (x @ self.out_kernel[decision] + self.out_bias[decision])[:, :count]

    def _attended(self, scores: tf.Tensor, step: Step) -> tf.Tensor:
        """Probabilities from scores, [n, anchors].

        Of a run: [n, anchors, 2], no and yes. Otherwise: [n, 1, anchors].
        """
        if not step.is_run:
            return tf.nn.softmax(scores)[:, None]
        yes = tf.sigmoid(scores)
        return tf.stack([1 - yes, yes], -1)

    def _fed(self, state: dict[str, Any], step: Step, chosen: tf.Tensor) -> dict[str, Any]:
        """The answer becomes the next step's input. chosen: [n, decisions of the step]."""
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
