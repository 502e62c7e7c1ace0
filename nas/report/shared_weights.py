"""The report's section on shared weights: their training, what was chosen, and their ranking.

A one-shot run ends with an architecture even if its supernet ranks no better than chance, or its
policy prefers operations that do nothing. These numbers show it.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.core.files import printable, read_arrays
from nas.core.json_values import read_json
from nas.core.trial import ConfigError
from nas.report.style import (
    BLUE,
    MUTED,
    ORANGE,
    RASTER_ABOVE,
    SERIES,
    figure_style,
    new_figure,
    whole_numbers,
)
from nas.report.words import number
from nas.run.folder import EPOCHS, EPOCHS_SHAPE, RANKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAINING = ("accuracy", "valid_accuracy", "perplexity", "valid_perplexity", "reward")
ADVICE = "delete it, and nas report shows the rest of the run"
METRICS = ("valid_accuracy", "valid_perplexity")  # scores of shared weights
CHOSEN = ("skip_share", "none_share", "choice_entropy", "policy_entropy", "gate_entropy")
MEANING = {
    "skip_share": "share of the decisions with a skip that chose it, last epoch",
    "none_share": "share of the decisions with a none that chose it, last epoch",
    "choice_entropy": "of the paths of the last epoch; 1 = uniform",
    "policy_entropy": "of the controller, last epoch; 1 = uniform",
    "gate_entropy": "of the gates, last epoch; 1 = uniform",
}


@dataclasses.dataclass(frozen=True)
class SharedWeightsResults:
    """The files that a one-shot run leaves; empty for other runs."""

    epochs: list[dict[str, float]]  # the measures of each epoch
    scores: np.ndarray | None = None  # [archs] float64, with shared weights
    reference: np.ndarray | None = None  # [archs] float64, trained from scratch


def read(run_dir: Path) -> SharedWeightsResults:
    """Reads what a run folder holds of shared weights."""
    epochs, ranked = run_dir / EPOCHS, run_dir / RANKING
    if not epochs.is_file():
        return SharedWeightsResults([])
    history = read_json(epochs, EPOCHS_SHAPE, ADVICE)
    if not ranked.is_file():
        return SharedWeightsResults(history)
    try:
        with ranked.open("rb") as file:
            saved = read_arrays(file)
        scores, truth = (np.asarray(saved[name], np.float64) for name in ("scores", "truth"))
        if scores.ndim != 1 or scores.shape != truth.shape:
            raise ValueError(f"scores {scores.shape} of accuracies {truth.shape}")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{ranked} is damaged ({printable(error)}); {ADVICE}") from error
    return SharedWeightsResults(history, scores, truth)


def table_rows(shared: SharedWeightsResults, summary: Mapping[str, Any]) -> list[list[str]]:
    """(what, value, explanation) of every measure that the run has."""
    last, rows = shared.epochs[-1], []
    for name in (*TRAINING, *CHOSEN):
        if name in last:
            text = MEANING.get(name, f"last of {len(shared.epochs)} epochs")
            rows.append([name.replace("_", " "), number(last[name]), text])
    if random := summary.get("random"):
        metric, mean, spread = _random(random)
        text = number(mean) + (f" ± {number(spread)}" if spread else "")
        count = random["architectures"]
        meaning = f"{metric} of {count} uniform architectures with shared weights"
        rows.append(["random architectures", text, meaning])
    if ranking := summary.get("ranking"):
        tau = ranking["kendall_tau"]
        text = "none: all scores are equal" if tau is None else number(tau)
        count = f"{ranking['architectures']:,} architectures: {ranking['against']}"
        rows.append(["Kendall's tau", text, f"shared weights vs. from scratch, {count}"])
        if ranking.get("kendall_tau_loss") is not None:
            text = number(ranking["kendall_tau_loss"])
            rows.append(["Kendall's tau by loss", text, "the smaller the loss, the better"])
        for name in ("derived", "best_by_score", "best_by_loss", "mean", "best"):
            if name in ranking:
                what = f"{name.replace('_', ' ')}, trained from scratch"
                rows.append([what, number(ranking[name]), ranking["against"]])
    else:
        rows.append(["Kendall's tau", "–", "not measured: set probe=trained"])
    for name, values in (summary.get("table") or {}).items():
        text = ", ".join(number(value) for value in values.values())
        rows.append([name, text, f"from the table: {', '.join(values)}"])
    return rows


def _random(random: Mapping[str, Any]) -> tuple[str, float, float | None]:
    """The metric of random architectures, its mean and its standard deviation."""
    metric = next(name for name in METRICS if name in random)
    mean = math.nan if random[metric] is None else random[metric]
    return metric, mean, random.get(f"{metric}_sd")


def plot_shared_weights(shared: SharedWeightsResults, summary: Mapping[str, Any]) -> "Figure":
    """Draws training, choices and ranking side by side."""
    with figure_style():
        drawn = new_figure(10.5, 3.4)
        left, middle, right = drawn.subplots(1, 3)
        is_text = "perplexity" in shared.epochs[0]  # then a reward has another scale
        names = TRAINING[:-1] if is_text else TRAINING
        _lines(left, shared.epochs, names, "perplexity" if is_text else "accuracy, reward")
        _lines(middle, shared.epochs, CHOSEN, "share, entropy")
        middle.set_ylim(-0.03, 1.03)
        _ranking(right, shared, summary)
    return drawn


def _lines(axes: "Axes", epochs: list[dict[str, float]], names: Sequence[str], label: str) -> None:
    for i, name in enumerate(n for n in names if n in epochs[0]):
        values = [math.nan if epoch.get(name) is None else epoch[name] for epoch in epochs]
        mark = "o" if len(values) == 1 else ""  # a line with one point is invisible
        axes.plot(
            range(1, len(values) + 1), values, lw=1.5, color=SERIES[i],
            label=name.replace("_", " "), marker=mark, ms=4,
        )  # fmt: skip
    axes.set_xlabel("epoch")
    whole_numbers(axes, 8)
    axes.set_ylabel(label)
    axes.grid(axis="y")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.3)


def _ranking(axes: "Axes", shared: SharedWeightsResults, summary: Mapping[str, Any]) -> None:
    random, metric = summary.get("random"), "accuracy"
    if random:
        metric, mean, spread = _random(random)
        spread = spread or 0.0
        axes.axhspan(mean - spread, mean + spread, color=ORANGE, alpha=0.18, lw=0)
        axes.axhline(mean, color=ORANGE, lw=1.4, label="random, mean ± sd")
    name = metric.removeprefix("valid_")
    axes.set_xlabel(f"{name}, trained from scratch")
    axes.set_ylabel(f"{name}, shared weights")
    if shared.scores is None or shared.reference is None:
        axes.text(
            0.5, 0.5, "no network was trained from scratch", transform=axes.transAxes, ha="center",
            va="center", color=MUTED,
        )  # fmt: skip
    else:
        count = len(shared.scores)
        axes.scatter(
            shared.reference, shared.scores, s=float(np.clip(3000 / count, 3, 26)), lw=0, zorder=3,
            color=(BLUE, 0.3 if count > 500 else 0.8), rasterized=count > RASTER_ABOVE,
        )  # fmt: skip
    tau = (summary.get("ranking") or {}).get("kendall_tau")
    if tau is not None:
        by_loss = summary["ranking"].get("kendall_tau_loss")
        text = "" if by_loss is None else f", by loss {by_loss:.3f}"
        axes.plot([], [], "o", ms=4, color=BLUE, label=f"Kendall's tau {tau:.3f}{text}")
    if random or tau is not None:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.3)
    axes.grid(axis="y")
