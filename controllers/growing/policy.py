"""A policy that grows networks by a sequence of actions, and its REINFORCE step.

Williams 1992, as Cai et al. 2018 use it (arXiv:1707.04873, arXiv:1806.02639).
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from nas.controllers.growing.controller import Actions
from nas.controllers.policies.adam import Adam
from nas.controllers.policies.settings import AdamSettings
from nas.core.trial import Arch


class GrowingPolicy:
    """Subclasses make their weights with `weight` and then call `begin`.

    Args:
      adam: of the updates.
      entropy_weight: of the policy's entropy in the objective.
      clip_norm: the largest norm of all gradients together; None: they are not clipped.
    """

    def __init__(
        self, adam: AdamSettings, *, entropy_weight: float, clip_norm: float | None = None
    ):
        self.adam_settings, self.entropy_weight, self.clip_norm = adam, entropy_weight, clip_norm
        self.variables: list[tf.Variable] = []

    def weight(self, start: np.ndarray) -> tf.Variable:
        """A learned variable with this initial value."""
        self.variables.append(tf.Variable(start.astype(np.float32)))
        return self.variables[-1]

    def begin(self) -> None:
        """Must be called once, after all weights are made."""
        self.adam = Adam(self.variables, self.adam_settings)

    def sample(self, rng: np.random.Generator) -> tuple[Arch, Actions]:
        """A grown network and the actions that led to it."""
        raise NotImplementedError

    def score(self, actions: Actions) -> tuple[tf.Tensor, tf.Tensor]:
        """Log-probability of all actions, and their entropy: scalars."""
        raise NotImplementedError

    def update(self, episode: list[Actions], advantages: np.ndarray) -> None:
        """One Adam step along the mean of advantage * d log p + entropy_weight * d entropy.

        advantages: [networks of the episode].
        """
        sums = [tf.zeros_like(v) for v in self.variables]
        for actions, advantage in zip(episode, advantages.tolist(), strict=True):
            with tf.GradientTape() as tape:  # one network at a time: its graph is long
                log_p, entropy = self.score(actions)
                loss = -(advantage * log_p + self.entropy_weight * entropy) / len(episode)
            gradients = tape.gradient(
                loss, self.variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
            )
            sums = [s + tf.convert_to_tensor(g) for s, g in zip(sums, gradients, strict=True)]
        if self.clip_norm is not None:
            sums, _ = tf.clip_by_global_norm(sums, self.clip_norm)
        self.adam.step(sums)

    def weights(self) -> list[np.ndarray]:
        """The variables and the optimiser's state."""
        return [np.asarray(v) for v in [*self.variables, *self.adam.saved()]]

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        for variable, value in zip([*self.variables, *self.adam.saved()], weights, strict=True):
            variable.assign(value)
