"""Local search (White et al. 2021, arXiv:2005.02960, Algorithm 1): the baseline hardest to beat.

It moves from a random architecture to the best of its neighbours until no neighbour is better, and
then starts again from another random one. A neighbour differs in one decision. An architecture is
evaluated only once.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.space import Space
from nas.core.trial import Arch, Proposal, Trial

FAILED = float("-inf")
DRAWS = 1000  # after this many known random draws in a row the space counts as exhausted


class LocalSearch:
    """Moves to better neighbours.

    Args:
      first_improvement: go to the first better neighbour instead of the best of all.
    """

    def __init__(self, space: Space, *, seed: int, first_improvement: bool = False):
        self.space, self.first_improvement = space, first_improvement
        self.rng = np.random.default_rng(seed)
        self.known: dict[Arch, float] = {}
        self.pending: list[Arch] = []  # asked for, not told
        self.queue: list[Arch] = []  # to ask for next, the last one first
        self.centre: Arch | None = None  # the architecture whose neighbours are compared
        self.surrounded = False  # whether the centre's neighbours have been queued

    def ask(self, n: int) -> list[Proposal]:
        proposals: list[Proposal] = []
        while len(proposals) < n:
            if not self.queue and (self.pending or not self._go_on()):
                break  # trials are pending, or nothing is left
            if self.queue:
                arch = self.queue.pop()
                if arch not in self.known and arch not in self.pending:
                    self.pending.append(arch)
                    proposals.append(Proposal(arch))
        return proposals

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.arch in self.pending:
                self.pending.remove(trial.arch)
            self.known[trial.arch] = FAILED if trial.reward is None else trial.reward
            if trial.id < 0 and (self.centre is None or self._is_better(trial.arch)):
                self.centre = trial.arch  # start from the best of another run
            if not (self.first_improvement and self.surrounded and self.centre is not None):
                continue
            if self._is_better(trial.arch):
                self.centre, self.surrounded, self.queue = trial.arch, False, []

    def state(self) -> dict[str, Any]:
        return {
            "rng": self.rng.bit_generator.state,
            "known": [[list(a), None if r == FAILED else r] for a, r in self.known.items()],
            "pending": [list(arch) for arch in self.pending],
            "queue": [list(arch) for arch in self.queue],
            "centre": None if self.centre is None else list(self.centre),
            "surrounded": self.surrounded,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.known = {
            tuple(a): FAILED if reward is None else reward for a, reward in state["known"]
        }
        self.pending = [tuple(arch) for arch in state["pending"]]
        self.queue = [tuple(arch) for arch in state["queue"]]
        self.centre = None if state["centre"] is None else tuple(state["centre"])
        self.surrounded = state["surrounded"]

    def _is_better(self, arch: Arch) -> bool:
        return self.centre is not None and self.known[arch] > self.known[self.centre]

    def _go_on(self) -> bool:
        """Queues the next proposals, once nothing is pending. False: nothing is left."""
        if self.centre is not None and not self.surrounded:
            around = neighbours(self.space, self.centre)
            self.queue = [around[i] for i in self.rng.permutation(len(around))]
            self.surrounded = True
            return True
        if self.centre is not None:
            best = max(neighbours(self.space, self.centre), key=self.known.__getitem__)
            if self.known[best] > self.known[self.centre]:
                self.centre, self.surrounded = best, False
                return True
        for _ in range(DRAWS):
            arch = self.space.sample(self.rng)
            if arch not in self.known:
                self.centre, self.surrounded, self.queue = arch, False, [arch]
                return True
        return False


def neighbours(space: Space, arch: Arch) -> list[Arch]:
    """Every architecture that differs in one decision.

    Later choices that the change closes are replaced by the first open one.
    """
    others: dict[Arch, None] = {}
    for i, chosen in enumerate(arch):
        for choice in space.allowed(arch[:i]):
            if choice == chosen:
                continue
            other = (*arch[:i], choice)
            for kept in arch[i + 1 :]:
                allowed = space.allowed(other)
                other += (kept if kept in allowed else allowed[0],)
            others[other] = None
    return list(others)
