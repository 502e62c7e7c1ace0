"""A policy that grows networks by a sequence of actions, and its REINFORCE step.

Williams 1992, as Cai et al. 2018 use it (arXiv:1707.04873, arXiv:1806.02639).
"""

import numpy as np
import tensorflow as tf

from nas.core.trial import Arch

Actions = list[list[int]]  # of each decision on the way, what was chosen


class GrowingPolicy:
    """Subclasses make their weights by `weight`, then call `begin`.

    Args:
      learning_rate: Adam's.
      entropy_weight: of the policy's entropy in the objective.
      clip_norm: of all gradients together; None: they are not clipped.
    """

    def __init__(
        self, *, learning_rate: float, entropy_weight: float, clip_norm: float | None = None
    ):
        self.learning_rate, self.entropy_weight = learning_rate, entropy_weight
        self.clip_norm = clip_norm
        self.variables: list[tf.Variable] = []

    def weight(self, start: np.ndarray) -> tf.Variable:
        self.variables.append(tf.Variable(start.astype(np.float32)))
        return self.variables[-1]

    def begin(self) -> None:
        """All weights are made."""
        self.moments = [tf.Variable(tf.zeros_like(v)) for v in self.variables for _ in range(2)]
        self.updates = tf.Variable(0.0)

    def sample(self, rng: np.random.Generator) -> tuple[Arch, Actions]:
        """A grown network and the actions that led to it."""
        raise NotImplementedError

    def score(self, actions: Actions) -> tuple[tf.Tensor, tf.Tensor]:
        """Log-probability and entropy of all actions together."""
        raise NotImplementedError

    def update(self, episode: list[Actions], advantages: np.ndarray) -> None:
        """One Adam step along the mean over networks of advantage * d log p, and the entropy's."""
        sums = [tf.zeros_like(v) for v in self.variables]
        for actions, advantage in zip(episode, advantages.tolist(), strict=True):
            with tf.GradientTape() as tape:  # a network at a time: its graph is long
                log_p, entropy = self.score(actions)
                loss = -(advantage * log_p + self.entropy_weight * entropy) / len(episode)
            gradients = tape.gradient(
                loss, self.variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            sums = [s + tf.convert_to_tensor(g) for s, g in zip(sums, gradients, strict=True)]
        if self.clip_norm is not None:
            sums, _ = tf.clip_by_global_norm(sums, self.clip_norm)
        self._adam(sums)

    def weights(self) -> list[np.ndarray]:
        return [np.asarray(v) for v in [*self.variables, *self.moments, self.updates]]

    def set_weights(self, weights: list[np.ndarray]) -> None:
        every = [*self.variables, *self.moments, self.updates]
        for variable, value in zip(every, weights, strict=True):
            variable.assign(value)

    def _adam(self, gradients: list[tf.Tensor]) -> None:
        """Kingma & Ba 2015, Algorithm 1, its moments in plain sight so that they are saved."""
        self.updates.assign_add(1.0)
        t = self.updates
        rate = self.learning_rate * tf.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        for k, (g, v) in enumerate(zip(gradients, self.variables, strict=True)):
            m, s = self.moments[2 * k], self.moments[2 * k + 1]
            m.assign(0.9 * m + 0.1 * g)
            s.assign(0.999 * s + 0.001 * g * g)
            v.assign_sub(rate * m / (tf.sqrt(s) + 1e-8))


def lstm_step(x, state, kernel, bias):
    """One step of an LSTM: the new (h, c)."""
    h, c = state
    i, f, g, o = tf.split(tf.concat([x, h], 1) @ kernel + bias, 4, 1)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    return tf.sigmoid(o) * tf.tanh(c), c
