"""Proximal policy optimisation of the LSTM controller (Zoph et al. 2018, arXiv:1707.07012,
appendix A.2; the clipped objective of Schulman et al. 2017, arXiv:1707.06347, equation 7).

Departures: instead of the paper's workers' queue, one controller draws `batch_size` architectures
at a time and learns when it has been told as many rewards. Not stated in the paper and chosen here:
an architecture is one action, whose probability is the product over its decisions; the advantage is
the reward minus a moving average, which starts as the mean of the first batch; clip and passes are
those of Schulman et al.; a failed trial has the reward `failure_reward`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.controllers.policies.policy_gradient import check
from nas.controllers.policies.settings import AdamSettings, LSTMSettings
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial

LSTM = LSTMSettings(layers=1, units=100, init_scale=0.1)
ADAM = AdamSettings(learning_rate=0.00035)


class PPO:
    """Samples from an LSTM policy and ascends the clipped objective several times per batch.

    Args:
      lstm, adam: of the policy, and of its updates.
      batch_size: trials per update.
      passes: Adam steps per update, each over the whole batch.
      clip: the objective stops growing when the ratio of the current to the old probability is
        this far from 1.
      baseline_decay: of the moving average of earlier rewards.
      entropy_weight: of the policy's entropy in the objective.
      failure_reward: the reward of a failed trial.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        lstm: LSTMSettings = LSTM,
        adam: AdamSettings = ADAM,
        batch_size: int = 20,
        passes: int = 3,
        clip: float = 0.2,
        baseline_decay: float = 0.95,
        entropy_weight: float = 0.00001,
        failure_reward: float = 0.0,
    ):
        check(batch_size, baseline_decay)
        if passes < 1:
            raise ConfigError(f"controller.passes must be at least 1, got {passes}")
        if not 0.0 < clip < 1.0:
            raise ConfigError(f"controller.clip must be in (0, 1), got {clip}")
        from nas.controllers.policies.lstm import LSTMPolicy

        self.rng = np.random.default_rng(seed)
        self.policy = LSTMPolicy(space, lstm, adam, entropy_weight=entropy_weight, rng=self.rng)
        self.batch_size, self.passes, self.clip = batch_size, passes, clip
        self.baseline_decay = baseline_decay
        self.failure_reward = failure_reward
        self.baseline: float | None = None
        # Drawn and not yet asked for: architecture, log-probability.
        self.drawn: list[tuple[Arch, float]] = []
        # Told and not yet learnt from: architecture, log-probability when drawn, reward.
        self.batch: list[tuple[Arch, float, float]] = []

    def ask(self, n: int) -> list[Proposal]:
        return [self._next() for _ in range(n)]

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            reward = self.failure_reward if trial.reward is None else trial.reward
            log_prob = trial.proposal.notes.get("log_prob")
            if log_prob is None:  # a trial of another run counts as drawn by this policy
                log_prob = float(self.policy.log_prob([trial.arch])[0])
            self.batch.append((trial.arch, log_prob, reward))
            if len(self.batch) == self.batch_size:
                self._learn()

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

    def _next(self) -> Proposal:
        if not self.drawn:  # drawing a whole batch costs hardly more than drawing one
            archs = self.policy.sample(self.batch_size, self.rng)
            self.drawn = list(zip(archs, self.policy.log_prob(archs).numpy().tolist(), strict=True))
        arch, log_prob = self.drawn.pop(0)
        return Proposal(arch, notes={"log_prob": log_prob})

    def _learn(self) -> None:
        archs = [arch for arch, _, _ in self.batch]
        old_log_probs = np.array([log_prob for _, log_prob, _ in self.batch])
        rewards = np.array([reward for _, _, reward in self.batch])
        if self.baseline is None:
            self.baseline = float(rewards.mean())
        advantages = rewards - self.baseline
        for _ in range(self.passes):
            ratios = np.exp(self.policy.log_prob(archs).numpy() - old_log_probs)
            self.policy.update(archs, slopes(ratios, advantages, self.clip))
        for reward in rewards:  # in the order in which they were told
            self.baseline += (1.0 - self.baseline_decay) * (float(reward) - self.baseline)
        self.batch, self.drawn = [], []  # draws of the older policy are no longer asked for


def slopes(ratios: np.ndarray, advantages: np.ndarray, clip: float) -> np.ndarray:
    """The factor of each log-probability's gradient in the gradient of the objective: [batch].

    The objective min(r A, clip(r, 1 - clip, 1 + clip) A) has the gradient r A grad log p where r A
    is the smaller of the two, and the gradient 0 where the clipped term is (Schulman et al. 2017,
    figure 1).

    Args:
      ratios: r, the current probability divided by the old one, [batch].
      advantages: A, [batch].
      clip: see the formula.
    """
    clipped = np.where(advantages > 0, ratios > 1.0 + clip, ratios < 1.0 - clip)
    return np.where(clipped, 0.0, ratios * advantages)
