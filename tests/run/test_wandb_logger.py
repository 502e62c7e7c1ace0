"""W&B for real, offline: what is read back from its own file is what was told."""

import contextlib
import math
import socket
import sys
import threading

import pytest
import wandb

from nas.core.space import Decision, Space
from nas.core.trial import NAN, ConfigError, Proposal, Trial
from nas.run.loggers import Loggers, RunInfo
from nas.run.wandb_logger import WandB
from tests.helpers import wandb_file


class Bits(Space):
    decisions = (Decision("first", ("a", "b")), Decision("second", ("c", "d")))


def trial(i, reward, **metrics):
    arch = (i % 2, 1)
    status = {} if reward is not None else {"status": NAN, "reason": "the loss is nan"}
    return Trial(i, Proposal(arch), reward, metrics, 2.5, **status)


def info(folder, **changes):
    values = {
        "run_dir": folder,
        "job_type": "search",
        "experiment": "bits",
        "space": "bits_space",
        "controller": "random",
        "dataset": "nothing",
        "seed": 3,
        "config": {"seed": 3, "controller": {"sample_size": 5}},
    }
    return RunInfo(**(values | changes))


SUMMARY = {
    "trials": 3,
    "best": {"trial": 2, "reward": 0.75},
    "retrained": {"test_accuracy": 0.5, "history": [{"loss": [1.0]}]},
}


def search(folder, trials, **changes):
    with Loggers([WandB(mode="offline", tags=["mine"])], info(folder, **changes)) as loggers:
        for each in trials:
            loggers.trial(each)
        loggers.retraining("retraining", 2)
        loggers.epoch(0, 0, {"loss": 2.0, "accuracy": 0.25})
        loggers.epoch(0, 1, {"loss": 1.0, "accuracy": 0.5, "test_accuracy": 0.5})
        (folder / "best.keras").write_bytes(b"a model")
        loggers.finish(SUMMARY, Bits())


TRIALS = [trial(0, 0.5, valid_accuracy=0.6), trial(1, None), trial(2, 0.75, valid_accuracy=0.8)]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """A search, and the same folder continued by one trial."""
    folder = tmp_path_factory.mktemp("wandb_run")
    search(folder, TRIALS)
    search(folder, [trial(3, 0.25, valid_accuracy=0.3)], trials_before=tuple(TRIALS))
    return wandb_file.read(folder)


def test_the_run_says_what_it_is(runs):
    run = runs[0]["run"]
    assert (run.project, run.run_group, run.job_type) == ("nas", "bits", "search")
    assert list(run.tags) == ["bits_space", "random", "nothing", "mine"]
    assert runs[0]["config"]["controller"] == {"sample_size": 5}
    assert runs[0]["exit_code"] == 0


def test_one_step_a_trial(runs):
    history = runs[0]["history"]
    assert [step["_step"] for step in history] == [0, 1, 2]
    assert [step["trial"] for step in history] == [0, 1, 2]
    assert [step["best_reward"] for step in history] == [0.5, 0.5, 0.75]
    assert [step.get("reward") for step in history] == [0.5, None, 0.75]
    assert [step["failed"] for step in history] == [0, 1, 1]
    assert [step.get("metrics/valid_accuracy") for step in history] == [0.6, None, 0.8]


def test_the_summary_has_single_values(runs):
    summary = runs[0]["summary"]
    assert summary["best.reward"] == 0.75
    assert summary["retrained.test_accuracy"] == 0.5
    assert not any("history" in key for key in summary)


def test_the_artifacts_are_the_trials_and_the_model(runs):
    trials, model = runs[0]["artifacts"]["trials"], runs[0]["artifacts"]["model"]
    assert {entry.path for entry in trials.manifest.contents} == {
        "trials.table.json",
        "choices.table.json",
        "retraining.table.json",
    }
    assert [entry.path for entry in model.manifest.contents] == ["best.keras"]


def test_a_continued_offline_run_has_the_steps_of_all_its_parts(runs):
    first, second = runs
    assert second["run"].run_id == first["run"].run_id
    assert [step["_step"] for step in second["history"]] == [0, 1, 2, 3]
    assert [step["best_reward"] for step in second["history"]] == [0.5, 0.5, 0.75, 0.75]
    assert [step["failed"] for step in second["history"]] == [0, 1, 1, 1]
    for earlier, again in zip(first["history"], second["history"], strict=False):
        assert _without_clock(earlier) == _without_clock(again)


def _without_clock(step):
    return {k: v for k, v in step.items() if k not in ("_runtime", "_timestamp")}


