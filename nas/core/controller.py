"""What a controller is. It sees integers and rewards, never a model, a data set or a file."""

from collections.abc import Sequence
from typing import Any, Protocol

from nas.core.trial import Proposal, Trial


class Controller(Protocol):
    """Proposes architectures and learns from their rewards.

    The loop that uses it (`nas/engine/search.py` has the full one):

        proposals = controller.ask(workers)
        controller.tell([evaluate(proposal) for proposal in proposals])
        store.save(controller.state())

    `state` and `load_state` are the whole of it: a controller that is restored goes on exactly as
    one that was never stopped, its random stream included.
    """

    def ask(self, n: int) -> list[Proposal]:
        """At most n proposals. Empty: wait for what is pending; with nothing pending, finished."""
        ...

    def tell(self, trials: Sequence[Trial]) -> None:
        """Finished trials, in the order they finished. A reward of None means it failed.

        One whose id is below 0 was not asked for: another run found it (`nas/experiment/warm_start.py`).
        """
        ...

    def state(self) -> dict[str, Any]:
        """JSON values and numpy arrays, nested in dicts and lists."""
        ...

    def load_state(self, state: dict[str, Any]) -> None:
        """Takes what `state` gave, after a round trip through the store."""
        ...
