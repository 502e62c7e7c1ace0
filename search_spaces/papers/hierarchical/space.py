"""Hierarchical representations (Liu et al. 2018, arXiv:1711.00436, sections 2 and 3).

A motif is a graph whose entries are nothing or motifs of the level below; those of level 1 are six
operations. A node concatenates what leads to it along channels. By default six motifs of 4 nodes
stand at level 2, and one of 5 nodes at level 3, the cell. A motif that is used in several places is
one structure there, with weights of its own at each. Behind a motif of level 2 a 1x1 convolution
brings the channels back to those of its input. The flat space is a cell of 11 nodes over the
operations.

The network: a 3x3 convolution; three stages of `skeleton.cells` cells, behind each of which stands
a 3x3 separable convolution, the last one of a stage halving the image and doubling the channels;
global average pooling and a dense layer. Convolutions are followed by batch normalization and ReLU.

Only its abstract was checked against the paper's text, the rest against other implementations. Ours
is what becomes of a motif whose output nothing leads to: there is none, an entry that would cut it
off is closed and a mutation that would is drawn again. A mutated entry is always another.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.core.ops import Ops
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.cells.operations import conv_bn
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.papers.hierarchical.motifs import NONE, Motif, count, form

if TYPE_CHECKING:
    from nas.core.skeleton import ImageSkeleton

OPERATIONS = ("conv1x1", "depthwise3x3", "separable3x3", "max_pool3x3", "avg_pool3x3", "identity")
IDENTITY = 1 + OPERATIONS.index("identity")
STAGES = 3


class Hierarchical(ImageSpace):
    """The entries of all motifs, level by level from below; the cell comes last.

    Args:
      nodes: of the motifs of each level, from level 2 up.
      motifs: how many each of these levels has; the last one has one, the cell.
      mutations: of a chain of identities, that make a sample.
    """

    def __init__(
        self,
        *,
        nodes: Sequence[int] = (4, 5),
        motifs: Sequence[int] = (6, 1),
        mutations: int = 1000,
    ):
        _check(nodes, motifs, mutations)
        self.mutations = mutations
        self.levels: list[list[Motif]] = []
        decisions: list[Decision] = []
        below: tuple[str, ...] = OPERATIONS
        anchors: tuple[int | None, ...] | None = None
        for level, (size, many) in enumerate(zip(nodes, motifs, strict=True), 2):
            first = sum(map(len, self.levels))  # motifs so far; each is a node of its decisions
            names = tuple(f"motif{first + m}" for m in range(many))
            names = ("cell",) if level == len(nodes) + 1 else names
            self.levels.append([])
            for place, name in enumerate(names, first):
                motif = Motif(name, level, size, len(decisions), ("none", *below))
                self.levels[-1].append(motif)
                decisions += [
                    Decision(f"{name}/edge{j}->{i}", motif.choices, place, anchors)
                    for i in range(1, size)
                    for j in range(i)
                ]
            below, anchors = names, (None, *range(first, first + many))
        self.cell = self.levels[-1][0]
        self.decisions = tuple(decisions)
        every = [motif for level in self.levels for motif in level]
        self._motif_of = [every[d.node] for d in decisions if d.node is not None]

    def allowed(self, prefix: Arch) -> tuple[int, ...]:
        """All, but not nothing where it would leave the output of the motif unreached."""
        motif = self._motif_of[len(prefix)]
        every, last = tuple(range(len(motif.choices))), motif.nodes - 1
        source = len(prefix) - motif.entry(0, last)
        if source < 0:
            return every
        reached = motif.reached(prefix)
        led = any(
            there and prefix[motif.entry(j, last)] for j, there in enumerate(reached[:source])
        )
        return every if led or any(reached[source + 1 :]) else every[1:]

    @property
    def size(self) -> int:
        """All ways to fill in the entries so that every motif's input leads to its output."""
        size = 1
        for level in self.levels:
            size *= count(level[0].nodes, len(level[0].choices)) ** len(level)
        return size

    def identity(self) -> Arch:
        """The trivial genotype: in every motif a chain of identities."""
        arch = [NONE] * len(self.decisions)
        for level in self.levels:
            for motif in level:
                for i in range(1, motif.nodes):
                    arch[motif.entry(i - 1, i)] = IDENTITY if motif.level == 2 else 1
        return tuple(arch)

    def sample(self, rng: np.random.Generator) -> Arch:
        """The chain of identities, mutated so many times."""
        arch, done = list(self.identity()), 0
        while done < self.mutations:
            for draw in rng.random((self.mutations - done, 5)).tolist():
                done += self._changed(arch, draw)
        return tuple(arch)

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """A level, a motif of it, a node of it and one before it are drawn; their entry changes."""
        child = list(arch)
        while not self._changed(child, rng.random(5).tolist()):
            pass
        return tuple(child)

    def key(self, arch: Arch) -> str:
        """Equal where the cells are one graph of motifs alike, without what leads nowhere."""
        self.check(arch)
        labels: list[str] = list(OPERATIONS)
        for level in self.levels:
            identity = IDENTITY if level[0].level == 2 else None
            labels = [form(motif.inputs(arch), ["", *labels], identity) for motif in level]
        return labels[0]

    def network(self, ops: Ops, arch: Arch, skeleton: "ImageSkeleton") -> Any:
        self.check(arch)
        channels = skeleton.channels
        x = ops.relu(conv_bn(ops, ops.image(), channels, "stem", kernel=(3, 3)))
        for stage in range(STAGES):
            for i in range(skeleton.cells):
                name = f"stage{stage}_cell{i}"
                x = self._motif(ops, arch, x, self.cell, channels, name)
                halves = i == skeleton.cells - 1 and stage < STAGES - 1
                channels *= 2 if halves else 1
                x = _separable(ops, x, channels, f"{name}_end", strides=2 if halves else 1)
        return ops.classifier(x, skeleton.classes, dropout=skeleton.dropout)

    def graph(self, arch: Arch) -> Graph:
        """The motifs that the cell uses, each on its own, and the cell."""
        self.check(arch)
        nodes, edges = [], []
        for motif in self.used(arch):
            name = motif.name
            nodes.append((f"{name}/0", f"{name}: input", "input"))
            for i, leads in motif.inputs(arch).items():
                for j, choice in leads:
                    through = f"{name}/{j}->{i}"
                    nodes.append((through, motif.choices[choice], motif.choices[choice]))
                    edges += [(f"{name}/{j}", through), (through, f"{name}/{i}")]
                kind = "output" if i == motif.nodes - 1 else "concat"
                nodes.append(
                    (f"{name}/{i}", f"{name}: output" if kind == "output" else str(i), kind)
                )
        return Graph(tuple(nodes), tuple(edges))

    def used(self, arch: Arch) -> list[Motif]:
        """The motifs that the cell is made of, from below, and the cell."""
        found = [self.cell]
        for below in reversed(self.levels[:-1]):
            leads = [
                lead
                for motif in found
                if motif.level == below[0].level + 1
                for inputs in motif.inputs(arch).values()
                for lead in inputs
            ]
            found = [below[m] for m in sorted({choice - 1 for _, choice in leads})] + found
        return found

    def _motif(self, ops: Ops, arch: Arch, x, motif: Motif, channels: int, name: str) -> Any:
        """x [batch, height, width, any channels] -> [batch, height, width, channels of its own].

        channels: of the convolutions inside.
        """
        made = {0: x}
        for i, leads in motif.inputs(arch).items():
            inputs = []
            for j, choice in leads:
                inside = f"{name}_{j}to{i}"
                if motif.level == 2:
                    y = _operation(ops, made[j], motif.choices[choice], channels, inside)
                else:
                    below = self.levels[motif.level - 3][choice - 1]
                    y = self._motif(ops, arch, made[j], below, channels, inside)
                inputs.append(y)
            made[i] = ops.concatenate(inputs)
        last = made[motif.nodes - 1]
        if motif.level > 2 or motif is self.cell:
            return last
        return ops.relu(conv_bn(ops, last, ops.shape(x)[2], f"{name}_output"))

    def _changed(self, arch: list[int], draw: Sequence[float]) -> bool:
        """Changes the entry that numbers in [0, 1) say, unless that would cut off an output."""
        level = self.levels[int(draw[0] * len(self.levels))]
        motif = level[int(draw[1] * len(level))]
        target = 1 + int(draw[2] * (motif.nodes - 1))
        at = motif.entry(int(draw[3] * target), target)
        before, other = arch[at], int(draw[4] * (len(motif.choices) - 1))
        arch[at] = other + (other >= before)
        if arch[at] != NONE or motif.joined(arch):
            return True
        arch[at] = before
        return False


