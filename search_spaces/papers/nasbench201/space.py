"""The cell space of NAS-Bench-201 (Dong & Yang, ICLR 2020, arXiv:2001.00326, section 2).

A cell has four nodes; each of its six edges carries one of five operations, and a node is the sum
of its incoming edges. Around it: a 3x3 stem, then three stages of `skeleton.cells` cells, with a
residual block of stride 2 between two stages that doubles the channels, then batch normalization,
ReLU, global average pooling and a dense layer. The paper: 5 cells, 16 channels.

Only what carries the image is built. An edge whose source is zero or whose target never reaches
the cell's output has no weights here, while the official code keeps them: `official_parameters`
counts those too, and equals the benchmark's table. A convolution of zeros is taken as zero, as
the benchmark's own `key` has it, though its batch normalization could learn an offset.

Departures: "same" padding, which for a stride of 2 pads the other side than PyTorch; kernels start
as He et al. 2015 say, where PyTorch's default is a narrower uniform.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.core.ops import Ops
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.ops.count import CountOps
from nas.search_spaces.image_space import ImageSpace

if TYPE_CHECKING:
    from nas.core.skeleton import ImageSkeleton
    from nas.search_spaces.supernet.supernet import Supernet

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NONE, SKIP, CONV_1X1, CONV_3X3, AVG_POOL = range(5)
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # (from, to), in the official order
OUTPUT = 3  # the node that leaves the cell
KERNELS = {CONV_1X1: (1, 1), CONV_3X3: (3, 3)}
STAGES = 3
WAYS = ([3], [0, 4], [1, 5], [0, 2, 5])  # from input to output, as positions in EDGES


class NASBench201(ImageSpace):
    """Six edges, five operations: 15,625 cells."""

    decisions = tuple(Decision(f"edge{a}->{b}", OPERATIONS, node=b) for a, b in EDGES)

    def key(self, arch: Arch) -> str:
        """The benchmark's own: 6,466 different ones, with skips and `none` folded."""
        return unique_string(arch, fold_none=True)

    def parse(self, text: str) -> Arch:
        """Also takes the benchmark's notation, |nor_conv_3x3~0|+|..."""
        return from_string(text) if "|" in text else super().parse(text)

    def features(self, archs: Sequence[Arch]) -> np.ndarray:
        """What flows: 8 numbers over the four ways from input to output that no `none` cuts.

        How many 3x3 convolutions, 1x1 convolutions and poolings they have in all (3), how many of
        each on the way that has most (3), how many ways there are, how many are skips alone.
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

    def network(self, ops: Ops, arch: Arch, skeleton: "ImageSkeleton") -> Any:
        self.check(arch)
        dead = not live_edges(arch)  # zeros stay zeros in all further cells of the stage

        def cell(ops: Ops, x, channels: int, name: str):
            return ops.zeros(x) if dead else _cell(ops, x, arch, channels, name)

        return frame(ops, skeleton, cell)

    def supernet(self, skeleton: "ImageSkeleton") -> "Supernet":
        from nas.search_spaces.papers.nasbench201.supernet import supernet

        return supernet(self, skeleton)

    def official_parameters(self, arch: Arch, skeleton: "ImageSkeleton") -> int:
        """Trainable weights as the benchmark counts them: with the edges that carry nothing."""
        live, dead = live_edges(arch), CountOps(skeleton.image_shape)
        for edge, choice in enumerate(arch):
            if choice in KERNELS and edge not in live:
                for stage in range(STAGES):
                    channels = skeleton.channels * 2**stage
                    conv(dead, (1, 1, channels), channels, choice, "dead")
        return self.cost(arch, skeleton).parameters + skeleton.cells * dead.parameters

    def graph(self, arch: Arch) -> Graph:
        """Every operation chosen but `none`, those that carry nothing included."""
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
    """The inverse of `to_string`. Raises ConfigError where `text` is not such a string."""
    words = [word.split("~")[0] for word in text.strip().replace("+", "").split("|") if word]
    arch = tuple(OPERATIONS.index(word) for word in words if word in OPERATIONS)
    if len(arch) != len(EDGES) or to_string(arch) != text.strip():
        raise ConfigError(
            "a cell must be |OP~0|+|OP~0|OP~1|+|OP~0|OP~1|OP~2| with each OP one of "
            f"{', '.join(OPERATIONS)}, got {text}; set genotype={to_string((CONV_3X3,) * 6)}"
        )
    return arch


def unique_string(arch: Arch, *, fold_none: bool) -> str:
    """The benchmark's name for a cell up to the order of sums and to skips (12,751 names).

    fold_none: `none` edges, and what is computed from a node that has no other, are one sign (6,466
    names). The names are the benchmark's count, not a proof: a few cells that are one function
    have two, as the sign also marks the place of a lost edge, and some that share an operation's
    weights are named as ones that do not.
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


