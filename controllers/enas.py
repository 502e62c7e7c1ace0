"""REINFORCE of ENAS (Pham et al. 2018, arXiv:1802.03268, section 2.2; official code,
general_controller.py and micro_controller.py; enas_lm), with the policy of policies/enas.py.

The reward is the trial's plus entropy_weight times the entropy of the architecture's decisions. The
baseline starts at 0 and moves towards each reward before the advantage is formed. A penalty in the
loss draws the share of skip connections to skip_target. The defaults are those of the official
macro search.

What the code calls aggregation, the mean gradient of several replicas, is a batch here. Not stated
in the paper and chosen here: a failed trial has the reward `failure_reward`.
"""

from typing import TYPE_CHECKING

import numpy as np

from nas.controllers.policies.policy_gradient import PolicyGradient, check
from nas.controllers.policies.settings import (
    AdamSettings,
    LogitShaping,
    LSTMSettings,
    Regularization,
)
from nas.core.space import Space
from nas.core.trial import Arch

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
        failure_reward: float = 0.0,
    ):
        check(batch_size, baseline_decay)
        from nas.controllers.policies.enas import ENASPolicy

        self.entropy_weight = regularization.entropy_weight
        rng = np.random.default_rng(seed)
        super().__init__(
            ENASPolicy(space, lstm, adam, logits, regularization, rng=rng),
            rng,
            batch_size=batch_size,
            baseline_decay=baseline_decay,
            baseline=0.0,
            failure_reward=failure_reward,
        )

    def _learn(self, archs: list[Arch], rewards: np.ndarray) -> None:
        entropies, _ = self.policy.terms(archs)
        rewards = rewards + self.entropy_weight * entropies
        baselines = np.array([self._move_baseline(reward) for reward in rewards.tolist()])
        self.policy.update(archs, rewards - baselines)
