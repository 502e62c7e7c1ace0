"""The networks of Genetic CNN (Xie & Yuille 2017, arXiv:1703.01513, section 3.1).

A network has a few stages, each followed by a pooling. The nodes of a stage are ordered, and a bit
for each pair of nodes says whether the earlier node feeds the later one: K nodes have K(K-1)/2
bits, written as 1-01-001 (the bits of the inputs of node 2, node 3 and node 4). A node adds up its
inputs and applies a convolution, batch normalization and ReLU. All nodes of a stage have the same
number of filters.

Two nodes of a stage are not encoded. The input node reads the previous stage and feeds every node
that no other node feeds. The output node reads every node that feeds no other node. Nodes without
any edge are left out, and a stage without any edge is one convolution.

The sizes of filters, poolings and the dense layer (the defaults of the settings) are those of
others' code (gmontamat/gentun), not checked against the paper's text. Max pooling is padded, so
that no image is too small.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.papers.canonical_graph import canonical

Bits = tuple[int, ...]
INPUT = 0  # the number of a stage's input node; the encoded nodes are 1 to K


class Stage(NamedTuple):
    """A decoded stage. A stage without edges has no nodes, and its output reads nothing."""

    inputs: dict[int, tuple[int, ...]]  # node -> its inputs, for the nodes that are not left out
    output: tuple[int, ...]  # the inputs of the output node


class GeneticCNN(ImageSpace):
    """A bit for each pair of nodes of each stage.

    Args:
      nodes: the number of nodes K of each stage.
      filters: of each stage, multiplied by the skeleton's width.
      kernel: the size of every convolution, in pixels.
      pool: the window of the max pooling with stride 2 behind each stage, in pixels.
      units: of the dense layer before that of the classifier, multiplied by the skeleton's width.
        The skeleton's dropout follows it.
    """

    def __init__(
        self,
        *,
        nodes: Sequence[int] = (3, 4, 5),
        filters: Sequence[int] = (8, 16, 32),
        kernel: int = 5,
        pool: int = 3,
        units: int = 128,
    ):
        _check(nodes, filters, {"kernel": kernel, "pool": pool, "units": units})
        self.nodes, self.filters = tuple(nodes), tuple(filters)
        self.kernel, self.pool, self.units = kernel, pool, units
        self.decisions = tuple(
            Decision(f"stage{s}/edge{i}->{j}", (False, True), node=s)
            for s, count in enumerate(nodes)
            for j in range(2, count + 1)
            for i in range(1, j)
        )

    def stages(self, arch: Arch) -> tuple[Stage, ...]:
        """The decoded stages of `arch`."""
        return tuple(_stage(k, bits) for k, bits in zip(self.nodes, self._bits(arch), strict=True))

    def notation(self, arch: Arch) -> str:
        """The paper's notation of the stages, with a bar between two: 1-01|0-11-101."""
        stages = []
        for k, bits in zip(self.nodes, self._bits(arch), strict=True):
            digits = iter("".join(map(str, bits)))
            groups = ["".join(next(digits) for _ in range(j)) for j in range(1, k)]
            stages.append("-".join(groups))
        return "|".join(stages)

    def parse(self, text: str) -> Arch:
        """Also reads the paper's notation."""
        if "," in text:
            return super().parse(text)
        arch = tuple(int(digit) for digit in text if digit in "01")
        if len(arch) != len(self.decisions) or self.notation(arch) != text.strip():
            raise ConfigError(
                f"genotype must be written like {self.notation((0,) * len(self.decisions))}, "
                f"got {text}; set genotype='{self.notation((1,) * len(self.decisions))}'"
            )
        return arch

    def key(self, arch: Arch) -> str:
        """Equal if the stages have the same graphs; the numbering of the nodes does not matter."""
        parts = zip(self.nodes, self._bits(arch), strict=True)
        return "|".join(_stage_key(k, bits) for k, bits in parts)

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        outputs = {"image": ops.image()}
        for name, s, feeds in self._layers(arch):
            x = ops.add([outputs[feed] for feed in feeds])
            if name.startswith("pool"):
                outputs[name] = ops.max_pool(x, self.pool, strides=2)
                continue
            window, filters = (self.kernel, self.kernel), skeleton.filters(self.filters[s])
            x = ops.batch_norm(ops.conv(x, filters, window, name=f"{name}_conv"), name=f"{name}_bn")
            outputs[name] = ops.relu(x)
        x = ops.relu(ops.dense(outputs[name], skeleton.filters(self.units), name="dense"))
        x = ops.dropout(x, skeleton.dropout)
        return ops.dense(x, skeleton.classes, name="logits", dtype="float32")

    def graph(self, arch: Arch) -> Graph:
        nodes, edges, name = [("image", "image", "input")], [], "image"
        for name, s, feeds in self._layers(arch):
            label, kind = f"{self.kernel}x{self.kernel}, {self.filters[s]}", "conv"
            if name.startswith("pool"):
                label, kind = f"{self.pool}x{self.pool} max pool", "max_pool"
            nodes.append((name, label, kind))
            edges += [(feed, name) for feed in feeds]
        nodes += [("dense", f"dense, {self.units}", "fc"), ("logits", "classifier", "classifier")]
        edges += [(name, "dense"), ("dense", "logits")]
        return Graph(tuple(nodes), tuple(edges))

    def _layers(self, arch: Arch) -> Iterator[tuple[str, int, list[str]]]:
        """Name, stage and inputs of each convolution and pooling, in the order of the network."""
        last = "image"
        for s, stage in enumerate(self.stages(arch)):
            names = {INPUT: f"stage{s}_input"}
            yield names[INPUT], s, [last]
            for node, inputs in stage.inputs.items():
                names[node] = f"stage{s}_node{node}"
                yield names[node], s, [names[i] for i in inputs]
            last = names[INPUT]
            if stage.output:
                last = f"stage{s}_output"
                yield last, s, [names[i] for i in stage.output]
            yield f"pool{s}", s, [last]
            last = f"pool{s}"

    def _bits(self, arch: Arch) -> list[Bits]:
        """The bits of each stage."""
        self.check(arch)
        bits, start = [], 0
        for count in self.nodes:
            end = start + count * (count - 1) // 2
            bits.append(arch[start:end])
            start = end
        return bits


