"""`nas report RUN`: what a search found, as one self-contained page and its pictures beside it."""

import dataclasses
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nas.core.files import write_atomically
from nas.core.trial import Arch, ConfigError, Trial
from nas.engine.search import best
from nas.engine.store import Store
from nas.report import choices, drawing, plots
from nas.report import html as page
from nas.report import rows as findings
from nas.report import shared_weights as shared_report
from nas.report.html import Html
from nas.report.shared_weights import Shared
from nas.run.config import make_saved
from nas.run.folder import PANEL, read_run
from nas.run.summary import read_summary

FILE = "report.html"
NARROW = 5.0  # inches: a drawing that leaves room for the decisions beside it


@dataclasses.dataclass(frozen=True)
class Run:
    """All that a run folder holds, read."""

    folder: Path
    config: DictConfig
    summary: dict[str, Any]  # empty while the run goes on
    trials: list[Trial]  # by id, the order in which the controller was told
    best: Trial | None
    retrainings: dict[str, dict[str, Any]]  # what `nas.evaluators.retrain` gave, by where it lies
    space: Any
    random: list[Trial]  # of another run, that drew at random; may be empty
    shared: Shared  # empty but for one-shot runs


def write_report(run_dir: Path, *, space=None, random_run: Path | None = None) -> Path:
    """Writes report.html, rewards.png, choices.png and architecture.png; returns the page's path.

    Args:
      space: the run's own; made from its config.yaml where it is not given.
      random_run: the run folder of a random search of the same space and evaluator; its rewards
        make the band that the plot of rewards compares with.

    Raises ConfigError where a folder is not a run folder, or holds trials of another space.
    """
    run = read(Path(run_dir), space=space, random_run=random_run)
    name = str(run.config.get("name") or run.folder.resolve().name)
    parts = [
        *_head(run, name),
        *([_shared(run)] if run.shared.epochs else []),
        _rewards(run),
        *([_architecture(run, run.best.arch), _top(run)] if run.best else []),
        _failures(run),
        *([_choices(run)] if run.trials else []),
        _retraining(run),
        _again(run),
        _configuration(run),
    ]
    path = run.folder / FILE
    write_atomically(path, page.page(name, parts, meta={"generator": "nas report"}))
    return path


def read(run_dir: Path, *, space=None, random_run: Path | None = None) -> Run:
    """Everything the report needs, from the folder's files."""
    config = read_run(run_dir)
    with Store(run_dir, read_only=True) as store:
        trials = sorted(store.trials(), key=lambda trial: trial.id)
    random: list[Trial] = []
    if random_run is not None:
        with Store(random_run, read_only=True) as store:
            random = sorted(store.trials(), key=lambda trial: trial.id)
    space = make_saved(config.get("space"), "space") if space is None else space
    wrong = [t for t in trials if len(t.arch) != len(space.decisions)]
    if wrong:
        raise ConfigError(
            f"{run_dir} must hold architectures of {type(space).__name__} with "
            f"{len(space.decisions)} decisions, got {len(wrong[0].arch)} in trial {wrong[0].id}; "
            "report it with the version of the space that searched"
        )
    summary = read_summary(run_dir)
    retrainings = _retrainings(run_dir, summary, trials)
    shared = shared_report.read(run_dir)
    return Run(run_dir, config, summary, trials, best(trials), retrainings, space, random, shared)


def _retrainings(run_dir: Path, summary: dict[str, Any], trials: list[Trial]) -> dict[str, Any]:
    """The one that ended the search, then those of `nas retrain RUN`; by what was retrained."""
    found = {}
    if summary.get("retrained"):
        found[f"trial {summary['best']['trial']}, after the search"] = summary["retrained"]
    for folder in sorted(run_dir.glob("retrain/*")):
        later = read_summary(folder)
        if later.get("retrained"):
            same = [t.id for t in trials if list(t.arch) == later.get("arch")]
            which = f"trial {min(same)}" if same else "another architecture"
            found[f"{which}, in retrain/{folder.name}"] = later["retrained"]
    return found


def _head(run: Run, name: str) -> list[Html]:
    subtitle = Html(
        " · ".join(
            f"{what} {page.element('b', findings.chosen(run.config, run.summary, what))}"
            for what in ("space", "controller", "dataset", "seed")
        )
    )
    return [
        page.element("h1", name),
        page.element("p", subtitle, "subtitle"),
        page.tiles(findings.headline(run.summary, run.trials, run.best, run.retrainings)),
        page.element("div", page.joined(_statements(run)), "note"),
    ]


def _statements(run: Run) -> list[Html]:
    """What the numbers are, and what they are not."""
    tested = sum(len(result["seeds"]) for result in run.retrainings.values())
    if tested:
        test = (
            "The number to compare with a paper is the test result of retraining. The test split "
            f"was read once per training, at its end ({tested} in all); the search never saw it."
        )
    else:
        test = (
            "The test split has not been touched: nothing was retrained yet, so this run has no "
            "number to compare with a paper's."
        )
    lines = [
        "The reward is measured on validation data and has steered the search: the best of many "
        "trials is optimistic, and is not the number a paper reports.",
        test,
    ]
    if any("valid_perplexity" in trial.metrics for trial in run.trials):
        lines.append(
            "Perplexity is exp of the mean loss of a token, each counted once: lower is better. "
            "Language models are retrained on the training part; validation tells of each epoch."
        )
    if run.summary.get("trials") != len(run.trials):
        lines.append("The search has not come to its end: this is what it has found so far.")
    if run.summary.get("stopped"):
        lines.append(f"The search stopped before its budget was spent: {run.summary['stopped']}")
    return [page.element("p", line) for line in lines]


