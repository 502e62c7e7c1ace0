"""The report: what it says is what the run folder holds, whatever a run may have come to."""

import json
import re
import subprocess
import sys
import time

import matplotlib.image
import numpy as np
import pytest
from omegaconf import OmegaConf

from nas.commands.report import main
from nas.core.space import Decision, Graph, Space
from nas.core.trial import CRASHED, INVALID, NAN, TIMEOUT, ConfigError, Proposal, Trial
from nas.engine.store import Store
from nas.report import choices, drawing, plots, rows, style, words
from nas.report import html as html_page
from nas.report.layout import layout
from nas.report.report import write_report

PICTURES = ("rewards.png", "choices.png", "architecture.png")
BAD = "<script>alert('&')</script>"


class Chain(Space):
    """Layers of an operation and a kernel, with skips: decisions of every kind."""

    def __init__(self, layers: int = 4):
        self.layers = layers
        self.decisions = tuple(
            decision
            for i in range(layers)
            for decision in (
                Decision(f"layer{i}/op", ("conv", "pool", BAD)),
                Decision(f"layer{i}/kernel", (1, 3, 5)),
                *(Decision(f"layer{i}/skip{j}", (False, True)) for j in range(i)),
            )
        )

    def graph(self, arch):
        chosen = self.decode(arch)
        names = [f"layer{i}" for i in range(self.layers)]
        nodes = [("image", "image", "input")]
        nodes += [(name, chosen[f"{name}/op"], chosen[f"{name}/op"]) for name in names]
        edges = [*zip(["image", *names], names, strict=False)]
        edges += [
            (f"layer{j}", f"layer{i}")
            for i in range(self.layers)
            for j in range(i - 1)
            if chosen[f"layer{i}/skip{j}"]
        ]
        return Graph(tuple(nodes), tuple(edges))


def trials(n, *, space=None, seed=0, failing=0.2):
    space, rng = space or Chain(), np.random.default_rng(seed)
    made = []
    for i in range(n):
        proposal, accuracy = Proposal(space.sample(rng)), float(rng.uniform(0.5, 0.9))
        if rng.random() < failing:
            status = (INVALID, NAN, TIMEOUT, CRASHED)[i % 4]
            made.append(Trial(i, proposal, None, {}, 1.0, status, f"{BAD} number {i}"))
        else:
            metrics = {"valid_accuracy": accuracy, "parameters": 1200 + i, "flops": 10**6 + i}
            made.append(Trial(i, proposal, accuracy**3, metrics, 2.5))
    return made


def folder(path, finished, **summary):
    path.mkdir(parents=True, exist_ok=True)
    with Store(path) as store:
        store.save(trials=finished)
    config = {
        "name": "a_run",
        "seed": 7,
        "max_trials": 60,
        "space": {"_target_": f"{__name__}.Chain", "layers": 4},
        "controller": {"_target_": "controllers.random.Random"},
        "dataset": None,
        "choices": {"space": "chain", "controller": "random", "dataset": "digits"},
        "note": BAD,
    }
    (path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.create(config)))
    if summary:
        (path / "summary.json").write_text(json.dumps(summary))
    return path


def retrained(seeds=(0, 1, 2), epochs=3):
    accuracies = [0.96 + 0.01 * i for i, _ in enumerate(seeds)]
    history = {"loss": [1.0, 0.5, 0.2], "accuracy": [0.5, 0.7, 0.9], "seconds": [1.0] * epochs}
    return {
        "parameters": 612_345,
        "seeds": list(seeds),
        "test_accuracy": sum(accuracies) / len(accuracies),
        "test_accuracies": accuracies,
        "test_losses": [0.1] * len(seeds),
        "history": [history] * len(seeds),
    }


def text(path):
    return (path / "report.html").read_text()


