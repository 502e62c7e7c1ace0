"""An architecture as a picture: a layered layout (Sugiyama et al. 1981) of its graph.

Layers by longest path; one bundle per node for all of its edges that skip layers, so that forty
skip connections stay readable; order within a layer by barycentres; positions by least squares.
"""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from nas.plots import MUTED, PAPER, SERIES, new_figure, style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NEUTRAL = {"input", "output", "add", "concat", "sum", "merge", "node", "classifier", "stem", "none"}
LINE = 24  # characters of a label before it is broken
ROW, CHARACTER, GAP, BEND = 0.62, 0.073, 0.16, 0.05  # inches
SWEEPS = 24

Point = str | tuple[str, int]


class Drawable(Protocol):
    """What a space's `graph(arch)` gives: nodes as (name, label, kind), edges as (from, to)."""

    @property
    def nodes(self) -> Sequence[tuple[str, str, str]]: ...
    @property
    def edges(self) -> Sequence[tuple[str, str]]: ...


@dataclasses.dataclass(frozen=True)
class Layout:
    """Where everything lies. A bend, (node, layer), is where a node's bundle passes a layer."""

    layers: Mapping[str, int]  # of each node, 0 at the top
    x: Mapping[Point, float]  # of each node and bend, inches
    routes: Mapping[tuple[str, str], tuple[Point, ...]]  # of each edge, its ends included


def layout(graph: Drawable) -> Layout:
    """Raises ValueError where an edge names no node or the graph has a cycle."""
    layers = _layers(graph)
    routes: dict[tuple[str, str], tuple[Point, ...]] = {}
    for a, b in dict.fromkeys(graph.edges):
        bends = [(a, layer) for layer in range(layers[a] + 1, layers[b])]
        routes[a, b] = (a, *bends, b)
    rows: list[list[Point]] = [[] for _ in range(max(layers.values(), default=-1) + 1)]
    points: list[Point] = [name for name, _, _ in graph.nodes]
    points += [p for route in routes.values() for p in route]
    for point in dict.fromkeys(points):
        rows[layers[point] if isinstance(point, str) else point[1]].append(point)
    links = {link for route in routes.values() for link in zip(route, route[1:], strict=False)}
    above: dict[Point, list[Point]] = {}
    below: dict[Point, list[Point]] = {}
    for p, q in sorted(links, key=str):
        above.setdefault(q, []).append(p)
        below.setdefault(p, []).append(q)
    _order(rows, above, below)
    half = {name: _width(label) / 2 for name, label, _ in graph.nodes}
    return Layout(layers, _positions(rows, above, below, half), routes)


def _layers(graph: Drawable) -> dict[str, int]:
    names = [name for name, _, _ in graph.nodes]
    after: dict[str, list[str]] = {name: [] for name in names}
    missing = dict.fromkeys(names, 0)
    for a, b in dict.fromkeys(graph.edges):
        if a not in after or b not in after:
            raise ValueError(f"an edge must join two nodes of the graph, got {a} -> {b}")
        after[a].append(b)
        missing[b] += 1
    sources = [name for name in names if not missing[name]]
    order, layers = list(sources), dict.fromkeys(names, 0)
    for a in order:
        for b in after[a]:
            layers[b] = max(layers[b], layers[a] + 1)
            missing[b] -= 1
            if not missing[b]:
                order.append(b)
    if len(order) < len(names):
        stuck = [name for name in names if missing[name]]
        raise ValueError(f"the graph of an architecture must have no cycle, got one in {stuck}")
    for a in sources:  # an input that is used late is drawn near its use
        layers[a] = min((layers[b] for b in after[a]), default=1) - 1
    return layers


def _order(rows: list[list], above: Mapping, below: Mapping) -> None:
    """Sorts every row in place by its neighbours' mean places, keeping the fewest crossings."""
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        near, turn = (above, rows) if sweep % 2 == 0 else (below, rows[::-1])
        place: dict = {}
        for row in turn:
            old = {p: i for i, p in enumerate(row)}

            def middle(p, place=place, old=old, near=near):
                known = [place[q] for q in near.get(p, ()) if q in place]
                return sum(known) / len(known) if known else old[p]

            row.sort(key=middle)
            place = {p: i for i, p in enumerate(row)}
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    rows[:] = best


def _crossings(rows: Sequence[Sequence], below: Mapping) -> int:
    total = 0
    for upper, lower in zip(rows, rows[1:], strict=False):
        place = {p: i for i, p in enumerate(lower)}
        ends = np.array([i for p in upper for i in sorted(place[q] for q in below.get(p, ()))])
        total += int(np.sum(np.triu(ends[:, None] > ends[None, :], 1))) if len(ends) else 0
    return total


