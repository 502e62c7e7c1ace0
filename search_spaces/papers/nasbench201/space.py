"""The cell space of NAS-Bench-201 (Dong & Yang, ICLR 2020, arXiv:2001.00326, section 2).

A cell has four nodes. Each of its six edges carries one of five operations, and each node is the
sum of its incoming edges. The network around the cells is written in cell.py. The paper uses 5
cells in each stage and 16 channels.

Only edges that carry the image are built. If the source of an edge is always zero, or its target
never reaches the cell's output, the edge has no weights here, while the official code keeps them:
`official_parameters` counts those too, and equals the benchmark's table. A convolution of zeros
counts as zero, as in the benchmark's own `key`, although its batch normalization could learn an
offset.

A mutation draws one of the six edges, and another operation for it. The authors' code draws one of
the three nodes, and then one of its edges (AutoDL-Projects, exps/NATS-algos/regularized_ea.py,
lines 77 to 87): so the edges have shares of 1/3, 1/6, 1/6, 1/9, 1/9 and 1/9. `mutation: node` does
so too; it is the rule of Table 5, and regularized evolution of the paper ends slightly nearer to
the published numbers by it.

Departures: padding is "same", which for a stride of 2 pads the other side than PyTorch does.
Kernels are initialised as in He et al. 2015; PyTorch's default is a narrower uniform distribution.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.ops.count import CountOps
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.papers.nasbench201.cell import (
    AVG_POOL,
    CONV_1X1,
    CONV_3X3,
    EDGES,
    KERNELS,
    NONE,
    OPERATIONS,
    OUTPUT,
    SEARCH,
    SKIP,
    STAGES,
    cell,
    conv,
    live_edges,
    write_network,
)

if TYPE_CHECKING:
    from nas.search_spaces.supernet.flat import FlatSupernet
    from nas.search_spaces.supernet.supernet import Supernet

EDGE, NODE = "edge", "node"  # what a mutation draws first
WAYS = ([3], [0, 4], [1, 5], [0, 2, 5])  # from input to output, as positions in EDGES
EDGES_OF = tuple(
    [i for i, (_, b) in enumerate(EDGES) if b == node] for node in range(1, OUTPUT + 1)
)  # the edges into each node


class NASBench201(ImageSpace):
    """Six edges, five operations: 15,625 cells.

    Args:
      mutation: edge: a mutation draws one of the six edges; node: a node, then one of its edges.
    """

    decisions = tuple(Decision(f"edge{a}->{b}", OPERATIONS, node=b) for a, b in EDGES)

    def __init__(self, *, mutation: str = EDGE):
        if mutation not in (EDGE, NODE):
            raise ConfigError(
                f"space.mutation must be {EDGE} or {NODE}, got {mutation}; "
                f"set space.mutation={EDGE}"
            )
        self.mutation = mutation

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        if self.mutation == EDGE:
            return super().mutate(arch, rng)
        which_node, which_edge, which_choice = rng.random(3).tolist()
        edges = EDGES_OF[int(which_node * len(EDGES_OF))]
        at = edges[int(which_edge * len(edges))]
        others = [choice for choice in range(len(OPERATIONS)) if choice != arch[at]]
        return (*arch[:at], others[int(which_choice * len(others))], *arch[at + 1 :])

    def key(self, arch: Arch) -> str:
        """The benchmark's own key, of which 6,466 differ: skips and `none` are folded."""
        return unique_string(arch, fold_none=True)

    def parse(self, text: str) -> Arch:
        """Also takes the benchmark's notation, |nor_conv_3x3~0|+|..."""
        return from_string(text) if "|" in text else super().parse(text)

    def features(self, archs: Sequence[Arch]) -> np.ndarray:
        """[archs, 8] float64, about the ways from input to output that no `none` interrupts.

        The columns are: the 3x3 convolutions, 1x1 convolutions and poolings on all these ways
        together (3 columns); the largest number of each on a single way (3); the number of such
        ways; the number of ways that consist of skips alone.
        """
        chosen = np.array(archs, dtype=int).reshape(-1, len(EDGES))
        ways = np.stack([(chosen[:, way] != NONE).all(1) for way in WAYS])  # [ways, archs]
        skips = np.stack([(chosen[:, way] == SKIP).all(1) for way in WAYS])
        counts = np.stack(  # [operations, ways, archs]
            [
                [(chosen[:, way] == choice).sum(1) for way in WAYS] * ways
                for choice in (CONV_3X3, CONV_1X1, AVG_POOL)
            ]
        )
        return np.stack([*counts.sum(1), *counts.max(1), ways.sum(0), skips.sum(0)], axis=1).astype(
            float
        )

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        self.check(arch)
        is_zero = not live_edges(arch)  # then all further cells of the stage compute zeros too
        affine = skeleton.form != SEARCH

        def write_cell(ops: Ops, x: Any, channels: int, name: str) -> Any:
            return ops.zeros(x) if is_zero else cell(ops, x, arch, channels, name, affine=affine)

        return write_network(ops, skeleton, write_cell)

    def supernet(self, skeleton: ImageSkeleton) -> "Supernet":
        from nas.search_spaces.papers.nasbench201.supernet import supernet

        return supernet(self, skeleton)

    def flat_supernet(self, skeleton: ImageSkeleton) -> "FlatSupernet":
        from nas.search_spaces.supernet.flat import FlatSupernet

        return FlatSupernet(self.supernet(skeleton))

    def official_parameters(self, arch: Arch, skeleton: ImageSkeleton) -> int:
        """Trainable weights as the benchmark counts them, edges that carry nothing included."""
        live, unused = live_edges(arch), CountOps(skeleton.image_shape)
        for edge, choice in enumerate(arch):
            if choice in KERNELS and edge not in live:
                for stage in range(STAGES):
                    channels = skeleton.channels * 2**stage
                    conv(unused, (1, 1, channels), channels, choice, "unused")
        return self.cost(arch, skeleton).parameters + skeleton.cells * unused.parameters

    def graph(self, arch: Arch) -> Graph:
        """Every chosen operation except `none`; operations that carry nothing are drawn too."""
        self.check(arch)
        names = ("input", "node1", "node2", "output")
        nodes = [("input", "input", "input")]
        nodes += [(name, name, "node") for name in names[1:OUTPUT]]
        nodes += [("output", "output", "output")]
        edges = []
        for (a, b), decision, choice in zip(EDGES, self.decisions, arch, strict=True):
            if choice != NONE:
                nodes.append((decision.name, OPERATIONS[choice], OPERATIONS[choice]))
                edges += [(names[a], decision.name), (decision.name, names[b])]
        return Graph(tuple(nodes), tuple(edges))


