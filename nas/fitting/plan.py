"""Which network `nas.fit` trains next, and how a trained one is rewarded."""

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

from nas.core.trial import Arch, Proposal, Trial
from nas.fitting.arrays import ArrayData

SHORTEST = 3.0  # seconds of a training: less is mostly the tracing of its graph
MAX_EPOCHS, MAX_EPOCHS_OF_BEST = 60, 300  # longer trainings learn nothing more
LOSS_TIEBREAK = 1e-5  # of the loss is taken off the reward: it orders equal accuracies
# Of vectors: standard errors of the score that a network must gain for twice the parameters.
SIZE_PENALTY = 0.2


class Plan:
    """A controller: hill climbing, with one longer training of its best at `best_again`.

    Args:
      climb: the hill climbing, whose `best` is (architecture, reward, trial id) or None.
      best_again: when the best is trained for longer, in seconds of time.monotonic().
      end: when the last training ends.
      first: an architecture that is trained before all others, and that nothing grows from.
      before: what an earlier part of this fit has proposed.
    """

    def __init__(
        self,
        climb: Any,
        best_again: float,
        end: float,
        first: Arch | None = None,
        before: Sequence[Proposal] = (),
    ):
        self.climb, self.end, self.first = climb, end, first
        self.state, self.load_state = climb.state, climb.load_state
        again = any(p.epochs == MAX_EPOCHS_OF_BEST and p.arch != first for p in before)
        self.best_again, self.has_proposed = math.inf if again else best_again, bool(before)

    def tell(self, trials: Sequence[Trial]) -> None:
        self.climb.tell([trial for trial in trials if trial.arch != self.first])

    def ask(self, n: int) -> list[Proposal]:
        """The next proposals; none if no training would end in time."""
        earliest_end = time.monotonic() + SHORTEST
        if self.has_proposed and earliest_end > self.end:
            return []
        is_first, self.has_proposed = not self.has_proposed, True
        if self.first and is_first:
            return [Proposal(self.first, epochs=MAX_EPOCHS_OF_BEST)]
        if earliest_end > self.best_again and self.climb.best:
            self.best_again = math.inf
            arch, _, trial = self.climb.best
            return [Proposal(arch, parent=trial, epochs=MAX_EPOCHS_OF_BEST)]
        return self.climb.ask(n)


def reward(data: ArrayData, metrics: Mapping[str, Any]) -> float:
    """The validation score; of vectors, less for size, as far as the score is uncertain.

    The best of many networks on few examples was lucky, and there are more large networks than
    small ones. In the manner of the one-standard-error rule (Breiman et al. 1984).
    """
    score = metrics["valid_accuracy"]
    value = score - LOSS_TIEBREAK * min(metrics["valid_loss"], 1.0)
    if not data.is_vectors:
        return value
    count = len(data.valid_labels)
    if data.is_regression:  # of normal errors
        error = (1 - score) * math.sqrt(2 / count)
    else:
        share = (count * score + 1) / (count + 2)  # Laplace's: never without error
        error = math.sqrt(share * (1 - share) / count)
    return value - SIZE_PENALTY * error * math.log2(metrics["parameters"])
