"""SQLite files of results: how they are opened, what their errors mean, and checksums of rows."""

import contextlib
import hashlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path

from nas.core.files import printable
from nas.core.trial import ConfigError

CONTENTS = "a store of trials"


def open_for_writing(path: Path) -> sqlite3.Connection:
    """Opens or creates the file, whose every transaction survives kill -9.

    Raises sqlite3.DatabaseError for a damaged file.
    """
    db = sqlite3.connect(path, isolation_level=None)
    try:
        # A write-ahead log survives kill -9 without an fsync per commit; a power cut may lose the
        # last trials, never the file.
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("PRAGMA synchronous=NORMAL")
        check_pages(db)
    except BaseException:
        db.close()
        raise
    return db


@contextlib.contextmanager
def opened_for_reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Opens a file that is there, which may lie on a disk that cannot be written."""
    with contextlib.ExitStack() as stack:
        options = "mode=ro"
        if not os.access(path.parent, os.W_OK):
            log = Path(f"{path}-wal")
            if log.is_file() and log.stat().st_size:  # SQLite reads the log only beside it
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
                shutil.copyfile(log, folder / log.name)
                path = Path(shutil.copyfile(path, folder / path.name))
            else:
                options += "&immutable=1"
        uri = f"{path.absolute().as_uri()}?{options}"
        db = sqlite3.connect(uri, uri=True, isolation_level=None)
        stack.enter_context(contextlib.closing(db))
        yield db


def check_pages(db: sqlite3.Connection) -> None:
    """Raises sqlite3.DatabaseError if the file's pages contradict each other."""
    damage = db.execute("PRAGMA quick_check(1)").fetchone()[0]
    if damage != "ok":
        raise sqlite3.DatabaseError(damage)


@contextlib.contextmanager
def explained(path: Path, contents: str = CONTENTS) -> Iterator[None]:
    """Turns SQLite's errors into ConfigErrors of one line, which say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        text = printable(error)
        if "full" in text:
            raise ConfigError(
                f"{path} cannot grow: the disk is full. Everything finished before is saved; "
                "free some space and run the same command with this run_dir again"
            ) from error
        if any(word in text for word in ("I/O error", "readonly", "unable to open", "locked")):
            raise ConfigError(
                f"{path} cannot be read or written ({text}). Everything finished before is saved; "
                "mend that and run the same command with this run_dir again"
            ) from error
        raise ConfigError(
            f"{path} is damaged or not {contents} ({text}); "
            "restore it from a copy, or name a new run_dir"
        ) from error


@contextlib.contextmanager
def transaction(db: sqlite3.Connection, kind: str = "IMMEDIATE") -> Iterator[None]:
    """One transaction, which is rolled back after an error. A DEFERRED one can only read."""
    db.execute(f"BEGIN {kind}")
    try:
        yield
    except BaseException:
        if db.in_transaction:  # a full disk has rolled it back already
            db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def checksum(*values: float | str | bytes | None) -> str:
    """A digest of a row's values: it tells a row that has changed since it was written."""
    digest = hashlib.blake2b(digest_size=8)
    for value in values:
        if isinstance(value, float):
            value += 0.0  # SQLite keeps no -0.0
        data = value if isinstance(value, bytes) else repr(value).encode("utf-8", "surrogatepass")
        digest.update(b"%d:" % len(data) + data)
    return digest.hexdigest()


def check_row(name: str, saved: str | None, *values: float | str | bytes | None) -> None:
    """Raises sqlite3.DatabaseError, naming the row, unless it is as it was written.

    saved: its checksum; None: an older version wrote it without one.
    """
    if saved is not None and saved != checksum(*values):
        raise sqlite3.DatabaseError(f"{name} is not as it was written")


def add_column(db: sqlite3.Connection, table: str, column: str) -> None:
    """Adds a column of texts to a table that an older version has made without it."""
    if not has_column(db, table, column):
        db.execute(f"ALTER TABLE {table} ADD COLUMN {column} TEXT")


def has_column(db: sqlite3.Connection, table: str, column: str) -> bool:
    return any(row[1] == column for row in db.execute(f"PRAGMA table_info({table})"))
