"""The (1 + lambda) evolution of CGP-CNN (Suganuma et al. 2017, arXiv:1704.00764, section 3).

Each generation has one parent and `children` of it. A child is the parent with each gene changed
with probability `mutation_rate`; this is repeated, from the parent, until the child is a different
network within the space's limits (forced mutation). The best child replaces the parent if it is
strictly better. If none is, the parent's inactive genes are changed with the same probability
(neutral mutation): the network stays the same, but other networks become its neighbours.

Inactive genes are those that are not in the space's `active_genes(arch)` (GeneSpace). In a space
without this method all genes are active, and the neutral mutation changes nothing. Limits are those
of the space's `within_limits(arch)` (LimitedSpace), if it has them.

Departures from the authors' code (sg-nm/cgp-cnn, modified_evolution in cgp.py): there a network is
different if an active gene has changed, here if the space's key has. In a space whose choices
depend on earlier ones, choices that a mutation closes are drawn again. A failed child never
replaces its parent, and any other child replaces a first parent that failed; there a failure has
accuracy 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.controllers.genetic import mutated
from nas.core.capabilities import GeneSpace, LimitedSpace
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial

FAILED = float("-inf")
DRAWS = 10_000  # after this many mutations without a different network the search gives up


class OnePlusLambda:
    """Forced mutations of one parent, and neutral mutations if it stays the parent.

    Args:
      children: of a generation, lambda.
      mutation_rate: probability of each gene to change.
    """

    def __init__(self, space: Space, *, seed: int, children: int = 2, mutation_rate: float = 0.05):
        if children < 1:
            raise ConfigError(
                f"controller.children must be at least 1, got {children}; set controller.children=2"
            )
        if not 0 < mutation_rate <= 1:
            raise ConfigError(
                f"controller.mutation_rate must be in (0, 1], got {mutation_rate}; "
                "set controller.mutation_rate=0.05"
            )
        self.space, self.children, self.mutation_rate = space, children, mutation_rate
        self.rng = np.random.default_rng(seed)
        self.parent = space.sample(self.rng)
        self.reward: float | None = None  # of the parent; None: not evaluated, or failed
        self.other_reward = FAILED  # the reward of another run's best, in that run
        self.started = False  # whether the first parent has been evaluated
        self.asked = 0  # of this generation; the first one is the parent alone
        self.told: list[tuple[Arch, float | None]] = []  # of this generation

    def ask(self, n: int) -> list[Proposal]:
        count = min(n, self._size() - self.asked)
        self.asked += count
        if not self.started:
            return [Proposal(self.parent)] * count
        return [Proposal(self._forced()) for _ in range(count)]

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.id < 0:  # another run's best becomes the first parent, evaluated again
                if _worth(trial.reward) > self.other_reward:
                    self.parent, self.other_reward = trial.arch, _worth(trial.reward)
                continue
            self.told.append((trial.arch, trial.reward))
            if len(self.told) == self._size():
                self._select()
                self.started, self.asked, self.told = True, 0, []

    def state(self) -> dict[str, Any]:
        return {
            "parent": list(self.parent),
            "reward": self.reward,
            "started": self.started,
            "asked": self.asked,
            "told": [[list(arch), reward] for arch, reward in self.told],
            "rng": self.rng.bit_generator.state,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.parent, self.reward = tuple(state["parent"]), state["reward"]
        self.started, self.asked = state["started"], state["asked"]
        self.told = [(tuple(arch), reward) for arch, reward in state["told"]]
        self.rng.bit_generator.state = state["rng"]

    def _size(self) -> int:
        return self.children if self.started else 1

    def _select(self) -> None:
        arch, reward = max(self.told, key=lambda child: _worth(child[1]))  # the first among equals
        if not self.started or _worth(reward) > _worth(self.reward):
            self.parent, self.reward = arch, reward
        else:
            self.parent = self._neutral()

    def _forced(self) -> Arch:
        """A child that is a different network. Raises ConfigError if there seems to be none."""
        key = self.space.key(self.parent)
        limited = self.space if isinstance(self.space, LimitedSpace) else None
        for _ in range(DRAWS):
            child = mutated(self.space, self.parent, self.mutation_rate, self.rng)
            allowed = limited is None or limited.within_limits(child)
            if allowed and self.space.key(child) != key:
                return child
        raise ConfigError(
            f"controller.mutation_rate must be large enough for another network in {DRAWS} "
            f"mutations, got {self.mutation_rate}; set controller.mutation_rate=0.5, or a space "
            "with more to choose"
        )

    def _neutral(self) -> Arch:
        """The parent with other inactive genes."""
        active = set(range(len(self.parent)))
        if isinstance(self.space, GeneSpace):
            active = self.space.active_genes(self.parent)
        return mutated(self.space, self.parent, self.mutation_rate, self.rng, kept=active)


def _worth(reward: float | None) -> float:
    return FAILED if reward is None else reward
