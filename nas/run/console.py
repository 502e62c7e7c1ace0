"""Shows a run on the console: one line for each trial and, on a terminal, a progress bar.

log.txt keeps the same lines with the date and time. If the output is no terminal, only the plain
lines are printed.
"""

import sys
import time
from typing import Any, TextIO

from nas.core.files import ERRORS, UTF8, printable
from nas.core.trial import Trial
from nas.run.loggers import RunInfo
from nas.run.summary import tested


class Bar:
    """A progress bar, the count and the time left at the bottom of a terminal.

    `print` writes above it.

    Args:
      stream: where to write; None for the standard output.
      every: seconds after which a line replaces the bar if there is no terminal; None for none.
    """

    def __init__(self, stream: TextIO | None = None, *, every: float | None = None):
        self.stream = stream or sys.stdout
        self.every = every
        self._progress: Any = None
        if self.stream.isatty():
            from rich.console import Console as RichConsole
            from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

            self._progress = Progress(
                SpinnerColumn(),
                BarColumn(bar_width=24),
                TextColumn("{task.completed}/{task.total}"),
                TextColumn("{task.fields[left]} left"),
                TextColumn("{task.fields[note]}", markup=False),
                console=RichConsole(file=self.stream, highlight=False, soft_wrap=True),
            )

    def begin(self, total: int, done: int = 0, note: str = "") -> None:
        """Begins with `total` steps, of which `done` have been done before."""
        self.total, self.done, self.before = total, done, done
        self.began = self.printed = time.monotonic()
        if self._progress is not None:
            for task in self._progress.task_ids:
                self._progress.remove_task(task)
            self._task = self._progress.add_task(
                "", total=total, completed=done, left="-:--", note=note
            )
            self._progress.start()

    def step(self, note: str = "", left: float | None = None) -> None:
        """Counts one step. left: seconds, if the caller has a better estimate than `left()`."""
        self.done += 1
        if self._progress is not None:
            left = self.left() if left is None else left
            self._progress.update(self._task, advance=1, left=clock(left), note=note)
        elif self.every is not None and time.monotonic() - self.printed > self.every:
            self.printed = time.monotonic()
            self.print(f"{self.done}/{self.total}, {clock(self.left())} left  {note}")

    def left(self) -> float:
        """Seconds for the remaining steps, if they take as long as those since `begin`."""
        each = (time.monotonic() - self.began) / max(1, self.done - self.before)
        return each * max(0, self.total - self.done)

    def print(self, text: str) -> None:
        if self._progress is not None:
            self._progress.console.print(text, markup=False)
        else:
            print(text, file=self.stream, flush=True)

    def close(self) -> None:
        """Removes the bar; the lines above it stay."""
        if self._progress is not None:
            for task in self._progress.task_ids:
                self._progress.remove_task(task)
            self._progress.stop()


class Console:
    """Logs to the console and to log.txt of the run folder."""

    def __init__(self, stream: TextIO | None = None):
        self.bar = Bar(stream)

    def start(self, info: RunInfo) -> None:
        self.info = info
        self.spent = self.spent_before = sum(trial.seconds for trial in info.trials_before)
        self.file = (info.run_dir / "log.txt").open("a", buffering=1, encoding=UTF8, errors=ERRORS)
        done = len(info.trials_before)
        what = f"{info.controller} on {info.space}" if info.controller else info.space
        self.message(
            f"{info.job_type}: {what}, {info.dataset}, seed {info.seed}"
            + (f", {done} trials done before" if done else "")
        )
        self.message(f"run folder: {info.run_dir}")
        if info.max_trials:
            self.bar.begin(info.max_trials, done, "no trial yet")

    def trial(self, trial: Trial, best: Trial | None, done: int, failed: int) -> None:
        self.spent += trial.seconds
        record = f"best {best.reward:.4f} (#{best.id})" if best is not None else "no success yet"
        left = self._left(done)
        self.bar.step(f"{record}  failed {failed}", left)
        reason = printable(trial.reason)
        outcome = f"reward {trial.reward:.4f}" if trial.reward is not None else reason
        line = f"trial {trial.id:4}  {trial.status:7}  {trial.seconds:7.1f} s  {outcome}"
        self.bar.print(line)
        self._log(
            f"{line}  {done}/{self.info.max_trials}  {record}  failed {failed}  left {clock(left)}"
        )

    def _left(self, done: int) -> float:
        """Seconds until max_trials or max_seconds is reached, at the speed so far."""
        by_trials, limit = self.bar.left(), self.info.max_seconds
        new = self.spent - self.spent_before
        if limit is None or not new:
            return by_trials
        wall = time.monotonic() - self.bar.began
        return min(by_trials, wall / new * max(0.0, limit - self.spent))

    def message(self, text: str) -> None:
        self.bar.print(printable(text))
        self._log(text)

    def retraining(self, text: str, epochs: int) -> None:
        self.message(text)
        self.bar.begin(epochs, note="the first epoch takes longer")

    def epoch(self, seed: int, epoch: int, values: dict[str, float]) -> None:
        known = ("accuracy", "valid_perplexity", "perplexity")
        name = next(name for name in known if name in values)
        text = f"{name.replace('valid_', 'validation ')} {values[name]:.4f}"
        self.bar.step(f"seed {seed}  epoch {epoch + 1}  {text}")
        numbers = "  ".join(f"{name} {value:.4f}" for name, value in values.items())
        self._log(f"seed {seed}  epoch {epoch + 1}  {numbers}")

    def finish(self, summary: dict[str, Any], space: Any) -> None:
        self.bar.close()
        for line in summary_lines(summary):
            self.message(line)

    def close(self, failed: bool = False) -> None:
        self.bar.close()
        self.file.close()

    def _log(self, text: str) -> None:
        self.file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {printable(text)}\n")


def summary_lines(summary: dict[str, Any]) -> list[str]:
    """summary.json as lines for people."""
    lines = []
    if "trials" in summary:
        wall = clock(summary["wall_seconds"])
        lines.append(f"{summary['trials']} trials, {summary['failed']} failed, {wall}")
        if summary["best"] is None:
            lines.append("best: none, every trial failed")
    if best := summary.get("best"):
        scores = "".join(
            f", validation {name} {best['metrics'][f'valid_{name}']:.4f}"
            for name in ("accuracy", "perplexity")
            if f"valid_{name}" in best["metrics"]
        )
        lines.append(f"best: trial {best['trial']}, reward {best['reward']:.4f}{scores}")
    if retrained := summary.get("retrained"):
        name, key = tested(retrained)
        spread, count = retrained[f"{key}_sd"], len(retrained["seeds"])
        floor = retrained.get("test_perplexity_floor")
        lines.append(
            f"retrained: test {name} {retrained[key]:.4f}"
            + (f" +- {spread:.4f} (sd of {count} seeds)" if spread is not None else "")
            + (f", the text's own {floor:.4f}" if floor is not None else "")
            + f", {retrained['parameters']:,} parameters"
        )
    return lines


def clock(seconds: float) -> str:
    """Minutes and seconds, with hours if there are any: 1:05, 2:00:09."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
