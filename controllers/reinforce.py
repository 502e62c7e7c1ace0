"""REINFORCE with an LSTM controller (Zoph & Le 2017, arXiv:1611.01578v2, sections 3 and 4.1).

The paper's parameter server with asynchronous replicas is one controller with batches of
`batch_size` children here. Not said in the paper and chosen here: the baseline starts as the mean
of the first batch; after an anchor step the next input is the sum of the chosen anchors over one
more than their number; a failed child is paid `failure_reward`.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial


class PolicyGradient:
    """Draws from a policy, and learns from each `batch_size` children: a subclass says how.

    Args:
      policy: an LSTMPolicy.
      baseline: what the moving average of rewards starts as; None: a subclass sets it.
    """

    def __init__(
        self,
        policy,
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
            self.batch.append((trial.arch, reward))
            if len(self.batch) == self.batch_size:
                self._learn([arch for arch, _ in self.batch], np.array([r for _, r in self.batch]))
                self.batch = []

    def policy_entropy(self, archs: list[Arch]) -> float:
        """Estimated from its own draws, over that of uniform ones: 1 where all is as likely."""
        uniform = sum(np.log(len(d.choices)) for d in self.policy.space.decisions)
        return float(-np.mean(self.policy.log_prob(archs)) / uniform)

    def _learn(self, archs: list[Arch], rewards: np.ndarray) -> None:
        raise NotImplementedError

    def _move_baseline(self, reward: float) -> float:
        """Towards a reward; returns the new one."""
        before = 0.0 if self.baseline is None else self.baseline
        self.baseline = before + (1.0 - self.baseline_decay) * (reward - before)
        return self.baseline

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


class Reinforce(PolicyGradient):
    """Samples from an LSTM policy and follows the gradient of the expected reward.

    Args:
      layers, units: of the LSTM.
      init_scale: weights start uniform in [-init_scale, init_scale].
      learning_rate: Adam's.
      batch_size: children per gradient, whose gradients are averaged.
      baseline_decay: of the moving average of previous rewards.
      entropy_weight: of the policy's entropy in the objective.
      failure_reward: what a failed child is paid.
      samples_per_depth: of a space whose first decision is the depth, so many children have the
        first one, so many the next, and all further ones the last (section 4.1); it is no choice of
        the policy. None: it is a decision like all others.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        layers: int = 2,
        units: int = 35,
        init_scale: float = 0.08,
        learning_rate: float = 0.0006,
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
        policy = LSTMPolicy(
            space,
            layers=layers,
            units=units,
            init_scale=init_scale,
            learning_rate=learning_rate,
            entropy_weight=entropy_weight,
            rng=rng,
            given=0 if samples_per_depth is None else 1,
        )
        super().__init__(
            policy,
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
            archs += self.policy.sample(1, self.rng, given=(depth,))
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
        for reward in rewards.tolist():  # in the order they were told
            self._move_baseline(reward)


def check(batch_size: int, baseline_decay: float) -> None:
    """Raises ConfigError for settings of a PolicyGradient that are none."""
    if batch_size < 1:
        raise ConfigError(f"controller.batch_size must be at least 1, got {batch_size}")
    if not 0.0 <= baseline_decay < 1.0:
        raise ConfigError(f"controller.baseline_decay must be in [0, 1), got {baseline_decay}")


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
