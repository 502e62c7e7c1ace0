"""The command line: help at once, one line for every mistake, completion, and who imports whom."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
import types
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from nas.commands import cli
from nas.engine.store import FILE, Store
from tests.helpers.cli import QUICK, nas, refused

ROOT = Path(__file__).parents[2]


# Help, lists, settings.


@pytest.mark.parametrize("args", [(), ("--help",), ("-h",), ("help",)])
def test_help_names_every_command(args):
    said = nas(*args)
    assert said.status == 0
    for word, (_, text) in cli.COMMANDS.items():
        assert f"  {word} " in said.out and text in said.out


@pytest.mark.parametrize("command", ["search", "retrain", "compare"])
def test_help_of_a_hydra_command_shows_examples_and_choices(command):
    said = nas(command, "--help")
    assert said.status == 0
    assert f"Examples:\n  nas {command} " in said.out.replace("\n    ", "\n  ")
    assert "zoph2017" in said.out or "nasbench201" in said.out


def test_the_settings_are_shown_and_nothing_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = nas("search", "--cfg", "job", "controller=random", "recipe.epochs=3")
    shown = OmegaConf.create(said.out)
    assert said.status == 0 and shown.recipe.epochs == 3
    assert shown.controller["_target_"].endswith("RandomSearch")
    assert list(tmp_path.iterdir()) == []


def test_a_list_has_every_file_with_its_comment():
    everything = nas("list").out
    for file in (ROOT / "conf" / "controller").glob("*.yaml"):
        assert f"controller={file.stem} " in everything
    only = nas("list", "controller").out
    assert only in everything and "dataset=" not in only
    assert "group must be one of experiment, " in refused("list", "controler")


FAST = """
import sys
from nas.commands.cli import main
for args in (["--help"], ["list"], ["search", "--help"], ["search", "--cfg", "job"]):
    try:
        main(args)
    except SystemExit:
        pass