def _figure(run: Run, figure, name: str, **words: str) -> Html:
    """The picture in the page, and its PNG beside the page."""
    plots.save_png(figure, run.folder / f"{name}.png")
    return page.picture(plots.svg(figure, name), **words)


def _shared(run: Run) -> Html:
    rows = shared_report.rows(run.shared, run.summary)
    return page.section(
        "Shared weights",
        page.table(("what", "value", "of what"), rows),
        _figure(
            run,
            shared_report.figure(run.shared, run.summary),
            Path(PANEL).stem,
            caption="Left: training by epoch. Middle: what is chosen: entropies are over those of "
            "uniform choices. Right: accuracy with shared weights against that of the same "
            "networks trained alone; the band is random architectures with the shared weights.",
            alt="Training of the shared weights, what was chosen, and how well they rank",
        ),
    )


def _rewards(run: Run) -> Html:
    caption = "Each dot is a trial; the line is the best reward so far."
    if run.random:
        caption += (
            f" The band is the best of as many random trials, as the {len(run.random)} trials of "
            "the random run have it: mean and 5 to 95 % quantiles."
        )
    if any(t.reward is None for t in run.trials):
        caption += " Ticks below are trials that failed."
    top = (
        f"the best is {run.best.reward:.4f} in trial {run.best.id}" if run.best else "none has one"
    )
    return page.section(
        "Rewards",
        _figure(
            run,
            plots.rewards(run.trials, random=run.random),
            "rewards",
            caption=caption,
            alt=f"Reward of each of {len(run.trials)} trials; {top}",
        ),
    )


def _architecture(run: Run, arch: Arch) -> Html:
    rows = findings.decisions(run.space, arch)
    decided = page.table(rows[0], rows[1:])
    try:
        graph = run.space.graph(arch)
    except NotImplementedError:
        none = page.element("p", f"{type(run.space).__name__} has no drawing.", "muted")
        return page.section("Best architecture", none, decided)
    figure = drawing.architecture(graph)
    narrow = figure.get_figwidth() <= NARROW
    drawn = _figure(
        run,
        figure,
        "architecture",
        caption="Data flow from top to bottom; blue lines pass a layer by.",
        alt=f"The best architecture: {len(graph.nodes)} nodes, {len(graph.edges)} edges",
        css="natural" if narrow else "wide",
        scroll="scroll tall",
    )
    both = page.joined([drawn, decided])
    return page.section(
        "Best architecture", page.element("div", both, "beside") if narrow else both
    )


def _top(run: Run) -> Html:
    head, rows, numbers = findings.top(run.trials, run.space)
    text = (
        "One row per architecture: its best trial. FLOPs are multiply-adds of one image "
        "or token, forward. The last column is what `nas retrain genotype=...` takes."
    )
    return page.section(
        "Best trials",
        page.table(head, rows, numbers=numbers),
        page.element("p", text, "muted"),
    )


def _failures(run: Run) -> Html:
    failed = [t for t in run.trials if t.reward is None]
    if not failed:
        return page.section("Failures", page.element("p", "No trial failed."))
    share = len(failed) / len(run.trials)
    text = f"{len(failed):,} of {len(run.trials):,} trials failed ({share:.0%})."
    rows = findings.failures(failed)
    return page.section(
        "Failures",
        page.element("p", text),
        page.table(("kind", "trials", "reason", "which"), rows, numbers=[1]),
    )


def _choices(run: Run) -> Html:
    groups = choices.choice_groups(run.space.decisions, [t.arch for t in run.trials])
    if not groups:
        return page.section("Choices", page.element("p", "Every decision has a single choice."))
    left_out = sum(not g.is_yes_or_no for g in groups) - choices.MOST_GROUPS
    more = f" {left_out} further kinds of decision are not drawn." if left_out > 0 else ""
    return page.section(
        "Choices over time",
        _figure(
            run,
            choices.choices(groups, len(run.trials)),
            "choices",
            caption="How often each value was proposed, in windows of trials, failed ones "
            f"included. Decisions that ask the same question are counted together.{more}",
            alt=f"Shares of the chosen values over time: {', '.join(g.name for g in groups)}",
        ),
    )


def _retraining(run: Run) -> Html:
    parts: list[Html] = []
    if not run.retrainings:
        text = (
            "Nothing was retrained yet. This trains the best architecture anew, at full size, "
            "and tests it once per seed:"
        )
        parts = [page.element("p", text), page.command(findings.retrain_command(run.folder))]
    for i, (where, result) in enumerate(run.retrainings.items()):
        head, rows = findings.retraining(result)
        parts += [page.element("h3", f"{findings.test_result(result)}: {where}")]
        parts += [page.table(head, rows, numbers=range(1, len(head)))]
        histories = findings.histories(result)
        if any(len(history.get("seconds", [])) > 1 for history in histories.values()):
            words = {"caption": "Training from each seed.", "alt": f"Learning curves of {where}"}
            parts += [_figure(run, plots.curves(histories), f"retraining{i or ''}", **words)]
    return page.section("Retraining", *parts)


def _again(run: Run) -> Html:
    text = (
        "The same command with the same run_dir goes on where the run stands; with another run_dir "
        "it searches anew."
    )
    return page.section(
        "Continue and reproduce",
        page.element("p", text),
        page.command(*findings.commands(run.config, run.folder)),
    )


def _configuration(run: Run) -> Html:
    text = page.command(OmegaConf.to_yaml(run.config).rstrip())
    return page.section("Configuration", page.folded("Every setting of this run", text))
