"""Hierarchical representations (Liu et al. 2018, arXiv:1711.00436, sections 2 and 3).

A motif is a graph whose entries are nothing, or motifs of the level below; those of level 1 are six
operations. A node concatenates its inputs along channels. By default there are six motifs of 4
nodes at level 2, and one motif of 5 nodes, the cell, at level 3. A motif that is used in several
places has the same structure in each of them, and separate weights. Behind a motif of level 2, a
1x1 convolution brings the channels back to those of its input. The flat space is a cell of 11 nodes
over the operations.

The network is a 3x3 convolution, three stages of `skeleton.cells` cells, global average pooling and
a dense layer. A 3x3 separable convolution stands behind each cell; the last one of the first and of
the second stage halves the image and doubles the channels. Whether that of the third does too is
not known: the sizes of random cells fit the published one either way. Convolutions are followed by
batch normalization and ReLU.

Only the abstract of the paper could be checked against its text: the rest is from memory, and a few
rules are as others quote them (docs/methods/hierarchical.md). One rule is ours: there is no motif
whose output is not reached. An entry that would cut it off is closed, and a mutation that would cut
it off is drawn again. A mutated entry always changes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.cells.operations import conv_bn
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.papers.hierarchical.motifs import NONE, Motif, count, form

OPERATIONS = ("conv1x1", "depthwise3x3", "separable3x3", "max_pool3x3", "avg_pool3x3", "identity")
IDENTITY = 1 + OPERATIONS.index("identity")
STAGES = 3


class Hierarchical(ImageSpace):
    """The entries of all motifs, level by level from level 2; the cell is last.

    Args:
      nodes: the number of nodes of each motif, for each level from level 2.
      motifs: the number of motifs of each of these levels; the last level has one, the cell.
      mutations: `sample` applies this many mutations to a chain of identities.
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
        for level, (size, motif_count) in enumerate(zip(nodes, motifs, strict=True), 2):
            first = sum(map(len, self.levels))  # motifs so far; each is a node of its decisions
            names = tuple(f"motif{first + m}" for m in range(motif_count))
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
            below, anchors = names, (None, *range(first, first + motif_count))
        self.cell = self.levels[-1][0]
        self.decisions = tuple(decisions)
        all_motifs = [motif for level in self.levels for motif in level]
        self._motif_of = [all_motifs[d.node] for d in decisions if d.node is not None]

    def allowed(self, prefix: Arch) -> tuple[int, ...]:
        """All choices, except nothing if it would leave the output of the motif unreached."""
        motif = self._motif_of[len(prefix)]
        choices, last = tuple(range(len(motif.choices))), motif.nodes - 1
        source = len(prefix) - motif.entry(0, last)
        if source < 0:
            return choices
        reached = motif.reached(prefix)
        is_joined = any(
            is_reached and prefix[motif.entry(j, last)]
            for j, is_reached in enumerate(reached[:source])
        )
        return choices if is_joined or any(reached[source + 1 :]) else choices[1:]

    @property
    def size(self) -> int:
        """The number of ways to fill in the entries so that every motif's output is reached."""
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
        """The chain of identities after `mutations` mutations."""
        arch, done = list(self.identity()), 0
        while done < self.mutations:
            for draw in rng.random((self.mutations - done, 5)).tolist():
                done += self._changed(arch, draw)
        return tuple(arch)

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Draws a level, a motif of it, a node of it and an earlier node; their entry changes."""
        child = list(arch)
        while not self._changed(child, rng.random(5).tolist()):
            pass
        return tuple(child)

    def key(self, arch: Arch) -> str:
        """Equal if the cells compute the same; entries that do not reach an output are ignored."""
        self.check(arch)
        labels: list[str] = list(OPERATIONS)
        for level in self.levels:
            identity = IDENTITY if level[0].level == 2 else None
            labels = [form(motif.inputs(arch), ["", *labels], identity) for motif in level]
        return labels[0]

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
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
        """A drawing of the motifs that the cell uses, each on its own, and of the cell."""
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
        """The motifs that the cell uses, from level 2 up, and the cell."""
        motifs = [self.cell]
        for below in reversed(self.levels[:-1]):
            leads = [
                lead
                for motif in motifs
                if motif.level == below[0].level + 1
                for inputs in motif.inputs(arch).values()
                for lead in inputs
            ]
            motifs = [below[m] for m in sorted({choice - 1 for _, choice in leads})] + motifs
        return motifs

    def _motif(self, ops: Ops, arch: Arch, x: Any, motif: Motif, channels: int, name: str) -> Any:
        """x [batch, height, width, any channels] -> the same height and width, other channels.

        channels: those of the convolutions inside.
        """
        nodes = {0: x}
        for i, leads in motif.inputs(arch).items():
            inputs = []
            for j, choice in leads:
                inside = f"{name}_{j}to{i}"
                if motif.level == 2:
                    y = _operation(ops, nodes[j], motif.choices[choice], channels, inside)
                else:
                    below = self.levels[motif.level - 3][choice - 1]
                    y = self._motif(ops, arch, nodes[j], below, channels, inside)
                inputs.append(y)
            nodes[i] = ops.concatenate(inputs)
        last = nodes[motif.nodes - 1]
        if motif.level > 2 or motif is self.cell:
            return last
        return ops.relu(conv_bn(ops, last, ops.shape(x)[2], f"{name}_output"))

    def _changed(self, arch: list[int], draw: Sequence[float]) -> bool:
        """Changes the entry that five numbers in [0, 1) select, in place. Returns whether it did.

        A change that would cut off an output is undone.
        """
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


def _operation(ops: Ops, x: Any, operation: str, channels: int, name: str) -> Any:
    """Convolutions return `channels` channels; the other operations keep those of x."""
    if operation == "conv1x1":
        return ops.relu(conv_bn(ops, x, channels, name))
    if operation == "depthwise3x3":
        return ops.relu(ops.batch_norm(ops.depthwise(x, (3, 3), name=name), name=f"{name}_bn"))
    if operation == "separable3x3":
        return _separable(ops, x, channels, name)
    if operation == "max_pool3x3":
        return ops.max_pool(x, 3, strides=1)
    return ops.avg_pool(x, 3, strides=1) if operation == "avg_pool3x3" else x


def _separable(ops: Ops, x: Any, channels: int, name: str, strides: int = 1) -> Any:
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
