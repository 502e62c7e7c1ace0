"""The results of a comparison: one record for each search, and comparison.db, which keeps them."""

import contextlib
import dataclasses
import json
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.core.json_values import dumped, parsed
from nas.core.trial import Arch, Trial
from nas.engine import database
from nas.engine.database import explained
from nas.run import folder
from nas.run.old_configs import modernised
from nas.run.saved_config import differences

FILE = "comparison.db"
CONTENTS = "the results of a comparison"
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS runs (label TEXT, settings TEXT, seed INTEGER, "
    "result TEXT NOT NULL, checksum TEXT, PRIMARY KEY (label, settings, seed))"
)
_VALUES = {str: (float, None)}  # of a table's columns
SHAPE = {
    "reward": [(float, None)],
    "seconds": [float],
    "stopped": (str, None),
    "wall": float,
    "best": ([int], None),
    "best_reward": (float, None),
    "changes": [[(int, _VALUES)]],
    "final": _VALUES,
}
# Settings that may differ when a comparison is continued.
FREE = {"controllers", "settings", "seeds", "run_dir", "executor", "recycle_after", "logger"}
FREE |= {"name"}


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
            changes=[_change(change) for change in values["changes"]],
            final=values["final"],
        )


def _change(saved: Sequence[Any]) -> tuple[int, Mapping[str, float]]:
    """Raises ValueError unless it is a trial and the values of a table's columns."""
    if len(saved) != 2 or not isinstance(saved[0], int) or not isinstance(saved[1], dict):
        raise ValueError("a change must be a trial and its values")
    return saved[0], saved[1]


Runs = Mapping[str, Sequence[ComparisonRun]]  # label of a controller -> one run per seed


class Results:
    """comparison.db: one row for each finished search, by (label, settings, seed).

    The folder is locked until `close`. Raises ConfigError if it is in use, holds another
    comparison, or its database is damaged or cannot be written.
    """

    def __init__(self, run_dir: Path, config: dict[str, Any], called: folder.Called | None = None):
        self.path = run_dir / FILE
        self._files = contextlib.ExitStack()
        self._files.callback(
            folder.open_folder(
                run_dir, config, folder.FolderLock, free=FREE, keep_config=False, called=called
            ).close
        )
        try:
            with explained(self.path, CONTENTS):
                self.db = database.open_for_writing(self.path)
                self._files.callback(self.db.close)
                self.db.execute(_SCHEMA)
                database.add_column(self.db, "runs", "checksum")
                self._stored = self._read_settings()
        except BaseException:
            self.close()
            raise

    def has(self, label: str, settings: str, seed: int) -> bool:
        return self._row(label, settings, seed) is not None

    def get(self, label: str, settings: str, seed: int) -> ComparisonRun:
        row = self._row(label, settings, seed)
        if row is None:
            raise KeyError((label, settings, seed))
        with explained(self.path, CONTENTS):
            name = f"the row of {label} from seed {seed}"
            database.check_row(name, row[1], row[0])
            try:
                return ComparisonRun.from_json(parsed(row[0], SHAPE))
            except ValueError as error:
                raise sqlite3.DatabaseError(f"{name}: {error}") from error

    def add(self, label: str, settings: str, seed: int, run: ComparisonRun) -> None:
        text = dumped(run.to_json())
        row = (label, settings, seed, text, database.checksum(text))
        with explained(self.path, CONTENTS):
            self.db.execute("INSERT OR REPLACE INTO runs VALUES (?, ?, ?, ?, ?)", row)

    def close(self) -> None:
        self._files.close()

    def _row(self, label: str, settings: str, seed: int) -> tuple[str, str | None] | None:
        with explained(self.path, CONTENTS):
            for stored in (settings, *self._same(label, settings)):
                found = self.db.execute(
                    "SELECT result, checksum FROM runs WHERE label = ? AND settings = ? AND "
                    "seed = ?",
                    (label, stored, seed),
                ).fetchone()
                if found is not None:
                    return found
        return None

    def _same(self, label: str, settings: str) -> list[str]:
        """The settings of rows that differ from these in what had no setting then, at most."""
        if (label, settings) not in self._known:
            now = json.loads(settings)
            self._known[label, settings] = [
                text
                for text, saved in self._stored.get(label, {}).items()
                if not any(differences(saved, now, free=frozenset()))
            ]
        return self._known[label, settings]

    def _read_settings(self) -> dict[str, dict[str, dict[str, Any]]]:
        """Label -> the text of the settings of its rows -> them with today's names."""
        self._known: dict[tuple[str, str], list[str]] = {}
        stored: dict[str, dict[str, dict[str, Any]]] = {}
        for label, text in self.db.execute("SELECT DISTINCT label, settings FROM runs"):
            try:
                stored.setdefault(label, {})[text] = modernised(parsed(text, {str: Any}))
            except ValueError as error:
                raise sqlite3.DatabaseError(f"the settings of {label}: {error}") from error
        return stored
