"""Small controllers around lists of architectures and around other controllers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.controller import Controller
from nas.core.trial import Arch, ConfigError, Proposal, Trial


class Listed:
    """A controller that proposes each architecture of a list once, in order."""

    def __init__(self, archs: Sequence[Arch]):
        self.archs, self.asked = list(archs), 0

    def ask(self, n: int) -> list[Proposal]:
        archs = self.archs[self.asked : self.asked + n]
        self.asked += len(archs)
        return [Proposal(arch) for arch in archs]

    def tell(self, trials: Sequence[Trial]) -> None:
        """The list does not depend on rewards."""

    def state(self) -> dict[str, Any]:
        return {"asked": self.asked}

    def load_state(self, state: dict[str, Any]) -> None:
        """`asked` may be a bool, which older versions saved for a list of one architecture."""
        self.asked = int(state["asked"])


class Frozen:
    """A controller that proposes as another one does, and never learns."""

    def __init__(self, controller: Controller):
        self.controller = controller

    def ask(self, n: int) -> list[Proposal]:
        return self.controller.ask(n)

    def tell(self, trials: Sequence[Trial]) -> None:
        """The controller is not told any rewards."""

    def state(self) -> dict[str, Any]:
        return self.controller.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.controller.load_state(state)


def ask(controller: Controller, n: int) -> list[Proposal]:
    """Exactly n proposals. Raises ConfigError if the controller waits for earlier trials first."""
    proposals: list[Proposal] = []
    while len(proposals) < n:
        batch = controller.ask(n - len(proposals))
        if not batch:
            raise ConfigError(
                f"controller must propose {n} architectures at a time for shared weights, got "
                f"{len(proposals)} of {type(controller).__name__}; set method.path=uniform and "
                "method.controller_steps=0"
            )
        proposals += batch
    return proposals


def likeliest(log_p: Sequence[np.ndarray], count: int) -> list[Arch]:
    """The `count` architectures of the largest sum of log-probabilities, the largest first.

    log_p: for each decision, [choices]. Equal sums are in the order of the choices.
    """
    sums, archs = np.zeros(1), [Arch()]
    for each in log_p:
        total = (sums[:, None] + each).reshape(-1)
        places = np.argsort(-total, kind="stable")[:count]
        archs = [(*archs[i // len(each)], int(i % len(each))) for i in places]
        sums = total[places]
    return archs
