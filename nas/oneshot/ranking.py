"""How well shared weights rank: Kendall's tau against the same networks trained alone."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.trial import Arch


@dataclasses.dataclass(frozen=True)
class Truth:
    """What architectures reach when each is trained alone."""

    archs: Sequence[Arch]
    accuracies: np.ndarray  # [archs] float64, fractions
    name: str  # of whom and on what


def ranking(truth: Truth, scores: np.ndarray, derived: Arch | None) -> dict[str, Any]:
    """Tau-b, in [-1, 1], and what following the scores would have brought.

    Args:
      scores: [archs], of the same architectures with shared weights.
      derived: the architecture that the run has chosen.

    Returns: kendall_tau (None where all scores are equal), of how many architectures and against
      what; the accuracy alone of the best by score, of the mean and of the best; that of the
      derived one, and the share of architectures that it is at least as good as, where it is known.
    """
    from scipy.stats import kendalltau

    tau = float(kendalltau(scores, truth.accuracies).statistic)
    found: dict[str, Any] = {
        "against": truth.name,
        "architectures": len(truth.archs),
        "kendall_tau": tau if np.isfinite(tau) else None,
        "best_by_score": float(truth.accuracies[int(np.argmax(scores))]),
        "mean": float(truth.accuracies.mean()),
        "best": float(truth.accuracies.max()),
    }
    at = [i for i, arch in enumerate(truth.archs) if arch == derived]
    if at:
        reached = float(truth.accuracies[at[0]])
        found["derived"] = reached
        found["derived_is_at_least"] = float((truth.accuracies <= reached).mean())
    return found
