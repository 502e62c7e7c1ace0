"""Networks that grow: a row of slots, each empty or a convolution, with skips between them.

SlotSpace is what the spaces of slots share, MorphismSpace the one without hidden layers; plain.py
and auto_keras.py have those with hidden dense layers behind the slots.

A layer keeps its slot, and therefore its name, in all networks that contain it. After an insertion,
a wider layer or a new skip, a network inherits the weights of the layers that stay the same
(`nas/morphism/inheritance.py`).

A slot is a convolution, batch normalization, the skip that ends there, and ReLU. An added skip is a
1x1 convolution of the output of an earlier slot, which is added. A concatenated skip is
concatenated, and a 1x1 convolution restores the number of channels (Jin, Song & Hu 2019,
arXiv:1806.10282, whose code 0.3.7 adds skips in this way). A layer of "0" filters has as many
filters as its input has channels.

`mutate` first draws the kind of a change, uniformly among those that apply: insert or remove a
convolution, change its filters, its stride or its size, add or remove a skip, change the learning
rate, or change nothing. It follows Real et al. 2017 (arXiv:1703.01041) from afar; their own space
is large_scale_evolution.py.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Chain, ChainLayer, ChainSkip, Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.papers.growing.changes import (
    changes,
    check_hidden,
    check_rest,
    check_slots,
    check_start,
)
from nas.search_spaces.papers.growing.settings import GROWTH, GrowthSettings


@dataclasses.dataclass(frozen=True)
class Slot:
    """The choices of a slot that is not empty."""

    kernel: int  # pixels, square
    filters: int  # before the skeleton's width; 0: as many as the input has channels
    stride: int
    skip: tuple[str, int] | None  # add or concat, and the slot where the skip begins


class SlotSpace(ImageSpace):
    """What spaces of slots share; a subclass writes `network`, and may place hidden layers.

    Args:
      slots: the places for a convolution.
      kernels: choices of a convolution's size in pixels; kernels are square.
      filters: choices, multiplied by the skeleton's width; 0: as many as the input has channels.
      strides: choices of a convolution's stride, for both axes.
      skips: whether slots may have a skip.
      pool_after: a 2x2 max pooling stands after each of these numbers of slots.
      head: pool (global average pooling) or flatten, before the dense layer to the logits.
      learning_rates: choices of the recipe's learning rate; empty: the recipe's own rate.
      filled: the share of slots that `sample` fills; 0: `sample` only returns the linear model,
        with the first learning rate.
      growth: where a search starts, and what its mutations do.
    """

    conv_dropout = 0.0  # rate behind every convolution but the first
    has_hidden = False  # whether there are places for hidden layers

    def __init__(
        self,
        *,
        slots: int,
        kernels: Sequence[int],
        filters: Sequence[int],
        skips: bool,
        pool_after: Sequence[int],
        filled: float,
        growth: GrowthSettings,
        strides: Sequence[int] = (1,),
        head: str = "flatten",
        learning_rates: Sequence[float] = (),
    ):
        check_slots(slots, kernels, filters, strides, pool_after)
        check_rest(head, learning_rates, filled)
        check_start(growth.start_filters, filters, (0, *pool_after, slots))
        self.slots, self.head, self.filled, self.growth = slots, head, filled, growth
        self.pool_after = tuple(pool_after)
        self._rates = bool(learning_rates)
        rates = [Decision("learning_rate", tuple(learning_rates))] if learning_rates else []
        parts = {"kernel": (0, *kernels), "filters": tuple(filters), "stride": tuple(strides)}
        self._parts = (*parts, *(["skip"] if skips else []))
        for i in range(slots):
            rates += [Decision(f"slot{i}/{name}", values, i) for name, values in parts.items()]
            if skips:
                rates.append(_skip_decision(i))
        self.decisions = tuple(rates)
        self._first_hidden = len(rates)

    def place_hidden(self, hidden: int, units: Sequence[int]) -> None:
        """Adds the decisions of `hidden` dense layers; constructors of spaces with such call it."""
        check_hidden(hidden, units, self.growth.start_units)
        self.has_hidden = True
        self.decisions += tuple(
            Decision(f"hidden{i}/units", (0, *units), self.slots + i) for i in range(hidden)
        )

    def allowed(self, prefix: Arch) -> tuple[int, ...]:
        """An empty slot has no further choices; a skip starts at a slot that is not empty."""
        at = len(prefix) - self._rates
        slot, part = divmod(at, len(self._parts))
        decision = self.decisions[len(prefix)]
        if at < 0 or part == 0 or len(prefix) >= self._first_hidden:
            return tuple(range(len(decision.choices)))
        if not prefix[-part]:
            return (0,)
        if self._parts[part] != "skip":
            return tuple(range(len(decision.choices)))
        filled = [prefix[self._rates + j * len(self._parts)] for j in range(slot)]
        return (0, *(c for c in range(1, len(decision.choices)) if filled[(c - 1) // 2]))

    @property
    def size(self) -> int:
        """Counted slot by slot, by the number of earlier slots that are filled."""
        counts = {d.name.split("/")[-1]: len(d.choices) for d in self.decisions}
        convolutions = (counts["kernel"] - 1) * counts["filters"] * counts["stride"]
        prefixes = {0: counts.get("learning_rate", 1)}
        for _ in range(self.slots):
            longer: dict[int, int] = {}
            for filled, count in prefixes.items():
                skips = 1 + 2 * filled if "skip" in self._parts else 1
                longer[filled] = longer.get(filled, 0) + count
                longer[filled + 1] = longer.get(filled + 1, 0) + count * convolutions * skips
            prefixes = longer
        hidden = (len(decision.choices) for decision in self.decisions[self._first_hidden :])
        return sum(prefixes.values()) * math.prod(hidden)

    def sample(self, rng: np.random.Generator) -> Arch:
        """Fills each slot with probability `filled`; half of the filled slots have no skip."""
        if not self.filled:
            return (0,) * len(self.decisions)
        arch: Arch = ()
        for decision in self.decisions:
            allowed, part = self.allowed(arch), decision.name.split("/")[-1]
            if part in ("kernel", "units"):
                allowed = allowed[1:] if rng.random() < self.filled else (0,)
            elif part == "skip" and rng.random() < 0.5:
                allowed = (0,)
            arch += (allowed[int(rng.random() * len(allowed))],)
        return arch

    def start(self) -> Arch:
        """The small network that `growth` describes, from which a search grows."""
        chosen = {decision.name: decision.choices[0] for decision in self.decisions}
        kernels = self.decisions[self._rates].choices
        rising = sorted(f for f in self.decisions[self._rates + 1].choices if f) or [0]
        for stage, first in enumerate((0, *self.pool_after)):
            length = (*self.pool_after, self.slots)[stage] - first
            widths = [rising[min(stage, len(rising) - 1)]] * min(2, length)
            if self.growth.start_filters:
                widths = list(self.growth.start_filters[stage])
            for i, filters in enumerate(widths, first):
                chosen[f"slot{i}/kernel"] = 3 if 3 in kernels else kernels[1]
                chosen[f"slot{i}/filters"] = filters
        chosen |= {f"hidden{i}/units": n for i, n in enumerate(self.growth.start_units)}
        return self.encode(chosen)

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Draws a kind of change, uniformly among those that apply, and a change of that kind."""
        if rng.random() < self.growth.identity_share:
            return arch
        growth = self.growth
        kinds = changes(self, arch, only_grow=growth.only_grow, doubling=growth.doubling)
        if not kinds:
            return arch
        options = list(kinds.values())[int(rng.random() * len(kinds))]
        at, new = options[int(rng.random() * len(options))]
        child = (*arch[:at], *new)
        for old in arch[len(child) :]:  # a skip is removed with the slot where it begins
            child += (old if old in self.allowed(child) else 0,)
        return child

    def key(self, arch: Arch) -> Arch:
        """Filled slots between two poolings are renumbered, because empty slots change nothing."""
        edges = (0, *self.pool_after, self.slots)
        places: dict[int, int] = {}
        for start, end in zip(edges, edges[1:], strict=False):
            filled = [i for i in range(start, end) if self.slot(arch, i)]
            places |= {i: start + n for n, i in enumerate(filled)}
        key, filters = list(arch[: self._rates]), 0
        for i, place in places.items():
            slot = self.slot(arch, i)
            if slot:
                kind, source = slot.skip or ("", i)
                filters = slot.filters or filters  # 0: as many as the slot before
                key += [place, slot.kernel, filters, slot.stride]
                key += [("", "add", "concat").index(kind), places[source]]
        return (*key, -1, *self.hidden(arch).values()) if self.has_hidden else tuple(key)

    def as_chain(self, arch: Arch) -> Chain:
        """Convolutions (filters, kernel, stride), poolings (size, stride), dense layers (units)."""
        layers: list[ChainLayer] = []
        skips: list[ChainSkip] = []
        layer_of: dict[int, int] = {}  # slot -> the number of its layer
        filters = 0  # as many as the image has channels
        for i in range(self.slots):
            if i in self.pool_after:
                layers.append(("max_pool", (2, 2)))
            slot = self.slot(arch, i)
            if slot is None:
                continue
            filters = slot.filters or filters
            layers.append(("conv", (filters, slot.kernel, slot.stride)))
            layer_of[i] = len(layers)
            if slot.skip:
                kind, j = slot.skip
                skips.append((layer_of[j], layer_of[i], kind))
        layers += [("dense", (units,)) for units in self.hidden(arch).values()]
        return Chain((*layers, ("classifier", ())), tuple(skips))

    def learning_rate(self, arch: Arch) -> float | None:
        """The chosen learning rate; None: the recipe's own rate."""
        return self.decisions[0].choices[arch[0]] if self._rates else None

    def slot(self, arch: Arch, i: int) -> Slot | None:
        """What `arch` has in slot i; None if the slot is empty."""
        first = self._rates + i * len(self._parts)
        if not arch[first]:
            return None
        decisions = self.decisions[first : first + len(self._parts)]
        chosen = arch[first : first + len(self._parts)]
        kernel, filters, stride, *skip = (
            decision.choices[choice] for decision, choice in zip(decisions, chosen, strict=True)
        )
        return Slot(kernel, filters, stride, skip[0] if skip else None)

    def hidden(self, arch: Arch) -> dict[int, int]:
        """Place of a hidden layer -> its units, before the skeleton's width; filled places only."""
        chosen = zip(self.decisions[self._first_hidden :], arch[self._first_hidden :], strict=True)
        return {i: decision.choices[c] for i, (decision, c) in enumerate(chosen) if c}

    def convolutions(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        """Writes all slots and returns the output of the last one."""
        x, shrunk = ops.image(), 1
        outputs: dict[int, tuple[Any, int]] = {}  # slot -> its output, and the divisor of its size
        for i in range(self.slots):
            if i in self.pool_after:
                x, shrunk = ops.max_pool(x, 2, strides=2), shrunk * 2
            slot = self.slot(arch, i)
            if slot is None:
                continue
            filters = skeleton.filters(slot.filters) if slot.filters else ops.shape(x)[2]
            kernel, strides = (slot.kernel, slot.kernel), (slot.stride, slot.stride)
            x = ops.conv(x, filters, kernel, strides=strides, name=f"slot{i}_conv")
            x, shrunk = ops.batch_norm(x, name=f"slot{i}_bn"), shrunk * slot.stride
            if slot.skip:
                kind, j = slot.skip
                source, source_shrunk = outputs[j]
                x = joined(ops, x, kind, source, shrunk // source_shrunk, f"slot{i}_skip")
            x = ops.relu(x)
            if self.conv_dropout and outputs:
                x = ops.dropout(x, self.conv_dropout)
            outputs[i] = x, shrunk
        return x

    def classified(self, ops: Ops, x: Any, skeleton: ImageSkeleton) -> Any:
        """The logits. x: the output of the last layer."""
        if self.head == "pool":
            return ops.classifier(x, skeleton.classes, dropout=skeleton.dropout)
        x = ops.dropout(x, skeleton.dropout)
        return ops.dense(x, skeleton.classes, name="logits", dtype="float32")

    def graph(self, arch: Arch) -> Graph:
        nodes, edges, last = [("image", "image", "input")], [], "image"
        for i in range(self.slots):
            new = []
            if i in self.pool_after:
                new.append((f"pool{i}", "2x2 max pool", "max_pool"))
            slot = self.slot(arch, i)
            if slot:
                size = f"{slot.kernel}x{slot.kernel}"
                stride = f", stride {slot.stride}" if slot.stride > 1 else ""
                skip = f", {slot.skip[0]}" if slot.skip else ""
                label = f"{size}, {slot.filters or 'same'}{stride}{skip}"
                new.append((f"slot{i}", label, size))
            for node in new:
                nodes.append(node)
                edges.append((last, node[0]))
                last = node[0]
            if slot and slot.skip and (f"slot{slot.skip[1]}", last) not in edges:
                edges.append((f"slot{slot.skip[1]}", last))
        for i, units in self.hidden(arch).items():
            nodes.append((f"hidden{i}", f"dense, {units}", "dense"))
            edges.append((last, f"hidden{i}"))
            last = f"hidden{i}"
        nodes.append(("classifier", "classifier", "classifier"))
        return Graph(tuple(nodes), (*edges, (last, "classifier")))


class MorphismSpace(SlotSpace):
    """A row of at most `slots` convolutions, with skips.

    Args: those of SlotSpace.
    """

    def __init__(
        self,
        *,
        slots: int = 12,
        kernels: Sequence[int] = (1, 3, 5),
        filters: Sequence[int] = (0, 16, 32, 64, 128),
        strides: Sequence[int] = (1,),
        skips: bool = True,
        pool_after: Sequence[int] = (4, 8),
        head: str = "pool",
        learning_rates: Sequence[float] = (),
        filled: float = 0.5,
        growth: GrowthSettings = GROWTH,
    ):
        super().__init__(
            slots=slots, kernels=kernels, filters=filters, strides=strides, skips=skips,
            pool_after=pool_after, head=head, learning_rates=learning_rates, filled=filled,
            growth=growth,
        )  # fmt: skip
        if growth.start_units:
            raise ConfigError(
                "space.growth.start_units must be [] in a space without hidden layers, got "
                f"{list(growth.start_units)}; set it or space=plain"
            )

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        self.check(arch)
        return self.classified(ops, self.convolutions(ops, arch, skeleton), skeleton)


def joined(ops: Ops, x: Any, kind: str, source: Any, shrink: int, name: str) -> Any:
    """x with a skip from `source`, whose height and width are `shrink` times as large."""
    filters = ops.shape(x)[2]
    if kind == "add":
        skip = ops.conv(source, filters, (1, 1), strides=(shrink, shrink), name=name)
        return ops.add([x, skip])
    if shrink > 1:
        source = ops.max_pool(source, shrink, strides=shrink)
    return ops.conv(ops.concatenate([x, source]), filters, (1, 1), name=name)


def _skip_decision(i: int) -> Decision:
    choices: list[Any] = [None]
    for j in range(i):
        choices += [("add", j), ("concat", j)]
    return Decision(f"slot{i}/skip", tuple(choices), i, tuple(c and c[1] for c in choices))