@functools.lru_cache(maxsize=4096)
def _stage(nodes: int, bits: Bits) -> Stage:
    pairs = [(i, j) for j in range(2, nodes + 1) for i in range(1, j)]
    edges = [pair for pair, bit in zip(pairs, bits, strict=True) if bit]
    inputs = {
        node: tuple(i for i, j in edges if j == node) or (INPUT,)
        for node in range(1, nodes + 1)
        if any(node in edge for edge in edges)
    }
    return Stage(inputs, tuple(n for n in inputs if all(i != n for i, _ in edges)))


@functools.lru_cache(maxsize=4096)
def _stage_key(nodes: int, bits: Bits) -> str:
    stage = _stage(nodes, bits)
    place = {node: at for at, node in enumerate([INPUT, *stage.inputs])}
    convolutions = [tuple(place[i] for i in inputs) for inputs in stage.inputs.values()]
    output = tuple(place[i] for i in stage.output)
    read = [("conv", inputs) for inputs in convolutions]
    return canonical([("input", ()), *read, ("output", output)], unordered=("conv", "output"))


def _check(nodes: Sequence[int], filters: Sequence[int], others: dict[str, int]) -> None:
    if not nodes or min(nodes) < 2:
        raise ConfigError(
            f"space.nodes must be whole numbers from 2, one a stage, got {list(nodes)}; "
            "set space.nodes=[3,4,5]"
        )
    if len(filters) != len(nodes) or min(filters) < 1:
        raise ConfigError(
            f"space.filters must be whole numbers from 1, one for each of the {len(nodes)} stages "
            f"of space.nodes, got {list(filters)}; set space.filters={[8] * len(nodes)}"
        )
    for name, value in others.items():
        if value < 1:
            raise ConfigError(f"space.{name} must be at least 1, got {value}; set space.{name}=1")
