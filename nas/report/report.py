"""Writes the report of a run folder: one self-contained page, and its pictures beside it."""

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from nas.core.files import make_folder, write_atomically
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Trial
from nas.engine.search import best
from nas.engine.store import Store
from nas.report import choices, drawing, html, plots, rows, shared_weights, style, words
from nas.report.html import Html
from nas.run import commands
from nas.run.config import make_saved, resolved
from nas.run.folder import PANEL, read_run
from nas.run.summary import read_summary

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FILE = "report.html"
NARROW = 5.0  # inches: a drawing up to this width has the decisions beside it


@dataclasses.dataclass(frozen=True)
class Run:
    """The contents of a run folder."""

    folder: Path
    config: DictConfig
    summary: dict[str, Any]  # empty until the run is finished
    trials: list[Trial]  # by id
    best: Trial | None
    retrainings: dict[str, dict[str, Any]]  # by what was retrained
    space: Space
    random: list[Trial]  # of a random search, to compare with; may be empty
    shared: shared_weights.SharedWeightsResults  # empty unless it is a one-shot run
    out: Path = Path()  # where the page and its pictures go

    @property
    def values(self) -> dict[str, Any]:
        """The configuration as plain values."""
        return resolved(self.config)


def write_report(
    run_dir: Path,
    *,
    space: Space | None = None,
    random_run: Path | None = None,
    to: Path | None = None,
) -> Path:
    """Writes report.html, rewards.png, choices.png and architecture.png; returns the page's path.

    Args:
      space: the space of the run; None: it is made from the run's config.yaml.
      random_run: the run folder of a random search of the same space and evaluator, whose expected
        best is drawn as a band behind the rewards.
      to: the folder to write; None: the run folder.

    Raises ConfigError if a folder is not a run folder, or holds trials of another space.
    """
    run = read(Path(run_dir), space=space, random_run=random_run)
    out = run.folder if to is None else to
    make_folder(out)
    if not os.access(out, os.W_OK):
        raise ConfigError(
            f"the report cannot be written into {out}; nas report {run.folder} --to FOLDER writes "
            "it elsewhere"
        )
    run = dataclasses.replace(run, out=out)
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
    path = out / FILE
    write_atomically(path, html.document(name, parts, meta={"generator": "nas report"}))
    return path


def read(run_dir: Path, *, space: Space | None = None, random_run: Path | None = None) -> Run:
    """Reads a run folder. Arguments and errors are those of `write_report`."""
    config = read_run(run_dir)
    with Store(run_dir, read_only=True) as store:
        trials = sorted(store.trials(), key=lambda trial: trial.id)
    random: list[Trial] = []
    if random_run is not None:
        with Store(random_run, read_only=True) as store:
            random = sorted(store.trials(), key=lambda trial: trial.id)
    space = make_saved(config.get("space"), "space") if space is None else space
    counts = [len(decision.choices) for decision in space.decisions]
    for t in trials:
        if len(t.arch) == len(counts) and all(map(_is_choice, t.arch, counts)):
            continue
        raise ConfigError(
            f"{run_dir} must hold architectures of {type(space).__name__} with {len(counts)} "
            f"decisions, got {len(t.arch)} in trial {t.id}; "
            "report it with the version of the space that searched"
        )
    summary = read_summary(run_dir)
    retrainings = _retrainings(run_dir, summary, trials)
    shared = shared_weights.read(run_dir)
    return Run(run_dir, config, summary, trials, best(trials), retrainings, space, random, shared)


def _is_choice(choice: int, count: int) -> bool:
    return 0 <= choice < count


def _retrainings(run_dir: Path, summary: dict[str, Any], trials: list[Trial]) -> dict[str, Any]:
    """The retraining at the end of the search, then those of `nas retrain RUN`."""
    results = {}
    if summary.get("retrained") and summary.get("best"):
        results[f"trial {summary['best']['trial']}, after the search"] = summary["retrained"]
    for folder in sorted(run_dir.glob("retrain/*")):
        later = read_summary(folder)
        if later.get("retrained"):
            same = [t.id for t in trials if list(t.arch) == later.get("arch")]
            which = f"trial {min(same)}" if same else "another architecture"
            results[f"{which}, in retrain/{folder.name}"] = later["retrained"]
    return results


def _head(run: Run, name: str) -> list[Html]:
    statements = words.statements(run.summary, run.trials, run.retrainings)
    subtitle = Html(
        " · ".join(
            f"{what} {html.element('b', words.chosen(run.config, run.summary, what))}"
            for what in ("space", "controller", "dataset", "seed")
        )
    )
    return [
        html.element("h1", name),
        html.element("p", subtitle, "subtitle"),
        html.tiles(words.headline(run.summary, run.trials, run.best, run.retrainings)),
        html.element("div", html.joined(html.element("p", line) for line in statements), "note"),
    ]


def _figure(run: Run, figure: "Figure", name: str, **texts: str) -> Html:
    """The picture for the page; its PNG is saved beside the html."""
    style.save_png(figure, run.out / f"{name}.png")
    return html.picture(style.svg(figure, name), **texts)


def _shared(run: Run) -> Html:
    return html.section(
        "Shared weights",
        html.table(
            ("what", "value", "meaning"), shared_weights.table_rows(run.shared, run.summary)
        ),
        _figure(
            run,
            shared_weights.plot_shared_weights(run.shared, run.summary),
            Path(PANEL).stem,
            caption="Left: training curves. Middle: what is chosen; entropy 1 = uniform. Right: "
            "accuracy with shared weights vs. trained from scratch; band: random architectures "
            "with shared weights (mean ± sd).",
            alt="Training of the shared weights, what was chosen, and how well they rank",
        ),
    )


