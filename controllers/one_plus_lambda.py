"""The (1 + lambda) evolution of CGP-CNN (Suganuma et al. 2017, arXiv:1704.00764, section 3).

One parent, and in each generation `children` of it. A child is the parent with each gene changed
with probability `mutation_rate`; this is repeated, from the parent, until it is another network and
within the space's limits (forced mutation). The best child replaces the parent if it is strictly
better. If none is, the parent's genes that do not matter are changed with the same probability
(neutral mutation): the same network, with other networks near.

Genes that do not matter are those that a space's `active_genes(arch)` leaves out. Of a space
without such a method all genes matter, and the neutral mutation changes nothing. Limits are those
of a space's `within_limits(arch)`, if it has one.

Departures from the authors' code (sg-nm/cgp-cnn, modified_evolution in cgp.py). There a network is
another one when an active gene has changed, here when the space's key has. What a mutation closes,
in a space whose choices depend on earlier ones, is drawn again. A failed child never replaces its
parent, and any other child replaces a first parent that failed; there a failure has accuracy 0.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.controllers.genetic import mutated
from nas.core.capabilities import GeneSpace, LimitedSpace
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial

FAILED = float("-inf")
DRAWS = 10_000  # mutations in a row that change nothing: the rate or the space is too small


class OnePlusLambda:
    """Forced mutation of one parent, neutral mutation of one that stays.

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
        self.found = FAILED  # the reward that another run's best had there
        self.started = False  # whether the first parent has been evaluated
        self.asked = 0  # of this generation, which the first parent is alone in
        self.told: list[tuple[Arch, float | None]] = []  # of this generation

    def ask(self, n: int) -> list[Proposal]:
        count = min(n, self._size() - self.asked)
        self.asked += count
        if not self.started:
            return [Proposal(self.parent)] * count
        return [Proposal(self._forced()) for _ in range(count)]

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.id < 0:  # the best of another run is the first parent, evaluated here anew
                if _worth(trial.reward) > self.found:
                    self.parent, self.found = trial.arch, _worth(trial.reward)
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
        arch, reward = max(self.told, key=lambda child: _worth(child[1]))  # the first of equals
        if not self.started or _worth(reward) > _worth(self.reward):
            self.parent, self.reward = arch, reward
        else:
            self.parent = self._neutral()

    def _forced(self) -> Arch:
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
        matter = set(range(len(self.parent)))
        if isinstance(self.space, GeneSpace):
            matter = self.space.active_genes(self.parent)
        return mutated(self.space, self.parent, self.mutation_rate, self.rng, kept=matter)


def _worth(reward: float | None) -> float:
    return FAILED if reward is None else reward
