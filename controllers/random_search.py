"""Random search: independent draws, the baseline that every method must beat."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.space import Space
from nas.core.trial import Proposal, Trial


class RandomSearch:
    """Draws from `space.sample` and learns nothing."""

    def __init__(self, space: Space, *, seed: int):
        self.space = space
        self.rng = np.random.default_rng(seed)

    def ask(self, n: int) -> list[Proposal]:
        return [Proposal(self.space.sample(self.rng)) for _ in range(n)]

    def tell(self, trials: Sequence[Trial]) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {"rng": self.rng.bit_generator.state}

    def load_state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
