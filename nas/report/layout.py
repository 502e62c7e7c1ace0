"""Computes where the nodes of a graph are drawn: a layered layout (Sugiyama, Tagawa & Toda 1981).

The layers follow from longest paths, the order within a layer from barycentres, and the positions
from a linear programme, as in Gansner et al. 1993, section 4. Departure: all edges of a node that
skip layers leave it as one bundle, so that forty skip connections stay readable.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

GAP, BEND = 0.2, 0.05  # inches: between neighbours of a layer, and half the width of a bend
SWEEPS = 24
STRAIGHT = 8.0  # weight of an edge between two bends (others: 1), which makes bundles straight
CENTRED = 2.0  # weight of the distance between a node and the middle of its neighbours

# A node's name, or a bend (name, layer): the point where that node's bundle passes a layer.
Point = str | tuple[str, int]
Links = Mapping[Point, Sequence[Point]]


class Drawable(Protocol):
    """A graph such as `space.graph(arch)`: nodes as (name, label, kind), edges as (from, to)."""

    @property
    def nodes(self) -> Sequence[tuple[str, str, str]]: ...
    @property
    def edges(self) -> Sequence[tuple[str, str]]: ...


@dataclasses.dataclass(frozen=True)
class DrawingLayout:
    """The layer (0 is the top) and the position (inches from the left) of each node and bend."""

    layers: dict[Point, int]
    x: dict[Point, float]
    routes: dict[tuple[str, str], tuple[Point, ...]]  # the points of each edge with both ends
    width: float  # inches

    @property
    def depth(self) -> int:
        return 1 + max(self.layers.values(), default=-1)


def layout(graph: Drawable, widths: Mapping[str, float], *, widest: float) -> DrawingLayout:
    """Lays out each connected component, then puts them side by side or below each other.

    Args:
      widths: inches of each node.
      widest: inches; components that are wider together are put below each other.

    Raises ValueError if an edge names no node or the graph has a cycle.
    """
    parts = [_part(layers, edges, widths) for layers, edges in _components(graph)]
    beside = sum(part.width + 2 * GAP for part in parts) <= widest
    whole = DrawingLayout({}, {}, {}, 0.0)
    room = max((part.width for part in parts), default=0.0)
    for part in parts:
        right = whole.width + 2 * GAP * bool(whole.x) if beside else (room - part.width) / 2
        down = 0 if beside else whole.depth
        whole = DrawingLayout(
            whole.layers | {p: layer + down for p, layer in part.layers.items()},
            whole.x | {p: x + right for p, x in part.x.items()},
            whole.routes | part.routes,
            right + part.width if beside else room,
        )
    return whole


def _components(graph: Drawable) -> list[tuple[dict[str, int], list[tuple[str, str]]]]:
    """The layers of the nodes and the edges of each connected component, in the nodes' order."""
    layers = _layers(graph)
    edges = list(dict.fromkeys(graph.edges))
    part = {name: i for i, name in enumerate(layers)}
    for _ in layers:
        before = dict(part)
        for a, b in edges:
            part[a] = part[b] = min(part[a], part[b])
        if part == before:
            break
    components = []
    for i in dict.fromkeys(part.values()):
        inside = {name: layer for name, layer in layers.items() if part[name] == i}
        top = min(inside.values())
        components.append(
            (
                {name: layer - top for name, layer in inside.items()},
                [edge for edge in edges if part[edge[0]] == i],
            )
        )
    return components


def _layers(graph: Drawable) -> dict[str, int]:
    """The length of the longest path to each node; inputs are right above their first use."""
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
    for a in sources:
        layers[a] = min((layers[b] for b in after[a]), default=1) - 1
    return layers


