"""The policy of ENAS (Pham et al. 2018, arXiv:1802.03268, section 2.2; official code,
general_controller.py and micro_controller.py): the LSTM of lstm_policy.py, and what ENAS does else.

Decisions with the same choices share one softmax and one embedding. A logit is divided by a
temperature and bounded by a tanh. A yes/no decision is a softmax over [-q, q]. Of a node, the
choices among earlier nodes are answered first, then its operations, then its yes/no decisions. A
node that other nodes may point at and whose last answer is no yes/no has one step more, which reads
that answer and gives the node's state; what follows begins with the start vector. An input of a
cell is such a step with the start vector: others attend to its state, but are fed zeros where they
choose it.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from nas.controllers.policies.lstm import LSTMPolicy, Step, steps_of
from nas.core.space import Space
from nas.core.trial import Arch

ALL, CHOSEN = "all", "chosen"


class ENASPolicy(LSTMPolicy):
    """As LSTMPolicy. `terms` has what REINFORCE adds to the reward and to the loss.

    Args:
      temperature: logits are divided by it; None: they are not.
      tanh_constant: logits become tanh_constant * tanh(logits); None: they do not.
      op_tanh_reduce: for softmaxes that do not attend, tanh_constant is divided by it.
      locality: the logit of an earlier node loses its squared distance over this; None: nothing.
      entropy_of: all choices of a decision, or the one alone that was chosen, -p log p.
      skip_target, skip_weight: the probability that yes/no decisions are drawn to, and how much.
      op_bias: what the learned biases of `favoured` choices start as, those of others as 0; None:
        none are learned.
      favoured: choices.
      fixed_bias: added to the bounded logits of `favoured` and taken from those of others, for
        decisions whose name begins with fixed_bias_of.
      gate_bias: whether the gates of the LSTM have biases.
    """

    def __init__(
        self,
        space: Space,
        *,
        temperature: float | None,
        tanh_constant: float | None,
        op_tanh_reduce: float,
        locality: float | None,
        entropy_of: str,
        skip_target: float,
        skip_weight: float,
        op_bias: float | None,
        favoured: Sequence[str],
        fixed_bias: float,
        fixed_bias_of: str,
        gate_bias: bool,
        **settings,
    ):
        self.temperature, self.tanh_constant = temperature, tanh_constant
        self.op_tanh_reduce, self.entropy_of = op_tanh_reduce, entropy_of
        self.locality = locality
        self.skip_target, self.skip_weight = skip_target, skip_weight
        self.op_bias, self.favoured, self.gate_bias = op_bias, tuple(favoured), gate_bias
        self.fixed_bias, self.fixed_bias_of = fixed_bias, fixed_bias_of
        self.groups = list(dict.fromkeys(d.choices for d in space.decisions if d.anchors is None))
        super().__init__(space, entropy_weight=0.0, **settings)

    def terms(self, archs: list[Arch]) -> tuple[np.ndarray, np.ndarray]:
        """Of each architecture the entropy and the skip penalty: [n] float64 each."""
        _, entropy, penalty = self._terms(*self._tensors(archs))
        return entropy.numpy().astype(np.float64), penalty.numpy().astype(np.float64)

    def _steps(self) -> list[Step]:
        return enas_steps(self.space)

    def _weights(self, layers: int, weight: Callable[..., tf.Variable]) -> list[tf.Variable]:
        units = self.units
        self.kernels = [weight(2 * units, 4 * units) for _ in range(layers)]
        self.biases = [weight(4 * units) for _ in range(layers)] if self.gate_bias else []
        self.start = weight(1, units)
        counts = [len(choices) for choices in self.groups]
        self.embeddings = [weight(count, units) for count in counts]
        self.out_kernels = [weight(units, count) for count in counts]
        self.out_biases = []
        if self.op_bias is not None:
            self.out_biases = [
                tf.Variable(np.where(self._favours(choices), self.op_bias, 0.0), dtype=tf.float32)
                for choices in self.groups
            ]
        self.w_prev, self.w_curr, self.v = weight(units, units), weight(units, units), weight(units)
        return [
            *self.kernels, *self.biases, self.start, *self.embeddings, *self.out_kernels,
            *self.out_biases, self.w_prev, self.w_curr, self.v,
        ]  # fmt: skip

    def _favours(self, choices: tuple) -> np.ndarray:
        return np.array([choice in self.favoured for choice in choices])

    def _begin(self, n: int) -> dict:
        zero = tf.zeros([n, self.units])
        return {
            "input": tf.repeat(tf.convert_to_tensor(self.start), n, 0),
            "cells": [(zero, zero) for _ in self.kernels],
            "nodes": [zero] * self.nodes,
        }

    def _ahead(self, state: dict, step: Step) -> tuple[tf.Tensor, dict]:
        if step.decisions:
            return super()._ahead(state, step)
        x, cells = self._cells(state)
        nodes = list(state["nodes"])
        if step.node is not None:
            nodes[step.node] = x
        none = tf.zeros([x.shape[0], 0, self.width])
        return none, {"input": x, "cells": cells, "nodes": nodes}

    def _bounded(self, logits: tf.Tensor, reduce: float = 1.0) -> tf.Tensor:
        if self.temperature is not None:
            logits = logits / self.temperature
        if self.tanh_constant is not None:
            logits = self.tanh_constant / reduce * tf.tanh(logits)
        return logits

    def _logits(self, x: tf.Tensor, decision: int) -> tf.Tensor:
        asked = self.space.decisions[decision]
        group = self.groups.index(asked.choices)
        logits = x @ self.out_kernels[group]
        if self.out_biases:
            logits += self.out_biases[group]
        logits = self._bounded(logits, self.op_tanh_reduce)
        if self.fixed_bias and asked.name.startswith(self.fixed_bias_of):
            sign = np.where(self._favours(asked.choices), 1.0, -1.0)
            logits += tf.constant(self.fixed_bias * sign, tf.float32)
        return logits

    def _attended(self, scores: tf.Tensor, step: Step) -> tf.Tensor:
        q = self._bounded(scores)
        if self.locality is not None and step.node is not None and step.anchors and not step.is_run:
            distances = step.node - np.array(step.anchors, np.float32)
            q -= distances**2 / self.locality
        return super()._attended(2 * q if step.is_run else q, step)  # softmax of [-q, q]

    def _fed(self, state: dict, step: Step, chosen: tf.Tensor) -> dict:
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

    def _terms(self, chosen, masks) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Log-probability, entropy and skip penalty: [n] each."""
        n = chosen.shape[0]
        total, entropy, penalties = tf.zeros([n]), tf.zeros([n]), []
        for step, log_p, answers in self._answers(chosen, masks):
            log_chosen = tf.gather(log_p, answers, batch_dims=2)
            total += tf.reduce_sum(log_chosen, 1)
            if self.entropy_of == CHOSEN:
                entropy -= tf.reduce_sum(tf.exp(log_chosen) * log_chosen, 1)
            else:
                entropy -= tf.reduce_sum(tf.exp(log_p) * log_p, [1, 2])
            if step.is_run:
                penalties.append(self._penalty(log_p))
        penalty = tf.add_n(penalties) / len(penalties) if penalties else tf.zeros([n])
        return total, entropy, penalty

    def _penalty(self, log_p: tf.Tensor) -> tf.Tensor:
        """KL of sigmoid([-q, q]) from [1 - target, target], over all bits: [n].

        The code takes the sigmoid of each logit here, where the choice is a softmax over both.
        """
        q = 0.5 * (log_p[..., 1] - log_p[..., 0])
        log_yes, log_no = tf.math.log_sigmoid(q), tf.math.log_sigmoid(-q)
        yes = tf.exp(log_yes) * (log_yes - np.log(self.skip_target))
        no = tf.exp(log_no) * (log_no - np.log(1 - self.skip_target))
        return tf.reduce_sum(yes + no, 1)

    def _loss(self, chosen, masks, advantages) -> tf.Tensor:
        """The entropy is a part of the reward, and has no gradient of its own."""
        log_p, _, penalty = self._terms(chosen, masks)
        return tf.reduce_mean(self.skip_weight * penalty - advantages * log_p)


def enas_steps(space: Space) -> list[Step]:
    """A space's decisions in the order of the official controllers, with steps without decisions.

    A space whose choices depend on earlier ones is asked in its own order.
    """
    steps = steps_of(space)
    pointed = {a for step in steps for a in step.anchors or ()}
    if not pointed:
        return steps
    found: list[Step] = []
    for node, some in _by_node(steps):
        if not space.is_conditional:
            some = sorted(some, key=lambda s: 2 if s.is_run else int(s.anchors is None))
        known = {step.node for step in found} | {node}
        inputs = sorted({a for s in some for a in s.anchors or () if a >= 0} - known)
        found += [Step((), i, None, False) for i in inputs]
        found += some
        if node is not None and not some[-1].is_run:
            found.append(Step((), node, None, False))
    return found


def _by_node(steps: list[Step]) -> Iterator[tuple[int | None, list[Step]]]:
    """Steps in a row that belong to one node; those of no node are alone."""
    row: list[Step] = []
    for step in steps:
        if row and (step.node is None or step.node != row[0].node):
            yield row[0].node, row
            row = []
        row.append(step)
    if row:
        yield row[0].node, row