slow = {"tensorflow", "keras", "matplotlib", "sklearn", "wandb"} & set(sys.modules)
sys.exit(f"imported {slow}" if slow else 0)
"""


def test_help_and_lists_import_nothing_slow():
    done = subprocess.run(
        [sys.executable, "-c", FAST], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    assert done.returncode == 0, done.stderr.decode()


# Mistakes.


def test_an_unknown_command_is_told_the_nearest():
    assert refused("serch").endswith(
        "no command 'serch'. Did you mean search? `nas --help` lists them."
    )
    assert refused("xyzzy").endswith("no command 'xyzzy'. `nas --help` lists them.")


@pytest.mark.parametrize(
    "wrong, told",
    [
        (
            "controller.sample_sze=3",
            "no setting controller.sample_sze; nearest: controller.sample_size (of controller=",
        ),
        ("recipe.epoch=3", "no setting recipe.epoch; nearest: recipe.epochs"),
        ("max_trils=3", "no setting or group max_trils; nearest: max_trials"),
        ("controler=random", "no setting or group controler; nearest: controller"),
        ("controller=randm", "no controller=randm; nearest: controller=random"),
        ("space=nasbench_201", "no space=nasbench_201; nearest: space=nasbench201"),
        ("epochs=3", "no setting or group epochs; nearest: recipe.epochs"),
        ("qqqqqqqq=3", "no setting or group qqqqqqqq. `nas list` and --cfg job show all"),
    ],
)
def test_a_misspelled_setting_is_told_its_nearest_names(wrong, told):
    assert refused("search", wrong).removeprefix("nas: ").startswith(told)


def test_a_misspelled_setting_of_a_sweep_is_told_as_well():
    assert "no setting recipe.epoch; nearest: recipe.epochs" in refused(
        "search", "-m", "recipe.epoch=3,4"
    )


@pytest.mark.parametrize(
    "args, told",
    [
        (("seed=-1",), "seed must be an integer of at least 0, got -1; set seed=0"),
        (("max_trials=0",), "max_trials must be a whole number of at least 1, got 0"),
        (("max_trials=many",), "max_trials must be a whole number of at least 1, got many"),
        (("max_seconds=-5",), "max_seconds must be a number above 0, or null, got -5"),
        (("dataset=grammar",), "this evaluator needs images, got grammar; set dataset=digits"),
        (("recipe=grammar",), "this evaluator needs a recipe of images, got LanguageRecipe"),
        (
            ("skeleton=grammar",),
            "needs a skeleton of image classifiers; set skeleton=small",
        ),
        (
            ("evaluator=language", "space=darts_rnn", "dataset=digits"),
            "evaluator=language needs a text, got digits; set dataset=grammar",
        ),
        (
            ("evaluator=language", "space=nasbench201"),
            "evaluator=language needs a space of recurrent cells, got NASBench201; set space=",
        ),
        (("recipe.learning_rate=0",), "recipe.learning_rate must be positive, got 0"),
        (("executor.workers=0",), "executor.workers must be at least 1, got 0"),
        (("dataset=npz", "dataset.path=gone.npz"), "dataset.path must be an .npz file that exists"),
        (("seed",), "a setting must be written NAME=VALUE, got seed"),
        (("--resolve",), "The --resolve flag can only be used in conjunction with --cfg"),
    ],
)
def test_a_wrong_value_is_told_and_leaves_nothing(args, told, tmp_path):
    assert told in refused("search", "controller=random", f"run_dir={tmp_path / 'run'}", *args)
    assert not (tmp_path / "run").exists()


def test_a_run_folder_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/none")):
        for command in (("search",), ("retrain", "space=nasbench201", "genotype=0,0,0,0,0,1")):
            line = refused(*command, f"run_dir={path}")
            assert f"run_dir must be a folder one can write to, got {path}: " in line


def search(folder, *args):
    return ("search", *QUICK, "controller=random", "max_trials=3", f"run_dir={folder}", *args)


def test_a_folder_in_use_of_another_run_or_damaged_is_refused(tmp_path):
    args = search(tmp_path, "space=nasbench201", "retrain=none")
    assert nas(*args).status == 0
    with Store(tmp_path) as store:
        before = store.trials()
        assert "run_dir must not be in use, got " in refused(*args)
    line = refused(*args, "seed=1")
    assert f"run_dir={tmp_path} holds a run with seed=0, got seed=1: continue it with" in line
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:5000])
    assert "trials.db is damaged or not a store of trials" in refused(*args)
    (tmp_path / FILE).write_bytes(whole)
    assert nas(*args).status == 0
    with Store(tmp_path) as store:
        assert store.trials() == before


def test_a_search_of_which_all_trials_fail_stops_with_the_reason(tmp_path):
    args = search(tmp_path / "run", "space=nasbench201", "max_failures=2")
    line = refused(*args, "evaluator._target_=tests.helpers.cli.Failing")
    assert "search stopped: the last 2 trials failed, the last one as crashed: Valu" in line
    with Store(tmp_path / "run", read_only=True) as store:
        reasons = [trial.reason for trial in store.trials()]
        assert len(reasons) == 2
        assert all(re.fullmatch(r"ValueError: never \(cli.py:\d+\)", r) for r in reasons)


def test_a_target_that_is_not_there_is_told(tmp_path):
    line = refused(*search(tmp_path / "run", "controller._target_=controllers.nowhere.Search"))
    rule = "controller._target_ must be a name that can be imported, got controllers.nowhere.Search"
    assert line == f"nas: {rule}"


def test_a_reward_that_nothing_gives_is_told(tmp_path):
    args = search(tmp_path, "space=nasbench201", "reward=metric", "reward.name=speed")
    assert "reward.name must be one of valid_accuracy, got speed" in refused(*args)


@pytest.mark.parametrize(
    "error, status, told",
    [
        (
            OSError(errno.ENOSPC, "No space left on device"),
            2,
            "cannot write or read: No space left",
        ),
        (
            PermissionError(errno.EACCES, "Permission denied", "x/log.txt"),
            2,
            "cannot write or read x/log.txt: P",
        ),
        (KeyboardInterrupt(), 130, "interrupted; what was finished is saved"),
    ],
)
def test_what_the_machine_refuses_is_one_line(monkeypatch, error, status, told):
    def main(argv):
        raise error

    monkeypatch.setitem(sys.modules, "nas.failing", types.SimpleNamespace(main=main))
    monkeypatch.setitem(cli.COMMANDS, "failing", ("nas.failing", "fails"))
    said = nas("failing")
    assert said.status == status and said.err.startswith(f"nas: {told}")
    if status == 2:
        with pytest.raises(OSError, match=error.strerror):
            nas("-v", "failing")


def test_a_reader_that_has_gone_is_no_error():
    command = [sys.executable, "-m", "nas", "list"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as listing:
        listing.stdout.close()
        assert listing.stderr.read() == b""


# Completion.


def completed(line: str, monkeypatch) -> list[str]:
    monkeypatch.setenv("COMP_LINE", line)
    said = nas("-sc", "query=bash")
    assert said.status == 0
    return said.out.split()


def test_a_shell_completes_commands_choices_and_settings(monkeypatch):
    assert completed("nas ", monkeypatch) == list(cli.COMMANDS)
    assert "controller=regularized_evolution" in completed("nas search controller=reg", monkeypatch)
    settings = completed("nas search controller=random recipe.ep", monkeypatch)
    assert settings == ["recipe.epochs=", "recipe.epsilon="]
    assert completed("/usr/bin/nas retrain see", monkeypatch) == ["seed=", "seeds."]
    assert completed("nas report ", monkeypatch) == []


BASH = """
eval "$(nas search --shell-completion install=bash)"
COMP_LINE="nas search controller=ra"; COMP_POINT=${#COMP_LINE}; COMP_CWORD=2
$(complete -p nas | sed 's/.*-F \\([^ ]*\\).*/\\1/')
echo "${COMPREPLY[@]}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
def test_bash_takes_the_script(tmp_path):
    program = tmp_path / "nas"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m nas.commands.cli "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", BASH], cwd=ROOT, env=environment, capture_output=True)
    assert done.stdout.decode().split() == ["controller=random"], done.stderr.decode()