# The page


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run of 60 trials that was retrained, reported beside a random one."""
    path = tmp_path_factory.mktemp("whole")
    summary = {"trials": 60, "wall_seconds": 100.0, "best": {"trial": 3}}
    run = folder(path / "run", trials(60), **summary, retrained=retrained())
    random = folder(path / "random", trials(40, seed=1))
    assert write_report(run, space=Chain(), random_run=random) == run / "report.html"
    return run


def test_a_whole_run_has_every_section_and_picture(whole):
    html = text(whole)
    for title in ("Rewards", "Best architecture", "Best trials", "Failures", "Choices over time",
                  "Retraining", "Continue and reproduce", "Configuration"):  # fmt: skip
        assert f"<h2>{title}</h2>" in html
    for name in (*PICTURES, "retraining.png"):
        assert min(matplotlib.image.imread(whole / name).shape[:2]) > 100
    best = max((t for t in trials(60) if t.reward is not None), key=lambda t: t.reward)
    assert f"{best.reward:.4f}" in html and f"in trial {best.id}" in html
    assert "0.9700" in html and "± 0.0100" in html and "n = 3 trainings" in html
    assert "random search, 5-95 %" in html
    assert "nas search space=chain controller=random dataset=digits seed=7 max_trials=60" in html


def test_nothing_in_the_page_is_fetched_or_run(whole):
    html = text(whole)
    assert "<script" not in html and "&lt;script&gt;" in html
    assert "default-src 'none'" in html
    assert not re.search(r"https?://", re.sub(r'xmlns(:xlink)?="[^"]*"', "", html))


def test_ids_of_pictures_differ(whole):
    ids = re.findall(r' id="([^"]+)"', text(whole))
    assert len(ids) == len(set(ids))
    used = re.findall(r'(?:url\(#|xlink:href="#)([^)"]+)', text(whole))
    assert used and set(used) <= set(ids)


def test_the_page_says_which_number_is_whose(tmp_path):
    run = folder(tmp_path, trials(5), trials=5)
    write_report(run, space=Chain())
    assert "is not the number that a paper reports" in text(run)
    assert "The test split has not been used" in text(run)
    folder_of_retraining = run / "retrain" / "later"
    folder_of_retraining.mkdir(parents=True)
    summary = {"arch": list(trials(5)[2].arch), "retrained": retrained(seeds=(4, 5))}
    (folder_of_retraining / "summary.json").write_text(json.dumps(summary))
    write_report(run, space=Chain())
    assert "used once per training, at its end (2 in all)" in text(run)
    assert "test accuracy 0.9650 ± 0.0071 (n = 2): trial 2, in retrain/later" in text(run)


@pytest.mark.parametrize(
    "finished",
    [
        [],
        trials(1, failing=0),
        trials(1, failing=1),
        trials(12, failing=1),
        [Trial(t.id, t.proposal, 0.25, {}, 1.0) for t in trials(9)],
        [Trial(t.id, t.proposal, -1e-9 * t.id, {}, 0.0) for t in trials(9)],
    ],
    ids=["none", "one", "one failed", "all failed", "equal", "tiny and negative"],
)
def test_a_run_may_have_come_to_anything(tmp_path, finished):
    run = folder(tmp_path, finished)
    write_report(run, space=Chain(), random_run=run)
    html = text(run)
    assert "The search is not finished" in html
    assert (run / "rewards.png").is_file()
    assert ("Best architecture" in html) == any(t.reward is not None for t in finished)


def test_ten_thousand_trials(tmp_path):
    run = folder(tmp_path, trials(10_000), trials=10_000)
    started = time.perf_counter()
    write_report(run, space=Chain(), random_run=run)
    assert time.perf_counter() - started < 10
    assert (run / "report.html").stat().st_size < 3e6


def test_a_report_may_be_written_while_the_search_goes_on(tmp_path):
    run = folder(tmp_path, trials(3))
    with Store(run) as store:
        store.save(trials=[Trial(3, Proposal(trials(1)[0].arch), 0.999)])
        write_report(run, space=Chain())
    assert "0.9990" in text(run)


def test_a_space_without_a_drawing_says_so(tmp_path):
    class Plain(Chain):
        def graph(self, arch):
            raise NotImplementedError

    run = folder(tmp_path, trials(3, failing=0))
    write_report(run, space=Plain())
    assert "Plain has no drawing." in text(run)


def test_the_command_makes_the_space_from_the_configuration(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("nas.run.config.known_targets", lambda: {f"{__name__}.Chain"})
    run = folder(tmp_path, trials(3, failing=0))
    assert main([str(run), "--random-run", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(run / "report.html")


def test_a_wrong_folder_is_told(tmp_path):
    with pytest.raises(ConfigError, match="is not a run folder: it has no config.yaml"):
        main([str(tmp_path)])
    run = folder(tmp_path / "run", trials(3))
    with pytest.raises(ConfigError, match="is not a run folder: it has no trials.db"):
        main([str(run), "--random-run", str(tmp_path)])
    with pytest.raises(ConfigError, match="Chain with 14 decisions, got 5 in trial 0; report"):
        write_report(folder(tmp_path / "other", trials(3, space=Chain(2))), space=Chain(4))


def test_no_tensorflow_and_no_matplotlib_before_they_are_needed():
    code = (
        "import sys, nas.report.report; assert 'matplotlib' not in sys.modules;"
        "nas.report.style.save_png(nas.report.plots.rewards([]), '/dev/null');"
        "assert not {'tensorflow', 'keras', 'matplotlib.pyplot'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=60)


# Its numbers


def test_the_best_of_k_random_draws_by_hand():
    band = plots.expected_best([3.0, 1.0], 3)
    # Two equally likely rewards: all k draws are the smaller one with probability 2^-k.
    assert band.trials.tolist() == [1, 2, 3]
    assert band.mean == pytest.approx([2.0, 2.5, 2.75])
    assert band.low.tolist() == [1.0, 1.0, 1.0] and band.high.tolist() == [3.0, 3.0, 3.0]


def test_a_failed_draw_is_below_every_reward():
    band = plots.expected_best([2.0, None], 5)
    assert band.mean == pytest.approx([2.0] * 5)
    assert np.isnan(band.low[:4]).all() and band.low[4] == 2.0  # 2^-5 < 5 %
    assert not len(plots.expected_best([None], 3).trials)


def test_the_band_is_what_resampling_gives():
    rng = np.random.default_rng(0)
    rewards = rng.normal(size=30)
    band = plots.expected_best(rewards.tolist(), 8)
    draws = np.maximum.accumulate(rng.choice(rewards, (20_000, 8)), axis=1)
    error = draws.std(0) / np.sqrt(len(draws))
    assert (np.abs(draws.mean(0) - band.mean) < 5 * error).all()  # false alarm: 5e-6
    np.testing.assert_array_equal(
        np.quantile(draws, 0.95, axis=0, method="inverted_cdf"), band.high
    )


def test_the_running_best():
    rewards = [None, 0.2, 0.1, None, 0.5]
    made = [Trial(i, Proposal(()), reward) for i, reward in enumerate(rewards)]
    np.testing.assert_array_equal(plots.running_best(made), [np.nan, 0.2, 0.2, 0.2, 0.5])
    assert len(plots.running_best([])) == 0


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("layer3/skip1", "skip"),
        ("layer3/filter_height", "filter_height"),
        ("normal/node2/op1", "normal op"),
        ("edge0->1", "edge"),
        ("3", "choice"),
    ],
)
def test_decisions_are_grouped_by_what_they_ask(name, group):
    assert choices.group_name(name) == group


def test_shares_of_choices_by_hand():
    decisions = [Decision("a1/op", ("x", "y")), Decision("a2/op", ("y", "z")), Decision("c", (1,))]
    (group,) = choices.choice_groups(decisions, [(0, 0, 0)] * 5 + [(1, 1, 0)] * 5)
    assert group.values == ("x", "y", "z") and not group.is_yes_or_no
    assert group.shares.tolist() == [[0.5, 0.5, 0.0], [0.0, 0.5, 0.5]]


def test_many_values_are_drawn_as_others():
    decisions = [Decision("a", tuple("abcdefghijklmno"))]
    groups = choices.choice_groups(decisions, [(i % 4,) for i in range(20)])
    values, shares = choices._with_others(groups[0])
    assert values[:4] == list("abcd") and values[-1] == "7 others"
    assert shares.sum(1) == pytest.approx(1.0)
    choices.plot_choices(groups, 20)


def test_decisions_of_the_best_by_part():
    space = Chain(3)
    arch = space.encode(
        dict.fromkeys(("layer0/op", "layer1/op", "layer2/op"), "conv")
        | {"layer0/kernel": 1, "layer1/kernel": 3, "layer2/kernel": 5}
        | {"layer1/skip0": False, "layer2/skip0": True, "layer2/skip1": True}
    )
    assert rows.decisions(space, arch) == [
        ["part", "op", "kernel", "skip"],
        ["layer0", "conv", "1", ""],
        ["layer1", "conv", "3", "none"],
        ["layer2", "conv", "5", "0, 1"],
    ]


def test_reasons_that_differ_in_numbers_alone_are_one_row():
    failed = [Trial(i, Proposal(()), None, {}, 0, NAN, f"epoch {i} broke") for i in range(10)]
    failures = rows.failures([*failed, Trial(10, Proposal(()), None, {}, 0, CRASHED)])
    assert failures == [
        ["nan", "10", "epoch 0 broke", "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"],
        ["crashed", "1", "no reason given", "10"],
    ]


def test_one_row_per_network_its_best_trial():
    space = Chain(1)
    made = [Trial(i, Proposal((i % 2, 0)), reward) for i, reward in enumerate([0.1, 0.3, 0.2, 0.3])]
    _, body, _ = rows.top(made, space)
    assert [row[:2] for row in body] == [["1", "0.3000"], ["2", "0.2000"]]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (9.54, "9.5 s"),
        (725, "12 min 5 s"),
        (3600, "1 h"),
        (12_000, "3 h 20 min"),
        (187_200, "2 d 4 h"),
    ],
)
def test_durations(seconds, expected):
    assert words.duration(seconds) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [(0, "0"), (999, "999"), (1234, "1.23 k"), (999_999, "1 M"), (5e9, "5 G"), (None, "–")],
)
def test_amounts(value, expected):
    assert words.amount(value) == expected


def test_text_is_escaped_and_html_is_not():
    assert html_page.element("b", "<&>") == "<b>&lt;&amp;&gt;</b>"
    assert html_page.element("b", html_page.element("i", "<")) == "<b><i>&lt;</i></b>"


# Its drawings


def graph(edges):
    names = dict.fromkeys(name for edge in edges for name in edge)
    return Graph(tuple((name, name, "op") for name in names), tuple(edges))


def drawn(edges, widest=9.0):
    return layout(graph(edges), dict.fromkeys("abcdefgh", 1.0), widest=widest)


def test_a_chain_is_straight_and_a_skip_passes_beside_it():
    plan = drawn([("a", "b"), ("b", "c"), ("a", "c")])
    assert {name: plan.layers[name] for name in "abc"} == {"a": 0, "b": 1, "c": 2}
    assert plan.x["a"] == pytest.approx(plan.x["b"]) == pytest.approx(plan.x["c"])
    assert plan.routes["a", "c"] == ("a", ("a", 1), "c")
    assert abs(plan.x["a", 1] - plan.x["b"]) > 0.5  # half a node's width


def test_a_fan_is_centred():
    plan = drawn([("a", "b"), ("a", "c"), ("a", "d"), ("b", "e"), ("c", "e"), ("d", "e")])
    assert plan.x["a"] == pytest.approx(plan.x["e"]) == pytest.approx(plan.x["c"])
    assert plan.x["b"] + 1.2 <= plan.x["c"] + 1e-6


def test_crossings_that_need_not_be_are_undone():
    plan = drawn([("a", "c"), ("a", "d"), ("b", "c"), ("b", "d"), ("c", "f"), ("d", "e")])
    assert (plan.x["c"] < plan.x["d"]) == (plan.x["f"] < plan.x["e"])


def test_skips_of_one_node_share_their_way():
    plan = drawn([("a", "b"), ("b", "c"), ("c", "d"), ("a", "c"), ("a", "d")])
    assert plan.routes["a", "d"][:2] == plan.routes["a", "c"][:2] == ("a", ("a", 1))


def test_parts_go_side_by_side_only_where_they_fit():
    edges = [("a", "b"), ("c", "d")]
    beside, stacked = drawn(edges), drawn(edges, widest=1.5)
    assert beside.layers["c"] == 0 and beside.x["c"] > beside.x["a"]
    assert stacked.layers["c"] == 2 and stacked.x["c"] == pytest.approx(stacked.x["a"])


def test_a_graph_that_cannot_be_drawn():
    with pytest.raises(ValueError, match="must have no cycle, got one in"):
        drawing.architecture(graph([("a", "b"), ("b", "c"), ("c", "b")]))
    with pytest.raises(ValueError, match="must join two nodes of the graph, got a -> z"):
        drawing.architecture(Graph((("a", "a", "op"),), (("a", "z"),)))


def test_odd_graphs_are_drawn(tmp_path):
    for odd in (
        Graph((), ()),
        Graph((("a", "", "op"),), ()),
        Graph((("a", "$x^2$ _", "op"), ("b", "two\nlines and a very long label indeed", "op")), ()),
    ):
        style.save_png(drawing.architecture(odd), tmp_path / "odd.png")
