"""REINFORCE of ENAS (Pham et al. 2018, arXiv:1802.03268, section 2.2; official code,
general_controller.py and micro_controller.py; enas_lm), with the policy of policies/enas.py.

The reward is the trial's plus entropy_weight times the entropy of the architecture's decisions. The
baseline starts at 0 and moves towards each reward before the advantage is formed. With
baseline_trials it is that of NAS-Bench-201's code (AutoDL-Projects, ENAS.py, lines 128-152 and
409-416): it stands still for so many trials, each of which is compared with where it alone would
move the baseline; the last of them moves it. The first of them are compared with their own
accuracy, which leaves the entropy. A penalty in the
loss draws the share of skip connections to skip_target. The defaults are those of the official
macro search.

What the code calls aggregation, the mean gradient of several replicas, is a batch here. Not stated
in the paper and chosen here: a failed trial has the reward `failure_reward`.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from nas.controllers.policies.policy_gradient import PolicyGradient, check
from nas.controllers.policies.settings import (
    AdamSettings,
    LogitShaping,
    LSTMSettings,
    Regularization,
)
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError

if TYPE_CHECKING:  # it imports TensorFlow
    from nas.controllers.policies.enas import ENASPolicy

LSTM = LSTMSettings(layers=1, units=64, init_scale=0.1, gate_bias=False)
ADAM = AdamSettings(learning_rate=0.001, beta_1=0.0, beta_2=0.999, epsilon=0.001)
LOGITS = LogitShaping()
REGULARIZATION = Regularization()


class ENAS(PolicyGradient):
    """Follows the gradient of the expected reward.

    Args:
      lstm, logits: of the policy.
      adam: of its updates.
      regularization: what is added to the reward and to the loss.
      batch_size: trials per update, whose gradients are averaged.
      baseline_decay: of the moving average of rewards.
      baseline_trials: after which the baseline moves; 1: it moves with each.
      failure_reward: the reward of a failed trial.
    """

    policy: "ENASPolicy"

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        lstm: LSTMSettings = LSTM,
        adam: AdamSettings = ADAM,
        logits: LogitShaping = LOGITS,
        regularization: Regularization = REGULARIZATION,
        batch_size: int = 20,
        baseline_decay: float = 0.99,
        baseline_trials: int = 1,
        failure_reward: float = 0.0,
    ):
        check(batch_size, baseline_decay)
        if baseline_trials < 1:
            raise ConfigError(
                f"controller.baseline_trials must be at least 1, got {baseline_trials}"
            )
        from nas.controllers.policies.enas import ENASPolicy

        self.entropy_weight = regularization.entropy_weight
        self.baseline_trials, self.since_moved = baseline_trials, 0
        rng = np.random.default_rng(seed)
        super().__init__(
            ENASPolicy(space, lstm, adam, logits, regularization, rng=rng),
            rng,
            batch_size=batch_size,
            baseline_decay=baseline_decay,
            baseline=0.0 if baseline_trials == 1 else None,
            failure_reward=failure_reward,
        )

    def _learn(self, archs: list[Arch], rewards: np.ndarray) -> None:
        entropies, _ = self.policy.terms(archs)
        self.policy.update(archs, self._advantages(rewards, entropies))

    def _advantages(self, rewards: np.ndarray, entropies: np.ndarray) -> np.ndarray:
        """Rewards, with the entropy's part, minus their baselines: [archs]. Moves the baseline."""
        with_entropy = rewards + self.entropy_weight * entropies
        pairs = zip(with_entropy.tolist(), rewards.tolist(), strict=True)
        return with_entropy - np.array([self._compared_with(*pair) for pair in pairs])

    def _compared_with(self, reward: float, alone: float) -> float:
        """The baseline of a reward. alone: the reward without the entropy."""
        if self.baseline_trials == 1:
            return self._move_baseline(reward)
        before = self.baseline
        moved = alone if before is None else self._move_baseline(reward)
        self.since_moved = (self.since_moved + 1) % self.baseline_trials
        self.baseline = before if self.since_moved else moved
        return moved

    def state(self) -> dict[str, Any]:
        if self.baseline_trials == 1:
            return super().state()
        return super().state() | {"since_moved": self.since_moved}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.since_moved = state.get("since_moved", 0)
