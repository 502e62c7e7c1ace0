"""Networks that grow from a linear model by the mutations of large-scale evolution.

Real et al. 2017 (arXiv:1703.01041, section 3.2; the sketches of classes are those of its
supplementary section S1). A backbone of edges, each a convolution or a one-to-one connection; the
vertex behind an edge adds the skips that end there, and is linear or batch normalization and ReLU.
Global average pooling and a linear layer end the network; the first individual is nothing else. A
convolution has as many channels as its input times a factor. Skips are identities: a larger image
is read at every n-th pixel, channels that are too many are cut, missing ones are zeros.

`mutate` draws one of the kinds of mutation that apply, each with the same probability: see KINDS.
Numbers change by a factor within 0.5 .. 2. A layer keeps its slot, and therefore its name, so that
a child inherits the weights whose shape has stayed (`evaluator.morphism.method=same_shape`).

Departures: the slots limit the depth, and an insertion fills an empty slot, so it cannot stand
between two neighbours that are both filled; a vertex has at most one skip; rates and factors come
from grids of eight steps an octave; sizes, strides and channels have an upper limit; a number that
is changed does not stay as it was. Not known, and ours: the leakiness of the paper's ReLU (zero),
how factors of channels are drawn (as the learning rate's), how strides are (doubled or halved).
"""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.image_space import ImageSpace

CONVOLUTION, ONE_TO_ONE = "convolution", "one_to_one"
LINEAR, BN_RELU = "linear", "bn_relu"
STEPS = 8  # of a grid, an octave
RESET = "reset weights"
# Section 3.2 has these eleven. `mutate` leaves RESET out, because it changes no architecture.
KINDS = (
    "alter learning rate", "identity", RESET, "insert convolution", "remove convolution",
    "alter stride", "alter number of channels", "filter size", "insert one-to-one", "add skip",
    "remove skip",
)  # fmt: skip
PARTS = ("edge", "height", "width", "factor", "stride", "vertex", "skip")

# Places of a mutation: the first changed decision, and the new choices of it and those behind it.
Places = list[list[tuple[int, Arch]]]


@dataclasses.dataclass(frozen=True)
class Edge:
    """What a slot that is not empty has: an edge of the backbone, and the vertex behind it.

    height, width: of a convolution's kernel. factor: output channels by input channels. vertex:
    LINEAR or BN_RELU. skip: the slot at whose vertex the skip that ends here begins.
    """

    kind: str
    height: int
    width: int
    factor: float
    stride: int
    vertex: str
    skip: int | None


