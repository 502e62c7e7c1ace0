"""nas compare: every (controller, seed) once, resumable, with the right numbers in its tables."""

import contextlib
import csv
import hashlib
import itertools
import json
import sqlite3

import numpy as np
import pytest
from hydra import initialize_config_module
from omegaconf import OmegaConf

from nas.commands.cli import main
from nas.comparison import report as comparison
from nas.comparison.results import ComparisonRun
from nas.comparison.runner import ComparisonRunner, controllers_of
from nas.engine.store import Store
from tests.benchmarks.test_nasbench201_table import small  # noqa: F401  a fixture
from tests.helpers.cli import Quick


@pytest.fixture
def pictures():
    """A test that asks for it has its pictures drawn; the others spare the seconds."""


@pytest.fixture(autouse=True)
def sparing(request, monkeypatch):
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr(comparison, "save_png", lambda figure, path: path)
        monkeypatch.setattr(comparison, "svg", lambda figure, name: "<svg ></svg>")


@pytest.fixture
def compare(small, tmp_path, monkeypatch, capsys):  # noqa: F811
    monkeypatch.setenv("NASBENCH201_NPZ", str(small))

    def run(*args, folder="duel", serial=True):
        given = [] if any(arg.startswith("evaluator=") for arg in args) else [TABLE]
        given += ["executor=serial"] if serial else []
        status = main(["compare", f"run_dir={tmp_path / folder}", *given, *args])
        return status, capsys.readouterr(), tmp_path / folder

    return run


TABLE = "evaluator=nasbench201"
FEW = ("controllers=[random,regularized_evolution]", "seeds=3", "max_trials=15", "max_seconds=null")


def table(folder):
    with (folder / "comparison.csv").open() as file:
        return list(csv.DictReader(file))


def test_the_files_say_what_happened(compare, pictures):
    status, told, folder = compare(*FEW)
    assert status == 0
    names = {"comparison.csv", "comparison.json", "comparison.html", "config.yaml"}
    drawn = {"anytime_trials.png", "anytime_seconds.png"}
    assert names | drawn <= {path.name for path in folder.iterdir()}
    rows = table(folder)
    assert [(row["controller"], row["seed"], row["trials"]) for row in rows] == [
        (label, seed, "15") for label in ("random", "regularized_evolution") for seed in "012"
    ]
    numbers = json.loads((folder / "comparison.json").read_text())
    best = [float(row["best_reward"]) for row in rows[:3]]
    spread = numbers["controllers"]["random"]["best_reward"]
    assert spread["n"] == 3 and spread["mean"] == pytest.approx(np.mean(best))
    assert spread["sd"] == pytest.approx(np.std(best, ddof=1))
    assert numbers["best_possible"]["valid_200"] == pytest.approx((15624 + 1) / 100_000)
    page = (folder / "comparison.html").read_text()
    assert "2 controllers on nasbench201" in page
    assert "default-src 'none'" in page and "<script" not in page  # nothing is fetched


def test_what_is_done_is_not_done_again_and_more_seeds_are_added(compare, monkeypatch):
    compare(*FEW)
    from nas.comparison import runner as module

    played = []
    real = module.ComparisonRunner.run_one
    monkeypatch.setattr(
        module.ComparisonRunner,
        "run_one",
        lambda self, label, seed: played.append((label, seed)) or real(self, label, seed),
    )
    _, told, folder = compare(*FEW)
    assert played == [] and "6 of 6 searches were done before" in told.out
    compare("controllers=[random,local_search]", "seeds=4", *FEW[2:])
    assert played == [*(("local_search", s) for s in range(3)), ("random", 3), ("local_search", 3)]


def test_what_is_done_is_saved_before_the_next_is_begun(compare, monkeypatch):
    from nas.comparison import runner as module

    real, calls = module.ComparisonRunner.run_one, []

    def dies_in_the_third(self, label, seed):
        calls.append((label, seed))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, label, seed)

    monkeypatch.setattr(module.ComparisonRunner, "run_one", dies_in_the_third)
    assert compare(*FEW)[0] == 130
    _, told, _ = compare(*FEW)
    assert "2 of 6 searches were done before" in told.out


def test_a_killed_search_that_trains_goes_on_inside_and_ends_as_if_it_had_not(compare, monkeypatch):
    """Three searches of 9 trials; a table's search would be played again from its beginning."""
    training = (
        *("controllers=[random,regularized_evolution,local_search]", "seeds=1", "max_trials=9"),
        *("max_seconds=null", "settings.regularized_evolution={population_size: 3}"),
        *("evaluator=scratch", "dataset=digits", "evaluator._target_=tests.helpers.cli.Quick"),
    )
    _, _, whole = compare(*training, folder="whole")

    real, calls = Quick.__call__, []

    def dies_once(self, trial_id, proposal):
        calls.append(trial_id)
        if len(calls) == 15:  # in the middle of the second search
            raise KeyboardInterrupt
        return real(self, trial_id, proposal)

    monkeypatch.setattr(Quick, "__call__", dies_once)
    monkeypatch.setattr("nas.engine.search.SAVE_EVERY", 0.0)
    monkeypatch.setattr("nas.engine.search.SAVE_SHARE", 0)
    assert compare(*training)[0] == 130
    _, _, killed = compare(*training)
    assert len(calls) == 3 * 9 + 1  # only the trial that was killed ran again
    rows = [table(folder) for folder in (whole, killed)]
    for row in itertools.chain(*rows):
        del row["wall_seconds"]
    assert rows[0] == rows[1]
    assert len(list((killed / "searches").iterdir())) == 3


