"""What a report says about shared weights: how they were trained, what was chosen, how they rank.

A supernet that ranks no better than chance, or a policy that drifts to operations that do nothing,
finds an architecture all the same: these numbers tell.
"""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.report import plots
from nas.report.rows import number
from nas.run.folder import EPOCHS, RANKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TRAINING = ("accuracy", "valid_accuracy", "perplexity", "valid_perplexity", "reward")
METRICS = ("valid_accuracy", "valid_perplexity")  # what shared weights may be scored by
CHOSEN = ("skip_share", "none_share", "choice_entropy", "policy_entropy", "gate_entropy")
MEANING = {
    "skip_share": "of the decisions that could choose a skip, last epoch",
    "none_share": "of the decisions that could choose none, last epoch",
    "choice_entropy": "of the paths of the last epoch; 1: as uniform ones",
    "policy_entropy": "of the controller, last epoch; 1: uniform",
    "gate_entropy": "of the gates, last epoch; 1: uniform",
}


@dataclasses.dataclass(frozen=True)
class Shared:
    """What a one-shot run has left; empty for other runs."""

    epochs: list[dict[str, float]]
    scores: np.ndarray | None = None  # [archs], with shared weights
    truth: np.ndarray | None = None  # [archs], of the same networks trained alone


def read(run_dir: Path) -> Shared:
    epochs, ranked = run_dir / EPOCHS, run_dir / RANKING
    if not epochs.is_file():
        return Shared([])
    history = json.loads(epochs.read_text())
    if not ranked.is_file():
        return Shared(history)
    with np.load(ranked) as saved:
        return Shared(history, saved["scores"], saved["truth"])


def rows(shared: Shared, summary: Mapping[str, Any]) -> list[list[str]]:
    """(what, value, of what) of everything there is."""
    last, found = shared.epochs[-1], []
    for name in (*TRAINING, *CHOSEN):
        if name in last:
            text = MEANING.get(name, f"of the last of {len(shared.epochs)} epochs")
            found.append([name.replace("_", " "), number(last[name]), text])
    if random := summary.get("random"):
        metric, mean, spread = _random(random)
        text = number(mean) + (f" ± {number(spread)}" if spread else "")
        many = (
            f"{metric} of {random['architectures']} uniform architectures with the shared weights"
        )
        found.append(["random architectures", text, many])
    if ranking := summary.get("ranking"):
        tau = ranking["kendall_tau"]
        said = "none: all scores are equal" if tau is None else number(tau)
        many = f"{ranking['architectures']:,} architectures: {ranking['against']}"
        found.append(["Kendall's tau", said, f"shared against alone, {many}"])
        for name in ("derived", "best_by_score", "mean", "best"):
            if name in ranking:
                text = f"{name.replace('_', ' ')}, trained alone"
                found.append([text, number(ranking[name]), ranking["against"]])
    else:
        found.append(["Kendall's tau", "–", "not measured: no networks trained alone (probe)"])
    return found


def _random(random: Mapping[str, Any]) -> tuple[str, float, float | None]:
    """The metric of random architectures, its mean and its deviation."""
    metric = next(name for name in METRICS if name in random)
    return metric, random[metric], random[f"{metric}_sd"]


def figure(shared: Shared, summary: Mapping[str, Any]) -> "Figure":
    """Training, choices and ranking, side by side."""
    with plots.style():
        made = plots.new_figure(10.5, 3.4)
        left, middle, right = made.subplots(1, 3)
        is_text = "perplexity" in shared.epochs[0]  # a reward would lie on its axis
        names = TRAINING[:-1] if is_text else TRAINING
        _lines(left, shared.epochs, names, "perplexity" if is_text else "accuracy, reward")
        _lines(middle, shared.epochs, CHOSEN, "share, entropy")
        middle.set_ylim(-0.03, 1.03)
        _ranking(right, shared, summary)
    return made


def _lines(axes: "Axes", epochs: list[dict[str, float]], names, label: str) -> None:
    for i, name in enumerate(n for n in names if n in epochs[0]):
        values = [epoch[name] for epoch in epochs]
        mark = "o" if len(values) == 1 else ""  # a line of one point would not be seen
        axes.plot(
            range(1, len(values) + 1), values, lw=1.5, color=plots.SERIES[i],
            label=name.replace("_", " "), marker=mark, ms=4,
        )  # fmt: skip
    axes.set_xlabel("epoch")
    plots.whole_numbers(axes, 8)
    axes.set_ylabel(label)
    axes.grid(axis="y")
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.3)


def _ranking(axes: "Axes", shared: Shared, summary: Mapping[str, Any]) -> None:
    random, metric = summary.get("random"), "accuracy"
    if random:
        metric, mean, spread = _random(random)
        spread = spread or 0.0
        axes.axhspan(mean - spread, mean + spread, color=plots.ORANGE, alpha=0.18, lw=0)
        axes.axhline(mean, color=plots.ORANGE, lw=1.4, label="random, mean ± sd")
    name = metric.removeprefix("valid_")
    axes.set_xlabel(f"{name}, trained alone")
    axes.set_ylabel(f"{name}, shared weights")
    if shared.scores is None or shared.truth is None:
        axes.text(
            0.5, 0.5, "no network was trained alone", transform=axes.transAxes, ha="center",
            va="center", color=plots.MUTED,
        )  # fmt: skip
    else:
        many = len(shared.scores)
        axes.scatter(
            shared.truth, shared.scores, s=float(np.clip(3000 / many, 3, 26)), lw=0, zorder=3,
            color=(plots.BLUE, 0.3 if many > 500 else 0.8), rasterized=many > plots.RASTER_ABOVE,
        )  # fmt: skip
    tau = (summary.get("ranking") or {}).get("kendall_tau")
    if tau is not None:
        axes.plot([], [], "o", ms=4, color=plots.BLUE, label=f"Kendall's tau {tau:.3f}")
    if random or tau is not None:
        axes.legend(loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.3)
    axes.grid(axis="y")
