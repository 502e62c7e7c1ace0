"""The part that controllers with an LSTM policy share: drawing, batches, baseline and state."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.core.trial import Arch, ConfigError, Proposal, Trial

if TYPE_CHECKING:  # it imports TensorFlow
    from nas.controllers.policies.lstm import LSTMPolicy


class PolicyGradient:
    """Draws architectures from a policy and learns from every `batch_size` rewards.

    A subclass says in `_learn` how it learns.

    Args:
      policy: the distribution over architectures.
      rng: draws the samples.
      batch_size: trials per update.
      baseline_decay: of the moving average of rewards that is the baseline.
      baseline: its initial value; None: a subclass sets it.
      failure_reward: the reward of a failed trial.
    """

    def __init__(
        self,
        policy: "LSTMPolicy",
        rng: np.random.Generator,
        *,
        batch_size: int,
        baseline_decay: float,
        baseline: float | None,
        failure_reward: float,
    ):
        self.policy, self.rng = policy, rng
        self.batch_size, self.baseline_decay = batch_size, baseline_decay
        self.baseline, self.failure_reward = baseline, failure_reward
        self.batch: list[tuple[Arch, float]] = []  # told, not yet learnt from

    def ask(self, n: int) -> list[Proposal]:
        return [Proposal(arch) for arch in self.policy.sample(n, self.rng)]

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            reward = self.failure_reward if trial.reward is None else trial.reward
            self.batch.append((self._rewarded(trial), reward))
            if len(self.batch) == self.batch_size:
                self._learn([arch for arch, _ in self.batch], np.array([r for _, r in self.batch]))
                self.batch = []

    def policy_entropy(self, archs: Sequence[Arch]) -> float:
        """The policy's entropy, divided by that of uniform choices: 1 is a uniform policy.

        archs: draws of the policy, from which the entropy is estimated.
        """
        uniform = sum(np.log(len(d.choices)) for d in self.policy.space.decisions)
        return float(-np.mean(self.policy.log_prob(archs)) / uniform)

    def state(self) -> dict[str, Any]:
        return {
            "rng": self.rng.bit_generator.state,
            "weights": self.policy.weights(),
            "baseline": self.baseline,
            "batch": [[list(arch), reward] for arch, reward in self.batch],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.policy.set_weights(state["weights"])
        self.baseline = state["baseline"]
        self.batch = [(tuple(arch), reward) for arch, reward in state["batch"]]

    def _rewarded(self, trial: Trial) -> Arch:
        """The architecture as the policy's space has it."""
        return trial.arch

    def _learn(self, archs: list[Arch], rewards: np.ndarray) -> None:
        """Updates the policy. rewards: [archs]."""
        raise NotImplementedError

    def _move_baseline(self, reward: float) -> float:
        """Moves the baseline towards a reward, from 0 if there is none; returns the result."""
        before = 0.0 if self.baseline is None else self.baseline
        self.baseline = before + (1.0 - self.baseline_decay) * (reward - before)
        return self.baseline


def check(batch_size: int, baseline_decay: float) -> None:
    """Raises ConfigError for settings that no PolicyGradient can have."""
    if batch_size < 1:
        raise ConfigError(f"controller.batch_size must be at least 1, got {batch_size}")
    if not 0.0 <= baseline_decay < 1.0:
        raise ConfigError(f"controller.baseline_decay must be in [0, 1), got {baseline_decay}")
