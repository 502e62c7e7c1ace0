"""Controllers whose networks grow from one trained start: EAS and path-level search.

Cai et al. 2018, arXiv:1707.04873 and arXiv:1806.02639. The start network is trained first; all
other networks take its weights (`evaluator=inherit`). After each episode the policy learns once,
from the tangents of the accuracies minus a baseline. A network that the policy draws again is not
trained again; it pays what it paid (han-cai/EAS, expdir_monitor/arch_manager.py, get_net_vals;
PathLevel-EAS, arch_search_tree_cell.py).

Departures: networks are drawn one at a time, as workers ask for them, and an update follows when an
episode's rewards are there; the codes draw and train a whole episode at once. If the policy draws
known networks alone for EPISODES episodes, one is trained again, so that a search comes to its end.
A failed trial counts as one of accuracy 0. PathLevel-EAS leaves out an update whose rewards are all
equal; here it is made.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from nas.controllers.growing.settings import CODE, START, ZERO, UpdateSettings
from nas.core.trial import Arch, Proposal, Trial

EPISODES = 2  # of known networks in a row, after which one is trained again (ours)
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
      key: equal for architectures that are the same network.
      policy: grows it.
      rng: draws the actions.
      updates: of the policy.
      train_again: whether a network that the policy draws again is trained again.
    """

    def __init__(
        self,
        start: Arch,
        key: Callable[[Arch], object],
        policy: GrowthPolicy,
        rng: np.random.Generator,
        *,
        updates: UpdateSettings,
        train_again: bool,
    ):
        self.first, self.key, self.policy, self.rng = start, key, policy, rng
        self.updates, self.train_again = updates, train_again
        self.begun = False  # whether the start network has been asked for
        self.start: int | None = None  # the id of its trial
        self.baseline = 0.0 if updates.first_baseline == ZERO else None
        self.batch: list[tuple[Actions, float]] = []  # rewarded, not yet learnt from
        self.known: dict[str, float] = {}  # reward of each trained network, by its key
        # Networks in training: the actions of each further time that the policy drew them.
        self.waiting: dict[str, list[Actions]] = {}

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
                if trial.reward is not None and self.updates.first_baseline == START:
                    self.baseline = tan_reward(trial.reward)
                continue
            name, reward = self._name(trial.arch), tan_reward(trial.reward or 0.0)
            self.known[name] = reward
            for actions in [trial.proposal.notes["actions"], *self.waiting.pop(name, [])]:
                self._learn(actions, reward)

    def state(self) -> dict[str, Any]:
        return {
            "rng": self.rng.bit_generator.state,
            "weights": self.policy.weights(),
            "begun": self.begun,
            "start": self.start,
            "baseline": self.baseline,
            "batch": [[actions, reward] for actions, reward in self.batch],
            "known": dict(self.known),
            "waiting": {name: list(drawn) for name, drawn in self.waiting.items()},
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.policy.set_weights(state["weights"])
        self.begun, self.start, self.baseline = state["begun"], state["start"], state["baseline"]
        self.batch = [(actions, reward) for actions, reward in state["batch"]]
        # Older versions trained every network, and kept neither.
        self.known, self.waiting = dict(state.get("known", {})), dict(state.get("waiting", {}))

    def _next(self) -> Proposal:
        """Draws networks until one must be trained; the policy learns from the others."""
        most = 0 if self.train_again else EPISODES * self.updates.episode
        for drawn in range(most + 1):
            arch, actions = self.policy.sample(self.rng)
            name = self._name(arch)
            if drawn == most or (name not in self.known and name not in self.waiting):
                break
            if name in self.known:
                self._learn(actions, self.known[name])
            else:
                self.waiting[name].append(actions)
        self.waiting.setdefault(name, [])
        return Proposal(arch, parent=self.start, notes={"actions": actions})

    def _name(self, arch: Arch) -> str:
        return repr(self.key(arch))

    def _learn(self, actions: Actions, reward: float) -> None:
        """Keeps what a drawn network paid; the policy learns once an episode is complete."""
        self.batch.append((actions, reward))
        if len(self.batch) == self.updates.episode:
            rewards = np.array([reward for _, reward in self.batch])
            advantages = rewards - self._baseline(float(rewards.mean()))
            self.policy.update([actions for actions, _ in self.batch], advantages)
            self.batch = []

    def _baseline(self, mean: float) -> float:
        """What is subtracted from the rewards of an episode with this mean."""
        before = mean if self.baseline is None else self.baseline
        self.baseline = before + (0.95 if self.updates.baseline == CODE else 0.05) * (mean - before)
        return self.baseline if self.updates.baseline == CODE else before


def tan_reward(accuracy: float) -> float:
    """tan(accuracy * pi / 2): near 1 a step is worth more (arXiv:1707.04873, section 3)."""
    return math.tan(min(accuracy, LARGEST_ACCURACY) * math.pi / 2)
