"""Networks that grow from one trained start, and a policy that learns how: EAS, path-level search.

Cai et al. 2018, arXiv:1707.04873 and arXiv:1806.02639. The start network is trained; all others
take its weights (`evaluator=inherit`). After each episode the policy learns once, from the tangent
of the accuracies less a baseline.

Not known and chosen here: the first episode's mean is the first baseline; a failed network is paid
as one of accuracy 0.
"""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.core.trial import Arch, ConfigError, Proposal, Trial

if TYPE_CHECKING:
    from nas.controllers.growing.policy import Actions, GrowingPolicy

CODE, PAPER = "code", "paper"
MOST = 0.999  # a larger accuracy is paid as this: the tangent of 1 is infinite (ours)


class Growing:
    """Grows networks from `start`, whose trial is the parent of all others.

    Args:
      episode: networks per update.
      baseline: code: it moves before it is subtracted, 0.95 of the way to the new episode's mean;
        paper: it moves afterwards, 0.05 of the way.
    """

    def __init__(
        self,
        start: Arch,
        policy: "GrowingPolicy",
        rng: np.random.Generator,
        *,
        episode: int,
        baseline: str,
    ):
        self.first, self.policy, self.rng = start, policy, rng
        self.episode, self.rule = episode, baseline
        self.begun = False  # whether the start network has been asked for
        self.start: int | None = None  # its trial
        self.baseline: float | None = None
        self.batch: list[tuple[Actions, float]] = []  # told, not yet learnt from

    def ask(self, n: int) -> list[Proposal]:
        if self.start is not None:
            return [self._next() for _ in range(n)]
        if self.begun:
            return []  # everything grows from the one that is being trained
        self.begun = True
        return [Proposal(self.first)]

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.id < 0:
                continue  # of another run: its actions are not known
            if "actions" not in trial.proposal.notes:
                self.begun = trial.reward is not None  # a start that failed is asked for again
                self.start = trial.id if self.begun else None
                continue
            self.batch.append((trial.proposal.notes["actions"], tan_reward(trial.reward or 0.0)))
            if len(self.batch) == self.episode:
                rewards = np.array([reward for _, reward in self.batch])
                advantages = rewards - self._baseline(float(rewards.mean()))
                self.policy.update([actions for actions, _ in self.batch], advantages)
                self.batch = []

    def state(self) -> dict[str, Any]:
        return {
            "rng": self.rng.bit_generator.state,
            "weights": self.policy.weights(),
            "begun": self.begun,
            "start": self.start,
            "baseline": self.baseline,
            "batch": [[actions, reward] for actions, reward in self.batch],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.policy.set_weights(state["weights"])
        self.begun, self.start, self.baseline = state["begun"], state["start"], state["baseline"]
        self.batch = [(actions, reward) for actions, reward in state["batch"]]

    def _next(self) -> Proposal:
        arch, actions = self.policy.sample(self.rng)
        return Proposal(arch, parent=self.start, notes={"actions": actions})

    def _baseline(self, mean: float) -> float:
        """What is subtracted from an episode's rewards, whose mean is given."""
        before = mean if self.baseline is None else self.baseline
        self.baseline = before + (0.95 if self.rule == CODE else 0.05) * (mean - before)
        return self.baseline if self.rule == CODE else before


def tan_reward(accuracy: float) -> float:
    """tan(accuracy * pi / 2): near 1 a step is worth more (arXiv:1707.04873, section 3)."""
    return math.tan(min(accuracy, MOST) * math.pi / 2)


def check(baseline: str, **least: tuple[int, int]) -> None:
    """Raises ConfigError. least: of numbers, by name, the value and the least that it may be."""
    for name, (value, lowest) in least.items():
        if value < lowest:
            raise ConfigError(f"controller.{name} must be at least {lowest}, got {value}")
    if baseline not in (CODE, PAPER):
        raise ConfigError(f"controller.baseline must be {CODE} or {PAPER}, got {baseline}")
