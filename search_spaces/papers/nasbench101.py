"""The modules of NAS-Bench-101 (Ying et al., ICML 2019, arXiv:1902.09635, section 2).

A module is a directed acyclic graph of at most 7 vertices and 9 edges: the input, the output and up
to five vertices, each with one of three operations. Vertices and edges on no way from the input to
the output are pruned first. The network is a 3x3 stem, three stacks of `skeleton.cells` modules,
global average pooling and a dense layer. A 2x2 max pooling stands between two stacks, and the
channels double behind it. The paper uses 3 modules in each stack and 128 channels.

In a module, an edge from the input is a 1x1 convolution, and a vertex adds its edges. The output
concatenates its edges; an edge from the input to the output is added to the result. The channels
are divided among the vertices that feed the output, and the first vertices get one more if there
is a remainder. Every other vertex has as many channels as the largest vertex that it feeds, which
reads the first of them (google-research/nasbench, lib/model_builder.py). Every convolution is
followed by batch normalization and ReLU.

The decisions are the encoding of the paper's section 2.2: 21 bits and 5 operations, vertex by
vertex, with the edges of the output last. Choices that would make a module invalid are closed, so
every architecture is a module of the benchmark.

Where three or more vertices feed the output, a remainder of the channels makes the number of
weights depend on the order of the vertices. `key` joins such labellings of one graph, as the
benchmark's hash does.

Departures: if more vertices feed the output than it has channels, each of them gets one channel.
The batch normalizations are those of nas/core/ops.py (momentum 0.9; the paper: 0.997). A mutation
that makes a module invalid draws the edges of the output again; the official scripts draw another
mutation.
"""

import functools
import hashlib
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.image_space import ImageSpace

OPERATIONS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
CONV_3X3, CONV_1X1, MAX_POOL = range(3)
VERTICES, EDGES = 7, 9  # at most
OUTPUT = VERTICES - 1
STACKS = 3
INITIALIZER = "lecun_normal"  # the same as TensorFlow's variance_scaling of the official code
EXAMPLE = "010001000:input,conv3x3-bn-relu,output"


class Module(NamedTuple):
    """A pruned module.

    edges[a][b]: whether vertex a feeds vertex b; the input is first, the output last.
    operations: those of the vertices between input and output.
    """

    edges: tuple[tuple[bool, ...], ...]
    operations: tuple[int, ...]