def test_two_at_once_in_one_folder_are_one_too_many(compare, tmp_path):
    with Store(tmp_path / "duel"):
        status, told, _ = compare(*FEW)
    assert status == 2 and "run_dir must not be in use" in told.err


def test_workers_find_what_one_process_finds(compare):
    _, _, alone = compare(*FEW)
    _, _, shared = compare(*FEW, folder="shared", serial=False)
    for one, other in zip(table(alone), table(shared), strict=True):
        del one["wall_seconds"], other["wall_seconds"]
        assert one == other


@pytest.mark.parametrize(
    "args, budget",
    [
        ([], 12_000),  # NAS-Bench-201, section 5
        (["evaluator.metric=valid_200", "evaluator.seconds=seconds_200"], 200_000),
        (["max_seconds=500"], 500),
    ],
)
def test_the_budget_is_the_tables_unless_it_is_set(compare, args, budget):
    _, _, folder = compare(*FEW[:1], "seeds=1", "max_trials=3", *args)
    assert f"max_seconds: {budget}\n" in (folder / "config.yaml").read_text()
    assert f"{budget:,} seconds of training" in (folder / "comparison.html").read_text()


def test_a_label_may_be_another_name_of_a_controller(compare):
    _, told, folder = compare(
        "controllers=[random,big]", "+settings.big={controller: regularized_evolution, "
        "population_size: 4, sample_size: 2}", *FEW[1:],
    )  # fmt: skip
    assert "big" in json.loads((folder / "comparison.json").read_text())["controllers"]


@pytest.mark.parametrize(
    "args, words",
    [
        (["controllers=[randm]"], "controllers: randm: no controller=randm; nearest"),
        (["controllers=[]"], "controllers must be different names"),
        (["+settings.random={size: 3}"], "controllers: random: no setting"),
        (["seeds=0"], "seeds must be a number above 0"),
        (["max_trials=0"], "max_trials must be a whole number of at least 1, got 0"),
        (["max_seconds=soon"], "max_seconds must be a number above 0, or null or auto, got soon"),
        (["evaluator.metric=valid_50"], "has no valid_50"),
        (["settings.regularized_evolution.sample_size=11"], "controller.sample_size must be in"),
    ],
)
def test_wrong_settings_are_one_line(compare, args, words):
    status, told, _ = compare(*FEW, *args)
    assert status == 2
    assert words in told.err and told.err.count("\n") == 1


def test_a_folder_of_another_comparison_is_refused(compare):
    compare(*FEW)
    status, told, _ = compare(*FEW, "max_trials=16")
    assert status == 2 and "holds a run with max_trials=15, got max_trials=16" in told.err


def test_a_damaged_database_is_one_line(compare, tmp_path):
    compare(*FEW)
    for name in ("comparison.db-wal", "comparison.db-shm"):
        (tmp_path / "duel" / name).unlink(missing_ok=True)
    (tmp_path / "duel" / "comparison.db").write_bytes(b"not a database at all " * 100)
    status, told, _ = compare(*FEW)
    assert status == 2 and "comparison.db is damaged" in told.err and told.err.count("\n") == 1


def test_the_curve_is_the_incumbents():
    run = ComparisonRun(
        rewards=[None, 0.2, 0.1, 0.5],
        seconds=[1.0, 2.0, 3.0, 4.0],
        changes=[(1, {"test": 0.7}), (3, {"test": 0.6})],
    )
    grid = np.array([1.0, 3.0, 9.0, 10.0])
    np.testing.assert_array_equal(
        comparison._curve(run, "best_reward", "seconds", grid), [np.nan, 0.2, 0.2, 0.5]
    )
    np.testing.assert_array_equal(
        comparison._curve(run, "test", "seconds", grid), [np.nan, 0.7, 0.7, 0.6]
    )


def test_a_run_is_stored_under_the_keys_of_its_database():
    """Databases of earlier comparisons have these keys, and continue."""
    stored = {
        "reward": [None, 0.5],
        "seconds": [1.0, 2.0],
        "failed": 1,
        "stopped": None,
        "wall": 0.25,
        "best": [1, 0],
        "best_reward": 0.5,
        "changes": [[1, {"test": 0.7}]],
        "final": {"test": 0.7},
    }
    run = ComparisonRun.from_json(stored)
    assert run.to_json() == stored and list(run.to_json()) == list(stored)
    assert ComparisonRun.from_json(run.to_json()) == run
    assert (run.best, run.failed, run.trial_ends.tolist()) == ((1, 0), 1, [1.0, 3.0])
    nothing = ComparisonRun.of([], None, "all failed", 0.0)
    assert ComparisonRun.from_json(nothing.to_json()).best is None


