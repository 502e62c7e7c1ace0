"""Controllers whose networks grow from one trained start: EAS and path-level search.

Cai et al. 2018, arXiv:1707.04873 and arXiv:1806.02639. The start network is trained first; all
other networks take its weights (`evaluator=inherit`). After each episode the policy learns once,
from the tangents of the accuracies minus a baseline.

Not known and chosen here: the first episode's mean is the first baseline; a failed trial counts as
one of accuracy 0.
"""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from nas.core.trial import Arch, ConfigError, Proposal, Trial

CODE, PAPER = "code", "paper"
LARGEST_ACCURACY = 0.999  # larger ones count as this: the tangent of 1 is infinite (ours)

Actions = list[list[int]]  # the choices of each decision on the way


class GrowthPolicy(Protocol):
    """Grows a network by a sequence of actions and learns which actions pay."""

    def sample(self, rng: np.random.Generator) -> tuple[Arch, Actions]:
        """A grown network and the actions that led to it."""
        ...

    def update(self, episode: list[Actions], advantages: np.ndarray) -> None:
        """One gradient step. advantages: [networks of the episode]."""
        ...

    def weights(self) -> list[np.ndarray]: ...

    def set_weights(self, weights: Sequence[np.ndarray]) -> None:
        """Takes what `weights` gave."""
        ...


class GrowthController:
    """Grows networks from `start`, whose trial is the parent of all others.

    Args:
      start: the architecture that is trained first.
      policy: grows it.
      rng: draws the actions.
      episode: networks per update.
      baseline: "code": it moves before it is subtracted, 0.95 of the way to the episode's mean;
        "paper": it moves afterwards, 0.05 of the way.
    """

    def __init__(
        self,
        start: Arch,
        policy: GrowthPolicy,
        rng: np.random.Generator,
        *,
        episode: int,
        baseline: str,
    ):
        self.first, self.policy, self.rng = start, policy, rng
        self.episode, self.rule = episode, baseline
        self.begun = False  # whether the start network has been asked for
        self.start: int | None = None  # the id of its trial
        self.baseline: float | None = None
        self.batch: list[tuple[Actions, float]] = []  # told, not yet learnt from

    def ask(self, n: int) -> list[Proposal]:
        if self.start is not None:
            return [self._next() for _ in range(n)]
        if self.begun:
            return []  # all others grow from the network that is being trained
        self.begun = True
        return [Proposal(self.first)]

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.id < 0:
                continue  # a trial of another run: its actions are not known
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
        """What is subtracted from the rewards of an episode with this mean."""
        before = mean if self.baseline is None else self.baseline
        self.baseline = before + (0.95 if self.rule == CODE else 0.05) * (mean - before)
        return self.baseline if self.rule == CODE else before


def tan_reward(accuracy: float) -> float:
    """tan(accuracy * pi / 2): near 1 a step is worth more (arXiv:1707.04873, section 3)."""
    return math.tan(min(accuracy, LARGEST_ACCURACY) * math.pi / 2)


def check(baseline: str, **least: tuple[int, int]) -> None:
    """Raises ConfigError. least: by name of a setting, its value and the smallest allowed one."""
    for name, (value, smallest) in least.items():
        if value < smallest:
            raise ConfigError(f"controller.{name} must be at least {smallest}, got {value}")
    if baseline not in (CODE, PAPER):
        raise ConfigError(f"controller.baseline must be {CODE} or {PAPER}, got {baseline}")
