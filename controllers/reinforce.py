"""REINFORCE with an LSTM controller (Zoph & Le 2017, arXiv:1611.01578v2, sections 3 and 4.1).

Departures: the paper's parameter server with asynchronous replicas is one controller here, which
learns from batches of `batch_size` trials. Not stated in the paper and chosen here: the baseline
starts as the mean of the first batch; after an anchor step the next input is the sum of the chosen
anchors' states, divided by one plus their number; a failed trial has the reward `failure_reward`.
"""

from typing import Any

import numpy as np

from nas.controllers.policies.policy_gradient import PolicyGradient, check
from nas.controllers.policies.settings import AdamSettings, LSTMSettings
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal

LSTM = LSTMSettings(layers=2, units=35, init_scale=0.08)
ADAM = AdamSettings(learning_rate=0.0006)


class Reinforce(PolicyGradient):
    """Samples from an LSTM policy and follows the gradient of the expected reward.

    Args:
      lstm, adam: of the policy, and of its updates.
      batch_size: trials per update, whose gradients are averaged.
      baseline_decay: of the moving average of earlier rewards.
      entropy_weight: of the policy's entropy in the objective.
      failure_reward: the reward of a failed trial.
      samples_per_depth: for a space whose first decision is the depth: this many architectures have
        the first depth, as many the second and so on, and all further ones the last (section 4.1);
        the policy does not choose the depth. None: the depth is a decision like all others.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        lstm: LSTMSettings = LSTM,
        adam: AdamSettings = ADAM,
        batch_size: int = 8,
        baseline_decay: float = 0.95,
        entropy_weight: float = 0.0,
        failure_reward: float = 0.0,
        samples_per_depth: int | None = None,
    ):
        check(batch_size, baseline_decay)
        _check_depth(space, samples_per_depth)
        from nas.controllers.policies.lstm import LSTMPolicy

        self.samples_per_depth = samples_per_depth
        self.depths = len(space.decisions[0].choices)
        self.asked = 0
        rng = np.random.default_rng(seed)
        fixed = 0 if samples_per_depth is None else 1
        super().__init__(
            LSTMPolicy(space, lstm, adam, entropy_weight=entropy_weight, rng=rng, fixed=fixed),
            rng,
            batch_size=batch_size,
            baseline_decay=baseline_decay,
            baseline=None,
            failure_reward=failure_reward,
        )

    def ask(self, n: int) -> list[Proposal]:
        if self.samples_per_depth is None:
            return super().ask(n)
        archs: list[Arch] = []
        for i in range(self.asked, self.asked + n):
            depth = min(i // self.samples_per_depth, self.depths - 1)
            archs += self.policy.sample(1, self.rng, first=(depth,))
        self.asked += n
        return [Proposal(arch) for arch in archs]

    def state(self) -> dict[str, Any]:
        return super().state() | {"asked": self.asked}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.asked = state["asked"]

    def _learn(self, archs: list[Arch], rewards: np.ndarray) -> None:
        if self.baseline is None:
            self.baseline = float(rewards.mean())
        self.policy.update(archs, rewards - self.baseline)
        for reward in rewards.tolist():  # in the order in which they were told
            self._move_baseline(reward)


def _check_depth(space: Space, samples_per_depth: int | None) -> None:
    if samples_per_depth is None:
        return
    if samples_per_depth < 1:
        raise ConfigError(
            f"controller.samples_per_depth must be null or at least 1, got {samples_per_depth}; "
            "set controller.samples_per_depth=null"
        )
    if space.decisions[0].name != "depth":
        raise ConfigError(
            "controller.samples_per_depth must be null where the space's first decision is not its "
            f"depth, got {samples_per_depth} with {type(space).__name__}; set "
            "controller.samples_per_depth=null, or space=zoph2017 space.layers=[6,8]"
        )
