"""The store of a search: one SQLite file, which changes in one transaction at a time.

Trials, pending proposals and the controller's state are saved together, so that a run continues
after its process was killed at any moment. The file holds numbers and JSON; opening it runs no
code.
"""

import contextlib
import fcntl
import io
import json
import math
import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.core.files import read_arrays
from nas.core.json_values import dumped, misfit, parsed, plain
from nas.core.trial import STATUSES, ConfigError, Proposal, Trial
from nas.engine import database
from nas.engine.database import checksum, explained

VERSION = 2  # 1 had neither checksums nor totals
FILE = "trials.db"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS trials (
  finished INTEGER PRIMARY KEY, id INTEGER UNIQUE NOT NULL, proposal TEXT NOT NULL, reward REAL,
  metrics TEXT NOT NULL, seconds REAL NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL,
  checksum TEXT);
CREATE TABLE IF NOT EXISTS pending (
  id INTEGER PRIMARY KEY, proposal TEXT NOT NULL, checksum TEXT);
CREATE TABLE IF NOT EXISTS controller (
  one INTEGER PRIMARY KEY CHECK (one = 1), state TEXT NOT NULL, arrays BLOB, checksum TEXT);
CREATE TABLE IF NOT EXISTS total (
  one INTEGER PRIMARY KEY CHECK (one = 1), trials INTEGER NOT NULL, pending INTEGER NOT NULL);
