"""W&B for real, offline: what is read back from its own file is what was told."""

import sys

import pytest

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


def test_a_continued_run_goes_on_in_its_own_wandb_run(runs):
    assert runs[1]["run"].run_id == runs[0]["run"].run_id
    assert [step["_step"] for step in runs[1]["history"]] == [3]
    assert runs[1]["history"][0]["best_reward"] == 0.75  # of the first part


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
