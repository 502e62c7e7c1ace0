"""The interface of a run's loggers: nas/run/console.py and nas/run/wandb_logger.py are two."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from nas.core.trial import Trial
from nas.engine.search import best


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What a logger may need to know about its run."""

    run_dir: Path
    job_type: str  # search, oneshot or retrain
    experiment: str
    space: str
    controller: str
    dataset: str
    seed: int
    config: dict[str, Any]  # resolved
    max_trials: int = 0
    max_seconds: float | None = None
    trials_before: tuple[Trial, ...] = ()  # the trials of an earlier part of this run


class Logger(Protocol):
    """Is called at each event of a run, in order."""

    def start(self, info: RunInfo) -> None: ...
    def trial(self, trial: Trial, best: Trial | None, done: int, failed: int) -> None: ...
    def message(self, text: str) -> None: ...
    def retraining(self, text: str, epochs: int) -> None:
        """Networks are trained from here on, for `epochs` epochs in all."""

    def epoch(self, seed: int, epoch: int, values: dict[str, float]) -> None: ...
    def finish(self, summary: dict[str, Any], space: Any) -> None: ...
    def close(self, failed: bool = False) -> None: ...


class Loggers:
    """Calls several loggers; keeps the number of trials and the best one."""

    def __init__(self, loggers: Sequence[Logger], info: RunInfo):
        before = list(info.trials_before)
        self.loggers, self.info = loggers, info
        self.done, self.best = len(before), best(before)
        self.failed = sum(trial.reward is None for trial in before)

    def __enter__(self) -> "Loggers":
        for logger in self.loggers:
            logger.start(self.info)
        return self

    def __exit__(self, error_type: type[BaseException] | None, *error: object) -> None:
        for logger in self.loggers:
            logger.close(failed=error_type is not None)

    def trial(self, trial: Trial) -> None:
        self.done += 1
        self.failed += trial.reward is None
        self.best = best([*([self.best] if self.best else []), trial])
        for logger in self.loggers:
            logger.trial(trial, self.best, self.done, self.failed)

    def message(self, text: str) -> None:
        for logger in self.loggers:
            logger.message(text)

    def retraining(self, text: str, epochs: int) -> None:
        for logger in self.loggers:
            logger.retraining(text, epochs)

    def epoch(self, seed: int, epoch: int, values: dict[str, float]) -> None:
        for logger in self.loggers:
            logger.epoch(seed, epoch, values)

    def finish(self, summary: dict[str, Any], space: Any) -> None:
        for logger in self.loggers:
            logger.finish(summary, space)