def _operation(ops: Ops, x, operation: str, channels: int, name: str) -> Any:
    """Convolutions give `channels`, the others as many as they are given."""
    if operation == "conv1x1":
        return ops.relu(conv_bn(ops, x, channels, name))
    if operation == "depthwise3x3":
        return ops.relu(ops.batch_norm(ops.depthwise(x, (3, 3), name=name), name=f"{name}_bn"))
    if operation == "separable3x3":
        return _separable(ops, x, channels, name)
    if operation == "max_pool3x3":
        return ops.max_pool(x, 3, strides=1)
    return ops.avg_pool(x, 3, strides=1) if operation == "avg_pool3x3" else x


def _separable(ops: Ops, x, channels: int, name: str, strides: int = 1) -> Any:
    x = ops.depthwise(x, (3, 3), strides=strides, name=f"{name}_depthwise")
    return ops.relu(conv_bn(ops, x, channels, name))


def _check(nodes: Sequence[int], motifs: Sequence[int], mutations: int) -> None:
    if not nodes or min(nodes) < 2:
        raise ConfigError(
            f"space.nodes must be whole numbers from 2, one a level, got {list(nodes)}; "
            "set space.nodes=[4,5]"
        )
    if len(motifs) != len(nodes) or min(motifs) < 1 or motifs[-1] != 1:
        raise ConfigError(
            f"space.motifs must be whole numbers from 1, one for each of the {len(nodes)} levels "
            f"of space.nodes, with 1 as the last, got {list(motifs)}; "
            f"set space.motifs={[6] * (len(nodes) - 1) + [1]}"
        )
    if mutations < 0:
        raise ConfigError(
            f"space.mutations must be at least 0, got {mutations}; set space.mutations=1000"
        )
