"""Local search (White et al. 2021, arXiv:2005.02960, Algorithm 1).

It moves from an architecture to a better neighbour until no neighbour is better, and then starts
again from another random one. A neighbour differs in one decision. An architecture is evaluated
only once.

The defaults are those of the authors' code (naszilla, nas_algorithms.py, lines 295 to 371): the
start is the best of ten random architectures, and the search goes to the first better
neighbour. On NAS-Bench-201 that needs about half the evaluations of the plain form, one random
start and the best of the whole neighbourhood (`num_init=1 first_improvement=false`), until it has
found the best architecture, on each data set.

Departure: that code does not go to a better neighbour that it has evaluated before; here a
search ends at an architecture only if no neighbour is better.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial

FAILED = float("-inf")
DRAWS = 1000  # after this many known random draws in a row the space counts as exhausted


class LocalSearch:
    """Moves to better neighbours.

    Args:
      first_improvement: go to the first better neighbour instead of the best of all.
      num_init: random architectures that are drawn before each start; the best of them is it.
    """

    def __init__(
        self, space: Space, *, seed: int, first_improvement: bool = True, num_init: int = 10
    ):
        if num_init < 1:
            raise ConfigError(
                f"controller.num_init must be at least 1, got {num_init}; set controller.num_init=1"
            )
        self.space, self.first_improvement, self.num_init = space, first_improvement, num_init
        self.rng = np.random.default_rng(seed)
        self.known: dict[Arch, float] = {}
        self.pending: list[Arch] = []  # asked for, not told
        self.queue: list[Arch] = []  # to ask for next, the last one first
        self.centre: Arch | None = None  # the architecture whose neighbours are compared
        self.surrounded = False  # whether the centre's neighbours have been queued
        self.starts: list[Arch] = []  # drawn for the next start, the best of which it will be

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
            "starts": [list(arch) for arch in self.starts],
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
        self.starts = [tuple(arch) for arch in state.get("starts", [])]

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
        if self.starts:
            self.centre = max(self.starts, key=self.known.__getitem__)
            self.surrounded, self.starts = False, []
            return True
        self.centre, self.starts = None, self._drawn()
        self.queue = list(self.starts)
        return bool(self.queue)

    def _drawn(self) -> list[Arch]:
        """Up to `num_init` different architectures that are not known."""
        archs: dict[Arch, None] = {}
        for _ in range(DRAWS):
            arch = self.space.sample(self.rng)
            if arch not in self.known:
                archs[arch] = None
            if len(archs) == self.num_init:
                break
        return list(archs)


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