def test_a_search_whose_first_trial_is_beyond_the_limit_has_no_curve():
    late = ComparisonRun(rewards=[0.5], seconds=[16.0])
    soon = ComparisonRun(rewards=[0.1, 0.3], seconds=[2.0, 2.0])
    figure = comparison.anytime({"late": [late], "soon": [soon]}, {}, "seconds", 8)
    (axes,) = figure.axes
    values = {line.get_label(): np.asarray(line.get_ydata(), float) for line in axes.lines}
    assert np.isnan(values["late"]).all() and np.nanmax(values["soon"]) == 0.3
    assert axes.get_ylim()[1] < 0.4
    comparison.anytime({"late": [late]}, {}, "seconds", 8)


def test_a_controller_may_begin_with_another_run(compare, tmp_path):
    args = ["space=nasbench201", "executor=serial", "controller=random", "retrain=none"]
    source = tmp_path / "source"
    args += ["evaluator=nasbench201", "reward=accuracy", f"run_dir={source}", "max_trials=4"]
    assert main(["search", *args]) == 0
    _, told, folder = compare(
        "controllers=[local_search,warm]",
        f"+settings.warm={{controller: local_search, warm_start: {source}}}", *FEW[1:],
    )  # fmt: skip
    numbers = json.loads((folder / "comparison.json").read_text())["controllers"]
    assert numbers["warm"]["best_reward"]["mean"] != numbers["local_search"]["best_reward"]["mean"]
    status, told, _ = compare("controllers=[random]", "+settings.random.warm_start=none", *FEW[1:])
    assert status == 2 and "warm_start=none must be the folder of a run" in told.err


def test_a_row_that_has_changed_is_named(compare, tmp_path):
    compare(*FEW)
    with contextlib.closing(sqlite3.connect(tmp_path / "duel" / "comparison.db")) as db:
        db.execute("UPDATE runs SET result = replace(result, '0.', '1.') WHERE seed = 1")
        db.commit()
    status, told, _ = compare(*FEW)
    assert status == 2 and told.err.count("\n") == 1
    assert "the row of random from seed 1 is not as it was written" in told.err


def test_a_row_of_an_older_version_is_not_run_again(compare, tmp_path):
    """It has no checksum, and its settings lack one that is at its default today."""
    compare(*FEW)
    with contextlib.closing(sqlite3.connect(tmp_path / "duel" / "comparison.db")) as db:
        db.execute("ALTER TABLE runs DROP COLUMN checksum")
        [(text,)] = db.execute("SELECT DISTINCT settings FROM runs WHERE label = 'random'")
        settings = json.loads(text)
        assert settings.pop("_target_").endswith("RandomSearch")
        older = json.dumps(settings | {"_target_": "controllers.random_search.RandomSearch"})
        db.execute("UPDATE runs SET settings = ? WHERE label = 'random'", (older,))
        db.commit()
    status, told, _ = compare(*FEW)
    assert status == 0 and "6 of 6 searches were done before" in told.out


def test_a_killed_search_of_an_older_version_goes_on_in_its_own_folder(tmp_path):
    """The digest of its folder is that of the settings as f8e4ffc wrote them."""
    config = OmegaConf.create({"controllers": ["bayesian"], "settings": {}, "max_trials": 9})
    with initialize_config_module("nas.conf", version_base="1.3"):
        node = controllers_of(config)["bayesian"]
    todays = OmegaConf.to_container(node)
    process = todays.pop("gaussian_process")
    older = todays | {k: v for k, v in process.items() if k != "_target_"}
    older["_target_"] = "controllers.bayesian.Bayesian"
    text = f"bayesian {json.dumps(older, sort_keys=True)}"
    folder = tmp_path / "searches" / f"bayesian-{hashlib.sha256(text.encode()).hexdigest()[:8]}-3"
    folder.mkdir(parents=True)
    runner = ComparisonRunner.__new__(ComparisonRunner)
    runner.config, runner.run_dir = {}, tmp_path
    assert runner._folder("bayesian", node, 3) == folder
    assert runner._folder("bayesian", node, 4) != folder
    node.candidates = 5
    assert runner._folder("bayesian", node, 3) != folder


def test_a_comparison_in_which_everything_fails_says_so(compare):
    failing = (
        "evaluator=scratch",
        "evaluator._target_=tests.helpers.cli.Failing",
        "dataset=digits",
    )
    status, told, _ = compare(*failing, "controllers=[random]", "seeds=1", "max_trials=3")
    assert status == 2 and "no search has a trial that succeeded" in told.err
