"""Regularized evolution (Real et al. 2019, arXiv:1802.01548, Algorithm 1).

The paper's CIFAR-10 run has a population of 100, samples of 25 and 20,000 models.

A failed child does not enter the population, so no member dies for it. The paper and the code that
follows it (AutoDL-Projects, exps/NATS-algos/regularized_ea.py) know no failures: each of their
models has an accuracy. If a failure made the oldest member die, a run of failures would leave no
parents; if it entered with the worst accuracy, it would only make the population smaller.

Departures: none but this.
"""

import collections
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial

_reward_of = operator.itemgetter(1)  # a member is (architecture, reward)


class RegularizedEvolution:
    """Mutates the best of a random sample; the oldest member dies.

    Args:
      population_size: members, P.
      sample_size: members drawn with replacement, S.
    """

    def __init__(
        self, space: Space, *, seed: int, population_size: int = 100, sample_size: int = 25
    ):
        if not 1 <= sample_size <= population_size:
            raise ConfigError(
                "controller.sample_size must be in [1, controller.population_size="
                f"{population_size}], got {sample_size}"
            )
        self.space = space
        self.population_size = population_size
        self.sample_size = sample_size
        self.rng = np.random.default_rng(seed)
        self.population: collections.deque[tuple[Arch, float]] = collections.deque(
            maxlen=population_size
        )  # oldest first

    def ask(self, n: int) -> list[Proposal]:
        return [Proposal(self._next()) for _ in range(n)]

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.reward is not None:  # a failed trial never becomes a parent
                self.population.append((trial.arch, trial.reward))

    def state(self) -> dict[str, Any]:
        return {
            "population": [[list(arch), reward] for arch, reward in self.population],
            "rng": self.rng.bit_generator.state,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.population.clear()
        self.population.extend((tuple(arch), reward) for arch, reward in state["population"])
        self.rng.bit_generator.state = state["rng"]

    def _next(self) -> Arch:
        if len(self.population) < self.population_size:
            return self.space.sample(self.rng)
        population, size = self.population, self.population_size
        draws = self.rng.random(self.sample_size).tolist()  # with replacement
        parent, _ = max([population[int(u * size)] for u in draws], key=_reward_of)
        return self.space.mutate(parent, self.rng)
