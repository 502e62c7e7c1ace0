"""What the console and log.txt say, with and without a terminal."""

import io
import time

import pytest

from nas.run.console import Bar, Console, clock, summary_lines
from nas.run.loggers import Loggers
from tests.run.test_wandb_logger import TRIALS, Bits, info

SUMMARY = {
    "trials": 30,
    "failed": 2,
    "wall_seconds": 97.4,
    "best": {"trial": 17, "reward": 0.9612, "metrics": {"valid_accuracy": 0.9869}},
    "retrained": {
        "seeds": [0, 1],
        "test_accuracy": 0.9944,
        "test_accuracy_sd": 0.0011,
        "parameters": 86634,
    },
}


class Terminal(io.StringIO):
    def isatty(self):
        return True


def tell(stream, folder):
    with Loggers([Console(stream)], info(folder, max_trials=4)) as loggers:
        for trial in TRIALS:
            loggers.trial(trial)
        loggers.retraining("retraining trial 2", 1)
        loggers.epoch(0, 0, {"accuracy": 0.5})
        loggers.finish(SUMMARY, Bits())
    return stream.getvalue()


def test_plain_lines_without_a_terminal(tmp_path):
    lines = tell(io.StringIO(), tmp_path).splitlines()
    assert lines == [
        "search: random on bits_space, nothing, seed 3",
        f"run folder: {tmp_path}",
        "trial    0  ok           2.5 s  reward 0.5000",
        "trial    1  nan          2.5 s  the loss is nan",
        "trial    2  ok           2.5 s  reward 0.7500",
        "retraining trial 2",
        "30 trials, 2 failed, 1:37",
        "best: trial 17, reward 0.9612, validation accuracy 0.9869",
        "retrained: test accuracy 0.9944 +- 0.0011 (sd of 2 seeds), 86,634 parameters",
    ]
    assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80


def test_a_terminal_has_lines_above_a_bar(tmp_path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    shown = tell(Terminal(), tmp_path)
    assert "trial    2  ok           2.5 s  reward 0.7500\n" in shown
    assert "0/4" in shown
    assert "\x1b[?25h" in shown  # the cursor is back


def test_a_bar_shows_what_it_was_told_last(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    bar = Bar(Terminal())
    bar.begin(3, done=1)
    bar.step("best 0.7500 (#2)  failed 1")
    until = time.monotonic() + 5
    while "2/3 0:00 left best 0.7500 (#2)  failed 1" not in bar.stream.getvalue():
        assert time.monotonic() < until
        time.sleep(0.02)
    bar.close()


def test_the_log_file_has_the_time_of_day_and_every_epoch(tmp_path):
    tell(io.StringIO(), tmp_path)
    log = (tmp_path / "log.txt").read_text()
    assert "3/4  best 0.7500 (#2)  failed 1  left 0:00" in log
    assert "seed 0  epoch 1  accuracy 0.5000" in log
    assert all(line[:2] == "20" for line in log.splitlines())


def test_a_continued_run_counts_what_was_before(tmp_path):
    stream = io.StringIO()
    with Loggers([Console(stream)], info(tmp_path, max_trials=4, trials_before=TRIALS)) as loggers:
        assert (loggers.done, loggers.failed, loggers.best) == (3, 1, TRIALS[2])
    assert "3 trials done before" in stream.getvalue()


def test_a_bar_without_a_terminal_says_a_line_now_and_then():
    stream = io.StringIO()
    bar = Bar(stream, every=0)
    bar.begin(3, done=1)
    bar.step("random")
    assert stream.getvalue() == "2/3, 0:00 left  random\n"


@pytest.mark.parametrize("seconds, text", [(0, "0:00"), (65.2, "1:05"), (7209, "2:00:09")])
def test_a_clock(seconds, text):
    assert clock(seconds) == text


def test_a_search_without_a_success_has_no_best():
    summary = {"trials": 3, "failed": 3, "wall_seconds": 1.0, "best": None, "retrained": None}
    assert summary_lines(summary) == [
        "3 trials, 3 failed, 0:01",
        "best: none, every trial failed",
    ]