class NASBench101(ImageSpace):
    """21 edges and 5 operations; only choices that keep the module valid are open."""

    decisions = tuple(
        decision
        for b in range(1, VERTICES)
        for decision in (
            *(Decision(f"edge{a}->{b}", (False, True), b) for a in range(b)),
            *([Decision(f"operation{b}", OPERATIONS, b)] if b < OUTPUT else []),
        )
    )
    # Decisions of the edges, by (from, to), and of the operations, by vertex.
    at_edge = {
        (int(d.name[4]), int(d.name[7])): i
        for i, d in enumerate(decisions)
        if d.name.startswith("edge")
    }
    at_operation = {d.node: i for i, d in enumerate(decisions) if d.choices is OPERATIONS}

    def allowed(self, prefix: Arch) -> tuple[int, ...]:
        """All choices, except for the edges of the output, which decide what is pruned."""
        source = len(prefix) - (len(self.decisions) - OUTPUT)
        if source < 0:
            return tuple(range(self._counts[len(prefix)]))
        feeding = {a for a in range(source) if prefix[self.at_edge[a, OUTPUT]]}
        without = any(
            0 < self._live_edges(prefix, feeding | more) <= EDGES
            for more in (set(), *({b} for b in range(source + 1, OUTPUT)))
        )
        joined = self._live_edges(prefix, feeding | {source})
        # An edge from a vertex that the input does not reach changes nothing.
        changes = joined != self._live_edges(prefix, feeding)
        with_it = 0 < joined <= EDGES if changes else without
        return (*([0] if without else []), *([1] if with_it else []))

    @functools.cached_property
    def _every_valid(self) -> int:
        """The number of valid matrices among all 2^21: each edge is one array of booleans."""
        bits = np.arange(2 ** len(self.at_edge), dtype=np.uint32)
        edge = {pair: bits >> i & 1 == 1 for i, pair in enumerate(self.at_edge)}
        fed, used = {0: np.array(True)}, {OUTPUT: np.array(True)}
        for b in range(1, VERTICES):
            fed[b] = functools.reduce(np.logical_or, [edge[a, b] & fed[a] for a in range(b)])
        for a in reversed(range(OUTPUT)):
            uses = [edge[a, b] & used[b] for b in range(a + 1, VERTICES)]
            used[a] = functools.reduce(np.logical_or, uses)
        live = np.zeros(len(bits), np.uint8)
        for (a, b), there in edge.items():
            live += there & fed[a] & used[b]
        return int(((live > 0) & (live <= EDGES)).sum())

    @property
    def size(self) -> int:
        """The number of valid encodings; they describe 423,624 modules (section 2.2)."""
        return self._every_valid * len(OPERATIONS) ** (VERTICES - 2)

    def sample(self, rng: np.random.Generator) -> Arch:
        """Every valid encoding with equal probability: it draws until an encoding is valid."""
        while True:
            draws = rng.random(len(self.decisions)).tolist()
            arch = tuple([int(u * n) for u, n in zip(draws, self._counts, strict=True)])
            feeding = {a for a in range(OUTPUT) if arch[self.at_edge[a, OUTPUT]]}
            if 0 < self._live_edges(arch, feeding) <= EDGES:
                return arch

    def key(self, arch: Arch) -> str:
        """The benchmark's hash, which is equal for modules that are the same graph."""
        return module_hash(self.module(arch))

    def parse(self, text: str) -> Arch:
        """Also reads the benchmark's own notation, the rows of the matrix and the operations."""
        return from_text(text) if ":" in text else super().parse(text)

    def module(self, arch: Arch) -> Module:
        """What the pruning leaves of `arch`."""
        self.check(arch)
        fed, used = {0}, {OUTPUT}
        for b in range(1, VERTICES):
            if any(arch[self.at_edge[a, b]] for a in fed):
                fed.add(b)
        for a in reversed(range(OUTPUT)):
            if any(arch[self.at_edge[a, b]] for b in used if b > a):
                used.add(a)
        kept = sorted(fed & used)
        edges = tuple(tuple(a < b and bool(arch[self.at_edge[a, b]]) for b in kept) for a in kept)
        return Module(edges, tuple(arch[self.at_operation[v]] for v in kept[1:-1]))

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        module, channels = self.module(arch), skeleton.channels
        x = _conv(ops, ops.image(), channels, 3, "stem")
        for stack in range(STACKS):
            if stack:
                x = ops.max_pool(x, 2, strides=2)
                channels *= 2
            for i in range(skeleton.cells):
                x = _module(ops, x, module, channels, f"stack{stack}_module{i}")
        return ops.classifier(x, skeleton.classes, dropout=skeleton.dropout)

    def graph(self, arch: Arch) -> Graph:
        """The pruned module."""
        module = self.module(arch)
        names = ["input", *(f"vertex{i}" for i in range(1, len(module.edges) - 1)), "output"]
        labels = ["input", *(OPERATIONS[choice] for choice in module.operations), "output"]
        return Graph(
            tuple(zip(names, labels, labels, strict=True)),
            tuple(
                (names[a], names[b])
                for a, row in enumerate(module.edges)
                for b, there in enumerate(row)
                if there
            ),
        )

    def _live_edges(self, arch: Arch, feeding: set[int]) -> int:
        """The number of edges on a way from the input to the output.

        feeding: the vertices that feed the output.
        """
        fed = {0}
        into = {}
        for b in range(1, OUTPUT):
            into[b] = [a for a in fed if arch[self.at_edge[a, b]]]
            if into[b]:
                fed.add(b)
        used, count = feeding & fed, len(feeding & fed)
        for b in reversed(range(1, OUTPUT)):
            if b in used:
                used = used.union(into[b])
                count += len(into[b])
        return count


def module_hash(module: Module) -> str:
    """The benchmark's MD5 of a module, by which its table is indexed.

    The hash of a vertex starts from its degrees and its operation. It is then hashed together with
    those of its neighbours, as many times as there are vertices (lib/graph_util.py, hash_module).
    """
    n = len(module.edges)
    before = [[a for a in range(n) if module.edges[a][b]] for b in range(n)]
    after = [[b for b in range(n) if module.edges[a][b]] for a in range(n)]
    labels = (-1, *module.operations, -2)
    hashes = [_md5(str((len(after[v]), len(before[v]), labels[v]))) for v in range(n)]
    for _ in range(n):
        hashes = [
            _md5(
                "".join(sorted([hashes[a] for a in before[v]]))
                + "|"
                + "".join(sorted([hashes[b] for b in after[v]]))
                + "|"
                + hashes[v]
            )
            for v in range(n)
        ]
    return _md5(str(sorted(hashes)))