def _rewards(run: Run) -> Html:
    caption = "Dot: a trial. Line: best reward so far."
    if run.random:
        caption += (
            " Band: expected best of the same number of random trials (mean, 5-95 %), estimated "
            f"from the {len(run.random)} trials of the random run."
        )
    if any(t.reward is None for t in run.trials):
        caption += " Ticks below: failed trials."
    top = (
        f"the best is {run.best.reward:.4f} in trial {run.best.id}" if run.best else "none has one"
    )
    return html.section(
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
    head, *body = rows.decisions(run.space, arch)
    decided = html.table(head, body)
    try:
        graph = run.space.graph(arch)
    except NotImplementedError:
        none = html.element("p", f"{type(run.space).__name__} has no drawing.", "muted")
        return html.section("Best architecture", none, decided)
    figure = drawing.architecture(graph)
    narrow = figure.get_figwidth() <= NARROW
    drawn = _figure(
        run,
        figure,
        "architecture",
        caption="Data flow from top to bottom. Blue lines skip layers.",
        alt=f"The best architecture: {len(graph.nodes)} nodes, {len(graph.edges)} edges",
        css="natural" if narrow else "wide",
        scroll="scroll tall",
    )
    both = html.joined([drawn, decided])
    return html.section(
        "Best architecture", html.element("div", both, "beside") if narrow else both
    )


def _top(run: Run) -> Html:
    head, body, numbers = rows.top(run.trials, run.space)
    text = (
        "Each row is the best trial of one architecture. FLOPs are the multiply-adds of a forward "
        "pass of one image or token. `nas retrain genotype=...` accepts the last column."
    )
    drawn = [[*cells[:-1], html.architecture(cells[-1])] for cells in body]
    return html.section(
        "Best trials",
        html.table(head, drawn, numbers=numbers),
        html.element("p", text, "muted"),
    )


def _failures(run: Run) -> Html:
    failed = [t for t in run.trials if t.reward is None]
    if not failed:
        return html.section("Failures", html.element("p", "No trial failed."))
    share = len(failed) / len(run.trials)
    text = f"{len(failed):,} of {len(run.trials):,} trials failed ({share:.0%})."
    return html.section(
        "Failures",
        html.element("p", text),
        html.table(("kind", "trials", "reason", "which"), rows.failures(failed), numbers=[1]),
    )


def _choices(run: Run) -> Html:
    groups = choices.choice_groups(run.space.decisions, [t.arch for t in run.trials])
    if not groups:
        return html.section("Choices", html.element("p", "Every decision has a single choice."))
    left_out = sum(not g.is_yes_or_no for g in groups) - choices.MAX_GROUPS
    omitted = f" {left_out} further kinds of decision are not drawn." if left_out > 0 else ""
    return html.section(
        "Choices over time",
        _figure(
            run,
            choices.plot_choices(groups, len(run.trials)),
            "choices",
            caption="Share of each value among the proposals, in windows of trials (failed ones "
            f"included). Decisions that ask the same question are counted together.{omitted}",
            alt=f"Shares of the chosen values over time: {', '.join(g.name for g in groups)}",
        ),
    )


def _retraining(run: Run) -> Html:
    parts: list[Html] = []
    if not run.retrainings:
        command = _retrain_command(run)
        text = f"Nothing was retrained yet, and nothing can be: {command.removeprefix('# ')}."
        if not command.startswith("#"):
            text = (
                "Nothing was retrained yet. This command trains the best architecture again from "
                "scratch, at full size, and tests it once per seed:"
            )
        parts = [html.element("p", text)]
        parts += [] if command.startswith("#") else [html.command(command)]
    for i, (where, result) in enumerate(run.retrainings.items()):
        head, body = rows.retraining(result)
        parts += [html.element("h3", f"{words.test_result(result)}: {where}")]
        parts += [html.table(head, body, numbers=range(1, len(head)))]
        histories = rows.histories(result)
        if any(len(history.get("seconds", [])) > 1 for history in histories.values()):
            texts = {"caption": "One line per seed.", "alt": f"Learning curves of {where}"}
            parts += [_figure(run, plots.curves(histories), f"retraining{i or ''}", **texts)]
    return html.section("Retraining", *parts)


def _again(run: Run) -> Html:
    again = commands.continuing(run.values, run.folder)
    command = _retrain_command(run)
    retrain = None if command.startswith("#") else command
    text = (
        "The command with the same run_dir continues this run; with another run_dir it starts "
        "another search. Choices from a folder of your own need its --config-dir."
    )
    return html.section(
        "Continue and reproduce",
        html.element("p", text),
        html.command(*filter(None, [again, retrain, commands.reporting(run.folder)])),
    )


def _retrain_command(run: Run) -> str:
    """The command that retrains the best trial, or why there is none, after a #."""
    if run.best is None:
        return "# no trial has succeeded"
    try:
        return commands.retraining(run.values, run.folder)
    except ConfigError as error:
        return f"# {error}"


def _configuration(run: Run) -> Html:
    text = html.command(OmegaConf.to_yaml(run.config).rstrip())
    return html.section("Configuration", html.folded("Every setting of this run", text))
