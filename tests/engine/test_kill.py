"""kill -9 at random moments, continued each time with the same command."""

import collections
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nas.engine.store import Store
from tests.helpers import killable_search as killable

MANY = [(1, 40), (2, 10)]


def start(run_dir, workers):
    return subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.killable_search", str(run_dir), str(workers)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        start_new_session=True,
    )


def run_with_kills(run_dir, workers, kills, rng):
    """Kills the search `kills` times, each at a random moment of its work; then lets it end."""
    for _ in range(kills):
        process = start(run_dir, workers)
        process.stdout.readline()
        time.sleep(float(rng.uniform(0.0, 0.06)))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
    process = start(run_dir, workers)
    process.communicate(timeout=120)
    assert process.returncode == 0


def content(run_dir):
    with Store(run_dir) as store:
        return sorted(store.trials(), key=lambda t: t.id), store.controller_state(), store.pending()


@pytest.mark.parametrize(
    "workers, kills", [(1, 10), (2, 3), *(pytest.param(*n, marks=pytest.mark.slow) for n in MANY)]
)
def test_killed_and_continued_equals_uninterrupted(tmp_path, workers, kills):
    rng = np.random.default_rng(workers)
    (tmp_path / "whole").mkdir()
    (tmp_path / "killed").mkdir()
    run_with_kills(tmp_path / "whole" / "run", workers, 0, rng)
    run_with_kills(tmp_path / "killed" / "run", workers, kills, rng)
    whole, killed = content(tmp_path / "whole" / "run"), content(tmp_path / "killed" / "run")
    assert killed == whole
    assert len(killed[0]) == killable.TRIALS and killed[2] == {}

    # Nothing ran twice after it was saved: at most the trials in flight at a kill ran again.
    calls = collections.Counter((tmp_path / "killed" / "calls.txt").read_text().split())
    again = sum(calls.values()) - killable.TRIALS
    assert again <= kills * (1 if workers == 1 else 2 * workers)
