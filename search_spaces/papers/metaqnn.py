"""The plain convolutional networks of MetaQNN (Baker et al. 2017, arXiv:1611.02167, section 4).

A network is a chain: at each step one of the layers that may follow is chosen, until the softmax
ends the network. These are the layers in the paper's notation, and what they may follow (sections
4.1 and 4.2, Table 1; where the paper says nothing, the authors' code bowenbaker/metaqnn,
libs/grammar/state_enumerator.py):

  C(filters,kernel)  convolution and ReLU, "same" padding; behind the image, a C or a P
  P(window,stride)   max pooling; behind a C
  FC(units)          dense layer and ReLU; behind a C or a P of a small representation, or behind a
                     larger or equal FC; at most `max_fc`
  GAP                global average pooling; behind the image, a C or a P; only SM may follow
  SM                 dense layer to the classes, which ends the network; behind any layer, and the
                     only choice behind `layers` layers

There are two sizes of the representation behind a P, as in the authors' code. The agent divides and
rounds down: floor((n - window) / stride) + 1 pixels (`_calc_new_image_size`). The network is
Caffe's, whose poolings round up: ceil((n - window) / stride) + 1 (libs/caffe/string_to_model.py); a
last window that reaches over the edge sees the pixels that there are. 16 pixels become 7 for the
agent and 8 in the network behind a P(3,2).

The agent does not see the exact size but its bin: 8 and more, 4 to 7, 1 to 3 (section 4.1). A
window must be smaller than the bin's lower bound (code; the paper: not larger than the
representation). An FC may be entered from the two smaller bins (section 4.2).

Dropout stands behind every second C, P or FC; the i-th of n has the rate i/(2n) (section 5). There
is no batch normalization. Weights are initialised as in Glorot & Bengio 2010 (section 5: Xavier).

Departures: the code adds a dropout behind each FC, and if the number of layers is odd, it counts
one dropout more than it places. The code's GAP is a 1x1 convolution to the classes, ReLU, mean over
windows of the agent's size and a dense layer; here GAP is the mean over the image, and SM is the
dense layer.
"""

import dataclasses
import functools
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.image_space import ImageSpace

BINS = (8, 4, 1)  # pixels: the smallest of each bin (section 4.1)
LARGEST_BEFORE_FC = 4  # the largest bin from which an FC may be entered (section 4.2)
SOFTMAX, GAP = 0, 1  # choices
START = -1  # stands for the last choice before the first layer
XAVIER = "glorot_uniform"
UP, DOWN = "up", "down"  # how the network rounds the size behind a pooling


@dataclasses.dataclass(frozen=True)
class Layer:
    """One choice. kind: C, P, FC, GAP or SM."""

    kind: str
    units: int = 0  # filters of a C, units of an FC, before the skeleton's width
    window: int = 0  # pixels, of a C or a P
    stride: int = 1  # pixels, of a P

    def __str__(self) -> str:
        numbers = {
            "C": f"({self.units},{self.window})",
            "P": f"({self.window},{self.stride})",
            "FC": f"({self.units})",
        }
        return self.kind + numbers.get(self.kind, "")


class _Position(NamedTuple):
    """The state after a prefix of choices: all that later choices depend on."""

    depth: int  # layers so far
    last: int  # the last choice, or START
    size: int  # of the representation, pixels; 1 behind an FC or the GAP
    fcs: int  # FCs so far