class LargeScaleEvolution(ImageSpace):
    """A backbone of at most `slots` edges, with skips.

    Args:
      slots: the places for a convolution or a one-to-one connection.
      sizes: odd heights and widths of a kernel, in pixels, rising; an inserted one has 3.
      strides: powers of two, from 1 on; an inserted convolution has 1 or 2.
      max_filters: the most channels of a convolution, times the skeleton's width.
      learning_rate: of the first individual.
      octaves: the learning rate stays within so many halvings and doublings of the first.
      filled: the share of slots that `sample` fills; 0: `sample` gives the first individual.
    """

    def __init__(
        self,
        *,
        slots: int = 24,
        sizes: Sequence[int] = (3, 5, 7, 9),
        strides: Sequence[int] = (1, 2, 4),
        max_filters: int = 256,
        learning_rate: float = 0.1,
        octaves: Sequence[int] = (6, 2),
        filled: float = 0.2,
    ):
        _check(slots, sizes, strides, max_filters, learning_rate, octaves, filled)
        self.slots, self.max_filters, self.filled = slots, max_filters, filled
        down, up = octaves
        rates = tuple(
            learning_rate * 2 ** (k / STEPS) for k in range(-down * STEPS, up * STEPS + 1)
        )
        factors = tuple(2 ** (k / STEPS) for k in range(-2 * STEPS, 2 * STEPS + 1))
        choices: dict[str, tuple[Any, ...]] = {
            "edge": (None, CONVOLUTION, ONE_TO_ONE),
            "height": tuple(sizes),
            "width": tuple(sizes),
            "factor": factors,
            "stride": tuple(strides),
            "vertex": (LINEAR, BN_RELU),
        }
        decisions = [Decision("learning_rate", rates)]
        for i in range(slots):
            decisions += [Decision(f"slot{i}/{part}", choices[part], i) for part in PARTS[:-1]]
            sources = (None, *range(i))
            decisions.append(Decision(f"slot{i}/skip", sources, i, sources))
        self.decisions = tuple(decisions)
        self._first_rate, self._no_change = down * STEPS, factors.index(1.0)

    def allowed(self, prefix: Arch) -> tuple[int, ...]:
        """An empty slot has no further choices; a one-to-one connection has vertex and skip."""
        slot, part = divmod(len(prefix) - 1, len(PARTS))
        every = tuple(range(len(self.decisions[len(prefix)].choices)))
        if not prefix or part == 0:
            return every
        edge = self.decisions[len(prefix) - part].choices[prefix[-part]]
        if edge is None or (edge == ONE_TO_ONE and PARTS[part] not in ("vertex", "skip")):
            return (0,)
        if PARTS[part] != "skip":
            return every
        return (0, *(c for c in every[1:] if prefix[self._at(c - 1, "edge")]))

    @property
    def size(self) -> int:
        """Counted slot by slot, by the number of earlier slots that are filled."""
        counts = {d.name.split("/")[-1]: len(d.choices) for d in self.decisions}
        convolutions = 1
        for part in ("height", "width", "factor", "stride"):
            convolutions *= counts[part]
        prefixes = {0: counts["learning_rate"]}
        for _ in range(self.slots):
            longer: dict[int, int] = {}
            for filled, count in prefixes.items():
                options = (convolutions + 1) * counts["vertex"] * (1 + filled)
                longer[filled] = longer.get(filled, 0) + count
                longer[filled + 1] = longer.get(filled + 1, 0) + count * options
            prefixes = longer
        return sum(prefixes.values())

    def start(self) -> Arch:
        """The first individual: a linear layer of the means of the channels."""
        return (self._first_rate, *[0] * (len(self.decisions) - 1))

    def sample(self, rng: np.random.Generator) -> Arch:
        """Fills each slot with probability `filled`; half of the filled slots have no skip."""
        if not self.filled:
            return self.start()
        arch: Arch = ()
        for decision in self.decisions:
            allowed, part = self.allowed(arch), decision.name.split("/")[-1]
            if part == "edge":
                allowed = allowed[1:] if rng.random() < self.filled else (0,)
            elif part == "skip" and rng.random() < 0.5:
                allowed = (0,)
            arch += (allowed[int(rng.random() * len(allowed))],)
        return arch

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Draws a kind of mutation among those that apply, then a place, then a value."""
        kinds = self.mutations(arch)
        del kinds[RESET]
        return self._mutated(arch, kinds, rng)[0]

    def mutate_or_reset(self, arch: Arch, rng: np.random.Generator) -> tuple[Arch, bool]:
        """As `mutate`, of all eleven kinds; and whether the child's weights start anew."""
        child, kind = self._mutated(arch, self.mutations(arch), rng)
        return child, kind == RESET

    def _mutated(
        self, arch: Arch, kinds: dict[str, Places], rng: np.random.Generator
    ) -> tuple[Arch, str]:
        kind = list(kinds)[int(rng.random() * len(kinds))]
        if not kinds[kind]:
            return arch, kind
        values = kinds[kind][int(rng.random() * len(kinds[kind]))]
        at, new = values[int(rng.random() * len(values))]
        child = (*arch[:at], *new)
        for old in arch[len(child) :]:  # a skip is removed with the slot where it begins
            child += (old if old in self.allowed(child) else 0,)
        return child, kind

    def mutations(self, arch: Arch) -> dict[str, Places]:
        """The kinds of KINDS that apply to `arch`, each with its places and their values.

        The kinds that change no architecture have no places.
        """
        edges = {i: edge for i in range(self.slots) if (edge := self.edge(arch, i))}
        convolutions = [i for i, edge in edges.items() if edge.kind == CONVOLUTION]
        empty = [i for i in range(self.slots) if i not in edges]
        kinds: dict[str, Places] = {
            "alter learning rate": [values] if (values := self._neighbours(arch, 0)) else [],
            "insert convolution": [self._insertions(i, CONVOLUTION) for i in empty],
            "remove convolution": [
                [(self._at(i, "edge"), (0,) * len(PARTS))] for i in convolutions
            ],
            "alter stride": self._alterations(arch, convolutions, "stride"),
            "alter number of channels": self._alterations(arch, convolutions, "factor"),
            "filter size": [
                place
                for part in ("height", "width")
                for place in self._alterations(arch, convolutions, part)
            ],
            "insert one-to-one": [self._insertions(i, ONE_TO_ONE) for i in empty],
            "add skip": self._new_skips(edges),
            "remove skip": [
                [(self._at(i, "skip"), (0,))] for i, edge in edges.items() if edge.skip is not None
            ],
        }
        return {"identity": [], RESET: []} | {kind: at for kind, at in kinds.items() if at}

    def _at(self, slot: int, part: str) -> int:
        """The number of a slot's decision."""
        return 1 + slot * len(PARTS) + PARTS.index(part)

    def _neighbours(self, arch: Arch, at: int) -> list[tuple[int, Arch]]:
        """The other choices of a number, within a factor of two."""
        choices = self.decisions[at].choices
        low, high = choices[arch[at]] / 2, choices[arch[at]] * 2
        return [
            (at, (new,))
            for new, value in enumerate(choices)
            if new != arch[at] and low * (1 - 1e-9) <= value <= high * (1 + 1e-9)
        ]

    def _alterations(self, arch: Arch, slots: Sequence[int], part: str) -> Places:
        places = [self._neighbours(arch, self._at(i, part)) for i in slots]
        return [values for values in places if values]

    def _insertions(self, slot: int, kind: str) -> list[tuple[int, Arch]]:
        """A 3x3 convolution of stride 1 or 2 and as many channels as its input; one-to-one."""
        at, decision = self._at(slot, "edge"), self.decisions[self._at(slot, "height")]
        if kind == ONE_TO_ONE:
            return [(at, (2, 0, 0, 0, 0, vertex, 0)) for vertex in range(2)]
        size = decision.choices.index(3)
        strides = range(min(2, len(self.decisions[self._at(slot, "stride")].choices)))
        return [
            (at, (1, size, size, self._no_change, stride, vertex, 0))
            for stride in strides
            for vertex in range(2)
        ]

    def _new_skips(self, edges: dict[int, Edge]) -> Places:
        """Pairs of vertices that no edge joins."""
        filled = list(edges)
        places: Places = []
        for n, i in enumerate(filled):
            if edges[i].skip is None:
                places += [[(self._at(i, "skip"), (1 + j,))] for j in filled[: max(0, n - 1)]]
        return places

    def key(self, arch: Arch) -> Arch:
        """Filled slots are renumbered, because empty ones change nothing."""
        filled = [i for i in range(self.slots) if arch[self._at(i, "edge")]]
        place = {i: n for n, i in enumerate(filled)}
        key = list(arch[:1])
        for i in filled:
            first, source = self._at(i, "edge"), arch[self._at(i, "skip")]
            key += [*arch[first : first + len(PARTS) - 1], place[source - 1] if source else -1]
        return tuple(key)

    def learning_rate(self, arch: Arch) -> float:
        return self.decisions[0].choices[arch[0]]

    def edge(self, arch: Arch, i: int) -> Edge | None:
        """What `arch` has in slot i; None if the slot is empty."""
        first = self._at(i, "edge")
        if not arch[first]:
            return None
        chosen = range(first, first + len(PARTS))
        return Edge(*(self.decisions[at].choices[arch[at]] for at in chosen))

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        self.check(arch)
        x, shrunk = ops.image(), 1
        vertices: dict[int, tuple[Any, int]] = {}  # slot -> output, and the divisor of its size
        for i in range(self.slots):
            edge = self.edge(arch, i)
            if edge is None:
                continue
            if edge.kind == CONVOLUTION:
                most = skeleton.filters(self.max_filters)
                filters = min(most, max(1, round(ops.shape(x)[2] * edge.factor)))
                x = ops.conv(
                    x, filters, (edge.height, edge.width), strides=(edge.stride, edge.stride),
                    name=f"slot{i}_conv",
                )  # fmt: skip
                shrunk *= edge.stride
            if edge.skip is not None:
                source, source_shrunk = vertices[edge.skip]
                x = ops.add([x, _resolved(ops, source, shrunk // source_shrunk, ops.shape(x)[2])])
            if edge.vertex == BN_RELU:
                x = ops.relu(ops.batch_norm(x, name=f"slot{i}_bn"))
            vertices[i] = x, shrunk
        return ops.classifier(x, skeleton.classes, dropout=skeleton.dropout)

    def graph(self, arch: Arch) -> Graph:
        nodes, edges, last = [("image", "image", "input")], [], "image"
        for i in range(self.slots):
            edge = self.edge(arch, i)
            if edge is None:
                continue
            label, kind = "one-to-one", "identity"
            if edge.kind == CONVOLUTION:
                kind = f"{edge.height}x{edge.width}"
                label = f"{kind}, channels x{edge.factor:.2g}"
                label += f", stride {edge.stride}" if edge.stride > 1 else ""
            label += ", BN, ReLU" if edge.vertex == BN_RELU else ""
            nodes.append((f"slot{i}", label, kind))
            sources = [last] if edge.skip is None else [last, f"slot{edge.skip}"]
            edges += [(source, f"slot{i}") for source in dict.fromkeys(sources)]
            last = f"slot{i}"
        nodes.append(("classifier", "classifier", "classifier"))
        return Graph(tuple(nodes), (*edges, (last, "classifier")))


def _resolved(ops: Ops, x: Any, shrink: int, channels: int) -> Any:
    """x at every `shrink`-th pixel, with its first `channels` channels, zeros for missing ones."""
    if shrink > 1:
        x = ops.max_pool(x, 1, strides=shrink)
    had = ops.shape(x)[2]
    if had > channels:
        return ops.first(x, channels)
    parts = [x]
    while (missing := channels - sum(ops.shape(part)[2] for part in parts)) > 0:
        parts.append(ops.zeros(ops.first(x, min(had, missing))))
    return ops.concatenate(parts)


def _check(
    slots: int,
    sizes: Sequence[int],
    strides: Sequence[int],
    max_filters: int,
    learning_rate: float,
    octaves: Sequence[int],
    filled: float,
) -> None:
    """Raises ConfigError for settings that make no space."""
    for name, value in (("slots", slots), ("max_filters", max_filters)):
        if value < 1:
            raise ConfigError(f"space.{name} must be at least 1, got {value}; set space.{name}=24")
    if 3 not in sizes or any(n % 2 == 0 for n in sizes) or list(sizes) != sorted(set(sizes)):
        raise ConfigError(
            f"space.sizes must be rising odd numbers with 3 among them, got {list(sizes)}; "
            "set space.sizes=[3,5,7]"
        )
    if list(strides) != [2**k for k in range(len(strides))] or not strides:
        raise ConfigError(
            f"space.strides must be the powers of two from 1 on, got {list(strides)}; "
            "set space.strides=[1,2,4]"
        )
    if not learning_rate > 0:
        raise ConfigError(
            f"space.learning_rate must be positive, got {learning_rate}; "
            "set space.learning_rate=0.1"
        )
    if len(octaves) != 2 or min(octaves) < 0:
        raise ConfigError(
            "space.octaves must be a number of halvings and one of doublings, from 0 on, got "
            f"{list(octaves)}; set space.octaves=[6,2]"
        )
    if not 0 <= filled <= 1:
        raise ConfigError(f"space.filled must be in [0, 1], got {filled}; set space.filled=0.5")