def _part(
    nodes: dict[str, int], edges: Sequence[tuple[str, str]], widths: Mapping[str, float]
) -> DrawingLayout:
    layers: dict[Point, int] = dict(nodes.items())
    routes: dict[tuple[str, str], tuple[Point, ...]] = {}
    above: dict[Point, list[Point]] = {}
    below: dict[Point, list[Point]] = {}
    for a, b in edges:
        bends: dict[Point, int] = {(a, layer): layer for layer in range(nodes[a] + 1, nodes[b])}
        layers |= bends
        route: tuple[Point, ...] = (a, *bends, b)
        routes[a, b] = route
        for p, q in zip(route, route[1:], strict=False):
            if q not in below.setdefault(p, []):
                below[p].append(q)
                above.setdefault(q, []).append(p)
    rows: list[list[Point]] = [[] for _ in range(1 + max(layers.values()))]
    for p, layer in layers.items():
        rows[layer].append(p)
    _order(rows, above, below)
    half = {p: widths[p] / 2 if isinstance(p, str) else BEND for p in layers}
    x = _positions(rows, above, below, half)
    return DrawingLayout(layers, x, routes, max(x[p] + half[p] for p in x))


def _order(rows: list[list[Point]], above: Links, below: Links) -> None:
    """Sorts each row in place by the mean place of its neighbours; keeps the fewest crossings."""
    best, fewest = [list(row) for row in rows], _crossings(rows, below)
    for sweep in range(SWEEPS):
        if not fewest:
            break
        near, turn = (above, rows) if sweep % 2 == 0 else (below, rows[::-1])
        place: dict[Point, int] = {}
        for row in turn:
            means = {}
            for i, p in enumerate(row):
                known = [place[q] for q in near.get(p, ()) if q in place]
                means[p] = sum(known) / len(known) if known else float(i)
            row.sort(key=means.__getitem__)
            place = {p: i for i, p in enumerate(row)}
        crossings = _crossings(rows, below)
        if crossings < fewest:
            best, fewest = [list(row) for row in rows], crossings
    rows[:] = best


def _crossings(rows: Sequence[Sequence[Point]], below: Links) -> int:
    total = 0
    for upper, lower in zip(rows, rows[1:], strict=False):
        place = {p: i for i, p in enumerate(lower)}
        ends = np.array([i for p in upper for i in sorted(place[q] for q in below.get(p, ()))])
        total += int(np.triu(ends[:, None] > ends[None, :], 1).sum())
    return total


def _positions(
    rows: Sequence[Sequence[Point]], above: Links, below: Links, half: Mapping[Point, float]
) -> dict[Point, float]:
    """Positions with short, straight edges and centred nodes: the least weighted sum of distances.

    The linear programme has a variable per point and one per distance d >= |x[p] - mean of x[q]|.
    Its constraints keep the order of each row and a gap between neighbours.
    """
    from scipy.optimize import linprog
    from scipy.sparse import csr_array

    index = {p: i for i, p in enumerate(half)}
    pulls: list[tuple[float, Point, Sequence[Point]]] = []
    for p, after in below.items():
        for q in after:
            bends = isinstance(p, tuple) and isinstance(q, tuple)
            pulls.append((STRAIGHT if bends else 1.0, p, [q]))
    for p in half:
        for links in (above, below):
            nodes: list[Point] = [q for q in links.get(p, ()) if isinstance(q, str)]
            if isinstance(p, str) and nodes:
                pulls.append((CENTRED, p, nodes))
    entries: list[tuple[int, int, float]] = []  # row, column and value in A of A x <= limits
    limits: list[float] = []
    for k, (_, p, near) in enumerate(pulls):
        for sign in (1.0, -1.0):
            line = len(limits)
            entries += [(line, index[p], sign), (line, len(half) + k, -1.0)]
            entries += [(line, index[q], -sign / len(near)) for q in near]
            limits.append(0.0)
    for row in rows:
        for p, q in zip(row, row[1:], strict=False):
            entries += [(len(limits), index[p], 1.0), (len(limits), index[q], -1.0)]
            limits.append(-(half[p] + half[q] + GAP))
    costs = [0.0] * len(half) + [pull for pull, _, _ in pulls]
    bounds = [(room, None) for room in half.values()] + [(0, None)] * len(pulls)
    if not entries:  # a single node
        return dict(half)
    lines, columns, values = zip(*entries, strict=True)
    matrix = csr_array((values, (lines, columns)), shape=(len(limits), len(costs)))
    solved = linprog(costs, A_ub=matrix, b_ub=limits, bounds=bounds, method="highs").x
    left = min(solved[index[p]] - half[p] for p in half)
    return {p: float(solved[i] - left) for p, i in index.items()}
