"""An LSTM policy over several tasks (Wong et al. 2018, arXiv:1803.02780).

The embedding of the last answer is concatenated with a learned embedding of the task at each step.
To the policy the task is the first decision, which is told and never drawn. Every decision is a
softmax, also where choices point at nodes.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from nas.controllers.policies.lstm import LSTMPolicy, Step
from nas.core.space import Decision, Space
from nas.core.trial import Arch


class Tasks(Space):
    """A space with the task in front of its decisions."""

    def __init__(self, space: Space, tasks: int):
        self.space = space
        plain = (dataclasses.replace(d, anchors=None) for d in space.decisions)
        self.decisions = (Decision("task", tuple(range(tasks))), *plain)

    def allowed(self, prefix: Arch) -> tuple[int, ...]:
        return self.space.allowed(prefix[1:]) if prefix else tuple(range(self._counts[0]))


class TaskPolicy(LSTMPolicy):
    """Of a `Tasks` space. task_size: of a task's embedding; an answer's has units - task_size."""

    def __init__(self, space: Tasks, *, task_size: int, **settings):
        self.task_size = task_size
        super().__init__(space, given=1, **settings)

    def take_over(self, weights: list) -> None:
        """What another policy's `weights` gave, but for the tasks' embeddings and the moments.

        Raises ValueError where the shapes are others.
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
        units, answer = self.units, self.units - self.task_size
        decisions = self.space.decisions[1:]
        self.choices = max(len(decision.choices) for decision in decisions)
        self.kernels = [weight(2 * units, 4 * units) for _ in range(layers)]
        self.biases = [weight(4 * units) for _ in range(layers)]
        self.start = weight(1, answer)
        self.embedding = weight(len(decisions) * self.choices, answer)
        self.out_kernel = weight(len(decisions), units, self.choices)
        self.out_bias = weight(len(decisions), self.choices)
        self.task_embedding = weight(len(self.space.decisions[0].choices), self.task_size)
        return [
            *self.kernels, *self.biases, self.start, self.embedding, self.out_kernel,
            self.out_bias, self.task_embedding,
        ]  # fmt: skip

    def _begun(self, chosen) -> dict:
        task = tf.gather(tf.convert_to_tensor(self.task_embedding), chosen[:, 0])
        return super()._begun(chosen) | {"task": task}

    def _cells(self, state: dict):
        return super()._cells(state | {"input": tf.concat([state["input"], state["task"]], 1)})

    def _ahead(self, state: dict, step: Step) -> tuple[tf.Tensor, dict]:
        p, ahead = super()._ahead(state, step)
        return p, ahead | {"task": state["task"]}

    def _logits(self, x: tf.Tensor, decision: int) -> tf.Tensor:
        count = len(self.space.decisions[decision].choices)
        at = decision - 1
        return (x @ self.out_kernel[at] + self.out_bias[at])[:, :count]

    def _embedded(self, decision: int, chosen: tf.Tensor) -> tf.Tensor:
        rows = (decision - 1) * self.choices + chosen
        return tf.gather(tf.convert_to_tensor(self.embedding), rows)
