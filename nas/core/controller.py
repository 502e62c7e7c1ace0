"""The contract of controllers, which see integers and rewards, never a model, data or a file."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from nas.core.trial import Proposal, Trial


@runtime_checkable
class Controller(Protocol):
    """Proposes architectures and learns from their rewards.

    The loop that uses it, in short (`nas/engine/search.py` has all of it):

        proposals = controller.ask(workers)
        controller.tell([evaluate(proposal) for proposal in proposals])
        store.save(controller.state())

    A controller that is restored by `load_state` continues exactly as one that was never stopped,
    so `state` holds its random stream too.
    """

    def ask(self, n: int) -> list[Proposal]:
        """At most n proposals.

        An empty list means: wait for the pending trials. If no trial is pending, it ends the
        search.
        """
        ...

    def tell(self, trials: Sequence[Trial]) -> None:
        """Takes finished trials, in the order in which they finished.

        A reward of None means that the trial failed. A trial with an id below 0 was not asked for:
        it comes from another run (`nas/experiment/warm_start.py`).
        """
        ...

    def state(self) -> dict[str, Any]:
        """All that the controller knows, as JSON values and numpy arrays in dicts and lists."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes what `state` gave, after the store has saved and loaded it."""
        ...
