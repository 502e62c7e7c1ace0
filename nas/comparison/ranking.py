"""How well shared weights rank: Kendall's tau against the same networks trained from scratch."""

from typing import Any

import numpy as np

from nas.core.reference import RankingReference
from nas.core.trial import Arch


def ranking(
    reference: RankingReference, scores: np.ndarray, losses: np.ndarray, derived: Arch | None
) -> dict[str, Any]:
    """Kendall's tau-b, in [-1, 1], and the accuracy that following the scores would have reached.

    Few images tell accuracies of good networks apart only coarsely, and losses finely: the ranking
    by loss is measured beside that by accuracy.

    Args:
      scores, losses: [archs], of the reference's architectures with shared weights.
      derived: the architecture that the run chose.

    Returns: kendall_tau of the scores and kendall_tau_loss of the negative losses (None if all are
      equal), against (the reference's name) and architectures (their number). Accuracies when
      trained from scratch: best_by_score and best_by_loss, of the architecture with the best score
      and with the smallest loss; mean and best, of all. If the reference has the derived
      architecture also derived, its accuracy, and derived_is_at_least, the share of architectures
      that are not better.
    """
    values: dict[str, Any] = {
        "against": reference.name,
        "architectures": len(reference.archs),
        "kendall_tau": _tau(scores, reference.accuracies),
        "kendall_tau_loss": _tau(-losses, reference.accuracies),
        "best_by_score": float(reference.accuracies[int(np.argmax(scores))]),
        "best_by_loss": float(reference.accuracies[int(np.argmin(losses))]),
        "mean": float(reference.accuracies.mean()),
        "best": float(reference.accuracies.max()),
    }
    positions = [i for i, arch in enumerate(reference.archs) if arch == derived]
    if positions:
        accuracy = float(reference.accuracies[positions[0]])
        values["derived"] = accuracy
        values["derived_is_at_least"] = float((reference.accuracies <= accuracy).mean())
    return values


def _tau(scores: np.ndarray, accuracies: np.ndarray) -> float | None:
    from scipy.stats import kendalltau

    tau = float(kendalltau(scores, accuracies).statistic)
    return tau if np.isfinite(tau) else None
