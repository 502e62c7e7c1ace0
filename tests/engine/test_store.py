"""What a run folder survives, and the one line that says what it does not."""

import contextlib
import json
import pickle
import resource
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nas.core.files import make_folder
from nas.core.trial import CRASHED, ConfigError, Proposal, Trial
from nas.engine.store import FILE, Store, Unsaved
from nas.run import folder as runs
from nas.run.config import make_saved
from nas.run.summary import SUMMARY, read_summary, write_summary

PROPOSAL = Proposal((0, 1, 2), parent=3, epochs=4, notes={"why": ["so", None]})
DONE = Trial(0, PROPOSAL, 0.1 + 0.2, {"valid_accuracies": [0.1, 0.2]}, 1.5)
FAILED = Trial(1, Proposal((2, 1, 0)), None, {}, 0.0, CRASHED, 'ValueError: "quoted" ü')
ARRAY = np.arange(6, dtype=np.float32).reshape(2, 3) / 7
STATE = {"told": 2, "controller": {"weights": [ARRAY, {"deep": ARRAY[0]}], "step": 2**53}}


@pytest.fixture
def folder(tmp_path):
    """A run with two trials, one pending proposal and a controller's state."""
    with Store(tmp_path / "run") as store:
        store.save(trials=[DONE, FAILED], pending={2: PROPOSAL}, state=STATE)
    return tmp_path / "run"


def content(folder):
    with Store(folder) as store:
        return store.trials(), store.pending(), store.controller_state()


def test_everything_comes_back_as_it_was(folder):
    trials, pending, state = content(folder)
    assert trials == [DONE, FAILED] and pending == {2: PROPOSAL}
    weights = state["controller"]["weights"]
    assert weights[0].dtype == np.float32 and (weights[0] == ARRAY).all()
    assert (weights[1]["deep"] == ARRAY[0]).all()
    assert (state["told"], state["controller"]["step"]) == (2, 2**53)


def test_a_new_folder_is_empty(tmp_path):
    assert content(tmp_path) == ([], {}, None)


def test_a_transaction_is_whole_or_nothing(folder):
    with Store(folder) as store:
        third = Trial(2, PROPOSAL, 1.0)
        with pytest.raises(ConfigError, match="UNIQUE"):  # trial 1 is there already
            store.save(trials=[third, FAILED], pending={4: PROPOSAL}, state={"told": 9})
        with pytest.raises(TypeError, match="must be JSON and arrays, got set"):
            store.save(trials=[third], state={"a": set()})
    trials, pending, state = content(folder)
    assert trials == [DONE, FAILED] and list(pending) == [2] and state["told"] == 2


def test_a_search_that_keeps_nothing_has_nothing():
    store = Unsaved()
    store.save(trials=[DONE], pending={2: PROPOSAL}, state=STATE)
    assert (store.trials(), store.pending(), store.controller_state()) == ([], {}, None)


# One writer.

