"""What a comparison found: tables, tests and curves, as CSV, JSON, PNG and one page."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np

from nas.comparison import statistics as st
from nas.core.files import write_atomically
from nas.report import html as page
from nas.report import plots

PAGE, TABLE, NUMBERS = "comparison.html", "comparison.csv", "comparison.json"
Found = dict[
    str, list[dict[str, Any]]
]  # label -> one result a seed, as nas/comparison/runner.py gives them
POINTS = 200  # of a curve


def write(run_dir: Path, config: dict[str, Any], found: Found, possible: dict[str, float]) -> None:
    """comparison.csv, .json, .html and the pictures."""
    seeds = _seeds(config)
    write_atomically(run_dir / TABLE, _csv(found, seeds))
    summary = summarise(found, possible)
    write_atomically(
        run_dir / NUMBERS, json.dumps({"config": config, "seeds": seeds} | summary, indent=2) + "\n"
    )
    figures = {
        f"anytime_{against}": anytime(found, possible, against, config["max_seconds"])
        for against in ("trials", "seconds")
    }
    parts = _head(config, found, seeds)
    for name, figure in figures.items():
        plots.save_png(figure, run_dir / f"{name}.png")
        parts.append(_picture(name, figure))
    parts += _tables(found, summary, possible)
    write_atomically(
        run_dir / PAGE, page.page(str(config["name"]), parts, meta={"generator": "nas compare"})
    )


def log(logger, run_dir: Path, config: dict[str, Any], found: Found) -> None:
    """The mean of each controller's incumbent over trials, and every seed's row, to `logger`."""
    longest = max(len(run["reward"]) for runs in found.values() for run in runs)
    grid = np.unique(np.geomspace(1, longest, POINTS).round())
    curves = {}
    for label, runs in found.items():
        means = {
            name: np.stack([_curve(run, name, "trials", grid) for run in runs]).mean(0)
            for name in metrics_of(found)
        }
        curves[label] = [
            {"trials": int(at)} | {k: float(v[i]) for k, v in means.items() if np.isfinite(v[i])}
            for i, at in enumerate(grid)
        ]
    head, *rows = csv.reader(io.StringIO(_csv(found, _seeds(config))))
    summary = summarise(found, {})["controllers"]
    logger.comparison(run_dir, str(config["name"]), config, curves, summary, (head, rows))


def summarise(found: Found, possible: dict[str, float]) -> dict[str, Any]:
    """Mean, deviation and n of each metric, mean ranks and paired tests on each."""
    metrics = metrics_of(found)
    return {
        "controllers": {
            label: {
                **{name: _spread(_values(runs, name)) for name in metrics},
                "trials": float(np.mean([len(run["reward"]) for run in runs])),
                "failed": sum(run["failed"] for run in runs),
                "stopped": sum(run["stopped"] is not None for run in runs),
                "milliseconds_per_trial": 1000 * _wall_per_trial(runs),
            }
            for label, runs in found.items()
        },
        "ranks": {name: st.mean_ranks(_scores(found, name)) for name in metrics},
        "tests": {
            name: [vars(test) for test in st.paired_tests(_scores(found, name))] for name in metrics
        },
        "best_possible": possible,
    }


def metrics_of(found: Found) -> list[str]:
    """best_reward, then what the benchmark knows of the architecture a controller ends with."""
    runs = [run for runs in found.values() for run in runs if run["final"]]
    return ["best_reward", *(runs[0]["final"] if runs else [])]


def text(found: Found) -> str:
    """The table of means for a terminal."""
    metrics = metrics_of(found)
    width = max(len(label) for label in found)
    lines = [
        f"{'':{width}}  " + "  ".join(f"{name:>17}" for name in metrics) + "   trials  ms/trial"
    ]
    for label, runs in found.items():
        cells = []
        for name in metrics:
            mean, sd, _ = _spread(_values(runs, name)).values()
            cells.append(f"{mean:>8.4f} +- {sd:.4f}")
        trials = np.mean([len(run["reward"]) for run in runs])
        wall = 1000 * _wall_per_trial(runs)
        lines.append(f"{label:{width}}  {'  '.join(cells)}  {trials:7.1f}  {wall:8.2f}")
    return "\n".join(lines)


def anytime(
    found: Found, possible: dict[str, float], against: str, max_seconds: float | None
) -> "plots.Figure":
    """Mean of the incumbent with its 95 % band, against trials or seconds; a panel a metric."""
    metrics = metrics_of(found)
    longest = max(_time(run, against)[-1] for runs in found.values() for run in runs)
    if against == "seconds" and max_seconds:
        longest = min(longest, max_seconds)
    grid = np.unique(np.geomspace(1, longest, POINTS).round())
    with plots.style():
        figure = plots.new_figure(3.6 * len(metrics) + 0.4, 3.9)
        for k, name in enumerate(metrics):
            axes = figure.add_subplot(1, len(metrics), k + 1)
            lows, tops = [], []
            for colour, (label, runs) in zip(_colours(found), found.items(), strict=True):
                curves = np.stack([_curve(run, name, against, grid) for run in runs])
                mean, low, high = st.mean_and_band(curves)
                axes.fill_between(grid, low, high, color=colour, alpha=0.18, lw=0)
                axes.plot(grid, mean, color=colour, lw=1.6, label=label)
                if len(known := mean[np.isfinite(mean)]):  # else a seed has none within the limit
                    lows.append(np.quantile(known, 0.25))
                    tops.append(known.max())
            if name in possible:
                axes.axhline(possible[name], color=plots.MUTED, lw=0.9, ls=(0, (4, 3)))
                axes.annotate(
                    "best possible", (0.01, possible[name]), (2, 3),
                    xycoords=axes.get_yaxis_transform(),
                    textcoords="offset points", fontsize=7.5, color=plots.MUTED,
                )  # fmt: skip
            if lows:
                top, bottom = max([possible.get(name, -np.inf), *tops]), min(lows)
                room = 0.12 * (top - bottom) or 0.01
                axes.set_ylim(bottom - room, top + room)
            axes.set_title(name.replace("_", " "))
            axes.set_xscale("log")
            axes.set_xlabel({"trials": "trials", "seconds": "seconds of training"}[against])
            axes.grid(axis="y")
        handles, labels = axes.get_legend_handles_labels()  # under the panels, off the curves
        columns = 2 * len(metrics)
        figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    return figure


def _curve(run: dict[str, Any], name: str, against: str, grid: np.ndarray) -> np.ndarray:
    """A metric of the incumbent at each point of the grid; NaN before the first."""
    times = _time(run, against)
    if name == "best_reward":
        rewards = np.array([-np.inf if r is None else r for r in run["reward"]])
        best = np.maximum.accumulate(rewards)
        return st.on_grid(times, np.where(np.isfinite(best), best, np.nan), grid)
    changes = [(times[i], value[name]) for i, value in run["changes"]]
    when, values = np.array(changes, float).reshape(-1, 2).T
    return st.on_grid(when, values, grid)


def _time(run: dict[str, Any], against: str) -> np.ndarray:
    """When each trial ended: its number, or the seconds spent so far."""
    return (
        np.arange(1, len(run["reward"]) + 1.0) if against == "trials" else np.cumsum(run["seconds"])
    )


def _colours(found: Found) -> list[str]:
    """Random search is grey wherever it stands; the others in the palette's order."""
    others = iter(plots.SERIES * (1 + len(found) // len(plots.SERIES)))
    return [plots.OTHER if label.startswith("random") else next(others) for label in found]


def _values(runs: list[dict[str, Any]], name: str) -> np.ndarray:
    """[seeds]; NaN where every trial of a seed failed."""
    got = [run["best_reward"] if name == "best_reward" else run["final"].get(name) for run in runs]
    return np.array([np.nan if value is None else value for value in got], float)


def _scores(found: Found, name: str) -> dict[str, np.ndarray]:
    """The seeds that every controller came to an end with."""
    values = {label: _values(runs, name) for label, runs in found.items()}
    whole = np.all([np.isfinite(v) for v in values.values()], axis=0)
    return {label: v[whole] for label, v in values.items()}


def _spread(values: np.ndarray) -> dict[str, float]:
    values = values[np.isfinite(values)]
    if not len(values):
        return {"mean": float("nan"), "sd": float("nan"), "n": 0}
    sd = float(values.std(ddof=1)) if len(values) > 1 else 0.0
    return {"mean": float(values.mean()), "sd": sd, "n": len(values)}


def _wall_per_trial(runs: list[dict[str, Any]]) -> float:
    return sum(run["wall"] for run in runs) / max(1, sum(len(run["reward"]) for run in runs))


def _seeds(config: dict[str, Any]) -> list[int]:
    seeds = config["seeds"]
    return list(range(seeds)) if isinstance(seeds, int) else list(seeds)


def _csv(found: Found, seeds: list[int]) -> str:
    metrics = metrics_of(found)
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n")
    table.writerow(["controller", "seed", "trials", "seconds", "failed", "wall_seconds", *metrics])
    for label, runs in found.items():
        for i, (seed, run) in enumerate(zip(seeds, runs, strict=True)):
            row = [label, seed, len(run["reward"]), round(sum(run["seconds"]), 3), run["failed"]]
            table.writerow(
                [*row, round(run["wall"], 6), *(_values(runs, name)[i] for name in metrics)]
            )
    return out.getvalue()


def _head(config: dict[str, Any], found: Found, seeds: list[int]) -> list[page.Html]:
    budget = [f"{config['max_trials']} trials"]
    if config["max_seconds"]:
        budget.append(f"{config['max_seconds']:,} seconds of training")
    what = {k: config["evaluator"][k] for k in ("dataset", "metric") if k in config["evaluator"]}
    told = ", ".join(f"{key} {value}" for key, value in what.items())
    return [
        page.element("h1", f"{len(found)} controllers on {config['name']}"),
        page.element(
            "p",
            f"{told + '; ' if told else ''}{len(seeds)} seeds each; a search ends at "
            f"{' or '.join(budget)}, whichever comes first.",
            "subtitle",
        ),
    ]


def _picture(name: str, figure) -> page.Html:
    against = name.removeprefix("anytime_")
    return page.section(
        f"The incumbent, against {against}",
        page.picture(
            plots.svg(figure, name),
            caption="Mean over the seeds of what was best by the search's own reward so far; the "
            "band is the mean's 95 % confidence interval.",
            alt=f"curves of the best so far against {against}, one for each controller",
        ),
    )


def _tables(found: Found, summary: dict[str, Any], possible: dict[str, float]) -> list[page.Html]:
    metrics = metrics_of(found)
    rows = []
    for label, row in summary["controllers"].items():
        cells = [f"{row[name]['mean']:.4f} ± {row[name]['sd']:.4f}" for name in metrics]
        ranks = [f"{summary['ranks'][name][label]:.2f}" for name in metrics[-1:]]
        extra = [f"{row['trials']:.1f}", row["failed"], f"{row['milliseconds_per_trial']:.2f}"]
        rows.append([label, *cells, row[metrics[0]]["n"], *ranks, *extra])
    if possible:
        best = [f"{possible[name]:.4f}" if name in possible else "" for name in metrics]
        rows.append(["best possible", *best, "", "", "", "", ""])
    head = ["controller", *metrics, "n", f"rank ({metrics[-1]})", "trials", "failed", "ms a trial"]
    parts = [
        page.section(
            "In the end",
            page.table(head, rows, numbers=range(1, len(head))),
            page.element("p", "Mean ± standard deviation over the seeds. Rank 1 is best.", "muted"),
        )
    ]
    for name in metrics:
        tests = [
            [
                t["first"], t["second"], f"{t['difference']:+.4f}", f"{t['p']:.2g}",
                f"{t['effect']:.3f}", t["n"],
            ]
            for t in summary["tests"][name]
        ]  # fmt: skip
        if tests:
            head = ["first", "second", "mean difference", "p (Holm)", "P(first > second)", "n"]
            parts.append(
                page.section(
                    f"Pairwise tests of {name}",
                    page.table(head, tests, numbers=range(2, 6)),
                    page.element(
                        "p",
                        "Wilcoxon's signed-rank test over equal seeds, two-sided, Holm-corrected.",
                        "muted",
                    ),
                )
            )
    return parts
