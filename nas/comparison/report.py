"""The report of a comparison: tables, tests and curves as CSV, JSON, PNG and one page."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nas.comparison import statistics
from nas.comparison.results import ComparisonRun, Runs
from nas.core.files import write_atomically
from nas.core.json_values import dumped
from nas.report import html
from nas.report.html import Html
from nas.report.style import MUTED, OTHER, SERIES, figure_style, new_figure, save_png, svg

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PAGE, TABLE, NUMBERS = "comparison.html", "comparison.csv", "comparison.json"
POINTS = 200  # of a curve


def write(run_dir: Path, config: dict[str, Any], runs: Runs, possible: dict[str, float]) -> None:
    """Writes comparison.csv, .json, .html and the pictures.

    possible: the largest value of each metric in the evaluator's table; {} for other evaluators.
    """
    seeds = _seeds(config)
    write_atomically(run_dir / TABLE, _csv(runs, seeds))
    summary = summarise(runs, possible)
    write_atomically(
        run_dir / NUMBERS, dumped({"config": config, "seeds": seeds} | summary, indent=2) + "\n"
    )
    parts = _head(config, runs, seeds)
    for against in ("trials", "seconds"):
        name = f"anytime_{against}"
        figure = anytime(runs, possible, against, config["max_seconds"])
        save_png(figure, run_dir / f"{name}.png")
        parts.append(_picture(name, figure))
    parts += _tables(runs, summary, possible)
    write_atomically(
        run_dir / PAGE, html.document(str(config["name"]), parts, meta={"generator": "nas compare"})
    )


class ComparisonLogger(Protocol):
    """A logger that shows comparisons, such as nas.run.wandb_logger.WandB."""

    def comparison(
        self,
        run_dir: Path,
        name: str,
        config: dict[str, Any],
        curves: dict[str, list[dict[str, float]]],
        summary: dict[str, Any],
        table: tuple[list[str], list[list[str]]],
    ) -> None: ...


def log(logger: ComparisonLogger, run_dir: Path, config: dict[str, Any], runs: Runs) -> None:
    """Logs each controller's mean curves over the trials, the summary and the row of each seed."""
    longest = max(len(run.rewards) for seeds in runs.values() for run in seeds)
    grid = np.unique(np.geomspace(1, longest, POINTS).round())
    curves = {}
    for label, seeds in runs.items():
        means = {
            name: np.stack([_curve(run, name, "trials", grid) for run in seeds]).mean(0)
            for name in metrics_of(runs)
        }
        curves[label] = [
            {"trials": int(at)} | {k: float(v[i]) for k, v in means.items() if np.isfinite(v[i])}
            for i, at in enumerate(grid)
        ]
    head, *rows = csv.reader(io.StringIO(_csv(runs, _seeds(config))))
    summary = summarise(runs, {})["controllers"]
    logger.comparison(run_dir, str(config["name"]), config, curves, summary, (head, rows))


def summarise(runs: Runs, possible: dict[str, float]) -> dict[str, Any]:
    """Mean, standard deviation and n of each metric, with mean ranks and paired tests."""
    metrics = metrics_of(runs)
    scores = {name: _scores(runs, name) for name in metrics}
    return {
        "controllers": {
            label: {
                **{name: _spread(_values(seeds, name)) for name in metrics},
                "trials": float(np.mean([len(run.rewards) for run in seeds])),
                "failed": sum(run.failed for run in seeds),
                "stopped": sum(run.stopped is not None for run in seeds),
                "milliseconds_per_trial": 1000 * _wall_per_trial(seeds),
            }
            for label, seeds in runs.items()
        },
        "ranks": {name: statistics.mean_ranks(scores[name]) for name in metrics},
        "tests": {
            name: [vars(test) for test in statistics.paired_tests(scores[name])] for name in metrics
        },
        "best_possible": possible,
    }


def metrics_of(runs: Runs) -> list[str]:
    """best_reward, then the columns of the evaluator's table, if it is one."""
    with_final = [run for seeds in runs.values() for run in seeds if run.final]
    return ["best_reward", *(with_final[0].final if with_final else [])]


def text(runs: Runs) -> str:
    """The table of means for a terminal."""
    metrics = metrics_of(runs)
    width = max(len(label) for label in runs)
    lines = [
        f"{'':{width}}  " + "  ".join(f"{name:>17}" for name in metrics) + "   trials  ms/trial"
    ]
    for label, seeds in runs.items():
        cells = []
        for name in metrics:
            mean, sd, _ = _spread(_values(seeds, name)).values()
            cells.append(f"{mean:>8.4f} +- {sd:.4f}")
        trials = np.mean([len(run.rewards) for run in seeds])
        wall = 1000 * _wall_per_trial(seeds)
        lines.append(f"{label:{width}}  {'  '.join(cells)}  {trials:7.1f}  {wall:8.2f}")
    return "\n".join(lines)


