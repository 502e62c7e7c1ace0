"""Tree-structured cells in a DenseNet (Cai et al. 2018, arXiv:1806.02639; code PathLevel-EAS).

Path-level transforms turn a 3x3 convolution into a tree. They average copies of it, or divide its
filters among branches that are concatenated; they add a node behind a branch, whose only edge is
the identity; they replace an identity by a pooling, or by a convolution that starts as the
identity. All branches of a node read its input; inside the cell, each branch of a concatenation
reads its share of the channels. Decisions are asked depth first, as in the code
(arch_search_tree_cell.py). `nas/morphism/tree_inheritance.py` computes the weights that a network
inherits.

The cell replaces the 3x3 convolution in every layer of a DenseNet (code, models/densenet.py). A
layer is a 1x1 convolution to `bottleneck` growth rates, the cell, and a concatenation. There are
three blocks of `skeleton.cells` layers. Between two blocks, a 1x1 convolution halves the channels,
and a 2x2 mean follows. The growth rate is `skeleton.channels`, and at least 8, so that three
concatenations in a row leave one channel to each branch.

Departures: the order is convolution, normalization, ReLU, so that identities preserve what is
computed; the code's DenseNet has the opposite order and trains each network again with the old
network's logits. There are no dropped paths, and no PyramidNet around the cells, so the numbers of
parameters of its networks (5.7M, 14.3M) cannot be had. The space contains the cell in which nothing
was inserted, because a search starts from it.
"""

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.papers.path_level import trees as path_trees
from nas.search_spaces.papers.path_level.trees import (
    ADD,
    CONCAT,
    CONVS,
    EDGES,
    IDENTITY,
    NONE,
    POOLS,
    ROOT_EDGE,
    Branch,
    Merge,
    Node,
    conv,
    key,
    write,
)

Place = tuple[int, ...]  # a node or a branch: the branches that lead to it from the root
LEAST_GROWTH = 8


