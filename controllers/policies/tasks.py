"""An LSTM policy over several tasks (Wong et al. 2018, arXiv:1803.02780).

At each step the LSTM reads the embedding of the last answer, concatenated with a learned embedding
of the task. The policy takes the task as the first decision, which it is told and never draws.
Every decision is a softmax, even if its choices point at nodes.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nas.controllers.policies.lstm import LSTMPolicy, Step
from nas.controllers.policies.lstm_step import State
from nas.controllers.policies.settings import AdamSettings, LSTMSettings
from nas.core.space import Decision, Space
from nas.core.trial import Arch


class SpaceOfTasks(Space):
    """A space whose first decision is the task."""

    def __init__(self, space: Space, tasks: int):
        self.space = space
        softmaxes = (dataclasses.replace(d, anchors=None) for d in space.decisions)
        self.decisions = (Decision("task", tuple(range(tasks))), *softmaxes)

    def allowed(self, prefix: Arch) -> tuple[int, ...]:
        return self.space.allowed(prefix[1:]) if prefix else tuple(range(self._counts[0]))


class TaskPolicy(LSTMPolicy):
    """The policy of a `SpaceOfTasks`.

    Args:
      task_size: size of a task's embedding; an answer's embedding has lstm.units - task_size.
      entropy_weight: of the policy's entropy in the objective.
      rng: draws the initial weights.
    """

    def __init__(
        self,
        space: SpaceOfTasks,
        lstm: LSTMSettings,
        adam: AdamSettings,
        *,
        task_size: int,
        entropy_weight: float,
        rng: np.random.Generator,
    ):
        self.task_size = task_size
        super().__init__(space, lstm, adam, entropy_weight=entropy_weight, rng=rng, fixed=1)

    def take_over(self, weights: Sequence[np.ndarray]) -> None:
        """Takes another policy's `weights`, except for the tasks' embeddings and Adam's moments.

        Raises ValueError if the shapes differ.
        """
        ours = self.variables[:-1]
        theirs = weights[: len(ours)]
        shapes = [tuple(v.shape) for v in ours], [tuple(w.shape) for w in theirs]
        if len(weights) != len(self.weights()) or shapes[0] != shapes[1]:
            raise ValueError("its policy has other layers, units or sizes of embeddings")
        for variable, value in zip(ours, theirs, strict=True):
            variable.assign(value)

    def _steps(self) -> list[Step]:
        return [Step((i,), d.node, None, False) for i, d in enumerate(self.space.decisions)]

    def _weights(self, layers: int, weight: Callable[..., tf.Variable]) -> list[tf.Variable]:
        answer_size = self.units - self.task_size
        decisions = self.space.decisions[1:]
        self.choices = max(len(decision.choices) for decision in decisions)
        self._lstm_weights(layers, weight)
        self.start = weight(1, answer_size)
        self.embedding = weight(len(decisions) * self.choices, answer_size)
        self.out_kernel = weight(len(decisions), self.units, self.choices)
        self.out_bias = weight(len(decisions), self.choices)
        self.task_embedding = weight(len(self.space.decisions[0].choices), self.task_size)
        return [
            *self.kernels, *self.biases, self.start, self.embedding, self.out_kernel,
            self.out_bias, self.task_embedding,
        ]  # fmt: skip

    def _begun(self, chosen: tf.Tensor) -> dict[str, Any]:
        task = tf.gather(tf.convert_to_tensor(self.task_embedding), chosen[:, 0])
        return super()._begun(chosen) | {"task": task}

    def _cells(self, state: dict[str, Any]) -> tuple[tf.Tensor, list[State]]:
        return super()._cells(state | {"input": tf.concat([state["input"], state["task"]], 1)})

    def _ahead(self, state: dict[str, Any], step: Step) -> tuple[tf.Tensor, dict[str, Any]]:
        p, ahead = super()._ahead(state, step)
        return p, ahead | {"task": state["task"]}

    def _logits(self, x: tf.Tensor, decision: int) -> tf.Tensor:
        count = len(self.space.decisions[decision].choices)
        at = decision - 1
        return (x @ self.out_kernel[at] + self.out_bias[at])[:, :count]

    def _embedded(self, decision: int, chosen: tf.Tensor) -> tf.Tensor:
        rows = (decision - 1) * self.choices + chosen
        return tf.gather(tf.convert_to_tensor(self.embedding), rows)
