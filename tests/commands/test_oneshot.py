"""`nas oneshot`: its run folder, going on, retraining from it, and what it refuses."""

import json
import os

import numpy as np
import pytest

from nas.benchmarks.tables.nasbench201_reference import ranking_reference
from nas.benchmarks.tables.tabulated import digits201, digits201_reference
from nas.comparison.ranking import ranking
from nas.core.reference import RankingReference
from nas.core.trial import ConfigError, Proposal, Trial
from nas.engine.store import Store
from nas.oneshot.probe import TrainedProbe
from nas.run import config
from nas.search_spaces.papers.nasbench201.space import NASBench201
from tests.helpers.cli import nas, refused
from tests.helpers.toy_supernet import Toy

TOY = (
    "space._target_=tests.helpers.toy_supernet.Toy",
    "probe._target_=tests.commands.test_oneshot.toy_truth",
    "recipe.epochs=2", "recipe.batch_size=256", "skeleton.channels=2", "random_samples=3",
)  # fmt: skip


def toy_truth(*, space, sample=None, **settings):
    """Each of the twelve is as good as the sum of its choices."""
    archs = [(a, b) for a in range(4) for b in range(3)]
    accuracies = np.array([sum(arch) / 5 for arch in archs])
    return RankingReference(
        archs, accuracies, "toys", looked_up=lambda arch: {"toys test": sum(arch) / 5}
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run that was ended after 2 of its 3 trials, and continued."""
    folder = tmp_path_factory.mktemp("oneshot") / "run"
    for trials in (2, 3):
        said = nas("oneshot", *TOY, f"max_trials={trials}", f"run_dir={folder}")
        assert said.status == 0, said
    return folder


def test_the_run_folder_is_that_of_a_search(folder):
    summary = json.loads((folder / "summary.json").read_text())
    assert {"space", "controller", "dataset", "seed", "trials", "failed", "seconds", "best"} <= set(
        summary
    )
    assert {"retrained", "wall_seconds", "method", "shared_weights", "random"} <= set(summary)
    assert (summary["method"], summary["trials"], summary["failed"]) == ("uniform", 3, 0)
    assert summary["shared_weights"]["epochs"] == 2
    assert summary["random"]["architectures"] == 3
    assert {"config.yaml", "log.txt", "report.html", "epochs.json"} <= {
        p.name for p in folder.iterdir()
    }
    log = (folder / "log.txt").read_text()
    assert "2 epochs, 0 done before" in log and "2 epochs, 2 done before" in log
    with Store(folder, read_only=True) as store:
        assert max(t.reward for t in store.trials()) == summary["best"]["reward"]


def test_the_rank_correlation_is_in_the_summary(folder):
    found = json.loads((folder / "summary.json").read_text())["ranking"]
    assert (found["against"], found["architectures"], found["images"]) == ("toys", 12, 287)
    with np.load(folder / "ranking.npz") as saved:
        again = ranking(
            RankingReference([tuple(a) for a in saved["archs"].tolist()], saved["truth"], "toys"),
            saved["scores"],
            saved["losses"],
            None,
        )
    assert found["kendall_tau"] == again["kendall_tau"]


def test_what_the_table_says_is_printed(folder):
    """Of the derived architecture, and of the best of the random ones by shared weights."""
    summary = json.loads((folder / "summary.json").read_text())
    expected = {
        "derived": {"toys test": sum(summary["best"]["arch"]) / 5},
        "best of 3 random by shared weights": {
            "toys test": sum(summary["random"]["best_arch"]) / 5
        },
    }
    assert summary["table"] == expected
    log, page = ((folder / name).read_text() for name in ("log.txt", "report.html"))
    for name, values in expected.items():
        assert f"table, {name}: toys test {100 * values['toys test']:.2f} %" in log
        assert name in page
    assert "by accuracy" in log and "by loss" in log and "tau by loss" in page


def test_the_report_says_how_far_the_shared_weights_can_be_trusted(folder):
    text = (folder / "report.html").read_text()
    summary = json.loads((folder / "summary.json").read_text())
    assert "<h2>Shared weights</h2>" in text and (folder / "shared_weights.png").is_file()
    assert f"<td>{summary['ranking']['kendall_tau']:.4f}</td>" in text
    assert f"<td>{summary['shared_weights']['skip_share']:.4f}</td>" in text
    assert "12 architectures: toys" in text and "3 uniform architectures" in text


def test_a_probe_set_is_trained_alone_and_not_again(tmp_path):
    own = (
        *TOY[:1], *TOY[2:], "probe=trained", "probe.size=2", "probe.epochs=1", "max_trials=1",
        "method=policy", "controller=enas", "controller.batch_size=2", "method.controller_steps=1",
        "method.samples_per_step=2", "recipe.epochs=1", f"run_dir={tmp_path}",
    )  # fmt: skip
    assert nas("oneshot", *own).status == 0
    summary = json.loads((tmp_path / "summary.json").read_text())
    with Store(tmp_path / "probe", read_only=True) as store:
        trials = store.trials()
    assert summary["ranking"]["architectures"] == len(trials) in (2, 3)
    assert summary["ranking"]["against"] == "trained alone, 1 epochs"
    assert "derived" in summary["ranking"] and 0 < summary["shared_weights"]["policy_entropy"] < 1.5
    assert nas("oneshot", *own).status == 0
    assert json.loads((tmp_path / "summary.json").read_text())["ranking"] == summary["ranking"]


def test_a_probe_set_has_different_networks_and_the_derived_one():
    space = Toy()
    probe = TrainedProbe(space=space, seed=0, size=5)
    archs = probe.archs(None)
    assert len(set(archs)) == 5 and archs == TrainedProbe(space=space, seed=0, size=5).archs(None)
    other = next(a for a in ((0, 0), (1, 1), (2, 2), (3, 0), (0, 2), (1, 2)) if a not in archs)
    assert probe.archs(Trial(0, Proposal(other), 1.0)) == [*archs, other]
    assert len(TrainedProbe(space=space, seed=0, size=50).archs(None)) == 12  # all there are


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"size": 1}, "probe.size must be 0 or at least 2, got 1; set probe.size=5"),
        ({"epochs": 0}, "probe.epochs must be at least 1 or null, got 0"),
    ],
)
def test_wrong_settings_of_a_trained_probe(settings, said):
    with pytest.raises(ConfigError, match=said):
        TrainedProbe(space=Toy(), seed=0, **settings)


def test_retrain_takes_the_derived_architecture(folder, tmp_path, monkeypatch):
    known = config.known_targets() | {"tests.helpers.toy_supernet.Toy"}
    monkeypatch.setattr(config, "known_targets", lambda: known)
    said = nas(
        "retrain", str(folder), "seeds=[0]", "recipe.epochs=1", "skeleton.channels=2",
        f"run_dir={tmp_path / 'retrained'}",
    )  # fmt: skip
    assert said.status == 0, said
    retrained = json.loads((tmp_path / "retrained" / "summary.json").read_text())
    assert retrained["arch"] == json.loads((folder / "summary.json").read_text())["best"]["arch"]


def test_another_configuration_is_refused(folder):
    said = refused("oneshot", *TOY, "method.samples_per_step=7", f"run_dir={folder}")
    assert "method.samples_per_step=20, got method.samples_per_step=7" in said


@pytest.mark.parametrize(
    "override, expected",
    [
        ("max_trials=0", "max_trials must be a whole number of at least 1, got 0"),
        ("random_samples=-1", "random_samples must be a whole number of at least 0, got -1"),
        ("seed=-1", "seed must be an integer of at least 0, got -1"),
        ("valid_images=1000", "valid_images must be in [1, 287], the validation images there are"),
        ("probe_images=0", "probe_images must be in [1, 287]"),
        ("space=zoph2017", "space must be one with a supernet, got ZophConv"),
        ("method.path=best", "method.path must be uniform or controller, got best"),
    ],
)
def test_wrong_settings_are_told_and_leave_no_folder(override, expected, tmp_path):
    settings = TOY[2:] if override.startswith("space") else TOY
    assert expected in refused("oneshot", *settings, override, f"run_dir={tmp_path / 'run'}")
    assert not (tmp_path / "run").exists()


def test_gates_are_refused_where_choices_depend_on_each_other(tmp_path):
    said = refused("oneshot", "space=metaqnn", "method=darts", f"run_dir={tmp_path / 'run'}")
    assert "method must draw paths where choices depend on earlier ones" in said


def test_without_a_table_there_is_no_correlation(monkeypatch):
    monkeypatch.delenv("NASBENCH201_NPZ", raising=False)
    assert ranking_reference(seed=0) is None


@pytest.mark.parametrize(
    "settings, said",
    [
        ({"sample": 1}, r"probe.sample must be in \[2, 15625\] or null, got 1"),
        (
            {"column": "seconds_200", "path": "x.npz"},
            "probe.column must be an accuracy, .* got sec",
        ),
    ],
)
def test_wrong_settings_of_the_probe(settings, said):
    with pytest.raises(ConfigError, match=said):
        ranking_reference(seed=0, **settings)


@pytest.mark.data
def test_the_truth_is_the_tables(monkeypatch):
    if not os.environ.get("NASBENCH201_NPZ"):
        pytest.skip("NASBENCH201_NPZ is not set: it names the table of NAS-Bench-201")
    every = ranking_reference(seed=0)
    assert len(every.archs) == len(every.accuracies) == 15_625
    looked_up = every.looked_up(every.archs[int(every.accuracies.argmax())])
    assert looked_up["cifar10 test"] == every.accuracies.max()
    assert every.accuracies.max() == pytest.approx(0.9437, abs=1e-4)  # the optimum of Table 5
    some = ranking_reference(seed=0, sample=100)
    known = dict(zip(every.archs, every.accuracies, strict=True))
    assert [known[arch] for arch in some.archs] == some.accuracies.tolist()


def test_the_table_of_digits_is_a_reference_too():
    some = digits201_reference(space=NASBench201(), seed=0, sample=5)
    table = digits201(NASBench201())
    assert len({table.rows()[arch] for arch in some.archs}) == 5
    for arch, accuracy in zip(some.archs, some.accuracies, strict=True):
        assert some.looked_up(arch)["digits test"] == accuracy == table.final(arch)["test"]
    with pytest.raises(ConfigError, match=r"probe.sample must be in \[2, .*\] or null, got 1"):
        digits201_reference(space=NASBench201(), seed=0, sample=1)


def test_kendalls_tau_by_hand():
    """Of six pairs five agree and one does not: (5 - 1) / 6."""
    known = RankingReference([(0,), (1,), (2,), (3,)], np.array([0.1, 0.2, 0.3, 0.4]), "four")
    found = ranking(known, np.array([1.0, 2.0, 4.0, 3.0]), np.array([4.0, 3.0, 2.0, 1.0]), (1,))
    assert found["kendall_tau"] == pytest.approx(4 / 6)
    assert (found["kendall_tau_loss"], found["best_by_loss"]) == (1.0, 0.4)
    assert (found["best_by_score"], found["best"], found["mean"]) == (0.3, 0.4, 0.25)
    assert (found["derived"], found["derived_is_at_least"]) == (0.2, 0.5)
    assert ranking(known, np.ones(4), np.ones(4), (9,))["kendall_tau"] is None
