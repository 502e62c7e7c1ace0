"""Adam (Kingma & Ba 2015), with its moments in plain sight so that a controller's state has them.

`Adam` updates the TensorFlow variables of a policy, `TableAdam` a numpy table of logits without
TensorFlow. They differ in where epsilon is added, and saved runs need both to stay as they are:
`Adam` adds it to the root of the uncorrected second moment (the efficient form that ends section 2
of the paper, which TensorFlow has too), `TableAdam` to the corrected one (Algorithm 1, as PyTorch).
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.controllers.policies.settings import AdamSettings

if TYPE_CHECKING:
    import tensorflow as tf


class Adam:
    """Gradient descent on TensorFlow variables.

    Attributes:
      moments: the first and the second moment of each variable, in turn.
      updates: the number of steps taken.
    """

    def __init__(self, variables: Sequence["tf.Variable"], settings: AdamSettings):
        import tensorflow as tf

        self.variables, self.settings = variables, settings
        self.moments = [tf.Variable(tf.zeros_like(v)) for v in variables for _ in range(2)]
        self.updates = tf.Variable(0.0)

    def saved(self) -> list["tf.Variable"]:
        """The variables that a state must hold, besides those that are optimised."""
        return [*self.moments, self.updates]

    def step(self, gradients: Sequence["tf.Tensor"]) -> None:
        """One step against the gradients, one for each variable."""
        import tensorflow as tf

        self.updates.assign_add(1.0)
        t, beta_1, beta_2 = self.updates, self.settings.beta_1, self.settings.beta_2
        rate = self.settings.learning_rate * tf.sqrt(1 - beta_2**t) / (1 - beta_1**t)
        for k, (gradient, variable) in enumerate(zip(gradients, self.variables, strict=True)):
            first, second = self.moments[2 * k], self.moments[2 * k + 1]
            first.assign(beta_1 * first + (1 - beta_1) * gradient)
            second.assign(beta_2 * second + (1 - beta_2) * gradient * gradient)
            variable.assign_sub(rate * first / (tf.sqrt(second) + self.settings.epsilon))


class TableAdam:
    """Gradient ascent on a numpy array, with the paper's betas and epsilon."""

    def __init__(self, shape: tuple[int, ...], learning_rate: float):
        self.learning_rate = learning_rate
        self.moment, self.square = np.zeros(shape), np.zeros(shape)
        self.updates = 0

    def step(self, gradient: np.ndarray) -> np.ndarray:
        """What to add to the array. gradient: of the array's shape, as the result."""
        self.updates += 1
        self.moment = 0.9 * self.moment + 0.1 * gradient
        self.square = 0.999 * self.square + 0.001 * gradient**2
        first = self.moment / (1 - 0.9**self.updates)
        second = self.square / (1 - 0.999**self.updates)
        return self.learning_rate * first / (np.sqrt(second) + 1e-8)

    def state(self) -> dict[str, Any]:
        return {"moment": self.moment, "square": self.square, "updates": self.updates}

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes what `state` gave; other entries are ignored."""
        self.moment, self.square = np.array(state["moment"]), np.array(state["square"])
        self.updates = state["updates"]
