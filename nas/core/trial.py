"""The vocabulary of the project: proposals, trials, statuses and errors."""

import dataclasses
from typing import Any

import numpy as np

Arch = tuple[int, ...]  # one integer per decision of the space, and nothing else

# Every evaluation ends in exactly one of these.
OK = "ok"
INVALID = "invalid"  # refused before any variable was made: cannot be built, or is too large
OOM = "oom"  # ran out of memory
NAN = "nan"  # the loss or the metric was not finite
TIMEOUT = "timeout"  # ran longer than the executor's limit
CRASHED = "crashed"  # raised anything else, or killed its worker
STATUSES = (OK, INVALID, OOM, NAN, TIMEOUT, CRASHED)


@dataclasses.dataclass(frozen=True)
class Proposal:
    """A candidate that a controller asks to have evaluated."""

    arch: Arch
    parent: int | None = None  # id of the trial whose weights to inherit
    epochs: int | None = None  # epochs to train; None: the evaluator's default
    notes: dict[str, Any] = dataclasses.field(
        default_factory=dict
    )  # JSON that only its controller reads


@dataclasses.dataclass(frozen=True)
class Trial:
    """The record of a finished proposal, as the store keeps it."""

    id: int  # counts from 0; below 0: a trial of another run (warm start)
    proposal: Proposal
    reward: float | None  # larger is better; None: the evaluation failed
    metrics: dict[str, Any] = dataclasses.field(default_factory=dict)  # the evaluator's, JSON
    seconds: float = 0.0  # cost: wall time, or a table's recorded training time
    status: str = OK
    reason: str = ""  # one line if the status is not ok

    @property
    def arch(self) -> Arch:
        return self.proposal.arch


class EvaluationError(Exception):
    """The evaluation of a candidate failed; `status` is one of STATUSES.

    seconds: the cost until then; None if the code that raises it does not know.
    """

    def __init__(self, status: str, reason: str, seconds: float | None = None):
        super().__init__(status, reason, seconds)  # all in args, so that it survives pickling
        self.status = status
        self.reason = reason
        self.seconds = seconds


class ConfigError(ValueError):
    """A wrong setting. The message names it, the rule, the value and what to set instead."""


def trial_seed(seed: int, trial_id: int) -> int:
    """The seed of a trial, which depends only on the run's seed and the trial's id."""
    return int(np.random.SeedSequence([seed, trial_id]).generate_state(1)[0] % 2**31)