class PathLevelSpace(ImageSpace):
    """Trees with at most `depth` edges from the root to a leaf.

    Args:
      depth: the largest number of edges in a row.
      add, concat: the numbers of branches that a node may average, or concatenate.
      edges: the operations of an edge inside the cell; the first must be the identity.
      bottleneck: filters of the 1x1 convolution before a cell, in growth rates.
      first_ratio: filters of the first convolution, in growth rates.
      reduction: the share of the channels that is kept between blocks.
      groups: of the 3x3 convolutions that a cell begins with.
      only_grow: mutations are transforms that preserve what the network computes. A network that
        cannot grow stays as it is.
    """

    trees = path_trees  # the parts of its cells, for `nas/morphism/tree_inheritance.py`

    def __init__(
        self,
        *,
        depth: int = 3,
        add: Sequence[int] = (2, 3),
        concat: Sequence[int] = (2,),
        edges: Sequence[str] = EDGES,
        bottleneck: int = 4,
        first_ratio: int = 2,
        reduction: float = 0.5,
        groups: int = 1,
        only_grow: bool = False,
    ):
        _check(depth, add, concat, edges)
        if groups < 1 or (groups > 1 and any(groups % count for count in concat)):
            raise ConfigError(
                f"space.groups must be 1 or a multiple of space.concat={list(concat)}, got "
                f"{groups}; set space.groups=2"
            )
        self.depth, self.edges, self.only_grow = depth, tuple(edges), only_grow
        self.bottleneck, self.first_ratio, self.reduction = bottleneck, first_ratio, reduction
        self.groups = groups
        self.merges: tuple[Merge, ...] = (
            (NONE, 1), *((ADD, n) for n in add), *((CONCAT, n) for n in concat),
        )  # fmt: skip
        self.most = max(n for _, n in self.merges)
        # For each decision: whether it is about a merge, an edge or an expansion, and where.
        self._asked: list[tuple[str, Place]] = []
        self._ask(())
        self.at = {asked: i for i, asked in enumerate(self._asked)}
        nodes = {place: n for n, place in enumerate(dict.fromkeys(p for _, p in self._asked))}
        choices = {"merge": self.merges, "edge": self.edges, "expand": (False, True)}
        self.decisions = tuple(
            Decision(f"{self.name(place)}/{what}", choices[what], node=nodes[place])
            for what, place in self._asked
        )

    @staticmethod
    def name(place: Place) -> str:
        """The name of a node, or of the branch that leads to it."""
        return "_".join(map(str, place)) or "root"

    def allowed(self, prefix: Arch) -> tuple[int, ...]:
        """All choices; a decision about a node or branch that does not exist has only the first."""
        what, place = self._asked[len(prefix)]
        node = place if what == "merge" else place[:-1]
        is_open = all(
            self._has_branch(prefix, place[:i]) and prefix[self.at["expand", place[:i]]]
            for i in range(1, len(node) + 1)
        )
        if not is_open or (what != "merge" and not self._has_branch(prefix, place)):
            return (0,)
        return tuple(range(len(self.decisions[len(prefix)].choices)))

    @property
    def size(self) -> int:
        """Counted from the leaves."""
        nodes = 0
        for depth in range(self.depth, 0, -1):
            branch = (1 if depth == 1 else len(self.edges)) * (1 + nodes)
            nodes = sum(branch**count for _, count in self.merges)
        return nodes

    def start(self) -> Arch:
        """The convolution from which all cells grow."""
        return (0,) * len(self.decisions)

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Changes one decision; with only_grow, applies one of the three transforms."""
        if not self.only_grow:
            return super().mutate(arch, rng)
        kinds = [kind for kind in self._growths(arch).values() if kind]
        if not kinds:
            return arch
        options = kinds[int(rng.random() * len(kinds))]
        return options[int(rng.random() * len(options))]

    def key(self, arch: Arch) -> Arch | str:
        return repr(key(self.tree(arch)))

    def tree(self, arch: Arch, place: Place = ()) -> Node:
        """The node at `place`, the whole cell by default."""
        merge, count = self.merges[arch[self.at["merge", place]]]
        branches = []
        for i in range(count):
            branch = (*place, i)
            edge = self.edges[arch[self.at["edge", branch]]] if place else ROOT_EDGE
            is_leaf = self._is_leaf(arch, branch)
            branches.append(Branch(edge, None if is_leaf else self.tree(arch, branch)))
        return Node(merge, tuple(branches))

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        self.check(arch)
        tree, growth = self.tree(arch), max(LEAST_GROWTH, skeleton.channels)
        x = conv(ops, ops.image(), self.first_ratio * growth, 3, "first")
        names = iter(self.cells(skeleton))
        for block in range(3):
            for name in itertools.islice(names, skeleton.cells):
                y = conv(ops, x, self.bottleneck * growth, 1, f"{name}_bottleneck")
                x = ops.concatenate([x, write(ops, y, tree, growth, name, groups=self.groups)])
            if block < 2:
                x = conv(ops, x, int(ops.shape(x)[2] * self.reduction), 1, f"between{block}")
                x = ops.avg_pool(x, 2, strides=2)
        return ops.classifier(x, skeleton.classes, dropout=skeleton.dropout)

    def cells(self, skeleton: ImageSkeleton) -> list[str]:
        """The beginning of the names of each cell's layers."""
        return [f"cell{i}" for i in range(3 * skeleton.cells)]

    def graph(self, arch: Arch) -> Graph:
        nodes, edges = [("input", "cell's input", "input")], []

        def draw(node: Node, source: str, name: str) -> str:
            """Draws a node that reads `source`; returns the name of its last drawn part."""
            ends = []
            for i, branch in enumerate(node.branches):
                edge, part = f"{name}_{i}", f", part {i + 1}" if node.merge == CONCAT else ""
                nodes.append((edge, branch.edge.replace("_", " ") + part, branch.edge))
                edges.append((source, edge))
                ends.append(draw(branch.node, edge, edge) if branch.node else edge)
            if node.merge == NONE:
                return ends[0]
            nodes.append((f"{name}_{node.merge}", node.merge, node.merge))
            edges.extend((end, f"{name}_{node.merge}") for end in ends)
            return f"{name}_{node.merge}"

        end = draw(self.tree(arch), "input", "root")
        return Graph((*nodes, ("output", "cell's output", "output")), (*edges, (end, "output")))

    def _ask(self, place: Place) -> None:
        """Appends the decisions about the node at `place` and about all nodes behind it."""
        self._asked.append(("merge", place))
        branches = [(*place, i) for i in range(self.most)]
        if place:
            self._asked += [("edge", branch) for branch in branches]
        if len(place) + 1 < self.depth:
            for branch in branches:
                self._asked.append(("expand", branch))
                self._ask(branch)

    def _has_branch(self, prefix: Arch, branch: Place) -> bool:
        """Whether the node that the branch belongs to has this many branches, if it exists."""
        return branch[-1] < self.merges[prefix[self.at["merge", branch[:-1]]]][1]

    def _is_leaf(self, arch: Arch, branch: Place) -> bool:
        return len(branch) == self.depth or not arch[self.at["expand", branch]]

    def _growths(self, arch: Arch) -> dict[str, list[Arch]]:
        """By transform, the larger cells that compute the same as `arch`."""
        growths: dict[str, list[Arch]] = {"merge": [], "expand": [], "edge": []}

        def changed(*answers: tuple[int, int]) -> Arch:
            return tuple(dict(answers).get(i, choice) for i, choice in enumerate(arch))

        for i, (what, place) in enumerate(self._asked):
            if arch[i] or len(self.allowed(arch[:i])) == 1:
                continue
            if what == "expand":
                growths["expand"].append(changed((i, 1)))
            elif what == "edge":
                convs = [c for c, edge in enumerate(self.edges) if edge in CONVS]
                growths["edge"] += [changed((i, choice)) for choice in convs]
            elif self._is_leaf(arch, (*place, 0)):
                growths["merge"] += self._merged(arch, place, changed)
        return growths

    def _merged(self, arch: Arch, place: Place, changed: Callable[..., Arch]) -> list[Arch]:
        """The cells in which the single branch of the node at `place` is copied or divided."""
        edge = arch[self.at["edge", (*place, 0)]] if place else 0
        can_be_divided = not place or self.edges[edge] in (IDENTITY, *POOLS)
        cells = []
        for choice, (merge, count) in enumerate(self.merges):
            if merge == ADD or (merge == CONCAT and can_be_divided):
                copies = [(self.at["edge", (*place, j)], edge) for j in range(count) if place]
                cells.append(changed((self.at["merge", place], choice), *copies))
        return cells


def _check(depth: int, add: Sequence[int], concat: Sequence[int], edges: Sequence[str]) -> None:
    """Raises ConfigError for settings that make no tree."""
    if not 1 <= depth <= 3:
        raise ConfigError(f"space.depth must be in [1, 3], got {depth}; set space.depth=3")
    for name, counts, most in (("add", add, 9), ("concat", concat, 2)):
        if len(set(counts)) < len(counts) or any(not 2 <= n <= most for n in counts):
            raise ConfigError(
                f"space.{name} must be different numbers of branches in [2, {most}], got "
                f"{list(counts)}; set space.{name}=[2]"
            )
    wrong = [edge for edge in edges if edge not in EDGES]
    if wrong or list(edges[:1]) != [IDENTITY] or len(set(edges)) < len(edges):
        raise ConfigError(
            f"space.edges must be different ones of {', '.join(EDGES)}, the identity first, got "
            f"{list(edges)}; set space.edges=[identity,depth_conv_3x3]"
        )
