"""The pictures of a search: data in, matplotlib Figure out; none of them reads or writes a file.

One palette for all of them. The neutral colours become CSS variables in `svg`, so that a picture
inside a page follows its light or dark colours.
"""

import contextlib
import dataclasses
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.core.trial import STATUSES, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, MUTED, GRID, PAPER = "#24292f", "#6e7781", "#d8dee4", "#ffffff"
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", PAPER: "--paper"}
BLUE, ORANGE, TEAL, ROSE, VIOLET = "#3f7cbf", "#dd8436", "#3f9e86", "#cb5468", "#8a6fc0"
SERIES = (BLUE, ORANGE, TEAL, ROSE, VIOLET, "#b39a2f", "#62b0d5", "#7d8f3f", "#b76fa8")
OTHER = "#9a9aa3"
FAILURES = dict(zip(STATUSES[1:], (OTHER, ORANGE, ROSE, "#b39a2f", VIOLET), strict=True))
MOST_PIXELS = 20_000  # of a side; the renderer refuses 65,536
RASTER_ABOVE = 2000  # dots: more of them are embedded as one bitmap, or a page weighs megabytes

_STYLE: dict[str, Any] = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.labelcolor": INK,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "grid.color": GRID,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "legend.handlelength": 1.2,
    "lines.solid_capstyle": "round",
    "svg.fonttype": "none",  # text stays text: it takes the page's font and can be selected
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}


@contextlib.contextmanager
def style(**more: Any) -> Iterator[None]:
    """Our look while a figure is made or saved, whatever the user's matplotlibrc says."""
    import matplotlib.style

    with matplotlib.style.context(["default", _STYLE | more]):
        yield


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure of that size in inches. Call it inside `style()`."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    padded = ConstrainedLayoutEngine(w_pad=0.09, h_pad=0.09)  # inches, round every panel
    return Figure(figsize=(width, height), layout=padded)


def save_png(figure: "Figure", path: Path, *, dpi: float = 160) -> Path:
    """Saves at `dpi` dots per inch, or at as many as keep the longer side below MOST_PIXELS."""
    with style():
        dpi = min(dpi, MOST_PIXELS / max(figure.get_size_inches()))
        figure.savefig(path, dpi=dpi, format="png")
    return path


def svg(figure: "Figure", name: str) -> str:
    """The figure as an <svg> element. `name` keeps its ids apart from other pictures of a page."""
    text = io.StringIO()
    with style(**{"svg.hashsalt": name}):
        figure.savefig(text, format="svg", dpi=200, metadata={"Date": None})
    body = text.getvalue()
    body = re.sub(r"<metadata>.*?</metadata>", "", body[body.index("<svg") :], flags=re.DOTALL)
    body = re.sub(r'( id="|xlink:href="#|url\(#)', rf"\g<1>{name}-", body)
    for colour, variable in VARIABLES.items():
        body = body.replace(colour, f"var({variable})")
    return body


@dataclasses.dataclass(frozen=True)
class Band:
    """What random search reaches: reward by number of trials, each array [points] float64."""

    trials: np.ndarray
    mean: np.ndarray
    low: np.ndarray  # 5 % quantile
    high: np.ndarray  # 95 % quantile


def expected_best(rewards: Sequence[float | None], trials: int, *, points: int = 400) -> Band:
    """The best of k random draws for k = 1 ... `trials`, as the empirical rewards have it.

    Exact where one would resample with replacement without end: P(best of k <= r) = F(r)^k (Dodge
    et al. 2019, arXiv:1909.03004, section 3.1). A failed draw (None) counts as a draw and lies
    below every reward; the mean is over what succeeds, a quantile that is a failure is NaN.
    """
    values = np.sort(np.array([r for r in rewards if r is not None], np.float64))
    k = np.unique(np.geomspace(1, max(trials, 1), points).round().astype(int))
    if not len(values) or trials < 1:
        return Band(*(np.zeros(0),) * 4)
    failed = len(rewards) - len(values)
    cdf = np.arange(failed, len(rewards) + 1) / len(rewards)  # [values + 1]
    powers = cdf ** k[:, None]  # [points, values + 1]
    mean = (np.diff(powers) @ values) / (1 - powers[:, 0])

    def quantile(q: float) -> np.ndarray:
        at = np.array([np.searchsorted(row, q - 1e-12) for row in powers])
        return np.where(at > 0, values[np.maximum(at, 1) - 1], np.nan)

    return Band(k, mean, quantile(0.05), quantile(0.95))


def running_best(trials: Sequence[Trial]) -> np.ndarray:
    """The best reward up to each trial, [trials] float64; NaN before the first that has one."""
    rewards = np.array([-np.inf if t.reward is None else t.reward for t in trials], np.float64)
    best = np.maximum.accumulate(rewards)
    return np.where(np.isfinite(best), best, np.nan)