def from_text(text: str) -> Arch:
    """Reads `ROWS:input,OPERATION,...,output`: the matrix row by row, then a name for each vertex.

    Raises ConfigError if the text is no module of the benchmark.
    """
    rows, _, words = text.strip().partition(":")
    names = words.split(",")
    n = len(names)
    try:
        if len(rows) != n * n or set(rows) - {"0", "1"}:
            raise ValueError(f"{n} vertices need {n * n} digits 0 or 1, got {len(rows)}")
        matrix = [[digit == "1" for digit in rows[n * a : n * a + n]] for a in range(n)]
        return from_matrix(matrix, names)
    except ValueError as error:
        raise ConfigError(
            f"genotype must be ROWS:input,OPERATION,...,output, got {text}: {error}; "
            f"set genotype={EXAMPLE}"
        ) from None


def from_matrix(matrix: Sequence[Sequence[Any]], names: Sequence[str]) -> Arch:
    """The architecture of a matrix and the names of its vertices: input, operations, output.

    matrix[a][b]: whether vertex a feeds vertex b.

    Raises ValueError if they are no module of the benchmark.
    """
    n = len(names)
    if not 2 <= n <= VERTICES or names[0] != "input" or names[-1] != "output":
        raise ValueError(f"there must be 2 to {VERTICES} vertices, input first and output last")
    if any(matrix[a][b] for a in range(n) for b in range(a + 1)):
        raise ValueError("edges must lead to later vertices: the matrix is upper triangular")
    unknown = [name for name in names[1:-1] if name not in OPERATIONS]
    if unknown:
        raise ValueError(f"operations must be among {', '.join(OPERATIONS)}, got {unknown[0]}")
    place = [*range(n - 1), OUTPUT]
    arch = [0] * len(NASBench101.decisions)
    for a in range(n):
        for b in range(a + 1, n):
            arch[NASBench101.at_edge[place[a], place[b]]] = int(bool(matrix[a][b]))
    for v in range(1, n - 1):
        arch[NASBench101.at_operation[v]] = OPERATIONS.index(names[v])
    try:
        NASBench101().check(tuple(arch))
    except ValueError:
        raise ValueError(
            f"the output must be reached, over at most {EDGES} edges that are not pruned"
        ) from None
    return tuple(arch)


def vertex_channels(module: Module, channels: int) -> list[int]:
    """The channels of each vertex between input and output; index 0, the input, is not used."""
    n = len(module.edges)
    feeding = [v for v in range(1, n - 1) if module.edges[v][n - 1]]
    widths = [0] * (n - 1)
    for i, v in enumerate(feeding):
        widths[v] = max(1, channels // len(feeding) + (i < channels % len(feeding)))
    for v in reversed(range(1, n - 1)):
        if v not in feeding:
            widths[v] = max(widths[b] for b in range(v + 1, n - 1) if module.edges[v][b])
    return widths


def _module(ops: Ops, x: Any, module: Module, channels: int, name: str) -> Any:
    """x [batch, height, width, any channels] -> [batch, height, width, channels]."""
    n, widths = len(module.edges), vertex_channels(module, channels)
    outputs: dict[int, Any] = {}
    for v in range(1, n - 1):
        inputs = [ops.first(outputs[a], widths[v]) for a in range(1, v) if module.edges[a][v]]
        if module.edges[0][v]:
            inputs.append(_conv(ops, x, widths[v], 1, f"{name}_vertex{v}_input"))
        y, choice = ops.add(inputs), module.operations[v - 1]
        if choice == MAX_POOL:
            outputs[v] = ops.max_pool(y, 3, strides=1)
        else:
            outputs[v] = _conv(
                ops, y, widths[v], {CONV_3X3: 3, CONV_1X1: 1}[choice], f"{name}_vertex{v}"
            )
    feeding = [v for v in outputs if module.edges[v][n - 1]]
    terms = [ops.concatenate([outputs[v] for v in feeding])] if feeding else []
    if module.edges[0][n - 1]:
        width = sum(widths[v] for v in feeding) if feeding else channels
        terms.append(_conv(ops, x, width, 1, f"{name}_output_input"))
    return ops.add(terms)


def _conv(ops: Ops, x: Any, filters: int, size: int, name: str) -> Any:
    x = ops.conv(x, filters, (size, size), initializer=INITIALIZER, name=f"{name}_conv")
    return ops.relu(ops.batch_norm(x, name=f"{name}_bn"))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