def test_the_script_can_be_had_from_the_program_itself():
    script = nas("-sc", "install=bash").out
    assert script == nas("search", "--shell-completion", "install=bash").out
    assert script.strip().endswith("hydra_bash_completion nas")
    assert "complete -c nas " in nas("-sc", "install=fish").out


# What ends a command.


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_with_one_line(monkeypatch, number):
    def main(argv):
        os.kill(os.getpid(), number)
        raise AssertionError

    before = signal.getsignal(number)
    monkeypatch.setattr("nas.commands.list.main", main)
    said = nas("list")
    assert said.status == 128 + number
    assert said.err == f"nas: stopped by {number.name}; what was finished is saved\n"
    assert signal.getsignal(number) is before


def test_a_signal_that_is_ignored_stays_ignored(monkeypatch):
    """As under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        monkeypatch.setattr(
            "nas.commands.list.main", lambda argv: os.kill(os.getpid(), signal.SIGHUP) or 0
        )
        assert nas("list").status == 0
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_missing_package_is_one_line(monkeypatch):
    def main(argv):
        import no_such_package  # noqa: F401

    monkeypatch.setattr("nas.commands.list.main", main)
    said = refused("list")
    assert "a package is missing or broken: No module named 'no_such_package'" in said


def test_another_backend_of_keras_is_refused(monkeypatch, tmp_path):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path))
    (tmp_path / "keras.json").write_text('{"backend": "torch"}')
    for command in ("search", "fit", "export"):
        assert "Keras' backend must be tensorflow, got torch" in refused(command, "--help")
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    assert "got jax; set KERAS_BACKEND=tensorflow" in refused("retrain", "runs/mine")
    assert nas("list").status == 0
    monkeypatch.setenv("KERAS_BACKEND", "tensorflow")
    assert nas("fit", "--help").status == 0


@pytest.mark.parametrize(
    "args",
    [
        ("search", "retrain.seeds=[4294967296]"),
        ("retrain", "genotype=darts_v2", "seeds=[0,4294967296]"),
        ("oneshot", "seed=4294967296"),
    ],
)
def test_a_seed_that_keras_refuses_is_refused_before_the_training(args, tmp_path):
    assert "4294967295, got" in refused(*args, f"run_dir={tmp_path / 'run'}")


def test_a_search_or_comparison_without_a_success_ends_with_status_2(tmp_path):
    failing = ("executor=serial", "evaluator._target_=tests.helpers.cli.Failing", "max_trials=2")
    said = nas("search", *failing, f"run_dir={tmp_path / 'run'}")
    assert said.status == 2 and said.err.count("\n") == 1
    assert "nas: no trial has succeeded, the last one is crashed: ValueError: never" in said.err
    assert (tmp_path / "run" / "report.html").is_file()
    said = nas("compare", *failing, "seeds=1", f"run_dir={tmp_path / 'compared'}")
    assert said.status == 2, said
    assert "nas: no search has a trial that succeeded: all 2 of the first" in said.err


# Edges of Hydra.

TABLE = ("evaluator=digits201", "space=nasbench201", "retrain=none", "executor=serial")


@pytest.mark.parametrize(
    "args, told",
    [
        (("search", "-m", "dataset=null"), "a choice must be the name of a file, got dataset=null"),
        (("search", "retrain=null"), "a choice must be the name of a file, got retrain=null"),
        (("search", "--foo"), "no option --foo"),
        (("search", 'run_dir=""'), "run_dir must be the name of a folder, got ''"),
        (("search", "run_dir=' '"), "run_dir must be the name of a folder, got ' '"),
        (("search", "max_trials=true"), "max_trials must be a whole number of at least 1"),
        (("search", "seed=true"), "seed must be an integer of at least 0, got true"),
        (("search", "max_seconds=true"), "max_seconds must be a number above 0, or null, got true"),
        (("search", "seed=4294967296"), "at most 4294967295, got 4294967296"),
        (("search", "executor.workers=true"), "executor.workers must be a whole number, got true"),
        (("search", "recipe.epochs=abc"), "recipe.epochs must be a whole number, got abc"),
        (("search", "recipe.learning_rate=[1]"), "recipe.learning_rate must be a number, got [1]"),
        (("search", "recipe.step_at=[true]"), "recipe.step_at must be a list of numbers"),
        (("search", "space.layers=100000000"), "space.layers must be at most 1000, got 100000000"),
        (("search", "retrain.seeds=5"), "seeds must list at least one seed, got 5"),
        (("search", "retrain.seeds=[true]"), "seeds must list whole numbers"),
        (("search", "controller.lstm.units=true"), "controller.lstm.units must be a whole number"),
        (("search", *TABLE, "warm_start=5"), "warm_start=5 must be the folder of a run"),
        (("search", "reward._partial_=abc"), "reward._partial_ must be true or false, got abc"),
        (("search", "reward.power=abc"), "reward.power must be a number, got abc"),
        (("search", "evaluator._target_=math.pi"), "evaluator._target_ must name a class"),
        (("compare", "seeds=abc"), "seeds must be a number above 0 (at most 100000), or a list"),
        (("compare", "seeds=1.5"), "seeds must be a number above 0"),
        (("compare", "seeds=true"), "seeds must be a number above 0"),
        (("compare", "seeds=1000000000000"), "seeds must be a number above 0"),
        (("compare", "seeds=[null]"), "seeds must list whole numbers from 0 to 4294967295"),
        (("compare", "settings=5"), "settings must be settings by label, got 5"),
        (("compare", "controllers=[[1]]"), "controllers must be different names in a list"),
        (("tabulate", "seeds=[a]", "limit=1"), "seeds must be different whole numbers"),
        (("tabulate", "limit=true"), "limit must be from 1 to"),
        (("oneshot", "max_trials=true"), "max_trials must be a whole number of at least 1"),
        (("retrain", "genotype='((('", "space=nasbench201"), "genotype must be 6 choices"),
        (("retrain", "genotype=0,0,0,0,0,0", "space=nasbench201", "seeds=[true]"), "seeds must"),
    ],
)  # fmt: skip
def test_a_setting_of_the_wrong_kind_is_one_line_in_our_words(args, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    line = refused(*args)
    assert told in line
    pythons = ("NoneType", "invalid literal", "Traceback", "object", "not supported", "'int'")
    assert not any(word in line for word in pythons)
    assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_a_sweep_may_be_asked_for_anywhere_among_the_overrides(tmp_path):
    args = (*TABLE, "controller=random", "max_trials=2")
    assert nas("search", *args, "-m", f"run_dir={tmp_path}", "seed=0,1").status == 0
    assert len(list(tmp_path.glob("*/trials.db"))) == 2


def test_a_swept_path_is_one_folder_below_the_sweeps(tmp_path):
    args = (*TABLE, "controller=random", "max_trials=2", f"run_dir={tmp_path}")
    assert nas("search", "-m", *args, "+note=a/b,a_b").status == 0
    assert len(list(tmp_path.glob("*/trials.db"))) == 2


# Being told to stop.

SLOW = """
import sys, time
from nas.commands import cli
from tests.helpers.cli import Quick
call = Quick.__call__
def slow(self, *args):
    time.sleep(0.2)
    return call(self, *args)
