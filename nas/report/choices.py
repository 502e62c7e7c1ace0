"""How often a controller chose each value of each decision, over the trials of a search."""

import dataclasses
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.core.space import Decision
from nas.core.trial import Arch
from nas.report.style import (
    BLUE,
    MUTED,
    OTHER,
    PAPER,
    SERIES,
    TEAL,
    figure_style,
    new_figure,
    whole_numbers,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_VALUES = 9  # of a group that are drawn by name; the rarest others are drawn as one
MAX_GROUPS = 12  # panels


@dataclasses.dataclass(frozen=True)
class Group:
    """Decisions that ask the same question for different parts of the network."""

    name: str
    values: tuple[Any, ...]
    shares: np.ndarray  # [windows, values] float64; each row sums to 1

    @property
    def is_yes_or_no(self) -> bool:
        return set(self.values) <= {True, False} and all(isinstance(v, bool) for v in self.values)


def group_name(decision: str) -> str:
    """layer3/skip1 -> skip, normal/node2/op1 -> normal op, edge0->1 -> edge.

    Numbers of the network's parts are dropped, their names are kept.
    """
    *before, last = decision.split("/")
    stem = re.sub(r"[_-]?\d+(->\d+)?$", "", last) or "choice"
    return " ".join([*(part for part in before if not re.search(r"\d", part)), stem])


def windows(trials: int) -> np.ndarray:
    """Edges of at most 24 windows of about equal numbers of trials: [windows + 1] int."""
    count = int(np.clip(trials // 5, 1, 24))
    return np.linspace(0, trials, count + 1).round().astype(int)


def choice_groups(decisions: Sequence[Decision], archs: Sequence[Arch]) -> list[Group]:
    """The shares of all values in each window of trials, for each group of decisions.

    Args:
      decisions: those of the space.
      archs: the architecture of each trial, in order.
    """
    members: dict[str, list[int]] = {}
    for i, decision in enumerate(decisions):
        members.setdefault(group_name(decision.name), []).append(i)
    chosen = np.array(archs, int).reshape(len(archs), len(decisions))
    edges = windows(len(archs))
    groups = []
    for name, columns in members.items():
        values = list(dict.fromkeys(v for i in columns for v in decisions[i].choices))
        if len(values) < 2:
            continue  # there is only one choice
        if all(isinstance(v, (bool, int, float)) for v in values):
            values.sort()
        counts = np.zeros((len(archs), len(values)))
        for i in columns:
            at = np.array([values.index(v) for v in decisions[i].choices])
            np.add.at(counts, (np.arange(len(archs)), at[chosen[:, i]]), 1)
        summed = np.add.reduceat(counts, edges[:-1]) if len(archs) else counts
        groups.append(Group(name, tuple(values), summed / len(columns) / np.diff(edges)[:, None]))
    return groups


def plot_choices(groups: Sequence[Group], trials: int) -> "Figure":
    """Draws a panel of stacked shares per group; yes-or-no groups share one panel of lines."""
    stacked = [group for group in groups if not group.is_yes_or_no][:MAX_GROUPS]
    yes_or_no = [group for group in groups if group.is_yes_or_no]
    panels = len(stacked) + bool(yes_or_no)
    columns = 2 if panels > 1 else 1
    rows = max(1, -(-panels // columns))
    edges = windows(trials) - 0.5
    with figure_style():
        figure = new_figure(10.5, 2.3 * rows + 0.3)
        grid = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes, group in zip(grid, stacked, strict=False):
            _stack(axes, group, edges)
        if yes_or_no:
            _lines(grid[len(stacked)], yes_or_no, edges)
        for axes in grid[:panels]:
            _share_axes(axes, edges)
        for axes in grid[panels:]:
            axes.set_axis_off()
        for axes in grid[:panels][-columns:]:
            axes.set_xlabel("trial")
    return figure


def _stack(axes: "Axes", group: Group, edges: np.ndarray) -> None:
    values, shares = _with_others(group)
    base = np.zeros(len(shares))
    colours = _colours(values)
    for value, share, colour in zip(values, shares.T, colours, strict=True):
        axes.bar(
            edges[:-1], share, np.diff(edges), base, align="edge", color=colour, lw=0.4,
            edgecolor=PAPER, label=_text(value),
        )  # fmt: skip
        base = base + share
    axes.set_title(group.name)
    handles, labels = axes.get_legend_handles_labels()
    axes.legend(
        handles[::-1], labels[::-1], loc="center left", bbox_to_anchor=(1.0, 0.5), labelspacing=0.35
    )


def _lines(axes: "Axes", groups: Sequence[Group], edges: np.ndarray) -> None:
    middles = (edges[:-1] + edges[1:]) / 2
    for i, group in enumerate(groups):
        share = group.shares[:, group.values.index(True)]
        colour = SERIES[i % len(SERIES)]
        if len(groups) == 1:
            axes.fill_between(middles, share, color=colour, alpha=0.2, lw=0)
        axes.plot(middles, share, color=colour, lw=1.6, marker="o", ms=3, label=group.name)
    axes.axhline(0.5, color=MUTED, lw=0.8, ls=(0, (2, 3)))
    axes.set_title(f"{groups[0].name}: share of yes" if len(groups) == 1 else "share of yes")
    if len(groups) > 1:
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), labelspacing=0.35)


def _share_axes(axes: "Axes", edges: np.ndarray) -> None:
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, 1)
    axes.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_ylabel("share")
    whole_numbers(axes, 6)


def _with_others(group: Group) -> tuple[list[Any], np.ndarray]:
    """At most MAX_VALUES values and their shares; the rarest are summed as the last one."""
    if len(group.values) <= MAX_VALUES:
        return list(group.values), group.shares
    order = np.argsort(-group.shares.sum(0), kind="stable")
    kept, rest = np.sort(order[: MAX_VALUES - 1]), order[MAX_VALUES - 1 :]
    others = group.shares[:, rest].sum(1, keepdims=True)
    names = [group.values[i] for i in kept]
    return [*names, f"{len(rest)} others"], np.hstack([group.shares[:, kept], others])


def _colours(values: Sequence[Any]) -> list[Any]:
    """Shades from light to dark for numbers, different colours for names."""
    from matplotlib.colors import LinearSegmentedColormap

    others = isinstance(values[-1], str) and values[-1].endswith(" others")
    named = values[:-1] if others else values
    if all(isinstance(v, (int, float)) for v in named):
        shades = LinearSegmentedColormap.from_list("", ["#cfe6ea", TEAL, BLUE, "#2b3f78"])
        colours = [shades(x) for x in np.linspace(0, 1, len(named))]
    else:
        colours = [SERIES[i % len(SERIES)] for i in range(len(named))]
    return [*colours, OTHER] if others else colours


def _text(value: Any) -> str:
    text = "×".join(map(str, value)) if isinstance(value, tuple) else str(value)
    return text if len(text) <= 22 else text[:21] + "…"
