"""Weights & Biases: one run per search, retraining or controller of a comparison.

W&B never stops a search: its first error becomes a warning, and the search continues without it.
"""

import functools
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nas.core.files import write_atomically
from nas.core.trial import ConfigError, Trial
from nas.engine.search import best as best_of
from nas.run import folder as runs
from nas.run.loggers import RunInfo
from nas.run.wandb_epochs import LoggedEpochs

ID = "wandb_id.txt"  # in the run folder: a run that is continued continues its W&B run
MODES = ("online", "offline", "disabled")


def _never_stops_the_search(method: Callable[..., None]) -> Callable[..., None]:
    """Turns the first error of W&B into a warning; after it, the method does nothing."""

    @functools.wraps(method)
    def guarded(self, *args, **kwargs) -> None:
        if self.off:
            return
        try:
            method(self, *args, **kwargs)
        except Exception as error:  # of any kind: none may stop the search
            self.off = True
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            print(f"nas: warning: goes on without W&B: {reason}", file=sys.stderr)

    return guarded


class WandB:
    """Logs to Weights & Biases.

    A search logs one step for each trial. All its trials, and the epochs of its retraining, are
    tables of the artifact `trials-ID`; the retrained model is the artifact `model-ID`.
    `nas retrain` logs one step for each epoch. A run that is continued offline logs all earlier
    steps again, because `wandb sync` of the second file replaces what it has sent of the first.

    Args:
      entity: the team; None for the account's own.
      mode: online, offline (`wandb sync` sends it later) or disabled.
      group: None for the experiment's name.
      name: None for the run folder's name.
      tags: further tags; space, controller and data set are always tags.
      save_model: whether best.keras becomes an artifact.
      init_timeout: seconds to wait for W&B at the start.
      finish_timeout: seconds to wait at the end until everything is sent; the rest stays on disk.
    """

    def __init__(
        self,
        *,
        project: str = "nas",
        entity: str | None = None,
        mode: str = "online",
        group: str | None = None,
        name: str | None = None,
        tags: Sequence[str] = (),
        save_model: bool = True,
        init_timeout: float = 30.0,
        finish_timeout: float = 120.0,
    ):
        if mode not in MODES:
            raise ConfigError(f"logger.mode must be one of {', '.join(MODES)}, got {mode}")
        self.project, self.entity, self.mode = project, entity, mode
        self.group, self.name, self.tags = group, name, list(tags)
        self.save_model = save_model
        self.init_timeout, self.finish_timeout = init_timeout, finish_timeout
        self.off = False
        self.run: Any = None

    @_never_stops_the_search
    def start(self, info: RunInfo) -> None:
        self.info = info
        self.seen: list[Trial] = []
        self.table: list[tuple[int, int, dict[str, float]]] = []  # epochs that are no steps
        self.steps = LoggedEpochs(info.run_dir)
        tags = [tag for tag in (info.space, info.controller, info.dataset) if tag]
        self.run = self._init(
            info.run_dir,
            group=self.group or info.experiment,
            name=self.name or info.run_dir.name,
            job_type=info.job_type,
            tags=[*tags, *self.tags],
            config=info.config,
            id=_run_id(info.run_dir),
        )
        if self.mode == "offline":
            self._log_earlier_steps(info)
        self.seen = list(info.trials_before)

    def _log_earlier_steps(self, info: RunInfo) -> None:
        """Logs the epochs and the trials of earlier parts of this run, in their order."""
        for seed, epoch, values in self.steps.epochs:
            self._log_epoch(seed, epoch, values)
        so_far: Trial | None = None
        failed = 0
        for done, trial in enumerate(info.trials_before, 1):
            so_far = best_of([*([so_far] if so_far else []), trial])
            failed += trial.reward is None
            self._log_trial(trial, so_far, done, failed)

    @_never_stops_the_search
    def trial(self, trial: Trial, best: Trial | None, done: int, failed: int) -> None:
        self.seen.append(trial)
        self._log_trial(trial, best, done, failed)

    def _log_trial(self, trial: Trial, best: Trial | None, done: int, failed: int) -> None:
        numbers = {k: v for k, v in trial.metrics.items() if isinstance(v, int | float)}
        values: dict[str, Any] = {"trial": trial.id, "seconds": trial.seconds, "failed": failed} | {
            f"metrics/{name}": value for name, value in numbers.items()
        }
        if trial.reward is not None:
            values["reward"] = trial.reward
        if best is not None:
            values["best_reward"] = best.reward
        # The epochs of shared weights have been logged before: trials continue their steps.
        self.run.log(values, step=None if self.info.job_type == "oneshot" else done - 1)

    def message(self, text: str) -> None:
        """Only the console shows messages."""

    def retraining(self, text: str, epochs: int) -> None:
        """The epochs are logged as they end."""

    @_never_stops_the_search
    def epoch(self, seed: int, epoch: int, values: dict[str, float]) -> None:
        if self.info.job_type == "search" or (self.info.job_type == "oneshot" and self.seen):
            self.table.append((seed, epoch, values))  # the run's steps are its trials
        elif self.steps.add(seed, epoch, values) or self.mode == "online":
            self._log_epoch(seed, epoch, values)

    def _log_epoch(self, seed: int, epoch: int, values: dict[str, float]) -> None:
        prefix = f"seed{seed}" if self.info.job_type == "retrain" else "shared"
        self.run.log({"epoch": epoch + 1} | {f"{prefix}/{k}": v for k, v in values.items()})

    @_never_stops_the_search
    def finish(self, summary: dict[str, Any], space: Any) -> None:
        self.run.summary.update(_flat(_without_histories(summary)))
        if (self.info.run_dir / runs.PANEL).is_file():
            import wandb

            self.run.log({"shared_weights": wandb.Image(str(self.info.run_dir / runs.PANEL))})
        if self.seen:
            self._log_trials(space)
        model = self.info.run_dir / runs.MODEL
        if self.save_model and model.is_file():
            artifact = self._artifact(f"model-{self.run.id}", "model")
            artifact.add_file(str(model))
            self.run.log_artifact(artifact)

    @_never_stops_the_search
    def close(self, failed: bool = False) -> None:
        if self.run is not None:
            self.run.finish(exit_code=1 if failed else 0)

    @_never_stops_the_search
    def comparison(
        self,
        run_dir: Path,
        name: str,
        config: dict[str, Any],
        curves: dict[str, list[dict[str, float]]],
        finals: dict[str, dict[str, Any]],
        rows: tuple[list[str], list[list[Any]]],
    ) -> None:
        """Logs one W&B run for each controller, all in one group; the first has the table of all.

        Args:
          curves: label -> the values of each step.
          finals: label -> the summary.
          rows: the header and the rows of comparison.csv.
        """
        import wandb

        for i, label in enumerate(curves):
            self.run = self._init(
                run_dir,
                group=self.group or name,
                name=label,
                job_type="compare",
                tags=[label, *self.tags],
                config=config | {"label": label},
                id=_run_id(run_dir, label),
            )
            for values in curves[label]:
                self.run.log(values)
            self.run.summary.update(_flat(finals[label]))
            if i == 0:
                table = wandb.Table(columns=list(rows[0]), data=rows[1])
                artifact = self._artifact(f"comparison-{self.run.id}", "comparison")
                artifact.add(table, "runs")
                self.run.log_artifact(artifact)
            self.run.finish()

    def _init(self, folder: Path, **settings: Any) -> Any:
        import wandb

        return wandb.init(
            project=self.project,
            entity=self.entity,
            mode=self.mode,  # type: ignore[arg-type]  # checked in __init__
            dir=str(folder),
            resume="allow" if self.mode == "online" else None,
            settings=wandb.Settings(
                silent=True,
                console="off",
                init_timeout=self.init_timeout,
                login_timeout=self.init_timeout,
                finish_timeout=self.finish_timeout,
            ),
            **settings,
        )

    def _log_trials(self, space: Any) -> None:
        import wandb

        names = [decision.name for decision in space.decisions]
        table = wandb.Table(columns=["trial", "status", "reward", "seconds", "reason", "arch"])
        columns: list[str | int] = ["trial", *names]
        choices = wandb.Table(columns=columns)
        for trial in sorted(self.seen, key=lambda trial: trial.id):
            arch = str(list(trial.arch))
            table.add_data(trial.id, trial.status, trial.reward, trial.seconds, trial.reason, arch)
            decoded = space.decode(trial.arch)
            choices.add_data(trial.id, *(str(decoded.get(name)) for name in names))
        artifact = self._artifact(f"trials-{self.run.id}", "trials")
        artifact.add(table, "trials")
        artifact.add(choices, "choices")
        if self.table:
            keys = list(self.table[0][2])
            epochs = wandb.Table(columns=["seed", "epoch", *keys])
            for seed, epoch, values in self.table:
                epochs.add_data(seed, epoch + 1, *(values.get(key) for key in keys))
            artifact.add(epochs, "retraining")
        self.run.log_artifact(artifact)

    def _artifact(self, name: str, kind: str) -> Any:
        import wandb

        return wandb.Artifact(name, type=kind)


def _run_id(folder: Path, label: str = "") -> str:
    """The W&B id of this folder's run, drawn at the first call and kept in the folder."""
    path = folder / (f"{label}.{ID}" if label else ID)
    if path.is_file():
        return path.read_text(encoding="utf-8").strip()
    drawn = os.urandom(4).hex()
    write_atomically(path, drawn + "\n")
    return drawn


def _without_histories(summary: dict[str, Any]) -> dict[str, Any]:
    """The summary without epochs: W&B's summary holds single values, the epochs are in a table."""
    if summary.get("retrained"):
        kept = {k: v for k, v in summary["retrained"].items() if k != "history"}
        return summary | {"retrained": kept}
    return summary


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one with dotted keys, as W&B shows them."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= (
            _flat(value, f"{prefix}{key}.")
            if isinstance(value, dict)
            else {f"{prefix}{key}": value}
        )
    return flat