def anytime(
    runs: Runs, possible: dict[str, float], against: str, max_seconds: float | None
) -> "Figure":
    """The mean of the best so far with its 95 % band; one panel per metric.

    against: "trials" or "seconds".
    """
    metrics = metrics_of(runs)
    longest = max(_time(run, against)[-1] for seeds in runs.values() for run in seeds)
    if against == "seconds" and max_seconds:
        longest = min(longest, max_seconds)
    grid = np.unique(np.geomspace(1, longest, POINTS).round())
    with figure_style():
        figure = new_figure(3.6 * len(metrics) + 0.4, 3.9)
        for k, name in enumerate(metrics):
            axes = figure.add_subplot(1, len(metrics), k + 1)
            _draw_curves(axes, runs, name, against, grid, possible.get(name))
        handles, labels = axes.get_legend_handles_labels()  # below the panels, clear of the curves
        columns = 2 * len(metrics)
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure


def _draw_curves(
    axes: "Axes", runs: Runs, name: str, against: str, grid: np.ndarray, best: float | None
) -> None:
    """Draws one metric of all controllers; best: the largest possible value, if it is known."""
    lows, tops = [], []
    for colour, (label, seeds) in zip(_colours(runs), runs.items(), strict=True):
        curves = np.stack([_curve(run, name, against, grid) for run in seeds])
        mean, low, high = statistics.mean_and_band(curves)
        axes.fill_between(grid, low, high, color=colour, alpha=0.18, lw=0)
        axes.plot(grid, mean, color=colour, lw=1.6, label=label)
        if len(known := mean[np.isfinite(mean)]):  # empty if a seed has no value within the limit
            lows.append(np.quantile(known, 0.25))
            tops.append(known.max())
    if best is not None:
        axes.axhline(best, color=MUTED, lw=0.9, ls=(0, (4, 3)))
        axes.annotate(
            "best possible", (0.01, best), (2, 3), xycoords=axes.get_yaxis_transform(),
            textcoords="offset points", fontsize=7.5, color=MUTED,
        )  # fmt: skip
    if lows:
        top, bottom = max([-np.inf if best is None else best, *tops]), min(lows)
        room = 0.12 * (top - bottom) or 0.01
        axes.set_ylim(bottom - room, top + room)
    axes.set_title(name.replace("_", " "))
    axes.set_xscale("log")
    axes.set_xlabel({"trials": "trials", "seconds": "seconds of training"}[against])
    axes.grid(axis="y")


def _curve(run: ComparisonRun, name: str, against: str, grid: np.ndarray) -> np.ndarray:
    """A metric of the best so far at each point of the grid; NaN before the first success."""
    times = _time(run, against)
    if name == "best_reward":
        rewards = np.array([-np.inf if r is None else r for r in run.rewards])
        best = np.maximum.accumulate(rewards)
        return statistics.on_grid(times, np.where(np.isfinite(best), best, np.nan), grid)
    changes = [(times[i], values[name]) for i, values in run.changes]
    when, values = np.array(changes, float).reshape(-1, 2).T
    return statistics.on_grid(when, values, grid)


def _time(run: ComparisonRun, against: str) -> np.ndarray:
    """When each trial ended, [trials] float64: its number, or the seconds spent so far."""
    return np.arange(1, len(run.rewards) + 1.0) if against == "trials" else run.trial_ends