class MetaQNN(ImageSpace):
    """Chains of at most `layers` layers and the softmax.

    Every decision has the same choices; `allowed` returns those that are open. The first SM ends
    the network, and only SM is open afterwards.

    Args:
      image_size: the smaller side in pixels, from which sizes are computed. On smaller images, a
        network leaves out the poolings whose window does not fit.
      layers: the largest number of layers before the softmax.
      filters, kernels: choices of a C.
      pools: choices (window, stride) of a P.
      units: choices of an FC.
      max_fc: the largest number of FCs in a network.
      pooling_rounds: up: a pooling in the network has Caffe's size; down: it has the agent's.
    """

    def __init__(
        self,
        *,
        image_size: int = 32,
        layers: int = 18,
        filters: Sequence[int] = (64, 128, 256, 512),
        kernels: Sequence[int] = (1, 3, 5),
        pools: Sequence[Sequence[int]] = ((5, 3), (3, 2), (2, 2)),
        units: Sequence[int] = (512, 256, 128),
        max_fc: int = 2,
        pooling_rounds: str = UP,
    ):
        _check(image_size, layers, max_fc)
        for name, values in (("filters", filters), ("kernels", kernels), ("units", units)):
            _check_choices(name, values)
        _check_pools(pools, pooling_rounds)
        self.pooling_rounds = pooling_rounds
        self.image_size, self.layers, self.max_fc = image_size, layers, max_fc
        self.choices = (
            Layer("SM"),
            Layer("GAP"),
            *(Layer("C", units=f, window=k) for f in filters for k in kernels),
            *(Layer("P", window=window, stride=stride) for window, stride in pools),
            *(Layer("FC", units=n) for n in units),
        )
        names = tuple(str(layer) for layer in self.choices)
        self.decisions = tuple(Decision(f"layer{i}", names, i) for i in range(layers + 1))

    def allowed(self, prefix: Arch) -> tuple[int, ...]:
        return self._options(self._position(prefix))

    def state(self, prefix: Arch) -> tuple[int, ...] | None:
        """The paper's state: depth, last layer, bin of the size, FCs so far.

        None if the network has ended. A prefix after which only SM is open has a state too, because
        the step to the end is rewarded.
        """
        at = self._position(prefix)
        return None if at.last == SOFTMAX else at._replace(size=_bin(at.size))

    @property
    def size(self) -> int:
        @functools.cache
        def completions(at: _Position) -> int:
            if at.last == SOFTMAX:
                return 1
            return sum(completions(self._after(at, choice)) for choice in self._options(at))

        return completions(self._position(()))

    def chain(self, arch: Arch) -> tuple[Layer, ...]:
        """The layers of `arch`, including the SM at the end."""
        self.check(arch)
        return tuple(self.choices[choice] for choice in arch[: arch.index(SOFTMAX) + 1])

    def notation(self, arch: Arch) -> str:
        """The paper's notation: [C(64,3), P(2,2), GAP, SM]."""
        return f"[{', '.join(map(str, self.chain(arch)))}]"

    def parse(self, text: str) -> Arch:
        """Also reads the paper's notation, and the code's: [C(64,3,1), D(1,1), SM(10)]."""
        if not re.search("[A-Z]", text):
            return super().parse(text)
        known = {str(layer): choice for choice, layer in enumerate(self.choices)}
        try:
            names = _names(text)
            unknown = [name for name in names if name not in known]
            if unknown:
                raise ValueError(f"{unknown[0]} is none of {', '.join(known)}")
            chosen = tuple(known[name] for name in names)
            arch = chosen + (SOFTMAX,) * (len(self.decisions) - len(chosen))
            self.check(arch)
        except ValueError as error:
            raise ConfigError(
                f"genotype must be layers in the paper's notation, got {text}: {error}; "
                f'set genotype="[{self.choices[2]}, GAP, SM]"'
            ) from None
        return arch

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        chain = self.chain(arch)
        body = [layer for layer in chain if layer.kind not in ("GAP", "SM")]
        x, dropouts = ops.image(), len(body) // 2
        for i, layer in enumerate(body):
            x = self._layer(ops, x, layer, skeleton, i)
            if i % 2:
                x = ops.dropout(x, (i // 2 + 1) / (2 * dropouts))
        if len(body) == len(chain) - 2:  # GAP, SM
            return ops.classifier(x, skeleton.classes, dropout=skeleton.dropout)
        x = ops.dropout(x, skeleton.dropout)
        return ops.dense(x, skeleton.classes, name="logits", dtype="float32")

    def graph(self, arch: Arch) -> Graph:
        """A drawing, with the sizes for an image of `image_size` pixels."""
        names, nodes = ["image"], [("image", f"image, {self.image_size}", "input")]
        size = self.image_size
        for i, layer in enumerate(self.chain(arch)):
            label, kind = str(layer), layer.kind.lower()
            if layer.kind == "C":
                kind = f"{layer.window}x{layer.window}"
            elif layer.kind == "P":
                size = _pooled(size, layer, self.pooling_rounds)
                label, kind = f"{label}, to {size}", "max_pool"
            elif layer.kind == "SM":
                kind = "classifier"
            names.append("classifier" if layer.kind == "SM" else f"layer{i}")
            nodes.append((names[-1], label, kind))
        return Graph(tuple(nodes), tuple(zip(names, names[1:], strict=False)))

    def _layer(self, ops: Ops, x: Any, layer: Layer, skeleton: ImageSkeleton, i: int) -> Any:
        if layer.kind == "C":
            size, filters = (layer.window, layer.window), skeleton.filters(layer.units)
            x = ops.conv(x, filters, size, bias=True, initializer=XAVIER, name=f"layer{i}_conv")
            return ops.relu(x)
        if layer.kind == "FC":
            return ops.relu(ops.dense(x, skeleton.filters(layer.units), name=f"layer{i}_fc"))
        if layer.window > min(ops.shape(x)[:2]):
            return x
        if self.pooling_rounds == UP:
            x = _with_the_last_windows(ops, x, layer)
        return ops.max_pool(x, layer.window, strides=layer.stride, padding="valid")

    def _position(self, prefix: Arch) -> _Position:
        at = _Position(depth=0, last=START, size=self.image_size, fcs=0)
        for choice in prefix:
            if choice == SOFTMAX:
                return at._replace(last=SOFTMAX)
            at = self._after(at, choice)
        return at

    def _after(self, at: _Position, choice: int) -> _Position:
        layer, size = self.choices[choice], at.size
        if layer.kind == "P":
            size = _pooled(size, layer, DOWN)
        elif layer.kind in ("FC", "GAP"):
            size = 1
        return _Position(at.depth + 1, choice, size, at.fcs + (layer.kind == "FC"))

    def _options(self, at: _Position) -> tuple[int, ...]:
        last = None if at.last == START else self.choices[at.last]
        if at.depth == self.layers or at.last in (SOFTMAX, GAP):
            return (SOFTMAX,)
        return tuple(
            choice
            for choice, layer in enumerate(self.choices)
            if choice == SOFTMAX or self._may_follow(layer, last, _bin(at.size), at.fcs)
        )

    def _may_follow(self, layer: Layer, last: Layer | None, size: int, fcs: int) -> bool:
        if last is not None and last.kind == "FC":
            return layer.kind == "FC" and fcs < self.max_fc and layer.units <= last.units
        if layer.kind == "FC":
            return fcs < self.max_fc and size <= LARGEST_BEFORE_FC
        if layer.kind == "P" and (last is None or last.kind != "C"):
            return False
        return layer.window < size


def _pooled(size: int, layer: Layer, rounds: str) -> int:
    """The size behind a pooling: of the agent's representation (DOWN), or of Caffe's network (UP).

    >>> _pooled(16, Layer("P", window=3, stride=2), DOWN), _pooled(16, Layer("P", 0, 3, 2), UP)
    (7, 8)
    """
    windows = (size - layer.window) / layer.stride
    return (math.ceil(windows) if rounds == UP else math.floor(windows)) + 1


def _with_the_last_windows(ops: Ops, x: Any, layer: Layer) -> Any:
    """x padded so that the last windows of a pooling fit, if Caffe has them.

    Zeros are no maximum that the pixels do not have: x comes from a ReLU, and every window has at
    least one pixel of x, because strides are not larger than windows.
    """
    rows, columns = (
        (_pooled(size, layer, UP) - 1) * layer.stride + layer.window - size
        for size in ops.shape(x)[:2]
    )
    return ops.pad_end(x, rows, columns) if rows or columns else x


def _bin(size: int) -> int:
    """The smallest size of the bin."""
    return next(least for least in BINS if size >= least)


def _names(text: str) -> list[str]:
    """The layers in a text, in the notation of str(Layer), without the code's dropouts."""
    written = re.fullmatch(r"\s*\[?((?:\s*,?\s*[A-Z]+(?:\([\d,\s]*\))?)*)\s*\]?\s*", text)
    if written is None:
        raise ValueError("it must be like [C(64,3), P(2,2), GAP, SM]")
    names = []
    for kind, inner in re.findall(r"([A-Z]+)(?:\(([^)]*)\))?", written[1]):
        numbers = re.findall(r"\d+", inner)
        if kind == "C":
            numbers = numbers[:2]  # the code's third is the stride, always 1
        elif kind in ("GAP", "SM"):
            numbers = []  # the code's is the number of classes
        if kind != "D":
            names.append(f"{kind}({','.join(numbers)})" if numbers else kind)
    return names


def _check(image_size: int, layers: int, max_fc: int) -> None:
    for name, value, least in (
        ("image_size", image_size, 1),
        ("layers", layers, 1),
        ("max_fc", max_fc, 0),
    ):
        if value < least:
            raise ConfigError(
                f"space.{name} must be at least {least}, got {value}; set space.{name}={least}"
            )


def _check_choices(setting: str, values: Sequence[int]) -> None:
    if not values or min(values) < 1 or len(set(values)) < len(values):
        raise ConfigError(
            f"space.{setting} must be different whole numbers from 1, got {list(values)}; "
            f"set space.{setting}=[1,3]"
        )


def _check_pools(pools: Sequence[Sequence[int]], rounds: str) -> None:
    pairs = [tuple(pool) for pool in pools]
    are_valid = all(len(pair) == 2 and min(pair) >= 1 for pair in pairs)
    if not are_valid or len(set(pairs)) < len(pairs):
        raise ConfigError(
            "space.pools must be different pairs (window, stride) of whole numbers from 1, "
            f"got {[list(pair) for pair in pairs]}; set space.pools=[[2,2]]"
        )
    if rounds not in (UP, DOWN):
        raise ConfigError(
            f"space.pooling_rounds must be {UP} or {DOWN}, got {rounds}; "
            f"set space.pooling_rounds={UP}"
        )
    too_far = [list(pair) for pair in pairs if pair[1] > pair[0]]
    if rounds == UP and too_far:
        raise ConfigError(
            "space.pools must have no stride larger than its window where space.pooling_rounds="
            f"{UP}, got {too_far[0]}; set space.pooling_rounds={DOWN}"
        )
