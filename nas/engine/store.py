"""The store of a search: one SQLite file, which changes in one transaction at a time.

Trials, pending proposals and the controller's state are saved together, so that a run continues
after its process was killed at any moment. The file holds numbers and JSON; opening it runs no
code.
"""

import contextlib
import fcntl
import io
import json
import os
import sqlite3
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.core.trial import ConfigError, Proposal, Trial

VERSION = 1
FILE = "trials.db"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS trials (
  finished INTEGER PRIMARY KEY, id INTEGER UNIQUE NOT NULL, proposal TEXT NOT NULL, reward REAL,
  metrics TEXT NOT NULL, seconds REAL NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS pending (id INTEGER PRIMARY KEY, proposal TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS controller (
  one INTEGER PRIMARY KEY CHECK (one = 1), state TEXT NOT NULL, arrays BLOB);
"""


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
        if not read_only:
            self._lock = lock(self.path.parent)
        try:
            with _explained(self.path):
                self._db = self._open(read_only)
        except BaseException:
            self._unlock()
            raise

    def _open(self, read_only: bool) -> sqlite3.Connection:
        if read_only:
            if not self.path.is_file():
                raise ConfigError(f"{self.path.parent} is not a run folder: it has no {FILE}")
            return sqlite3.connect(f"file:{self.path}?mode=ro", uri=True)
        db = sqlite3.connect(self.path, isolation_level=None)
        # A write-ahead log survives kill -9 without an fsync per commit; a power cut may lose the
        # last trials, never the file.
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise ConfigError(f"{self.path} has format {version}, this program writes {VERSION}")
        damage = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        if damage != "ok":
            raise sqlite3.DatabaseError(damage)
        db.executescript(_SCHEMA)
        db.execute(f"PRAGMA user_version={VERSION}")
        return db

    def trials(self) -> list[Trial]:
        """All finished trials, in the order they finished."""
        with _explained(self.path):
            rows = self._db.execute(
                "SELECT id, proposal, reward, metrics, seconds, status, reason "
                "FROM trials ORDER BY finished"
            ).fetchall()
            return [
                Trial(i, _proposal(p), reward, _json(metrics), seconds, status, reason)
                for i, p, reward, metrics, seconds, status, reason in rows
            ]

    def pending(self) -> dict[int, Proposal]:
        """Proposals that have been handed out and have no trial yet, by trial id."""
        with _explained(self.path):
            rows = self._db.execute("SELECT id, proposal FROM pending ORDER BY id").fetchall()
            return {i: _proposal(text) for i, text in rows}

    def controller_state(self) -> dict[str, Any] | None:
        """The controller's last saved state; None before the first save."""
        with _explained(self.path):
            row = self._db.execute("SELECT state, arrays FROM controller").fetchone()
            return None if row is None else _join(_json(row[0]), _arrays(row[1]))

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
        with _explained(self.path), self._transaction():
            self._db.executemany("DELETE FROM pending WHERE id = ?", [(t.id,) for t in trials])
            self._db.executemany(
                "INSERT INTO trials (id, proposal, reward, metrics, seconds, status, reason) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    (
                        t.id, _text(t.proposal), t.reward, json.dumps(t.metrics),
                        t.seconds, t.status, t.reason,
                    )
                    for t in trials
                ],
            )  # fmt: skip
            self._db.executemany(
                "INSERT INTO pending VALUES (?, ?)",
                [(i, _text(proposal)) for i, proposal in (pending or {}).items()],
            )
            if state is not None:
                self._db.execute("REPLACE INTO controller VALUES (1, ?, ?)", _split(state))

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            if self._db.in_transaction:  # a full disk has rolled it back already
                self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def close(self) -> None:
        self._db.close()
        self._unlock()

    def _unlock(self) -> None:
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


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turns SQLite's errors into ConfigErrors of one line, which say what to do."""
    try:
        yield
    except sqlite3.DatabaseError as error:
        text = str(error)
        if "full" in text:
            raise ConfigError(
                f"{path} cannot grow: the disk is full. Everything finished before is saved; "
                "free some space and run the same command with this run_dir again"
            ) from error
        if any(word in text for word in ("I/O error", "readonly", "unable to open", "locked")):
            raise ConfigError(
                f"{path} cannot be read or written ({error}). Everything finished before is saved; "
                "mend that and run the same command with this run_dir again"
            ) from error
        raise ConfigError(
            f"{path} is damaged or not a store of trials ({error}); "
            "restore it from a copy, or name a new run_dir"
        ) from error


def _text(proposal: Proposal) -> str:
    return json.dumps(
        [list(proposal.arch), proposal.parent, proposal.epochs, proposal.notes],
        separators=(",", ":"),
    )


def _proposal(text: str) -> Proposal:
    arch, parent, epochs, notes = _json(text)
    return Proposal(tuple(arch), parent, epochs, notes)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (TypeError, ValueError) as error:
        raise sqlite3.DatabaseError(error) from error


def _arrays(blob: bytes | None) -> Mapping[str, np.ndarray]:
    if not blob:
        return {}
    try:
        with np.load(io.BytesIO(blob), allow_pickle=False) as file:
            return dict(file)
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise sqlite3.DatabaseError(f"the controller's arrays: {error}") from error


def _split(state: dict[str, Any]) -> tuple[str, bytes | None]:
    """The state as JSON, in which names stand for arrays, and the arrays as one npz."""
    arrays: dict[str, np.ndarray] = {}

    def lift(value: Any) -> Any:
        if isinstance(value, np.ndarray):
            arrays[f"a{len(arrays)}"] = value
            return {"__array__": f"a{len(arrays) - 1}"}
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
            return arrays[value["__array__"]]
        return {key: _join(item, arrays) for key, item in value.items()}
    if isinstance(value, list):
        return [_join(item, arrays) for item in value]
    return value