def _colours(runs: Runs) -> list[str]:
    """Grey for random search; for the others the palette in its order."""
    others = iter(SERIES * (1 + len(runs) // len(SERIES)))
    return [OTHER if label.startswith("random") else next(others) for label in runs]


def _values(seeds: Sequence[ComparisonRun], name: str) -> np.ndarray:
    """A metric of each seed, [seeds] float64; NaN if all trials of a seed failed."""
    values = [run.best_reward if name == "best_reward" else run.final.get(name) for run in seeds]
    return np.array([np.nan if value is None else value for value in values], float)


def _scores(runs: Runs, name: str) -> dict[str, np.ndarray]:
    """A metric of each controller, only for the seeds for which all controllers have a value."""
    values = {label: _values(seeds, name) for label, seeds in runs.items()}
    whole = np.all([np.isfinite(v) for v in values.values()], axis=0)
    return {label: v[whole] for label, v in values.items()}


def _spread(values: np.ndarray) -> dict[str, float]:
    values = values[np.isfinite(values)]
    if not len(values):
        return {"mean": float("nan"), "sd": float("nan"), "n": 0}
    sd = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(values.mean()), "sd": sd, "n": len(values)}


def _wall_per_trial(seeds: Sequence[ComparisonRun]) -> float:
    return sum(run.wall_seconds for run in seeds) / max(1, sum(len(run.rewards) for run in seeds))


def _seeds(config: dict[str, Any]) -> list[int]:
    seeds = config["seeds"]
    return list(range(seeds)) if isinstance(seeds, int) else list(seeds)


def _csv(runs: Runs, seeds: list[int]) -> str:
    """One row for each controller and seed."""
    metrics = metrics_of(runs)
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["controller", "seed", "trials", "seconds", "failed", "wall_seconds", *metrics])
    for label, each in runs.items():
        for i, (seed, run) in enumerate(zip(seeds, each, strict=True)):
            row = [label, seed, len(run.rewards), round(sum(run.seconds), 3), run.failed]
            row += [round(run.wall_seconds, 6), *(_values(each, name)[i] for name in metrics)]
            table.writerow(row)
    return out.getvalue()


def _head(config: dict[str, Any], runs: Runs, seeds: list[int]) -> list[Html]:
    budget = [f"{config['max_trials']} trials"]
    if config["max_seconds"]:
        budget.append(f"{config['max_seconds']:,} seconds of training")
    what = {k: config["evaluator"][k] for k in ("dataset", "metric") if k in config["evaluator"]}
    task = ", ".join(f"{key} {value}" for key, value in what.items())
    whichever = ", whichever comes first" if len(budget) > 1 else ""
    return [
        html.element("h1", f"{len(runs)} controllers on {config['name']}"),
        html.element(
            "p",
            f"{task + '; ' if task else ''}{len(seeds)} seeds each. A search ends after "
            f"{' or '.join(budget)}{whichever}.",
            "subtitle",
        ),
    ]


def _picture(name: str, figure: "Figure") -> Html:
    against = name.removeprefix("anytime_")
    return html.section(
        f"Best so far against {against}",
        html.picture(
            svg(figure, name),
            caption="Line: mean over the seeds of the best trial so far (by the search's reward). "
            "Band: 95 % confidence interval of the mean.",
            alt=f"Curves of the best so far against {against}, one per controller",
        ),
    )


def _tables(runs: Runs, summary: dict[str, Any], possible: dict[str, float]) -> list[Html]:
    """The final results, and the pairwise tests of each metric."""
    metrics = metrics_of(runs)
    rows = []
    for label, row in summary["controllers"].items():
        cells = [f"{row[name]['mean']:.4f} ± {row[name]['sd']:.4f}" for name in metrics]
        ranks = [f"{summary['ranks'][name][label]:.2f}" for name in metrics[-1:]]
        extra = [f"{row['trials']:.1f}", row["failed"], f"{row['milliseconds_per_trial']:.2f}"]
        rows.append([label, *cells, row[metrics[0]]["n"], *ranks, *extra])
    if possible:
        best = [f"{possible[name]:.4f}" if name in possible else "" for name in metrics]
        rows.append(["best possible", *best, "", "", "", "", ""])
    counts = ("trials", "failed", "ms per trial")
    head = ["controller", *metrics, "n", f"rank ({metrics[-1]})", *counts]
    note = "Mean ± standard deviation over the seeds. Rank 1 is the best."
    final = html.section(
        "Final results",
        html.table(head, rows, numbers=range(1, len(head))),
        html.element("p", note, "muted"),
    )
    return [final, *(_tests(name, summary["tests"][name]) for name in metrics if len(runs) > 1)]


def _tests(name: str, tests: Sequence[dict[str, Any]]) -> Html:
    """The pairwise tests of one metric."""
    rows = [
        [
            t["first"], t["second"], f"{t['difference']:+.4f}", f"{t['p']:.2g}",
            f"{t['effect']:.3f}", t["n"],
        ]
        for t in tests
    ]  # fmt: skip
    head = ["first", "second", "mean difference", "p (Holm)", "P(first > second)", "n"]
    note = "Wilcoxon's signed-rank test over equal seeds, two-sided, with Holm's correction."
    return html.section(
        f"Pairwise tests of {name}",
        html.table(head, rows, numbers=range(2, 6)),
        html.element("p", note, "muted"),
    )
