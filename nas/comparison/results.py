"""The results of a comparison: one record for each search, and comparison.db, which keeps them."""

import dataclasses
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.core.trial import Arch, ConfigError, Trial
from nas.run import folder
from nas.run.old_configs import modernised

FILE = "comparison.db"
# Settings that may differ when a comparison is continued.
FREE = {"controllers", "settings", "seeds", "run_dir", "executor", "recycle_after", "logger"}


@dataclasses.dataclass(frozen=True)
class ComparisonRun:
    """What one search of one controller and seed did.

    rewards, seconds: of each trial in the order of their ids; a reward of None is a failure.
    changes: (trial, value by column of the table) at each new best trial.
    final: value by column for the architecture with which the controller ended.
    The last two are empty unless the evaluator is a table.
    """

    rewards: Sequence[float | None]
    seconds: Sequence[float]
    stopped: str | None = None  # why the search stopped before its budget was spent
    wall_seconds: float = 0.0
    best: Arch | None = None
    best_reward: float | None = None
    changes: Sequence[tuple[int, Mapping[str, float]]] = ()
    final: Mapping[str, float] = dataclasses.field(default_factory=dict)

    @property
    def failed(self) -> int:
        return sum(reward is None for reward in self.rewards)

    @property
    def trial_ends(self) -> np.ndarray:
        """Seconds spent until the end of each trial, [trials] float64."""
        return np.cumsum(self.seconds)

    @classmethod
    def of(
        cls, trials: Sequence[Trial], top: Trial | None, stopped: str | None, wall_seconds: float
    ) -> "ComparisonRun":
        """The record of a search without what a table knows of its architectures."""
        return cls(
            rewards=[None if t.reward is None else float(t.reward) for t in trials],
            seconds=[float(t.seconds) for t in trials],
            stopped=stopped,
            wall_seconds=wall_seconds,
            best=None if top is None else top.arch,
            best_reward=None if top is None else top.reward,
        )

    def to_json(self) -> dict[str, Any]:
        """JSON values under the keys of comparison.db."""
        return {
            "reward": list(self.rewards),
            "seconds": list(self.seconds),
            "failed": self.failed,
            "stopped": self.stopped,
            "wall": self.wall_seconds,
            "best": None if self.best is None else list(self.best),
            "best_reward": self.best_reward,
            "changes": [[trial, dict(values)] for trial, values in self.changes],
            "final": dict(self.final),
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "ComparisonRun":
        """The inverse of `to_json`."""
        return cls(
            rewards=values["reward"],
            seconds=values["seconds"],
            stopped=values["stopped"],
            wall_seconds=values["wall"],
            best=None if values["best"] is None else tuple(values["best"]),
            best_reward=values["best_reward"],
            changes=[(trial, columns) for trial, columns in values["changes"]],
            final=values["final"],
        )


Runs = Mapping[str, Sequence[ComparisonRun]]  # label of a controller -> one run per seed


class Results:
    """comparison.db: one row for each finished search, by (label, settings, seed).

    The folder is locked until `close`. Raises ConfigError if it is in use, holds another
    comparison, or its database is damaged.
    """

    def __init__(self, run_dir: Path, config: dict[str, Any]):
        self._lock = folder.open_folder(
            run_dir, config, folder.FolderLock, free=FREE, keep_config=False
        )
        try:
            self.db = _opened(run_dir / FILE)
        except BaseException:
            self._lock.close()
            raise

    def has(self, label: str, settings: str, seed: int) -> bool:
        return any(True for _ in self._rows(label, settings, seed))

    def get(self, label: str, settings: str, seed: int) -> ComparisonRun:
        return ComparisonRun.from_json(json.loads(next(self._rows(label, settings, seed))[0]))

    def add(self, label: str, settings: str, seed: int, run: ComparisonRun) -> None:
        row = (label, settings, seed, json.dumps(run.to_json()))
        self.db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?)", row)

    def close(self) -> None:
        self.db.close()
        self._lock.close()

    def _rows(self, *key: str | int) -> Iterator[tuple[str]]:
        return self.db.execute(
            "SELECT result FROM runs WHERE label = ? AND settings = ? AND seed = ?", key
        )


def _opened(path: Path) -> sqlite3.Connection:
    """The database. Raises ConfigError if it is damaged."""
    try:
        db = sqlite3.connect(path, isolation_level=None)
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute(
            "CREATE TABLE IF NOT EXISTS runs (label TEXT, settings TEXT, seed INTEGER, "
            "result TEXT NOT NULL, PRIMARY KEY (label, settings, seed))"
        )
        _modernise_settings(db)
    except (sqlite3.DatabaseError, ValueError) as error:
        raise ConfigError(f"{path} is damaged ({error}); move it away to run again") from error
    return db


def _modernise_settings(db: sqlite3.Connection) -> None:
    """Gives the rows that an older version wrote today's names, so that they are not run again."""
    for (text,) in db.execute("SELECT DISTINCT settings FROM runs").fetchall():
        settings = json.dumps(modernised(json.loads(text)), sort_keys=True)
        if settings != text:
            db.execute(
                "UPDATE OR IGNORE runs SET settings = ? WHERE settings = ?", (settings, text)
            )
