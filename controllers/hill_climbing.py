"""Hill climbing for networks that inherit their weights: each proposal is a child of the best one.

After Elsken, Metzen & Hutter 2017 (arXiv:1711.04528), who climb by network morphisms. Departures:
one child is proposed at a time instead of a generation, and the changes are the space's mutations.
A child only names its parent, so any space and any evaluator can be used.

The first proposal is the space's `start()`, and nothing else is proposed before it is trained:
workers beyond the first are idle until then. If the space has no start, or if its training fails,
proposals are random until one is trained.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.capabilities import StartingSpace
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial


class HillClimbing:
    """Mutates the best architecture so far.

    Args:
      mutations: a child is its parent after one to this many mutations, each number equally likely.
    """

    def __init__(self, space: Space, *, seed: int, mutations: int = 1):
        if not isinstance(mutations, int) or mutations < 1:
            raise ConfigError(
                f"controller.mutations must be a whole number of at least 1, got {mutations}; "
                "set controller.mutations=1"
            )
        self.space, self.mutations = space, mutations
        self.rng = np.random.default_rng(seed)
        self.started = False  # whether anything was asked for
        self.starting = False  # whether the space's start is in training
        self.best: tuple[Arch, float, int] | None = None  # with its reward and its trial's id

    def ask(self, n: int) -> list[Proposal]:
        proposals: list[Proposal] = []
        while len(proposals) < n and not self.starting:
            proposals.append(self._next())
        return proposals

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            self.starting = self.starting and trial.id < 0  # below 0: a trial of another run
            # Among equals the last one, which was trained longest.
            if trial.reward is not None and (self.best is None or trial.reward >= self.best[1]):
                self.best = trial.arch, trial.reward, trial.id

    def state(self) -> dict[str, Any]:
        best = self.best and [list(self.best[0]), *self.best[1:]]
        begun = {"started": self.started, "starting": self.starting}
        return begun | {"rng": self.rng.bit_generator.state, "best": best}

    def load_state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.started, self.starting, best = state["started"], state["starting"], state["best"]
        self.best = best and (tuple(best[0]), best[1], best[2])

    def _next(self) -> Proposal:
        if self.best is None:
            first, self.started = not self.started, True
            self.starting = first and isinstance(self.space, StartingSpace)
            if first and isinstance(self.space, StartingSpace):
                return Proposal(self.space.start())
            return Proposal(self.space.sample(self.rng))
        arch, _, parent = self.best
        for _ in range(1 + int(self.rng.random() * self.mutations)):
            arch = self.space.mutate(arch, self.rng)
        return Proposal(arch, parent=parent)