def live_edges(arch: Arch) -> tuple[int, ...]:
    """The edges on a way from the cell's input to its output; () where the output is zero."""
    chosen = [edge for edge, choice in enumerate(arch) if choice != NONE]
    fed, used = {0}, {OUTPUT}
    for edge in chosen:  # edges are in the order of their targets
        if EDGES[edge][0] in fed:
            fed.add(EDGES[edge][1])
    for edge in reversed(chosen):
        if EDGES[edge][1] in used:
            used.add(EDGES[edge][0])
    return tuple(edge for edge in chosen if EDGES[edge][0] in fed and EDGES[edge][1] in used)


def frame(ops: Ops, skeleton: "ImageSkeleton", cell: Callable[[Any, Any, int, str], Any]) -> Any:
    """What stands round the cells, from the image to the logits. cell(ops, x, channels, name)."""
    channels = skeleton.channels
    x = ops.conv(ops.image(), channels, (3, 3), name="stem_conv")
    x = ops.batch_norm(x, name="stem_bn")
    for stage in range(STAGES):
        if stage:
            channels *= 2
            x = _residual(ops, x, channels, f"residual{stage}")
        for i in range(skeleton.cells):
            x = cell(ops, x, channels, f"stage{stage}_cell{i}")
    x = ops.relu(ops.batch_norm(x, name="last_bn"))
    return ops.classifier(x, skeleton.classes, dropout=skeleton.dropout)


def _cell(ops: Ops, x, arch: Arch, channels: int, name: str):
    """x [batch, height, width, channels] -> the same shape; `arch` has a live edge."""
    nodes, rectified = {0: x}, {}  # a node's ReLU is the same for all convolutions that read it
    sums: dict[int, list] = {1: [], 2: [], OUTPUT: []}
    live = live_edges(arch)
    for edge in live:
        a, b = EDGES[edge]
        if a not in nodes:
            nodes[a] = ops.add(sums[a])
        if arch[edge] == SKIP:
            y = nodes[a]
        elif arch[edge] == AVG_POOL:
            y = ops.avg_pool(nodes[a], 3, strides=1)
        else:
            if a not in rectified:
                rectified[a] = ops.relu(nodes[a])
            y = conv(ops, rectified[a], channels, arch[edge], f"{name}_edge{a}{b}")
        sums[b].append(y)
    return ops.add(sums[OUTPUT])


def conv(ops: Ops, rectified, channels: int, choice: int, name: str):
    x = ops.conv(rectified, channels, KERNELS[choice], name=f"{name}_conv")
    return ops.batch_norm(x, name=f"{name}_bn")


def _residual(ops: Ops, x, channels: int, name: str):
    """Halves height and width. Two ReLU-conv-BN, and an average pooling with a 1x1 convolution."""
    y = ops.conv(ops.relu(x), channels, (3, 3), strides=(2, 2), name=f"{name}_a_conv")
    y = ops.batch_norm(y, name=f"{name}_a_bn")
    y = ops.conv(ops.relu(y), channels, (3, 3), name=f"{name}_b_conv")
    y = ops.batch_norm(y, name=f"{name}_b_bn")
    shortcut = ops.avg_pool(x, 2, strides=2)
    return ops.add([ops.conv(shortcut, channels, (1, 1), name=f"{name}_short_conv"), y])