def rewards(trials: Sequence[Trial], *, random: Sequence[Trial] = ()) -> "Figure":
    """Each trial's reward, the best so far, and what as many random trials would have reached.

    Both by id. Give `random` the trials of a random search of the same space and evaluator.
    """
    kinds = [kind for kind in FAILURES if any(t.status == kind for t in trials)]
    with style():
        figure = new_figure(10.5, 4.1 + 0.2 * len(kinds))
        upper, *lower = figure.subplots(
            1 + bool(kinds),
            sharex=True,
            squeeze=False,
            height_ratios=[20, len(kinds)] if kinds else None,
        )[:, 0]
        _reward_dots(upper, trials)
        if random:
            draw_band(upper, [t.reward for t in random], min(len(trials), len(random)), first=0)
        best = running_best(trials)
        upper.step(
            [t.id for t in trials], best, where="post", color=INK, lw=1.6, zorder=4,
            label="best so far",
        )  # fmt: skip
        _mark_best(upper, trials, best)
        upper.set_ylabel("reward on validation data")
        upper.grid(axis="y")
        upper.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=4, borderaxespad=0.3)
        for axes in lower:
            _failure_rows(axes, trials, kinds)
            upper.tick_params(labelbottom=False)
        _trial_axis([upper, *lower][-1], max((t.id for t in trials), default=0))
    return figure


def draw_band(
    axes: "Axes", rewards: Sequence[float | None], trials: int, *, first: int = 1
) -> None:
    """Random search's expected best with its 5 to 95 % quantiles, behind everything else.

    `first` is what the axis calls the first trial.
    """
    band = expected_best(rewards, trials)
    x = band.trials - 1 + first
    axes.fill_between(
        x, band.low, band.high, color=ORANGE, alpha=0.18, lw=0, zorder=1,
        label="random search, 5 to 95 %",
    )  # fmt: skip
    axes.plot(x, band.mean, color=ORANGE, lw=1.4, zorder=3, label="random search, mean")


def _reward_dots(axes: "Axes", trials: Sequence[Trial]) -> None:
    dots = [(t.id, t.reward) for t in trials if t.reward is not None]
    if not dots:
        axes.set_yticks([])
        axes.text(
            0.5, 0.5, "no trial has a reward" if trials else "no trial has finished",
            transform=axes.transAxes, ha="center", va="center", color=MUTED, fontsize=11,
        )  # fmt: skip
        return
    size = float(np.clip(6000 / len(dots), 5, 26))
    axes.scatter(
        [x for x, _ in dots], [y for _, y in dots], s=size, lw=0, zorder=2,
        color=(BLUE, 0.35 if len(dots) > 500 else 0.75), rasterized=len(dots) > RASTER_ABOVE,
    )  # fmt: skip
    axes.plot([], [], "o", ms=4, color=BLUE, label="trial")  # the legend's, however faint the dots


def _mark_best(axes: "Axes", trials: Sequence[Trial], best: np.ndarray) -> None:
    """A ring round the best trial and its reward beside it, away from the nearer edge."""
    if not len(best) or np.isnan(best[-1]):
        return
    reward = float(best[-1])
    at = next(t.id for t in trials if t.reward == reward)
    axes.scatter([at], [reward], s=70, facecolors="none", edgecolors=INK, lw=1.3, zorder=5)
    right = at > 0.6 * trials[-1].id
    axes.annotate(
        f"{reward:.4f}", (at, reward), xytext=(-8 if right else 8, 7), textcoords="offset points",
        ha="right" if right else "left", va="bottom", fontweight="bold",
    )  # fmt: skip
    axes.margins(y=0.12)


def _failure_rows(axes: "Axes", trials: Sequence[Trial], kinds: Sequence[str]) -> None:
    """One row of ticks per kind of failure, named at the left with its count."""
    labels = []
    for row, kind in enumerate(kinds):
        x = [t.id for t in trials if t.status == kind]
        axes.scatter(
            x, [row] * len(x), marker="|", s=40, lw=1.4, color=FAILURES[kind],
            rasterized=len(x) > RASTER_ABOVE,
        )  # fmt: skip
        labels.append(f"{kind} {len(x)}")
    axes.set_yticks(range(len(kinds)), labels)
    axes.set_ylim(len(kinds) - 0.4, -0.6)
    axes.spines["left"].set_visible(False)


def _trial_axis(axes: "Axes", last: int) -> None:
    pad = max(0.5, 0.01 * last)
    axes.set_xlim(-pad, last + pad)
    whole_numbers(axes, 10)
    axes.set_xlabel("trial")


def whole_numbers(axes: "Axes", most: int) -> None:
    """At most so many ticks along x, none between two trials or epochs."""
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(most, steps=[1, 2, 5, 10], integer=True))


def curves(histories: Mapping[str, Mapping[str, Sequence[float]]]) -> "Figure":
    """Loss and accuracy, or perplexities, by epoch, one line per training.

    Keys of a history as `nas.training.loop.fit`'s or `nas.language.loop.fit`'s.
    """
    panels = (("loss", "loss on training data"), ("accuracy", "accuracy on training data"))
    if any("valid_perplexity" in history for history in histories.values()):
        panels = (
            ("train_perplexity", "perplexity in training"),
            ("valid_perplexity", "validation perplexity"),
        )
    with style():
        figure = new_figure(10.5, 3.2)
        for axes, (key, label) in zip(figure.subplots(1, 2), panels, strict=True):
            for i, (name, history) in enumerate(histories.items()):
                y = history.get(key, [])
                axes.plot(range(1, len(y) + 1), y, lw=1.4, color=SERIES[i % 9], label=name)
            axes.set_xlabel("epoch")
            whole_numbers(axes, 8)
            axes.set_ylabel(label)
            axes.grid(axis="y")
        axes.legend(loc="best", ncols=2)
    return figure