HOLD = """
import sys
from nas.engine.store import Store
with Store(sys.argv[1]):
    print("open", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def held(folder):
    """The folder, while another process searches there; that process."""
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with other:
        other.stdout.readline()
        yield folder, other
        other.kill()


def test_the_second_process_is_refused_at_once_and_readers_are_not(held):
    folder, other = held
    with pytest.raises(ConfigError, match="must not be in use, got .*: another process is search"):
        Store(folder)
    with Store(folder, read_only=True) as store:
        assert store.trials() == [DONE, FAILED]
    other.kill()
    other.wait()
    assert content(folder)[0] == [DONE, FAILED]  # the lock died with its owner


def test_a_store_that_did_not_open_holds_no_lock(folder):
    whole = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(b"nothing of the kind" * 100)
    for _ in range(2):
        with pytest.raises(ConfigError, match="damaged or not a store of trials"):
            Store(folder)
    (folder / FILE).write_bytes(whole)
    assert content(folder)[0] == [DONE, FAILED]


# Damage.


def changed(folder, statement, *values):
    with contextlib.closing(sqlite3.connect(folder / FILE)) as db:
        db.execute(statement, values)
        db.commit()


def test_a_damaged_file_is_told_in_one_line(folder):
    whole = (folder / FILE).read_bytes()
    page = 4096
    for damage in (b"x" * len(whole), whole[: len(whole) // 2], whole[:page] + b"\xff" * page):
        (folder / FILE).write_bytes(damage)
        with pytest.raises(ConfigError, match="damaged or not a store of trials") as told:
            content(folder)
        assert FILE in str(told.value) and "\n" not in str(told.value)
        assert "restore it from a copy, or name a new run_dir" in str(told.value)


@pytest.mark.parametrize(
    "statement, value",
    [
        ("UPDATE trials SET proposal = ?", "[[0,1"),
        ("UPDATE trials SET metrics = ?", "{'a': 1}"),
        ("UPDATE pending SET proposal = ?", "not JSON"),
        ("UPDATE controller SET state = ?", "{"),
        ("UPDATE controller SET arrays = ?", b"PK\x03\x04 cut"),
        ("UPDATE controller SET arrays = ?", b"no npz at all"),
    ],
)
def test_a_damaged_row_is_told_in_one_line(folder, statement, value):
    changed(folder, statement, value)
    with pytest.raises(ConfigError, match="damaged or not a store of trials"):
        content(folder)


def test_other_formats_and_other_databases_are_refused(folder, tmp_path):
    changed(folder, "PRAGMA user_version=99")
    with pytest.raises(ConfigError, match=f"{FILE} has format 99, this program writes 2"):
        Store(folder)
    with pytest.raises(ConfigError, match="is not a run folder: it has no trials.db"):
        Store(tmp_path / "none", read_only=True)
    (tmp_path / "other").mkdir()
    changed(tmp_path / "other", "CREATE TABLE recipes (cake TEXT)")
    with pytest.raises(ConfigError, match="not a store of trials .no such table"):
        Store(tmp_path / "other", read_only=True).trials()


# No room, no permission.


def test_a_full_disk_stops_cleanly_and_keeps_what_was_saved(folder):
    with Store(folder) as store:
        store._db.execute("PRAGMA max_page_count=1")  # SQLite's own error of a full disk
        saved = 2
        with pytest.raises(ConfigError, match="the disk is full. Everything finished before is"):
            for saved in range(2, 1000):
                store.save(trials=[Trial(saved, PROPOSAL, 1.0, {"x": "y" * 500})])
    trials, _, _ = content(folder)
    assert trials[:2] == [DONE, FAILED] and len(trials) == saved
    with Store(folder) as store:  # some space was freed
        store.save(trials=[Trial(saved, PROPOSAL, 1.0)])
    assert len(content(folder)[0]) == saved + 1


def test_a_file_that_may_not_grow_keeps_what_was_saved(folder):
    """As a quota does: the kernel refuses to write, at a place of its own choosing."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    saved = 2
    with Store(folder) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            with pytest.raises(ConfigError, match="finished before is saved; .* run the same"):
                for saved in range(2, 1000):
                    store.save(trials=[Trial(saved, PROPOSAL, 1.0, {"x": "y" * 500})])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    trials, _, _ = content(folder)
    assert 2 < len(trials) == saved


@pytest.mark.parametrize("error", ["database is locked", "attempt to write a readonly database"])
def test_what_is_no_damage_is_not_called_so(folder, error):
    class Refusing:
        in_transaction = False

        def execute(self, *args):
            raise sqlite3.OperationalError(error)

        def close(self):
            pass

    with Store(folder) as store:
        store._db.close()
        store._db = Refusing()
        with pytest.raises(ConfigError, match=f"cannot be read or written .{error}"):
            store.save(trials=[Trial(2, PROPOSAL, 1.0)])


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    for path, why in (
        (tmp_path / "file", "File exists"),
        (tmp_path / "file" / "below", "Not a directory"),
        (Path("/proc/none"), "No such file or directory"),
    ):
        with pytest.raises(ConfigError, match=f"one can write to, got {path}: {why}"):
            Store(path)
        with pytest.raises(ConfigError, match=f"one can write to, got {path}: {why}"):
            make_folder(path)


# The run folder's other files.

CONFIG = {"seed": 0, "space": {"layers": 4}, "max_trials": 30, "executor": {"workers": 2}}


def test_a_run_continues_with_its_own_settings_and_no_others(tmp_path):
    runs.open_run(tmp_path, CONFIG).close()
    for free in ({"max_trials": 60}, {"executor": {"workers": 2, "timeout": 9}}):
        runs.open_run(tmp_path, CONFIG | free).close()
    for other, told in (
        ({"space": {"layers": 5}}, "space.layers=4, got space.layers=5"),
        ({"seed": 1}, "seed=0, got seed=1"),
        ({"new": 1}, "new=null, got new=1"),
        ({"executor": {"workers": 1}}, "executor.workers=2, got executor.workers=1"),
    ):
        with pytest.raises(ConfigError, match=f"holds a run with {told}: continue it with its own"):
            runs.open_run(tmp_path, CONFIG | other)
    runs.open_run(tmp_path, CONFIG).close()  # a refusal leaves neither a lock nor a change


