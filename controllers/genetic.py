"""The genetic algorithm of Genetic CNN (Xie & Yuille 2017, arXiv:1703.01513, Algorithm 1).

All generations have the same size. For each one, members are drawn by roulette, neighbours exchange
whole stages, members that exchanged nothing are mutated bit by bit, and all are evaluated. The
roulette draws a member with a probability proportional to its fitness minus that of the
generation's worst, so the worst is never drawn. The fitness of a member that was evaluated several
times is the mean of its rewards.

A space's stages are the decisions that share a `node`; a decision without one is a stage alone. A
bit with more than two values takes any other open value. If a space's choices depend on earlier
ones, choices that an exchange or a mutation closes are drawn again.

Not checked against the paper's text: the default rates. Not stated there and chosen here: if all
members of a generation are equally good, the roulette is uniform; a failed member is never drawn,
and if all failed, the next generation is random. The best architectures of another run
(`warm_start`) are in the first generation.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial


class Genetic:
    """Roulette selection, crossover of stages, mutation of bits.

    Args:
      population_size: members of a generation, N.
      crossover_rate: probability that a pair of neighbours exchanges stages, p_C.
      stage_rate: probability that such a pair exchanges a given stage, q_C.
      mutation_rate: probability that a member is mutated that exchanged nothing, p_M.
      bit_rate: probability that a mutation changes a given decision, q_M.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        population_size: int = 20,
        crossover_rate: float = 0.2,
        stage_rate: float = 0.2,
        mutation_rate: float = 0.8,
        bit_rate: float = 0.05,
    ):
        if population_size < 2:
            raise ConfigError(
                f"controller.population_size must be at least 2, got {population_size}; "
                "set controller.population_size=20"
            )
        _check_rates(
            crossover=crossover_rate, stage=stage_rate, mutation=mutation_rate, bit=bit_rate
        )
        self.space, self.population_size = space, population_size
        self.crossover_rate, self.stage_rate = crossover_rate, stage_rate
        self.mutation_rate, self.bit_rate = mutation_rate, bit_rate
        self.rng = np.random.default_rng(seed)
        self.blocks = blocks(space)
        self.generation = [space.sample(self.rng) for _ in range(population_size)]
        self.asked = self.told = 0  # members of this generation
        self.rewards: dict[Arch, list[float]] = {}  # of all architectures that ever succeeded

    def ask(self, n: int) -> list[Proposal]:
        if self.told == self.population_size:
            self.generation, self.asked, self.told = self._next(), 0, 0
        first, self.asked = self.asked, min(self.asked + n, self.population_size)
        return [Proposal(arch) for arch in self.generation[first : self.asked]]

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.id >= 0:
                self.told += 1
            if trial.reward is not None:
                self.rewards.setdefault(trial.arch, []).append(trial.reward)
                if trial.id < 0:
                    self._replace(trial.arch)

    def state(self) -> dict[str, Any]:
        return {
            "generation": [list(arch) for arch in self.generation],
            "asked": self.asked,
            "told": self.told,
            "rewards": [[list(arch), rewards] for arch, rewards in self.rewards.items()],
            "rng": self.rng.bit_generator.state,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.generation = [tuple(arch) for arch in state["generation"]]
        self.asked, self.told = state["asked"], state["told"]
        self.rewards = {tuple(arch): list(rewards) for arch, rewards in state["rewards"]}
        self.rng.bit_generator.state = state["rng"]

    def _replace(self, arch: Arch) -> None:
        """Puts an architecture of another run in the place of the worst of the first generation."""
        if arch not in self.generation:
            fitness = [np.mean(self.rewards.get(member, [-np.inf])) for member in self.generation]
            worst = int(np.argmin(fitness))
            if np.mean(self.rewards[arch]) > fitness[worst]:
                self.generation[worst] = arch

    def _next(self) -> list[Arch]:
        """The generation after this one."""
        alive = [arch for arch in self.generation if arch in self.rewards]
        if not alive:
            return [self.space.sample(self.rng) for _ in range(self.population_size)]
        chances = roulette([float(np.mean(self.rewards[arch])) for arch in alive])
        members = [alive[i] for i in self.rng.choice(len(alive), self.population_size, p=chances)]
        crossed: set[int] = set()
        for i in range(0, self.population_size - 1, 2):
            if self.rng.random() < self.crossover_rate:
                members[i : i + 2] = self._exchanged(members[i], members[i + 1])
                crossed |= {i, i + 1}
        for i, arch in enumerate(members):
            if i not in crossed and self.rng.random() < self.mutation_rate:
                members[i] = mutated(self.space, arch, self.bit_rate, self.rng)
        return members

    def _exchanged(self, one: Arch, other: Arch) -> list[Arch]:
        a, b = list(one), list(other)
        for block in self.blocks:
            if self.rng.random() < self.stage_rate:
                for i in block:
                    a[i], b[i] = b[i], a[i]
        return [mutated(self.space, tuple(child), 0.0, self.rng) for child in (a, b)]


def roulette(fitness: Sequence[float]) -> np.ndarray:
    """[members], probabilities in proportion to fitness minus the worst; uniform if all equal."""
    above = np.asarray(fitness, float) - min(fitness)
    return above / above.sum() if above.sum() > 0 else np.full(len(above), 1 / len(above))


def blocks(space: Space) -> list[list[int]]:
    """The decisions that are exchanged together: those of one node, or one without a node."""
    of_node: dict[Any, list[int]] = {}
    for i, decision in enumerate(space.decisions):
        of_node.setdefault((i, None) if decision.node is None else decision.node, []).append(i)
    return list(of_node.values())


def mutated(
    space: Space,
    arch: Arch,
    rate: float,
    rng: np.random.Generator,
    kept: Collection[int] = frozenset(),
) -> Arch:
    """Changes each decision with probability `rate`, except for those in `kept`.

    A choice that an earlier change has closed is drawn again among the open ones.
    """
    child: Arch = ()
    for i, u in enumerate(rng.random(len(arch)).tolist()):
        allowed, choice = space.allowed(child), arch[i]
        if choice not in allowed:
            choice = allowed[int(rng.random() * len(allowed))]
        elif u < rate and len(allowed) > 1 and i not in kept:
            others = [other for other in allowed if other != choice]
            choice = others[int(rng.random() * len(others))]
        child += (choice,)
    return child


def _check_rates(**rates: float) -> None:
    for name, value in rates.items():
        if not 0 <= value <= 1:
            raise ConfigError(
                f"controller.{name}_rate must be in [0, 1], got {value}; "
                f"set controller.{name}_rate=0.2"
            )