"""
_COUNTED = ("trials", "pending")


class Store:
    """The store of one run folder. It has one writer at a time, and readers at any time.

    Args:
      read_only: neither locks nor creates the file, and refuses a folder without one.

    Raises ConfigError if the folder is in use or cannot be written, or the file is damaged.
    """

    keeps = True

    def __init__(self, run_dir: Path | str, *, read_only: bool = False):
        self.path = Path(run_dir) / FILE
        self._lock = None
        self._files = contextlib.ExitStack()
        if not read_only:
            self._lock = lock(self.path.parent)
        try:
            with explained(self.path):
                self._db = self._opened_for_reading() if read_only else self._opened()
        except BaseException:
            self.close()
            raise

    def _opened_for_reading(self) -> sqlite3.Connection:
        if not self.path.is_file():
            raise ConfigError(f"{self.path.parent} is not a run folder: it has no {FILE}")
        db = self._files.enter_context(database.opened_for_reading(self.path))
        self._check_version(db)
        return db

    def _opened(self) -> sqlite3.Connection:
        db = database.open_for_writing(self.path)
        self._files.enter_context(contextlib.closing(db))
        self._check_version(db)
        db.executescript(_SCHEMA)
        for table in ("trials", "pending", "controller"):
            database.add_column(db, table, "checksum")
        counts = [db.execute(f"SELECT count(*) FROM {t}").fetchone()[0] for t in _COUNTED]
        db.execute("INSERT OR IGNORE INTO total VALUES (1, ?, ?)", counts)
        db.execute(f"PRAGMA user_version={VERSION}")
        return db

    def _check_version(self, db: sqlite3.Connection) -> None:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if not 0 <= version <= VERSION:
            raise ConfigError(f"{self.path} has format {version}, this program writes {VERSION}")

    def trials(self) -> list[Trial]:
        """All finished trials, in the order they finished."""
        columns = "finished, id, proposal, reward, metrics, seconds, status, reason"
        rows = self._rows("trials", columns, "finished")
        with explained(self.path):
            return [_trial(*row) for row in rows]

    def pending(self) -> dict[int, Proposal]:
        """Proposals that have been handed out and have no trial yet, by trial id."""
        rows = self._rows("pending", "id, proposal", "id")
        with explained(self.path):
            return {i: _proposal(text, f"pending trial {i}") for i, text in rows}

    def _rows(self, table: str, columns: str, order: str) -> list[tuple]:
        """All rows of `trials` or `pending`, each as it was written, and none missing."""
        with explained(self.path):
            with_checksums = database.has_column(self._db, table, "checksum")
            saved = "checksum" if with_checksums else "NULL"
            with database.transaction(self._db, "DEFERRED"):
                rows = self._db.execute(
                    f"SELECT {columns}, {saved} FROM {table} ORDER BY {order}"
                ).fetchall()
                total = (
                    self._db.execute(f"SELECT {table} FROM total").fetchone()
                    if with_checksums
                    else None
                )
            if total is not None and total[0] != len(rows):
                raise sqlite3.DatabaseError(f"it has {len(rows)} of {total[0]} rows of {table}")
            at = columns.split(", ").index("id")
            for row in rows:
                database.check_row(f"trial {row[at]} of {table}", row[-1], *row[:-1])
            return [row[:-1] for row in rows]

    def controller_state(self) -> dict[str, Any] | None:
        """The controller's last saved state; None before the first save."""
        with explained(self.path):
            has = database.has_column(self._db, "controller", "checksum")
            row = self._db.execute(
                f"SELECT state, arrays, {'checksum' if has else 'NULL'} FROM controller"
            ).fetchone()
            if row is None:
                return None
            state, arrays, saved = row
            database.check_row("the controller's state", saved, state, arrays)
            return _join(_json(state, {str: Any}, "the controller's state"), _arrays(arrays))

    def save(
        self,
        *,
        trials: Sequence[Trial] = (),
        pending: Mapping[int, Proposal] | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        """Saves all changes in one transaction.

        Args:
          trials: the newly finished trials. Their proposals are no longer pending.
          pending: the newly handed out proposals, by trial id.
          state: the controller's state after it has proposed and been told all of these.
        """
        with explained(self.path), database.transaction(self._db):
            [last] = self._db.execute("SELECT coalesce(max(finished), 0) FROM trials").fetchone()
            self._db.executemany("DELETE FROM pending WHERE id = ?", [(t.id,) for t in trials])
            finished = [_row(last + 1 + k, trial) for k, trial in enumerate(trials)]
            self._db.executemany(
                "INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [(*row, checksum(*row)) for row in finished],
            )
            begun = [(int(i), _text(proposal)) for i, proposal in (pending or {}).items()]
            self._db.executemany(
                "INSERT INTO pending VALUES (?, ?, ?)", [(*row, checksum(*row)) for row in begun]
            )
            if state is not None:
                row = _split(state)
                values = (*row, checksum(*row))
                self._db.execute("REPLACE INTO controller VALUES (1, ?, ?, ?)", values)
            self._db.execute(
                "UPDATE total SET trials = trials + ?, pending = (SELECT count(*) FROM pending)",
                (len(finished),),
            )

    def close(self) -> None:
        self._files.close()
        if self._lock is not None:
            unlock(self._lock)
            self._lock = None

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Unsaved:
    """A store that keeps nothing, for searches that take a moment."""

    keeps = False

    def trials(self) -> list[Trial]:
        return []

    def pending(self) -> dict[int, Proposal]:
        return {}

    def controller_state(self) -> None:
        return None

    def save(self, **changes: Any) -> None:
        pass


def lock(folder: Path) -> int:
    """Locks the folder for this process; the kernel drops the lock when the process dies.

    Raises ConfigError if another process holds it, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR)
    except OSError as error:
        raise ConfigError(
            f"run_dir must be a folder one can write to, got {folder}: {error.strerror}"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise ConfigError(
            f"run_dir must not be in use, got {folder}: another process is searching there"
        ) from None
    return handle


def unlock(handle: int) -> None:
    os.close(handle)


def _row(finished: int, trial: Trial) -> tuple:
    """The values of a trial's row. Raises ConfigError for seconds that no row can hold."""
    seconds = float(trial.seconds)
    if not math.isfinite(seconds):
        raise ConfigError(f"the seconds of trial {trial.id} must be finite, got {seconds}")
    reward = None if trial.reward is None else float(trial.reward)
    return (
        finished, int(trial.id), _text(trial.proposal), reward, dumped(trial.metrics), seconds,
        trial.status, trial.reason,
    )  # fmt: skip


def _trial(finished: int, i: int, proposal: str, *rest: Any) -> Trial:
    """The trial of a row. Raises sqlite3.DatabaseError, naming it, if it is none."""
    reward, metrics, seconds, status, reason = rest
    name = f"trial {i}"
    numbers = [seconds] if reward is None else [seconds, reward]
    if not all(isinstance(n, int | float) and math.isfinite(n) for n in numbers):
        raise sqlite3.DatabaseError(f"the numbers of {name} are {numbers}")
    if status not in STATUSES or not isinstance(reason, str) or not isinstance(i, int):
        raise sqlite3.DatabaseError(f"the status of {name} is {status}")
    found = _json(metrics, {str: Any}, f"the metrics of {name}")
    return Trial(i, _proposal(proposal, name), reward, found, seconds, status, reason)


def _text(proposal: Proposal) -> str:
    return json.dumps(
        [list(proposal.arch), proposal.parent, proposal.epochs, proposal.notes],
        separators=(",", ":"),
        default=lambda value: plain(value, "a proposal's entry"),
    )


def _proposal(text: str, name: str) -> Proposal:
    """The proposal of a row. Raises sqlite3.DatabaseError, naming it, if it is none."""
    values = _json(text, [Any], name)
    shapes = ([int], (int, None), (int, None), {str: Any})
    if len(values) != len(shapes) or any(map(misfit, values, shapes)):
        raise sqlite3.DatabaseError(f"{name} has no proposal")
    arch, parent, epochs, notes = values
    return Proposal(tuple(arch), parent, epochs, notes)


def _json(text: str, shape: Any, name: str) -> Any:
    try:
        return parsed(text, shape)
    except ValueError as error:
        raise sqlite3.DatabaseError(f"{name}: {error}") from error


def _arrays(blob: bytes | None) -> Mapping[str, np.ndarray]:
    if not blob:
        return {}
    try:
        return read_arrays(io.BytesIO(blob))
    except (TypeError, ValueError) as error:
        raise sqlite3.DatabaseError(f"the controller's arrays: {error}") from error


def _split(state: dict[str, Any]) -> tuple[str, bytes | None]:
    """The state as JSON, in which names stand for arrays, and the arrays as one npz."""
    arrays: dict[str, np.ndarray] = {}

    def lift(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays[f"a{len(arrays)}"] = value
            return {"__array__": f"a{len(arrays) - 1}"}
        if isinstance(value, np.generic):
            return value.item()
        raise TypeError(f"a controller's state must be JSON and arrays, got {type(value).__name__}")

    text = json.dumps(state, separators=(",", ":"), default=lift)
    if not arrays:
        return text, None
    blob = io.BytesIO()
    np.savez(blob, **arrays)  # type: ignore[arg-type]
    return text, blob.getvalue()


def _join(value: Any, arrays: Mapping[str, np.ndarray]) -> Any:
    """The inverse of `_split`."""
    if isinstance(value, dict):
        if "__array__" in value:
            name = value["__array__"]
            if not isinstance(name, str) or name not in arrays:
                raise sqlite3.DatabaseError(f"the controller's array {name} is missing")
            return arrays[name]
        return {key: _join(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_join(item, arrays) for item in value]
    return value
