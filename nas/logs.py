"""What a run tells: the console, log.txt, and whoever else listens."""

import dataclasses
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

from nas.trial import Trial


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What a logger may want to know of the run it listens to."""

    run_dir: Path
    experiment: str
    space: str
    controller: str
    dataset: str
    seed: int
    config: dict[str, Any]  # resolved
    max_trials: int
    max_seconds: float | None
    job_type: str  # search, retrain or compare
    trials_done: int  # of an earlier part of this run
    failed_before: int = 0
    best_before: Trial | None = None


class Logger(Protocol):
    """Hears of everything that happens in a run, in order."""

    def start(self, info: RunInfo) -> None: ...
    def trial(self, trial: Trial, best: Trial | None, done: int, failed: int) -> None: ...
    def message(self, text: str) -> None: ...
    def epoch(self, seed: int, epoch: int, values: dict[str, float]) -> None: ...
    def finish(self, summary: dict[str, Any]) -> None: ...
    def close(self, failed: bool = False) -> None: ...


class Loggers:
    """Tells several loggers; keeps the count and the best of the run."""

    def __init__(self, loggers: Sequence[Logger], info: RunInfo):
        self.loggers, self.info = loggers, info
        self.done, self.failed, self.best = info.trials_done, info.failed_before, info.best_before

    def __enter__(self) -> "Loggers":
        for logger in self.loggers:
            logger.start(self.info)
        return self

    def __exit__(self, kind, error, trace) -> None:
        for logger in self.loggers:
            logger.close(failed=kind is not None)

    def trial(self, trial: Trial) -> None:
        self.done += 1
        self.failed += trial.reward is None
        if trial.reward is not None and (
            self.best is None or self.best.reward is None or trial.reward > self.best.reward
        ):
            self.best = trial
        for logger in self.loggers:
            logger.trial(trial, self.best, self.done, self.failed)

    def message(self, text: str) -> None:
        for logger in self.loggers:
            logger.message(text)

    def epoch(self, seed: int, epoch: int, values: dict[str, float]) -> None:
        for logger in self.loggers:
            logger.epoch(seed, epoch, values)

    def finish(self, summary: dict[str, Any]) -> None:
        for logger in self.loggers:
            logger.finish(summary)


class Console:
    """One plain line a trial, on the console and, with the time of day, in log.txt."""

    def __init__(self, stream: TextIO | None = None):
        self.stream = stream or sys.stdout

    def start(self, info: RunInfo) -> None:
        self.info, self.began, self.new = info, time.monotonic(), 0
        self.file = (info.run_dir / "log.txt").open("a", buffering=1)
        before = f", {info.trials_done} trials done before" if info.trials_done else ""
        self.message(
            f"{info.job_type} {info.experiment}: {info.controller} on {info.space}, "
            f"{info.dataset}, seed {info.seed}{before}; {info.run_dir}"
        )

    def trial(self, trial: Trial, best: Trial | None, done: int, failed: int) -> None:
        self.new += 1
        left = (time.monotonic() - self.began) / self.new * (self.info.max_trials - done)
        if trial.reward is None:
            outcome = f"{trial.status:7} {trial.reason}"
        else:
            outcome = f"{trial.status:7} reward {trial.reward:.4f}"
        record = f"  best {best.reward:.4f} (#{best.id})" if best is not None else ""
        self.message(
            f"trial {trial.id:4}  {done}/{self.info.max_trials}  {outcome}{record}  "
            f"{trial.seconds:.1f} s  failed {failed}  left {left:.0f} s"
        )

    def message(self, text: str) -> None:
        print(text, file=self.stream, flush=True)
        self.file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}\n")

    def epoch(self, seed: int, epoch: int, values: dict[str, float]) -> None:
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        self.file.write(
            f"{time.strftime('%Y-%m-%d %H:%M:%S')} seed {seed} epoch {epoch + 1}  {numbers}\n"
        )

    def finish(self, summary: dict[str, Any]) -> None:
        retrained = summary.get("retrained")
        if retrained:
            self.message(
                f"retrained: test accuracy {retrained['test_accuracy']:.4f}, "
                f"{retrained['parameters']:,} parameters"
            )

    def close(self, failed: bool = False) -> None:
        self.file.close()
