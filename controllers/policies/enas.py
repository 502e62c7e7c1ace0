"""The policy of ENAS (Pham et al. 2018, arXiv:1802.03268, section 2.2; official code,
general_controller.py and micro_controller.py): the LSTM of lstm.py with the differences of ENAS.

Decisions with the same choices share one softmax and one embedding. A logit is divided by a
temperature and bounded by a tanh. A yes/no decision is a softmax over [-q, q]. For each node, the
choices among earlier nodes are answered first, then its operations, then its yes/no decisions. If
other nodes may point at a node whose last answer is no yes/no, one more step reads that answer and
its output is the node's state; the step after it begins with the start vector. An input of a cell
is such a step with the start vector: other nodes attend to its state, but where they choose it,
zeros are fed to the next step.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nas.controllers.policies.lstm import LSTMPolicy, Step, steps_of
from nas.controllers.policies.settings import (
    CHOSEN,
    AdamSettings,
    LogitShaping,
    LSTMSettings,
    Regularization,
)
from nas.core.space import Space
from nas.core.trial import Arch


class ENASPolicy(LSTMPolicy):
    """An LSTMPolicy whose `terms` are what REINFORCE adds to the reward and to the loss.

    Args:
      logits: how logits are shaped before the softmax.
      regularization: weights and forms of the terms.
      rng: draws the initial weights.
    """

    def __init__(
        self,
        space: Space,
        lstm: LSTMSettings,
        adam: AdamSettings,
        logits: LogitShaping,
        regularization: Regularization,
        *,
        rng: np.random.Generator,
    ):
        self.logits, self.regularization = logits, regularization
        self.groups = list(dict.fromkeys(d.choices for d in space.decisions if d.anchors is None))
        super().__init__(space, lstm, adam, entropy_weight=0.0, rng=rng)

    def terms(self, archs: Sequence[Arch]) -> tuple[np.ndarray, np.ndarray]:
        """The entropy and the skip penalty of each architecture: [n] float64 each."""
        _, entropy, penalty = self._terms(*self._tensors(archs))
        return entropy.numpy().astype(np.float64), penalty.numpy().astype(np.float64)

    def _steps(self) -> list[Step]:
        return enas_steps(self.space)

    def _weights(self, layers: int, weight: Callable[..., tf.Variable]) -> list[tf.Variable]:
        units = self.units
        self._lstm_weights(layers, weight)
        self.start = weight(1, units)
        counts = [len(choices) for choices in self.groups]
        self.embeddings = [weight(count, units) for count in counts]
        self.out_kernels = [] if self.logits.tied else [weight(units, count) for count in counts]
        self.out_biases = []
        bias = self.logits.op_bias
        if bias is not None:
            self.out_biases = [
                tf.Variable(np.where(self._favours(choices), bias, 0.0), dtype=tf.float32)
                for choices in self.groups
            ]
        self.w_prev, self.w_curr, self.v = weight(units, units), weight(units, units), weight(units)
        return [
            *self.kernels, *self.biases, self.start, *self.embeddings, *self.out_kernels,
            *self.out_biases, self.w_prev, self.w_curr, self.v,
        ]  # fmt: skip

    def _favours(self, choices: tuple[Any, ...]) -> np.ndarray:
        """[choices], whether each is a favoured operation."""
        return np.array([choice in self.logits.favoured for choice in choices])

    def _begin(self, n: int) -> dict[str, Any]:
        zero = tf.zeros([n, self.units])
        return {
            "input": tf.repeat(tf.convert_to_tensor(self.start), n, 0),
            "cells": [(zero, zero) for _ in self.kernels],
            "nodes": [zero] * self.nodes,
        }

    def _ahead(self, state: dict[str, Any], step: Step) -> tuple[tf.Tensor, dict[str, Any]]:
        if step.decisions:
            return super()._ahead(state, step)
        x, cells = self._cells(state)
        nodes = list(state["nodes"])
        if step.node is not None:
            nodes[step.node] = x
        no_decision = tf.zeros([x.shape[0], 0, self.width])
        return no_decision, {"input": x, "cells": cells, "nodes": nodes}

    def _bounded(self, logits: tf.Tensor, reduce: float = 1.0) -> tf.Tensor:
        """Divided by the temperature and bounded by a tanh, whose constant `reduce` divides."""
        if self.logits.temperature is not None:
            logits = logits / self.logits.temperature
        if self.logits.tanh_constant is not None:
            logits = self.logits.tanh_constant / reduce * tf.tanh(logits)
        return logits

    def _logits(self, x: tf.Tensor, decision: int) -> tf.Tensor:
        choices, name = self.space.decisions[decision].choices, self.space.decisions[decision].name
        group = self.groups.index(choices)
        if self.logits.tied:
            logits = tf.matmul(x, self.embeddings[group], transpose_b=True)
        else:
            logits = x @ self.out_kernels[group]
        if self.out_biases:
            logits += self.out_biases[group]
        logits = self._bounded(logits, self.logits.op_tanh_reduce)
        if self.logits.fixed_bias and name.startswith(self.logits.fixed_bias_of):
            sign = np.where(self._favours(choices), 1.0, -1.0)
            logits += tf.constant(self.logits.fixed_bias * sign, tf.float32)
        return logits

    def _attended(self, scores: tf.Tensor, step: Step) -> tf.Tensor:
        q = self._bounded(scores)
        locality = self.logits.locality
        if locality is not None and step.node is not None and step.anchors and not step.is_run:
            distances = step.node - np.array(step.anchors, np.float32)
            q -= distances**2 / locality
        return super()._attended(2 * q if step.is_run else q, step)  # softmax of [-q, q]

    def _fed(self, state: dict[str, Any], step: Step, chosen: tf.Tensor) -> dict[str, Any]:
        if not step.decisions:
            n = state["input"].shape[0]
            return state | {"input": tf.repeat(tf.convert_to_tensor(self.start), n, 0)}
        zero = tf.zeros_like(state["input"])
        nodes = [zero if i in self.start_nodes else h for i, h in enumerate(state["nodes"])]
        fed = super()._fed(state | {"nodes": nodes}, step, chosen)
        return state | {"input": fed["input"]}

    def _embedded(self, decision: int, chosen: tf.Tensor) -> tf.Tensor:
        group = self.groups.index(self.space.decisions[decision].choices)
        return tf.gather(tf.convert_to_tensor(self.embeddings[group]), chosen)

    def _terms(self, chosen: tf.Tensor, masks: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Log-probability, entropy and skip penalty: [n] each."""
        n = chosen.shape[0]
        total, entropy, penalties = tf.zeros([n]), tf.zeros([n]), []
        for step, log_p, answers in self._answers(chosen, masks):
            log_chosen = tf.gather(log_p, answers, batch_dims=2)
            total += tf.reduce_sum(log_chosen, 1)
            if self.regularization.entropy_of == CHOSEN:
                entropy -= tf.reduce_sum(tf.exp(log_chosen) * log_chosen, 1)
            else:
                entropy -= tf.reduce_sum(tf.exp(log_p) * log_p, [1, 2])
            if step.is_run:
                penalties.append(self._penalty(log_p))
        penalty = tf.add_n(penalties) / len(penalties) if penalties else tf.zeros([n])
        return total, entropy, penalty

    def _penalty(self, log_p: tf.Tensor) -> tf.Tensor:
        """KL of sigmoid([-q, q]) from [1 - target, target], summed over the run's decisions: [n].

        As in the code, this is the sigmoid of each logit, while the choice itself is a softmax over
        both. log_p: [n, decisions, 2].
        """
        target = self.regularization.skip_target
        q = 0.5 * (log_p[..., 1] - log_p[..., 0])
        log_yes, log_no = tf.math.log_sigmoid(q), tf.math.log_sigmoid(-q)
        yes = tf.exp(log_yes) * (log_yes - np.log(target))
        no = tf.exp(log_no) * (log_no - np.log(1 - target))
        return tf.reduce_sum(yes + no, 1)

    def _loss(self, chosen: tf.Tensor, masks: tf.Tensor, advantages: tf.Tensor) -> tf.Tensor:
        """The entropy is a part of the reward; its own gradient counts with entropy_gradient."""
        log_p, entropy, penalty = self._terms(chosen, masks)
        if self.regularization.entropy_gradient:
            own = entropy - tf.stop_gradient(entropy)
            advantages += self.regularization.entropy_weight * own
        return tf.reduce_mean(self.regularization.skip_weight * penalty - advantages * log_p)


def enas_steps(space: Space) -> list[Step]:
    """A space's decisions in the order of the official controllers, with steps without decisions.

    A space whose choices depend on earlier ones is answered in its own order.
    """
    steps = steps_of(space)
    pointed = {a for step in steps for a in step.anchors or ()}
    if not pointed:
        return steps
    ordered: list[Step] = []
    for node, node_steps in _by_node(steps):
        if not space.is_conditional:
            node_steps = sorted(node_steps, key=lambda s: 2 if s.is_run else int(s.anchors is None))
        known = {step.node for step in ordered} | {node}
        inputs = sorted({a for s in node_steps for a in s.anchors or () if a >= 0} - known)
        ordered += [Step((), i, None, False) for i in inputs]
        ordered += node_steps
        if node is not None and not node_steps[-1].is_run:
            ordered.append(Step((), node, None, False))
    return ordered


def _by_node(steps: list[Step]) -> Iterator[tuple[int | None, list[Step]]]:
    """Consecutive steps of one node, with that node; each step without a node is alone."""
    row: list[Step] = []
    for step in steps:
        if row and (step.node is None or step.node != row[0].node):
            yield row[0].node, row
            row = []
        row.append(step)
    if row:
        yield row[0].node, row
