"""The pictures of a search: functions from data to a matplotlib Figure, which touch no file."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from nas.core.trial import Trial
from nas.report.style import (
    BLUE,
    FAILURES,
    INK,
    MUTED,
    ORANGE,
    RASTER_ABOVE,
    SERIES,
    figure_style,
    new_figure,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Band:
    """The best reward of random search by number of trials; each array is [points] float64."""

    trials: np.ndarray
    mean: np.ndarray
    low: np.ndarray  # 5 % quantile
    high: np.ndarray  # 95 % quantile


def expected_best(rewards: Sequence[float | None], trials: int, *, points: int = 400) -> Band:
    """The expected best of k random draws from `rewards`, for k = 1 ... `trials`.

    It is the exact limit of resampling with replacement: P(best of k <= r) = F(r)^k, where F is the
    empirical distribution (Dodge et al. 2019, arXiv:1909.03004, section 3.1). A failed draw (None)
    counts as a draw below every reward. The mean is over draws with a success; a quantile that is a
    failure is NaN.

    points: number of values of k at most, spaced geometrically.
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
    """The best reward until each trial, [trials] float64; NaN before the first success."""
    rewards = np.array([-np.inf if t.reward is None else t.reward for t in trials], np.float64)
    best = np.maximum.accumulate(rewards)
    return np.where(np.isfinite(best), best, np.nan)


def rewards(trials: Sequence[Trial], *, random: Sequence[Trial] = ()) -> "Figure":
    """Each trial's reward, the best so far, and the expected best of random search.

    Args:
      trials: by id.
      random: the trials of a random search of the same space and evaluator, by id.
    """
    kinds = [kind for kind in FAILURES if any(t.status == kind for t in trials)]
    with figure_style():
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
    """Draws the expected best of random search and its 5-95 % band behind everything else.

    Args:
      rewards: of random trials; None is a failed one.
      trials: number of trials until which the band is drawn.
      first: number of the first trial on the axis.
    """
    band = expected_best(rewards, trials)
    x = band.trials - 1 + first
    axes.fill_between(
        x, band.low, band.high, color=ORANGE, alpha=0.18, lw=0, zorder=1,
        label="random search, 5-95 %",
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
    axes.plot(
        [], [], "o", ms=4, color=BLUE, label="trial"
    )  # for the legend, where the dots themselves may be faint


def _mark_best(axes: "Axes", trials: Sequence[Trial], best: np.ndarray) -> None:
    """Draws a ring around the best trial and writes its reward on the side with more room."""
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
    """Draws one row of ticks per kind of failure, labelled with its count."""
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


def curves(histories: Mapping[str, Mapping[str, Sequence[float]]]) -> "Figure":
    """Loss and accuracy, or perplexities, by epoch; one line per training.

    histories: name of a training -> the history that `nas.training.loop.fit` or
    `nas.language.loop.fit` returns.
    """
    panels = (("loss", "loss on training data"), ("accuracy", "accuracy on training data"))
    if any("valid_perplexity" in history for history in histories.values()):
        panels = (
            ("train_perplexity", "perplexity in training"),
            ("valid_perplexity", "validation perplexity"),
        )
    with figure_style():
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
