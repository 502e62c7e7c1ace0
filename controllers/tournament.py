"""Evolution by tournaments, in which no member dies of age.

Pairs (Real et al. 2017, arXiv:1703.01041, section 3.1): of two random members the worse dies, and
the better is copied, mutated and trained. A share of the population (Liu et al. 2018,
arXiv:1711.00436, section 3): the best of the share is copied and mutated, and no member dies;
`controller=hierarchical`.

In Real et al. 2017, too, the two of a pair are different, and both its death and its birth follow
from the same pair (supplementary section S1). There the worse is spared while the population is
below its set-point, and the better has no child while it is above; here the population has its size
before the first pair competes, so each pair does both. Not stated in the papers and chosen here:
ties are broken at random; if a child fails, the population stays as it was, so the member that died
for it lives again; a random first member that fails is replaced by another one. The mutations are
the space's; `space=large_scale_evolution` draws the reset of weights among its eleven kinds, for
other spaces `reset_share` does. A child names its parent, whose weights an evaluator may carry
over.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.capabilities import ResettingSpace
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial


class Tournament:
    """Mutates the best of a random sample, whose worst member may die.

    Args:
      population_size: random members at the start.
      sample_size: members that compete, at least two; below 1: this share of the population.
      kill_worst: whether the worst of the sample leaves the population.
      reset_share: share of the children that are their parent, trained again from scratch; 0 for a
        space that has such a mutation itself.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        population_size: int = 1000,
        sample_size: float = 2,
        kill_worst: bool = True,
        reset_share: float = 0.0,
    ):
        if population_size < 2:
            raise ConfigError(
                f"controller.population_size must be at least 2, got {population_size}"
            )
        is_number = 2 <= sample_size <= population_size and sample_size == int(sample_size)
        if not is_number and not 0 < sample_size < 1:
            raise ConfigError(
                "controller.sample_size must be a whole number in [2, controller.population_size="
                f"{population_size}] or a share in (0, 1), got {sample_size}"
            )
        if not 0 <= reset_share <= 1:
            raise ConfigError(f"controller.reset_share must be in [0, 1], got {reset_share}")
        if reset_share and isinstance(space, ResettingSpace):
            raise ConfigError(
                f"controller.reset_share must be 0 for {type(space).__name__}, whose mutations "
                f"include resets, got {reset_share}; set controller.reset_share=0"
            )
        self.space = space
        self.sample_size, self.kill_worst = sample_size, kill_worst
        self.reset_share = reset_share
        self.rng = np.random.default_rng(seed)
        self.population: list[tuple[Arch, float]] = []  # with rewards
        self.ids: list[int] = []  # of the members' trials
        self.missing = population_size  # first members still to be drawn

    def ask(self, n: int) -> list[Proposal]:
        proposals: list[Proposal] = []
        while len(proposals) < n and (self.missing or len(self.population) >= self._competing()):
            proposals.append(self._next())
        return proposals

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            notes = trial.proposal.notes
            if trial.reward is not None:
                self.population.append((trial.arch, trial.reward))
                self.ids.append(trial.id)
                if trial.id < 0:  # a trial of another run replaces a random first member
                    self.missing = max(0, self.missing - 1)
            elif "killed" in notes:
                arch, reward, killed = notes["killed"]
                self.population.append((tuple(arch), reward))
                self.ids.append(killed)
            elif "first" in notes:
                self.missing += 1

    def state(self) -> dict[str, Any]:
        return {
            "rng": self.rng.bit_generator.state,
            "population": [[list(arch), reward] for arch, reward in self.population],
            "ids": list(self.ids),
            "missing": self.missing,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.population = [(tuple(arch), reward) for arch, reward in state["population"]]
        self.ids = list(state["ids"])
        self.missing = state["missing"]

    def _competing(self) -> int:
        """The number of members of a sample."""
        if self.sample_size >= 1:
            return int(self.sample_size)
        return max(2, round(self.sample_size * len(self.population)))

    def _next(self) -> Proposal:
        if self.missing:
            self.missing -= 1
            return Proposal(self.space.sample(self.rng), notes={"first": True})
        members = self.rng.choice(len(self.population), self._competing(), replace=False)
        worst_first = sorted(members.tolist(), key=lambda i: self.population[i][1])
        best, worst = worst_first[-1], worst_first[0]
        parent = self.population[best][0]
        child, reset = self._mutated(parent)
        parent_id = None if reset else self.ids[best]
        if not self.kill_worst:
            return Proposal(child, parent=parent_id)
        arch, reward = self.population.pop(worst)
        notes = {"killed": [list(arch), reward, self.ids.pop(worst)]}
        return Proposal(child, parent=parent_id, notes=notes)

    def _mutated(self, parent: Arch) -> tuple[Arch, bool]:
        """A child, and whether its weights start anew."""
        if isinstance(self.space, ResettingSpace):
            return self.space.mutate_or_reset(parent, self.rng)
        if self.reset_share and self.rng.random() < self.reset_share:
            return parent, True
        return self.space.mutate(parent, self.rng), False