def test_a_damaged_configuration_is_told(tmp_path):
    runs.open_run(tmp_path, CONFIG).close()
    for text in ("seed: [0", "- 1\n- 2", "\x00", "seed: {a: b: c}"):
        (tmp_path / runs.CONFIG).write_text(text)
        for read in (runs.read_run, lambda path: runs.open_run(path, CONFIG)):
            with pytest.raises(ConfigError, match="config.yaml must be the configuration of a run"):
                read(tmp_path)
    (tmp_path / runs.CONFIG).write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match="config.yaml must be the configuration of a run"):
        runs.read_run(tmp_path)
    with pytest.raises(ConfigError, match="is not a run folder: it has no config.yaml"):
        runs.read_run(tmp_path / "none")


def test_a_summary_is_written_whole(tmp_path, monkeypatch):
    assert read_summary(tmp_path) == {}
    write_summary(tmp_path, {"trials": 3})
    with pytest.raises(ConfigError, match="summary.json cannot be written: Is a directory"):
        (tmp_path / f".{SUMMARY}.part").mkdir()
        write_summary(tmp_path, {"trials": 4})
    assert read_summary(tmp_path) == {"trials": 3}
    (tmp_path / SUMMARY).write_text('{"trials":')
    with pytest.raises(ConfigError, match="is damaged .* delete it and continue the run"):
        read_summary(tmp_path)


# Nothing from disk runs code.