Quick.__call__ = slow
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize("name, status", [("SIGTERM", 143), ("SIGHUP", 129), ("SIGINT", 130)])
def test_a_signal_ends_a_search_with_one_line_and_it_continues(tmp_path, name, status):
    args = search(tmp_path, "space=nasbench201", "retrain=none", "max_trials=500")
    with subprocess.Popen(
        [sys.executable, "-c", SLOW, *args], cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    ) as running:  # fmt: skip
        for line in running.stdout:
            if line.startswith("trial    1"):
                running.send_signal(getattr(signal, name))
                break
        running.stdout.read()
        told = running.stderr.read()
    assert running.returncode == status
    said = "interrupted" if name == "SIGINT" else f"stopped by {name}"
    assert told == f"nas: {said}; what was finished is saved\n"
    with Store(tmp_path) as store:
        assert len(store.trials()) >= 2


def test_a_locale_that_is_not_utf8_costs_nothing(tmp_path):
    args = search(tmp_path / "größe", "space=nasbench201", "retrain=none")
    args = [f"run_dir='{tmp_path}/größe'" if a.startswith("run_dir=") else a for a in args]
    ascii_alone = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C"}
    done = subprocess.run(
        [sys.executable, "-m", "nas", *args], cwd=ROOT, env=os.environ | ascii_alone,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "·" in (tmp_path / "größe" / "report.html").read_text(encoding="utf-8")