def _positions(rows: Sequence[Sequence], above: Mapping, below: Mapping, half: Mapping) -> dict:
    """Every point under its neighbours, as far as the order and the widths allow; leftmost at 0.

    Node to node and bend to bend pull harder, so that chains and bundles come out straight.
    """
    x: dict = {}
    for row in rows:
        x.update(_spread(row, dict.fromkeys(row, 0.0), half))
    for sweep in range(2 * SWEEPS):
        for row in rows if sweep % 2 == 0 else rows[::-1]:
            wanted = dict.fromkeys(row, 0.0)
            for p in row:
                near = [*above.get(p, ()), *below.get(p, ())] or [p]
                pull = [1 + 3 * (isinstance(p, str) == isinstance(q, str)) for q in near]
                wanted[p] = float(np.average([x[q] for q in near], weights=pull))
            x.update(_spread(row, wanted, half))
    left = min((x[p] - half.get(p, BEND) for p in x), default=0.0)
    return {p: value - left for p, value in x.items()}


def _spread(row: Sequence, wanted: Mapping, half: Mapping) -> dict:
    """The places nearest to the wanted ones, in order and clear of each other.

    Least squares under x[i + 1] - x[i] >= gap[i]: pool adjacent violators of wanted - offset.
    """
    offsets = [0.0]
    for p, q in zip(row, row[1:], strict=False):
        offsets.append(offsets[-1] + half.get(p, BEND) + half.get(q, BEND) + GAP)
    pools: list[tuple[float, int]] = []  # (mean, members), means increasing
    for p, offset in zip(row, offsets, strict=True):
        mean, members = wanted[p] - offset, 1
        while pools and pools[-1][0] > mean:
            before, count = pools.pop()
            mean = (mean * members + before * count) / (members + count)
            members += count
        pools.append((mean, members))
    means = [mean for mean, members in pools for _ in range(members)]
    return {p: mean + offset for p, mean, offset in zip(row, means, offsets, strict=True)}


def _lines(label: str) -> list[str]:
    return [line for part in label.split("\n") for line in textwrap.wrap(part, LINE) or [""]]


def _width(label: str) -> float:
    return 0.26 + CHARACTER * max(map(len, _lines(label)))


def architecture(graph: Drawable) -> "Figure":
    """The graph drawn from its inputs at the top to its outputs at the bottom."""
    plan = layout(graph)
    labels = {name: _lines(label) for name, label, _ in graph.nodes}
    tall = 0.2 + 0.14 * max((len(lines) for lines in labels.values()), default=1)
    step = ROW - 0.34 + tall
    right = max((plan.x[n] + _width(label) / 2 for n, label, _ in graph.nodes), default=1.0)
    right = max([right, *(x for p, x in plan.x.items() if not isinstance(p, str))])
    height = step * max(plan.layers.values(), default=0) + tall
    with style():
        figure = new_figure(right + 0.2, height + 0.2)
        figure.set_layout_engine("none")
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_xlim(-0.1, right + 0.1)
        axes.set_ylim(height - tall / 2 + 0.1, -tall / 2 - 0.1)
        axes.set_axis_off()
        for route in plan.routes.values():
            _draw_edge(axes, route, plan, step, tall)
        colours = _kind_colours([kind for _, _, kind in graph.nodes])
        for name, label, kind in graph.nodes:
            y = plan.layers[name] * step
            _draw_box(axes, plan.x[name], y, _width(label), tall, labels[name], colours[kind])
    return figure


def _draw_edge(axes: "Axes", route: Sequence, plan: Layout, step: float, tall: float) -> None:
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path

    points: list[tuple[float, float]] = []
    codes: list[Any] = []
    for p, q in zip(route, route[1:], strict=False):
        layer = plan.layers[p] if isinstance(p, str) else p[1]
        top, bottom = layer * step + tall / 2, (layer + 1) * step - tall / 2
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
    axes.scatter(*points[-1], marker="v", s=11, color=MUTED, lw=0, zorder=2)


def _draw_box(axes: "Axes", x, y, width, tall, lines: Sequence[str], colour: str | None) -> None:
    from matplotlib.patches import FancyBboxPatch

    for face, edge, alpha in ((PAPER, "none", 1), (colour or MUTED, colour or MUTED, 0.22)):
        box = FancyBboxPatch(  # first an opaque one, that hides the lines behind
            (x - width / 2, y - tall / 2), width, tall, boxstyle="round,pad=0,rounding_size=0.06",
            facecolor=(face, alpha), edgecolor=edge, lw=0.9, zorder=3,
        )  # fmt: skip
        axes.add_patch(box)
    axes.text(
        x, y, "\n".join(lines), ha="center", va="center", fontsize=8.5, zorder=4, linespacing=1.15
    )


def _kind_colours(kinds: Sequence[str]) -> dict[str, str | None]:
    """A colour per kind of operation, by first appearance; None for what only holds it together."""
    searched = [kind for kind in dict.fromkeys(kinds) if kind not in NEUTRAL]
    colours: dict[str, str | None] = dict.fromkeys(kinds)
    return colours | {kind: SERIES[i % len(SERIES)] for i, kind in enumerate(searched)}