def to_string(arch: Arch) -> str:
    """The benchmark's notation: |op~0|+|op~0|op~1|+|op~0|op~1|op~2|."""
    nodes = [
        "|".join(
            f"{OPERATIONS[choice]}~{a}"
            for (a, b), choice in zip(EDGES, arch, strict=True)
            if b == node
        )
        for node in range(1, OUTPUT + 1)
    ]
    return "+".join(f"|{node}|" for node in nodes)


def from_string(text: str) -> Arch:
    """The inverse of `to_string`. Raises ConfigError if `text` is no such string."""
    words = [word.split("~")[0] for word in text.strip().replace("+", "").split("|") if word]
    arch = tuple(OPERATIONS.index(word) for word in words if word in OPERATIONS)
    if len(arch) != len(EDGES) or to_string(arch) != text.strip():
        raise ConfigError(
            "a cell must be |OP~0|+|OP~0|OP~1|+|OP~0|OP~1|OP~2| with each OP one of "
            f"{', '.join(OPERATIONS)}, got {text}; set genotype={to_string((CONV_3X3,) * 6)}"
        )
    return arch


def unique_string(arch: Arch, *, fold_none: bool) -> str:
    """The benchmark's name for a cell; it ignores the order of sums and skips (12,751 names).

    fold_none: write one sign for every `none` edge and for everything computed from a node that has
    only such edges (6,466 names). The names reproduce the benchmark's count and prove nothing: a
    few cells that compute the same function have two names, because the sign also marks the place
    of a lost edge, and some cells that share an operation's weights have the name of cells that do
    not.
    """
    nodes = ["0"]
    for node in range(1, OUTPUT + 1):
        terms = []
        for (a, b), choice in zip(EDGES, arch, strict=True):
            if b != node:
                continue
            if fold_none and (choice == NONE or nodes[a] == "#"):
                terms.append("#")
            elif choice == SKIP:
                terms.append(nodes[a])
            else:
                terms.append(f"({nodes[a]})@{OPERATIONS[choice]}")
        nodes.append("+".join(sorted(terms)))
    return nodes[OUTPUT]
