"""The evolution of SPOS: generations of mutants and crossovers of the best architectures so far.

Guo et al. 2020 (arXiv:1904.00420, section 3.4); official code, src/Search/search.py. A generation
consists of mutants of the best architectures, then of crossovers of them, then of random ones. The
best are those of all generations. No architecture is proposed twice, and none above the limit of
multiply-adds. The first generation is random.

Departures: the official code evaluates one more generation after its last selection, which nothing
reads; a search here ends after `max_trials`, so 20 generations of 50 are max_trials=1000. It draws
candidates in tens and throws away what it does not need of the last ten; here each is drawn when it
is needed. A gene whose choice is closed by an earlier one (no space of the paper has such) is drawn
again among the open choices. After many draws in vain a generation stays smaller, where the
official code would draw for ever; if a generation stays empty, the search ends.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nas.core.space import Cost, Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial

ATTEMPTS = 10  # draws for each mutant and each crossover (official code: mutation_num * 10)
RANDOM_ATTEMPTS = 1000  # draws in a row that find no random architecture


class SPOS:
    """Mutation, crossover and random architectures, in generations.

    Args:
      cost: the costs of an architecture, which max_flops needs; None: they are not known.
      population_size: architectures of a generation.
      parents: how many of the best architectures so far can be parents.
      mutants, crossovers: architectures of a generation that are made so; the others are random.
      mutation_rate: probability that a mutant draws a gene again, perhaps the same.
      max_flops: multiply-adds that an architecture may have; None: no limit.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        cost: Callable[[Arch], Cost] | None,
        population_size: int = 50,
        parents: int = 10,
        mutants: int = 25,
        crossovers: int = 25,
        mutation_rate: float = 0.1,
        max_flops: float | None = None,
    ):
        _check(population_size, parents, mutants, crossovers, mutation_rate)
        if max_flops is not None and cost is None:
            raise ConfigError(
                "controller.max_flops must be null where no costs are known, got "
                f"{max_flops}; set controller.max_flops=null"
            )
        self.space, self.cost = space, cost
        self.population_size, self.parents = population_size, parents
        self.mutants, self.crossovers, self.mutation_rate = mutants, crossovers, mutation_rate
        self.max_flops = max_flops
        self.rng = np.random.default_rng(seed)
        self.generation: list[Arch] = []
        self.asked = self.told = 0  # architectures of this generation
        self.proposed: set[Arch] = set()  # of all generations
        self.best: list[tuple[Arch, float]] = []  # with rewards, the best first

    def ask(self, n: int) -> list[Proposal]:
        if self.told == len(self.generation):
            self.generation, self.asked, self.told = self._next(), 0, 0
        first, self.asked = self.asked, min(self.asked + n, len(self.generation))
        return [Proposal(arch) for arch in self.generation[first : self.asked]]

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.id >= 0:
                self.told += 1
            self.proposed.add(trial.arch)
            if trial.reward is not None:
                self.best.append((trial.arch, trial.reward))
        # Parents are drawn between generations alone, so their order may be settled at any time.
        self.best = sorted(self.best, key=lambda member: -member[1])[: self.parents]

    def state(self) -> dict[str, Any]:
        return {
            "generation": [list(arch) for arch in self.generation],
            "asked": self.asked,
            "told": self.told,
            "proposed": [list(arch) for arch in sorted(self.proposed)],
            "best": [[list(arch), reward] for arch, reward in self.best],
            "rng": self.rng.bit_generator.state,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.generation = [tuple(arch) for arch in state["generation"]]
        self.asked, self.told = state["asked"], state["told"]
        self.proposed = {tuple(arch) for arch in state["proposed"]}
        self.best = [(tuple(arch), reward) for arch, reward in state["best"]]
        self.rng.bit_generator.state = state["rng"]

    def _next(self) -> list[Arch]:
        """The generation after this one."""
        members: list[Arch] = []
        if self.best:
            for draw, count in ((self._mutant, self.mutants), (self._crossover, self.crossovers)):
                members += self._drawn(draw, count, ATTEMPTS * count)
        missing = self.population_size - len(members)
        members += self._drawn(lambda: self.space.sample(self.rng), missing, None)
        if not members and not self.proposed:
            raise ConfigError(
                "controller.max_flops must allow some architecture, but each of "
                f"{RANDOM_ATTEMPTS} random ones has more than {self.max_flops} multiply-adds; set "
                "controller.max_flops=null"
            )
        return members

    def _drawn(self, draw: Callable[[], Arch], count: int, attempts: int | None) -> list[Arch]:
        """`count` legal architectures, fewer after `attempts` draws.

        attempts: None: fewer after RANDOM_ATTEMPTS draws in a row that are not legal.
        """
        members: list[Arch] = []
        draws = in_vain = 0
        while len(members) < count and (
            in_vain < RANDOM_ATTEMPTS if attempts is None else draws < attempts
        ):
            arch = draw()
            draws += 1
            in_vain += 1
            if self._is_legal(arch):
                self.proposed.add(arch)
                members.append(arch)
                in_vain = 0
        return members

    def _is_legal(self, arch: Arch) -> bool:
        if arch in self.proposed:
            return False
        if self.max_flops is None or self.cost is None:
            return True
        return self.cost(arch).flops <= self.max_flops

    def _mutant(self) -> Arch:
        child: Arch = ()
        for gene in self._parent():
            allowed = self.space.allowed(child)
            is_drawn = self.rng.random() < self.mutation_rate or gene not in allowed
            child += (allowed[int(self.rng.integers(len(allowed)))] if is_drawn else gene,)
        return child

    def _crossover(self) -> Arch:
        child: Arch = ()
        for choices in zip(self._parent(), self._parent(), strict=True):
            allowed = self.space.allowed(child)
            choice = choices[int(self.rng.integers(2))]
            if choice not in allowed:
                choice = allowed[int(self.rng.integers(len(allowed)))]
            child += (choice,)
        return child

    def _parent(self) -> Arch:
        return self.best[int(self.rng.integers(len(self.best)))][0]


def _check(
    population_size: int, parents: int, mutants: int, crossovers: int, mutation_rate: float
) -> None:
    for name, value in (("population_size", population_size), ("parents", parents)):
        if value < 1:
            raise ConfigError(f"controller.{name} must be at least 1, got {value}")
    for name, value in (("mutants", mutants), ("crossovers", crossovers)):
        if value < 0:
            raise ConfigError(f"controller.{name} must be at least 0, got {value}")
    if mutants + crossovers > population_size:
        raise ConfigError(
            "controller.mutants + controller.crossovers must be at most "
            f"controller.population_size={population_size}, got {mutants} + {crossovers}; set "
            f"controller.population_size={mutants + crossovers}"
        )
    if not 0 <= mutation_rate <= 1:
        raise ConfigError(
            f"controller.mutation_rate must be in [0, 1], got {mutation_rate}; "
            "set controller.mutation_rate=0.1"
        )
