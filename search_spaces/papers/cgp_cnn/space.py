"""The networks of CGP-CNN (Suganuma et al. 2017, arXiv:1704.00764, section 3; code: sg-nm/cgp-cnn).

Cartesian genetic programming: nodes stand in a grid of rows and columns. Each has a function and
two connections, to nodes of the `levels_back` columns before its own or, where these reach back so
far, to the image. The output is a node behind the grid: a dense layer over all values of the node
that it connects to. Only nodes that the output depends on are active; the genes of the others, and
the second connection of a function of one input, change nothing.

The genes of a node are its function and its two connections, numbered as in the code: 0 is the
image, 1 the first node, column by column. The output has a row of genes too, two of which are idle.

Departures. The weights of the dense layer start as Glorot & Bengio 2010 say, not as He et al. 2015.
The limits of active nodes hold what `sample` and `mutate` give; a network of fewer or more can be
built, which matters where genes are decided one by one.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.core.ops import Ops
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.papers.canonical_graph import canonical
from nas.search_spaces.papers.cgp_cnn.functions import apply, functions

if TYPE_CHECKING:
    from nas.core.skeleton import ImageSkeleton

GENES = 3  # of a node: the function and two connections
DRAWS = 10_000  # genotypes in a row outside the limits: these leave nothing to draw
IMAGE = 0  # among what a connection may lead to; the nodes follow


class CGPCNN(ImageSpace):
    """A grid of rows x columns nodes.

    Args:
      rows, columns: of the grid.
      levels_back: a connection leads to one of so many columns before.
      min_active, max_active: nodes that the output depends on, the output itself included.
      blocks: conv (the paper's ConvSet) or res (ResSet).
      filters: of a block; multiplied by the skeleton's width.
      kernels: of a block, pixels.
    """

    def __init__(
        self,
        *,
        rows: int = 5,
        columns: int = 30,
        levels_back: int = 10,
        min_active: int = 10,
        max_active: int = 50,
        blocks: str = "conv",
        filters: Sequence[int] = (32, 64, 128),
        kernels: Sequence[int] = (3, 5),
    ):
        _check_grid(rows=rows, columns=columns, levels_back=levels_back)
        _check_active(min_active, max_active, rows * columns, columns, levels_back)
        self.rows, self.columns, self.levels_back = rows, columns, levels_back
        self.min_active, self.max_active = min_active, max_active
        self.functions = functions(blocks, filters, kernels)
        self.nodes = rows * columns  # without the output, which is the last
        self.decisions = tuple(
            decision for node in range(self.nodes + 1) for decision in self._genes_of(node)
        )

    def active(self, arch: Arch) -> tuple[int, ...]:
        """The nodes that the output depends on, in the order of the grid, the output last."""
        found, todo = {self.nodes}, [self.nodes]
        while todo:
            for source in self._sources(arch, todo.pop()):
                if source != IMAGE and source - 1 not in found:
                    found.add(source - 1)
                    todo.append(source - 1)
        return tuple(sorted(found))

    def active_genes(self, arch: Arch) -> set[int]:
        """The decisions that matter: functions and connections of active nodes that are read."""
        genes = set()
        for node in self.active(arch):
            count = 1 + len(self._sources(arch, node))
            genes |= set(range(GENES * node, GENES * node + count))
        return genes

    def within_limits(self, arch: Arch) -> bool:
        return self.min_active <= len(self.active(arch)) <= self.max_active

    def genes(self, arch: Arch) -> np.ndarray:
        """The table of the code: [nodes + 1, 3] int, of each node its function and connections."""
        chosen = list(self.decode(arch).values())
        names = [str(function) for function in self.functions]
        table = np.zeros((self.nodes + 1, GENES), int)
        for node, row in enumerate(table):
            function, *row[1:] = chosen[GENES * node : GENES * node + GENES]
            row[0] = 0 if node == self.nodes else names.index(function)
        return table

    def from_genes(self, table: np.ndarray) -> Arch:
        """The inverse of `genes`."""
        rows = np.asarray(table).reshape(self.nodes + 1, GENES).tolist()
        values = [value for function, *sources in rows for value in (function, *sources)]
        arch = []
        for i, (decision, value) in enumerate(zip(self.decisions, values, strict=True)):
            if i % GENES == 0:
                arch.append(value)
            elif value in decision.choices:
                arch.append(decision.choices.index(value))
            else:
                raise ValueError(
                    f"{decision.name} must be one of {list(decision.choices)}, got {value}"
                )
        self.check(tuple(arch))
        return tuple(arch)

    def sample(self, rng: np.random.Generator) -> Arch:
        """Every choice of every gene with equal probability, drawn until it is within limits."""
        for _ in range(DRAWS):
            arch = super().sample(rng)
            if self.within_limits(arch):
                return arch
        raise ConfigError(
            f"space.min_active={self.min_active} and space.max_active={self.max_active} must leave "
            f"networks to draw, got none of {DRAWS}; set space.min_active=1"
        )

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """One gene takes another value, an active one or not; within limits, what was within."""
        while True:
            child = super().mutate(arch, rng)
            if self.within_limits(child) or not self.within_limits(arch):
                return child

    def key(self, arch: Arch) -> str:
        """Equal for equal active graphs; the inputs of a sum have no order.

        Nodes without weights that do the same to the same are one.
        """
        self.check(arch)
        nodes: list[tuple[str, tuple[int, ...]]] = [("image", ())]
        place = {IMAGE: 0}
        for node in self.active(arch):
            label = self._label(arch, node)
            inputs = tuple(place[source] for source in self._sources(arch, node))
            does = label, tuple(sorted(inputs)) if label == "sum" else inputs
            has_weights = node == self.nodes or self.functions[arch[GENES * node]].filters
            if has_weights or does not in nodes:
                nodes.append(does)
                place[node + 1] = len(nodes) - 1
            else:
                place[node + 1] = nodes.index(does)
        return canonical(nodes, unordered=("sum",))

    def features(self, archs: Sequence[Arch]) -> np.ndarray:
        """Of the active nodes: how many of each function, and how often each feeds each other."""
        labels = {name: i for i, name in enumerate(["image", *map(str, self.functions), "output"])}
        counts = np.zeros((len(archs), len(labels), len(labels) + 1))
        for count, arch in zip(counts, archs, strict=True):
            for node in self.active(arch):
                at = labels[self._label(arch, node)]
                count[at, -1] += 1
                for source in self._sources(arch, node):
                    fed = "image" if source == IMAGE else self._label(arch, source - 1)
                    count[labels[fed], at] += 1
        return counts.reshape(len(archs), -1)

    def network(self, ops: Ops, arch: Arch, skeleton: "ImageSkeleton") -> Any:
        self.check(arch)
        made = {IMAGE: ops.image()}
        for node in self.active(arch)[:-1]:
            inputs = [made[source] for source in self._sources(arch, node)]
            function = self.functions[arch[GENES * node]]
            filters = skeleton.filters(function.filters)
            made[node + 1] = apply(ops, function, inputs, filters, f"node{node}")
        (last,) = self._sources(arch, self.nodes)
        x = ops.dropout(made[last], skeleton.dropout)
        return ops.dense(x, skeleton.classes, name="logits", dtype="float32")

    def graph(self, arch: Arch) -> Graph:
        """The active nodes."""
        names = {IMAGE: "image"} | {n + 1: f"node{n}" for n in self.active(arch)}
        names[self.nodes + 1] = "output"
        nodes, edges = [("image", "image", "input")], []
        for node in self.active(arch):
            label, kind = "classifier", "classifier"
            if node != self.nodes:
                function = self.functions[arch[GENES * node]]
                label, kind = function.label, str(function)
            nodes.append((names[node + 1], label, kind))
            sources = dict.fromkeys(self._sources(arch, node))
            edges += [(names[source], names[node + 1]) for source in sources]
        return Graph(tuple(nodes), tuple(edges))

    def _genes_of(self, node: int) -> list[Decision]:
        column = node // self.rows
        first = 1 + self.rows * (column - self.levels_back) if column >= self.levels_back else IMAGE
        sources = tuple(range(first, 1 + self.rows * column))
        anchors = tuple(None if source == IMAGE else source - 1 for source in sources)
        name, choices = f"node{node}", tuple(map(str, self.functions))
        if node == self.nodes:
            name, choices = "output", ("dense",)
        return [
            Decision(f"{name}/function", choices, node),
            *(Decision(f"{name}/input{i}", sources, node, anchors) for i in (1, 2)),
        ]

    def _sources(self, arch: Arch, node: int) -> tuple[int, ...]:
        """What the node reads."""
        at = GENES * node
        count = 1 if node == self.nodes else self.functions[arch[at]].inputs
        return tuple(self.decisions[i].choices[arch[i]] for i in range(at + 1, at + 1 + count))

    def _label(self, arch: Arch, node: int) -> str:
        return "output" if node == self.nodes else str(self.functions[arch[GENES * node]])


def _check_grid(**sizes: int) -> None:
    for name, value in sizes.items():
        if value < 1:
            raise ConfigError(f"space.{name} must be at least 1, got {value}; set space.{name}=5")


def _check_active(least: int, most: int, nodes: int, columns: int, levels_back: int) -> None:
    shortest = columns // levels_back + 1  # the output and one node for each whole step back
    if not 1 <= least <= most or most < shortest or least > nodes + 1:
        raise ConfigError(
            f"space.min_active and space.max_active must rise, with at least {shortest} for the "
            f"second and at most {nodes + 1} for the first, got {least} and {most}; "
            "set space.min_active=10 space.max_active=50"
        )
