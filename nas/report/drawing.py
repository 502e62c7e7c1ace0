"""Draws an architecture: nodes as boxes, coloured by kind, and edges as lines."""

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from nas.report.layout import Drawable, DrawingLayout, Point, layout
from nas.report.style import MUTED, PAPER, SERIES, figure_style, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEUTRAL = {"input", "output", "add", "concat", "sum", "merge", "node", "classifier", "stem", "none"}
LINE = 24  # characters per line of a label
ROW_GAP, LETTER, MAX_WIDTH = 0.3, 0.073, 9.0  # inches: between rows, per character, side by side


def architecture(graph: Drawable) -> "Figure":
    """Draws the graph from its inputs at the top to its outputs at the bottom.

    Raises ValueError if an edge names no node or the graph has a cycle.
    """
    labels = {name: _lines(label) for name, label, _ in graph.nodes}
    widths = {name: 0.26 + LETTER * max(map(len, lines)) for name, lines in labels.items()}
    plan = layout(graph, widths, widest=MAX_WIDTH)
    tall = 0.2 + 0.14 * max((len(lines) for lines in labels.values()), default=1)
    step = tall + ROW_GAP
    height = max(plan.depth * step - ROW_GAP, tall)
    with figure_style():
        figure = new_figure(plan.width + 0.2, height + 0.2)
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(-0.1, plan.width + 0.1)
        axes.set_ylim(height - tall / 2 + 0.1, -tall / 2 - 0.1)
        axes.set_axis_off()
        for route in plan.routes.values():
            _draw_edge(axes, route, plan, step, tall)
        colours = _kind_colours([kind for _, _, kind in graph.nodes])
        for name, _, kind in graph.nodes:
            at = (plan.x[name], plan.layers[name] * step)
            _draw_box(axes, at, (widths[name], tall), labels[name], colours[kind])
    return figure


def _lines(label: str) -> list[str]:
    return [line for part in label.split("\n") for line in textwrap.wrap(part, LINE) or [""]]


def _draw_edge(
    axes: "Axes", route: Sequence[Point], plan: DrawingLayout, step: float, tall: float
) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    points: list[tuple[float, float]] = []
    codes: list[Any] = []
    for p, q in zip(route, route[1:], strict=False):
        top, bottom = plan.layers[p] * step + tall / 2, plan.layers[q] * step - tall / 2
        middle = (top + bottom) / 2
        points += [(plan.x[p], top), (plan.x[p], middle), (plan.x[q], middle), (plan.x[q], bottom)]
        codes += [Path.LINETO if codes else Path.MOVETO, *(Path.CURVE4,) * 3]
    skips = len(route) > 2
    axes.add_patch(
        PathPatch(
            Path(points, codes), fill=False, lw=1.0, edgecolor=SERIES[0] if skips else MUTED,
            capstyle="butt", zorder=1,
        )
    )  # fmt: skip
    axes.scatter(*points[-1], marker="v", s=14, color=MUTED, lw=0, zorder=2)


def _draw_box(
    axes: "Axes",
    at: tuple[float, float],
    size: tuple[float, float],
    lines: Sequence[str],
    colour: str | None,
) -> None:
    from matplotlib.patches import FancyBboxPatch

    corner = (at[0] - size[0] / 2, at[1] - size[1] / 2)
    for face, edge, alpha in ((PAPER, "none", 1), (colour or MUTED, colour or MUTED, 0.22)):
        box = FancyBboxPatch(  # first an opaque box, which hides the lines behind it
            corner, *size, boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=(face, alpha), edgecolor=edge, lw=0.9, zorder=3,
        )  # fmt: skip
        axes.add_patch(box)
    axes.text(
        *at, "\n".join(lines), ha="center", va="center", fontsize=8.5, zorder=4, linespacing=1.15
    )


def _kind_colours(kinds: Sequence[str]) -> dict[str, str | None]:
    """A colour for each kind of operation, by first appearance; None for NEUTRAL kinds."""
    searched = [kind for kind in dict.fromkeys(kinds) if kind not in NEUTRAL]
    colours: dict[str, str | None] = dict.fromkeys(kinds)
    return colours | {kind: SERIES[i % len(SERIES)] for i, kind in enumerate(searched)}
