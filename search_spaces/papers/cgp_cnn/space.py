"""The networks of CGP-CNN (Suganuma et al. 2017, arXiv:1704.00764, section 3; code: sg-nm/cgp-cnn).

In Cartesian genetic programming, nodes stand in a grid of rows and columns. Each node has a
function and two connections, which lead to nodes of the `levels_back` columns before its own, or to
the image if these columns reach back so far. The output is a node behind the grid: a dense layer
over all values of the node that it connects to. Nodes on which the output depends are active. The
genes of the other nodes, and the second connection of a function of one input, change nothing.

The genes of a node are its function and its two connections, numbered as in the code: 0 is the
image, 1 the first node, column by column. The output has a row of genes too, two of which are
unused.

Departures: the weights of the dense layer are initialised as in Glorot & Bengio 2010 instead of He
et al. 2015. The limits of active nodes apply to the results of `sample` and `mutate`; a network
with fewer or more active nodes can be built, which matters if genes are decided one by one.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.papers.canonical_graph import canonical
from nas.search_spaces.papers.cgp_cnn.functions import apply, functions

GENES = 3  # of a node: the function and two connections
DRAWS = 10_000  # after this many genotypes outside the limits, `sample` gives up
IMAGE = 0  # the number of the image as the end of a connection; the nodes follow


class CGPCNN(ImageSpace):
    """A grid of rows x columns nodes.

    Args:
      rows, columns: of the grid.
      levels_back: a connection leads back at most this many columns.
      min_active, max_active: limits of the number of active nodes, the output included.
      blocks: conv (the paper's ConvSet) or res (ResSet).
      filters: choices of a block, multiplied by the skeleton's width.
      kernels: choices of a block, pixels.
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
        """The nodes on which the output depends, in the order of the grid, the output last."""
        active, todo = {self.nodes}, [self.nodes]
        while todo:
            for source in self._sources(arch, todo.pop()):
                if source != IMAGE and source - 1 not in active:
                    active.add(source - 1)
                    todo.append(source - 1)
        return tuple(sorted(active))

    def active_genes(self, arch: Arch) -> set[int]:
        """The decisions that matter: functions of active nodes, and the connections they use."""
        genes = set()
        for node in self.active(arch):
            count = 1 + len(self._sources(arch, node))
            genes |= set(range(GENES * node, GENES * node + count))
        return genes

    def within_limits(self, arch: Arch) -> bool:
        """Whether the number of active nodes is allowed."""
        return self.min_active <= len(self.active(arch)) <= self.max_active

    def genes(self, arch: Arch) -> np.ndarray:
        """The table of the code: the function and the connections of each node, [nodes + 1, 3]."""
        chosen = list(self.decode(arch).values())
        names = [str(function) for function in self.functions]
        table = np.zeros((self.nodes + 1, GENES), int)
        for node, row in enumerate(table):
            function, *row[1:] = chosen[GENES * node : GENES * node + GENES]
            row[0] = 0 if node == self.nodes else names.index(function)
        return table

    def from_genes(self, table: np.ndarray) -> Arch:
        """The inverse of `genes`. Raises ValueError for genes outside the space."""
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
        """Every choice of every gene with equal probability; it draws until limits are kept."""
        for _ in range(DRAWS):
            arch = super().sample(rng)
            if self.within_limits(arch):
                return arch
        raise ConfigError(
            f"space.min_active={self.min_active} and space.max_active={self.max_active} must leave "
            f"networks to draw, got none of {DRAWS}; set space.min_active=1"
        )

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Changes one gene, active or not. A network within the limits stays within them."""
        while True:
            child = super().mutate(arch, rng)
            if self.within_limits(child) or not self.within_limits(arch):
                return child

    def key(self, arch: Arch) -> str:
        """Equal for equal active graphs. The order of the inputs of a sum does not matter.

        Nodes without weights that have the same function and inputs count as one node.
        """
        self.check(arch)
        nodes: list[tuple[str, tuple[int, ...]]] = [("image", ())]
        place = {IMAGE: 0}
        for node in self.active(arch):
            label = self._label(arch, node)
            inputs = tuple(place[source] for source in self._sources(arch, node))
            description = label, tuple(sorted(inputs)) if label == "sum" else inputs
            has_weights = node == self.nodes or self.functions[arch[GENES * node]].filters
            if has_weights or description not in nodes:
                nodes.append(description)
                place[node + 1] = len(nodes) - 1
            else:
                place[node + 1] = nodes.index(description)
        return canonical(nodes, unordered=("sum",))

    def features(self, archs: Sequence[Arch]) -> np.ndarray:
        """Counts of the active nodes of each function, and of the edges between functions.

        [archs, features] float64.
        """
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

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        self.check(arch)
        outputs = {IMAGE: ops.image()}
        for node in self.active(arch)[:-1]:
            inputs = [outputs[source] for source in self._sources(arch, node)]
            function = self.functions[arch[GENES * node]]
            filters = skeleton.filters(function.filters)
            outputs[node + 1] = apply(ops, function, inputs, filters, f"node{node}")
        (last,) = self._sources(arch, self.nodes)
        x = ops.dropout(outputs[last], skeleton.dropout)
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
        """The numbers of what the node reads: IMAGE, or 1 + a node."""
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
    shortest = columns // levels_back + 1  # the output, and a node for each whole step back
    if not 1 <= least <= most or most < shortest or least > nodes + 1:
        raise ConfigError(
            f"space.min_active and space.max_active must rise, with at least {shortest} for the "
            f"second and at most {nodes + 1} for the first, got {least} and {most}; "
            "set space.min_active=10 space.max_active=50"
        )