@pytest.mark.parametrize(("job", "prefix"), [("retrain", "seed1"), ("oneshot", "shared")])
def test_a_continued_offline_run_has_all_epochs_and_none_twice(tmp_path, job, prefix):
    told = info(tmp_path, job_type=job)
    with Loggers([WandB(mode="offline")], told) as loggers:
        loggers.epoch(1, 0, {"loss": 2.0})
        loggers.epoch(1, 1, {"loss": float("nan")})
    record = tmp_path / "wandb_epochs.jsonl"
    assert record.read_text() == '[1, 0, {"loss": 2.0}]\n[1, 1, {"loss": "nan"}]\n'
    with record.open("a") as file:
        file.write('[1, 2, {"lo')  # killed while it wrote
    with Loggers([WandB(mode="offline")], told) as loggers:
        loggers.epoch(1, 1, {"loss": 1.5})  # the epoch after the last checkpoint runs again
        loggers.epoch(1, 2, {"loss": 1.0})
    history = wandb_file.read(tmp_path)[-1]["history"]
    assert [step["epoch"] for step in history] == [1, 2, 3]
    assert [step[f"{prefix}/loss"] for step in history] == [
        2.0,
        pytest.approx(math.nan, nan_ok=True),
        1.0,
    ]
    assert len(record.read_text().splitlines()) == 3


def test_a_retraining_logs_a_step_an_epoch(tmp_path):
    with Loggers([WandB(mode="offline")], info(tmp_path, job_type="retrain")) as loggers:
        loggers.epoch(0, 0, {"loss": 2.0})
        loggers.epoch(1, 0, {"loss": 1.0})
    (run,) = wandb_file.read(tmp_path)
    assert [step.get("seed1/loss") for step in run["history"]] == [None, 1.0]


def test_a_failed_run_is_marked_as_failed(tmp_path):
    with (
        pytest.raises(KeyboardInterrupt),
        Loggers([WandB(mode="offline")], info(tmp_path)),
    ):
        raise KeyboardInterrupt
    assert wandb_file.read(tmp_path)[0]["exit_code"] == 1


def test_a_comparison_is_a_run_a_controller(tmp_path):
    WandB(mode="offline").comparison(
        tmp_path,
        "duel",
        {"seeds": 2},
        {"random": [{"trials": 1, "best_reward": 0.5}], "ours": [{"trials": 1}]},
        {"random": {"best_reward": {"mean": 0.5}}, "ours": {}},
        (["controller", "seed"], [["random", "0"], ["ours", "0"]]),
    )
    random, ours = wandb_file.read(tmp_path)
    assert {random["run"].display_name, ours["run"].display_name} == {"random", "ours"}
    first = random if random["run"].display_name == "random" else ours
    assert first["run"].run_group == "duel"
    assert first["summary"]["best_reward.mean"] == 0.5
    assert first["artifacts"]["comparison"].manifest.contents[0].path == "runs.table.json"


def test_no_wandb_is_one_warning_and_the_search_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # as if it were not installed
    search(tmp_path, TRIALS)
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 1
    assert told[0].startswith("nas: warning: goes on without W&B: import of wandb halted")


def test_no_account_is_one_warning_and_the_search_goes_on(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))  # where a key would be
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    with Loggers([WandB(mode="online")], info(tmp_path)) as loggers:
        loggers.trial(TRIALS[0])
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if "goes on without W&B" in line] == told[-1:]


def test_an_unknown_mode_is_refused():
    with pytest.raises(ConfigError, match="logger.mode must be one of online, offline, disabled"):
        WandB(mode="ofline")


@contextlib.contextmanager
def _server(answer):
    """A server on the loopback that gives each connection to `answer`; yields its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.1)
        connections, ended = [], threading.Event()

        def serve():
            while not ended.is_set():
                with contextlib.suppress(TimeoutError):
                    connections.append(listener.accept()[0])
                    answer(connections[-1])

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()
            for connection in connections:
                connection.close()


def _refuses():
    """The address of a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    return contextlib.nullcontext(f"http://127.0.0.1:{port}")


def _hangs():
    return _server(lambda connection: None)


def _answers_500():
    def answer(connection):
        connection.settimeout(1)
        with contextlib.suppress(OSError):
            connection.recv(65536)
            connection.sendall(
                b"HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n"
                b"Connection: close\r\n\r\n"
            )
            connection.close()

    return _server(answer)


@pytest.mark.parametrize(
    ("out_of_reach", "reason"),
    [(_refuses, "connection refused"), (_hangs, "deadline exceeded"), (_answers_500, "HTTP 500")],
)
def test_a_server_out_of_reach_is_one_warning_and_the_search_goes_on(
    tmp_path, capsys, monkeypatch, out_of_reach, reason
):
    wandb.teardown()  # its process remembers the first address
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    with out_of_reach() as address:
        monkeypatch.setenv("WANDB_BASE_URL", address)
        logger = WandB(mode="online", init_timeout=1, finish_timeout=1)
        with Loggers([logger], info(tmp_path)) as loggers:
            for each in TRIALS:
                loggers.trial(each)
            loggers.finish(SUMMARY, Bits())
    wandb.teardown()
    warnings = [line for line in capsys.readouterr().err.splitlines() if "nas: warning" in line]
    assert len(warnings) == 1
    assert warnings[0].startswith("nas: warning: goes on without W&B: ")
    assert reason in warnings[0]
    assert loggers.done == 3
