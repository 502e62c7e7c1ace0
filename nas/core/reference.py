"""What architectures reach when each is trained alone: shared weights are ranked against it."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from nas.core.trial import Arch


@dataclasses.dataclass(frozen=True)
class RankingReference:
    archs: Sequence[Arch]
    accuracies: np.ndarray  # [archs] float64, fractions
    name: str  # whose trainings, and on what
