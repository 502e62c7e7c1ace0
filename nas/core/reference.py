"""Accuracies of architectures trained from scratch: shared weights are ranked against them."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from nas.core.trial import Arch


@dataclasses.dataclass(frozen=True)
class RankingReference:
    """Architectures and the accuracy of each after a training from scratch."""

    archs: Sequence[Arch]
    accuracies: np.ndarray  # [archs] float64, fractions
    name: str  # who trained them, and on which data
    # All that a table holds of an architecture, "cifar10 test" -> a fraction; None: no table
    looked_up: Callable[[Arch], dict[str, float]] | None = None
