"""How well shared weights rank: Kendall's tau against the same networks trained alone."""

from typing import Any

import numpy as np

from nas.core.reference import RankingReference
from nas.core.trial import Arch


def ranking(
    reference: RankingReference, scores: np.ndarray, derived: Arch | None
) -> dict[str, Any]:
    """Tau-b, in [-1, 1], and what following the scores would have brought.

    Args:
      scores: [archs], of the same architectures with shared weights.
      derived: the architecture that the run has chosen.

    Returns: kendall_tau (None where all scores are equal), of how many architectures and against
      what; the accuracy alone of the best by score, of the mean and of the best; that of the
      derived one, and the share of architectures that it is at least as good as, where it is known.
    """
    from scipy.stats import kendalltau

    tau = float(kendalltau(scores, reference.accuracies).statistic)
    found: dict[str, Any] = {
        "against": reference.name,
        "architectures": len(reference.archs),
        "kendall_tau": tau if np.isfinite(tau) else None,
        "best_by_score": float(reference.accuracies[int(np.argmax(scores))]),
        "mean": float(reference.accuracies.mean()),
        "best": float(reference.accuracies.max()),
    }
    at = [i for i, arch in enumerate(reference.archs) if arch == derived]
    if at:
        reached = float(reference.accuracies[at[0]])
        found["derived"] = reached
        found["derived_is_at_least"] = float((reference.accuracies <= reached).mean())
    return found
