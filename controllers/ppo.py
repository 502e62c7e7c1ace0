"""Proximal policy optimisation of the LSTM controller (Zoph et al. 2018, arXiv:1707.07012,
appendix A.2; the clipped objective of Schulman et al. 2017, arXiv:1707.06347, equation 7).

The workers' queue of the paper is one controller here that draws `batch_size` architectures at a
time and learns when so many have been told. Not said in the paper and chosen here: an architecture
is one action, whose probability is the product over its decisions; the advantage is the reward less
a moving average, which starts as the mean of the first batch; clip and passes are those of Schulman
et al.; a failed child is paid `failure_reward`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial


class PPO:
    """Samples from an LSTM policy and climbs the clipped objective several times per batch.

    Args:
      layers, units: of the LSTM.
      init_scale: weights start uniform in [-init_scale, init_scale].
      learning_rate: Adam's.
      batch_size: children per update.
      passes: Adam steps per update, each over the whole batch.
      clip: how far from 1 the ratio of new to old probability still pays.
      baseline_decay: of the moving average of previous rewards.
      entropy_weight: of the policy's entropy in the objective.
      failure_reward: what a failed child is paid.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        layers: int = 1,
        units: int = 100,
        init_scale: float = 0.1,
        learning_rate: float = 0.00035,
        batch_size: int = 20,
        passes: int = 3,
        clip: float = 0.2,
        baseline_decay: float = 0.95,
        entropy_weight: float = 0.00001,
        failure_reward: float = 0.0,
    ):
        for name, value in (("batch_size", batch_size), ("passes", passes)):
            if value < 1:
                raise ConfigError(f"controller.{name} must be at least 1, got {value}")
        if not 0.0 < clip < 1.0:
            raise ConfigError(f"controller.clip must be in (0, 1), got {clip}")
        if not 0.0 <= baseline_decay < 1.0:
            raise ConfigError(f"controller.baseline_decay must be in [0, 1), got {baseline_decay}")
        from nas.controllers.policies.lstm import LSTMPolicy

        self.rng = np.random.default_rng(seed)
        self.policy = LSTMPolicy(
            space,
            layers=layers,
            units=units,
            init_scale=init_scale,
            learning_rate=learning_rate,
            entropy_weight=entropy_weight,
            rng=self.rng,
        )
        self.batch_size, self.passes, self.clip = batch_size, passes, clip
        self.baseline_decay = baseline_decay
        self.failure_reward = failure_reward
        self.baseline: float | None = None
        self.drawn: list[tuple[Arch, float]] = []  # not yet asked for, with log-probability
        self.batch: list[tuple[Arch, float, float]] = []  # told, not yet learnt from: with reward

    def ask(self, n: int) -> list[Proposal]:
        return [self._next() for _ in range(n)]

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            reward = self.failure_reward if trial.reward is None else trial.reward
            old = trial.proposal.notes.get("log_prob")
            if old is None:  # of another run: as if drawn by this policy
                old = float(self.policy.log_prob([trial.arch])[0])
            self.batch.append((trial.arch, old, reward))
            if len(self.batch) == self.batch_size:
                self._learn()

    def _next(self) -> Proposal:
        if not self.drawn:  # a whole batch costs hardly more than one
            archs = self.policy.sample(self.batch_size, self.rng)
            self.drawn = list(zip(archs, self.policy.log_prob(archs).numpy().tolist(), strict=True))
        arch, log_prob = self.drawn.pop(0)
        return Proposal(arch, notes={"log_prob": log_prob})

    def _learn(self) -> None:
        archs = [arch for arch, _, _ in self.batch]
        old = np.array([log_prob for _, log_prob, _ in self.batch])
        rewards = np.array([reward for _, _, reward in self.batch])
        if self.baseline is None:
            self.baseline = float(rewards.mean())
        advantages = rewards - self.baseline
        for _ in range(self.passes):
            ratios = np.exp(self.policy.log_prob(archs).numpy() - old)
            self.policy.update(archs, slopes(ratios, advantages, self.clip))
        for reward in rewards:  # in the order they were told
            self.baseline += (1.0 - self.baseline_decay) * (float(reward) - self.baseline)
        self.batch, self.drawn = [], []  # what the older policy drew is not asked for any more

    def state(self) -> dict[str, Any]:
        return {
            "rng": self.rng.bit_generator.state,
            "weights": self.policy.weights(),
            "baseline": self.baseline,
            "drawn": [[list(arch), log_prob] for arch, log_prob in self.drawn],
            "batch": [[list(arch), log_prob, reward] for arch, log_prob, reward in self.batch],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.policy.set_weights(state["weights"])
        self.baseline = state["baseline"]
        self.drawn = [(tuple(arch), log_prob) for arch, log_prob in state["drawn"]]
        self.batch = [(tuple(arch), log_prob, reward) for arch, log_prob, reward in state["batch"]]


def slopes(ratios: np.ndarray, advantages: np.ndarray, clip: float) -> np.ndarray:
    """What each log-probability's gradient is multiplied by: [batch].

    The objective min(r A, clip(r, 1 - clip, 1 + clip) A) has the gradient r A grad log p where r A
    is the smaller, and none where the clipped one is (Schulman et al. 2017, figure 1).

    Args:
      ratios: r, the new probability over the old one, [batch].
      advantages: A, [batch].
    """
    clipped = np.where(advantages > 0, ratios > 1.0 + clip, ratios < 1.0 - clip)
    return np.where(clipped, 0.0, ratios * advantages)