class Bomb:
    """Unpickling it leaves a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_pickles_in_a_store_are_not_read(folder, tmp_path):
    fuse = tmp_path / "exploded"
    np.savez(tmp_path / "bomb.npz", a0=np.array([Bomb(fuse)], dtype=object))
    pickle.loads(pickle.dumps(Bomb(fuse)))
    assert fuse.exists()  # the bomb works
    fuse.unlink()
    state = json.dumps({"told": 0, "controller": {"__array__": "a0"}})
    for blob in ((tmp_path / "bomb.npz").read_bytes(), pickle.dumps(Bomb(fuse))):
        changed(folder, "UPDATE controller SET state = ?, arrays = ?", state, blob)
        with pytest.raises(ConfigError, match="damaged"):
            content(folder)
    assert not fuse.exists()


SKELETON = "nas.core.skeleton.ImageSkeleton"


@pytest.mark.parametrize(
    "space",
    [
        {"_target_": "pathlib.Path.touch", "self": "FUSE"},
        {"_target_": "nas.run.folder.Path.touch", "self": "FUSE"},  # ours, and yet not
        {"_target_": SKELETON, "cells": {"_target_": "pathlib.Path.touch", "self": "FUSE"}},
        {"_target_": SKELETON, "cells": [{"_target_": ["pathlib.Path.touch"], "self": "FUSE"}]},
        "${oc.create:{_target_: pathlib.Path.touch, self: FUSE}}",
        {"_target_": SKELETON, "cells": "${oc.create:{_target_: pathlib.Path.touch, self: FUSE}}"},
        {"_target_": "${oc.decode:pathlib.Path.touch}", "self": "FUSE"},
    ],
)
def test_a_run_folder_does_not_choose_what_runs(tmp_path, space):
    fuse = tmp_path / "exploded"
    text = json.dumps({"space": space}).replace("FUSE", str(fuse))
    (tmp_path / runs.CONFIG).write_text(text)
    with pytest.raises(ConfigError, match="one that a file of conf/ names|must hold plain values"):
        make_saved(runs.read_run(tmp_path).space, "space")
    assert not fuse.exists()


# Rows that are not as they were written.


@pytest.mark.parametrize(
    "statement, told",
    [
        ("UPDATE trials SET reward = 0.9 WHERE id = 0", "trial 0 of trials is not as it was"),
        ("UPDATE trials SET seconds = 2 WHERE id = 0", "trial 0 of trials is not as it was"),
        ("UPDATE trials SET metrics = '{}' WHERE id = 0", "trial 0 of trials is not as it was"),
        ("UPDATE trials SET finished = 7 WHERE id = 1", "trial 1 of trials is not as it was"),
        ("DELETE FROM trials WHERE id = 1", "it has 1 of 2 rows of trials"),
        ("UPDATE pending SET id = 5", "trial 5 of pending is not as it was"),
        ("DELETE FROM pending", "it has 0 of 1 rows of pending"),
        ("UPDATE controller SET state = '{}'", "the controller's state is not as it was"),
    ],
)
def test_a_row_that_has_changed_is_named(folder, statement, told):
    changed(folder, statement)
    with pytest.raises(ConfigError, match=told):
        content(folder)


def test_no_flipped_bit_comes_back_as_other_data(folder):
    whole = (folder / FILE).read_bytes()
    rng, expected = np.random.default_rng(3), repr(content(folder))
    for at, bit in zip(rng.integers(len(whole), size=150), rng.integers(8, size=150), strict=True):
        damaged = bytearray(whole)
        damaged[at] ^= 1 << bit
        (folder / FILE).write_bytes(damaged)
        with contextlib.suppress(ConfigError):
            assert repr(content(folder)) == expected


def test_a_store_of_an_older_version_is_read_and_continued(folder):
    """As version 1 wrote it: neither checksums nor totals."""
    for table in ("trials", "pending", "controller"):
        changed(folder, f"ALTER TABLE {table} DROP COLUMN checksum")
    changed(folder, "DROP TABLE total")
    changed(folder, "PRAGMA user_version=1")
    with Store(folder, read_only=True) as store:
        assert store.trials() == [DONE, FAILED] and store.pending() == {2: PROPOSAL}
    with Store(folder) as store:
        store.save(trials=[Trial(2, PROPOSAL, 1.0)])
    assert content(folder)[0] == [DONE, FAILED, Trial(2, PROPOSAL, 1.0)]
    changed(folder, "UPDATE trials SET reward = 2 WHERE id = 2")
    with pytest.raises(ConfigError, match="trial 2 of trials is not as it was"):
        content(folder)


@pytest.mark.parametrize(
    "statement, told",
    [
        ("UPDATE trials SET metrics = '[]', checksum = NULL", "the metrics of trial 0: it must be"),
        ("UPDATE trials SET status = 'fine', checksum = NULL", "the status of trial 0 is fine"),
        ("UPDATE trials SET proposal = '[[0.5],0,0,{}]', checksum = NULL", "trial 0 has no propos"),
        ("UPDATE controller SET state = '[]', checksum = NULL", "the controller's state: it must"),
    ],
)
def test_a_row_without_a_checksum_has_its_shape_at_least(folder, statement, told):
    changed(folder, statement)
    with pytest.raises(ConfigError, match=told):
        content(folder)


def test_numbers_of_numpy_are_kept_and_nan_is_none(tmp_path):
    trial = Trial(0, Proposal((np.int64(1),)), np.float32(0.5), {"a": np.float32(2)}, np.float64(3))
    nan = Trial(1, PROPOSAL, -0.0, {"valid_loss": float("nan")}, 0)
    with Store(tmp_path) as store:
        store.save(trials=[trial, nan], state={"told": 2, "controller": {"n": np.int64(4)}})
    trials, _, state = content(tmp_path)
    assert trials[0] == Trial(0, Proposal((1,)), 0.5, {"a": 2.0}, 3.0)
    assert trials[1].metrics == {"valid_loss": None} and state["controller"] == {"n": 4}


def test_a_store_on_a_disk_that_cannot_be_written_is_read(folder, monkeypatch):
    """Its log, which a killed process has left, is read as well."""
    with Store(folder) as store:
        store.save(trials=[Trial(2, PROPOSAL, 1.0)])
        files = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert files[f"{FILE}-wal"]
    for kept in ([FILE], [FILE, f"{FILE}-wal"]):
        killed = folder.parent / str(len(kept))
        killed.mkdir()
        for name in kept:
            (killed / name).write_bytes(
                files[name] if len(kept) == 2 else (folder / name).read_bytes()
            )
        monkeypatch.setattr("os.access", lambda *args: False)
        with Store(killed, read_only=True) as store:
            assert [trial.id for trial in store.trials()] == [0, 1, 2]
        assert sorted(path.name for path in killed.iterdir()) == sorted(kept)


def test_a_folder_may_have_any_name(tmp_path):
    odd = tmp_path / "größe ?#%20'x=1,y"
    with Store(odd) as store:
        store.save(trials=[DONE])
    with Store(odd, read_only=True) as store:
        assert store.trials() == [DONE]


# Configurations that somebody else has written.


@pytest.mark.parametrize(
    "text, told",
    [
        ("a: &a [1, 2]\nb: [*a, *a]", "it has an alias"),
        ("a: " + "[" * 5000, "got: "),
        ("config_version: 99", "a newer nas wrote it"),
        ("choices: 5", "choices must be a dict"),
        ("retrain: [1]", "retrain must be a dict"),
    ],
)
def test_a_configuration_that_would_grow_or_is_odd_is_refused(tmp_path, text, told):
    (tmp_path / runs.CONFIG).write_text(text)
    with pytest.raises(ConfigError, match=f"must be the configuration of a run.*{told}"):
        runs.read_run(tmp_path)


def test_a_configuration_asks_the_environment_for_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_SECRET", "hunter2")
    written = {"name": "${oc.env:NAS_SECRET}", "list": ["a\\${x}", "${name}"]}
    runs.open_run(tmp_path, written).close()
    config = runs.read_run(tmp_path)
    assert (config.name, list(config.list)) == (written["name"], written["list"])
    assert "hunter2" not in str(config)
