"""The vocabulary: what a controller asks for and what comes back. Everything else speaks it."""

import dataclasses
from typing import Any

import numpy as np

Arch = tuple[int, ...]  # one integer per decision of the space, and nothing else

# Every evaluation ends in exactly one of these.
OK = "ok"
INVALID = "invalid"  # refused before a variable was made: cannot be built, or too large
OOM = "oom"  # ran out of memory
NAN = "nan"  # the loss or the metric was not finite
TIMEOUT = "timeout"  # ran longer than the executor's limit
CRASHED = "crashed"  # raised anything else, or killed its worker
STATUSES = (OK, INVALID, OOM, NAN, TIMEOUT, CRASHED)


@dataclasses.dataclass(frozen=True)
class Proposal:
    """What a controller asks to have evaluated."""

    arch: Arch
    parent: int | None = None  # id of the trial whose weights to inherit
    epochs: int | None = None  # fidelity; None means the evaluator's own default
    notes: dict[str, Any] = dataclasses.field(default_factory=dict)  # its controller's own, JSON


@dataclasses.dataclass(frozen=True)
class Trial:
    """A finished proposal, as the store keeps it."""

    id: int  # from 0; below 0: of another run, which a controller was told to begin with
    proposal: Proposal
    reward: float | None  # larger is better; None: the evaluation failed
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)  # raw, JSON
    seconds: float = 0.0  # cost: wall time, or a table's recorded training time
    status: str = OK
    reason: str = ""  # one line, where status is not ok

    @property
    def arch(self) -> Arch:
        return self.proposal.arch


class EvaluationError(Exception):
    """A candidate failed in a way that has a name; `status` is one of STATUSES.

    seconds: what it cost until then; None where whoever raises it does not know.
    """

    def __init__(self, status: str, reason: str, seconds: float | None = None):
        super().__init__(status, reason, seconds)  # all in args, so that it survives pickling
        self.status = status
        self.reason = reason
        self.seconds = seconds


class ConfigError(ValueError):
    """Something the user can mend: which setting, the rule, the value, where to change it."""


def trial_seed(seed: int, trial_id: int) -> int:
    """The seed of one trial: a function of the run's seed and the trial's id, and nothing else."""
    return int(np.random.SeedSequence([seed, trial_id]).generate_state(1)[0] % 2**31)
