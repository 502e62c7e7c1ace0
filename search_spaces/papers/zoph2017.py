"""The convolutional space of Zoph & Le 2017 (arXiv:1611.01578v2, sections 3.3 and 4.1).

Each layer chooses its filter height, width and number, optionally its strides, and for each earlier
layer, whether it feeds this one. These are the rules of the wiring (section 3.3):

  a. several inputs are concatenated along channels;
  b. a layer that no layer feeds reads the image;
  c. layers that feed no other layer are concatenated and feed the classifier;
  d. inputs of different sizes are padded with zeros to the largest size before concatenation.

The paper leaves open what is chosen here as follows. A layer is convolution, batch normalization,
ReLU, in this order, with "same" padding. Kernels are initialised as in He et al. 2015. The zeros of
rule d lie around the smaller image, which stays in the middle. The classifier is global average
pooling and one dense layer. For v3 (pooling, blocks) see the arguments of ZophConv.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

from nas.core.ops import Ops, Pair
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.papers.canonical_graph import canonical

IMAGE = -1  # stands for the image among the indices of layers


@dataclasses.dataclass(frozen=True)
class Layer:
    """The choices of one layer. inputs: indices of layers, or IMAGE alone (rule b)."""

    kernel: Pair  # height, width
    strides: Pair
    filters: int  # before the skeleton's width
    inputs: tuple[int, ...]


class ZophConv(ImageSpace):
    """`layers` convolutions of searched shape with searched skip connections.

    Args:
      layers: the number of searched layers. For several, rising numbers, the first decision,
        `depth`, chooses one of them; the decisions of layers that a network does not have are
        pinned to their first choice.
      filter_heights, filter_widths: choices in pixels.
      filters: choices, multiplied by the skeleton's width.
      strides: choices for each axis (v2: 1, 2, 3); None: every stride is 1 (v1).
      pool_after: a 2x2 max pooling stands after each of these numbers of searched layers (v3). The
        paper gives only the depths. Here, everything that is computed before a pooling and read
        behind it, an earlier layer's output or the image, is pooled on the way.
      block_layers: each searched layer becomes a block of this many equal layers. Each of them
        reads the inputs of the block and all earlier layers of the block; the output of the last
        layer is that of the block (v3: 3).
    """

    def __init__(
        self,
        *,
        layers: int | Sequence[int] = 6,
        filter_heights: Sequence[int] = (1, 3, 5, 7),
        filter_widths: Sequence[int] = (1, 3, 5, 7),
        filters: Sequence[int] = (24, 36, 48, 64),
        strides: Sequence[int] | None = None,
        pool_after: Sequence[int] = (),
        block_layers: int = 1,
    ):
        _check_choices("filter_heights", filter_heights)
        _check_choices("filter_widths", filter_widths)
        _check_choices("filters", filters)
        shape = {"filter_height": filter_heights, "filter_width": filter_widths}
        if strides is not None:
            _check_choices("strides", strides)
            shape |= {"stride_height": strides, "stride_width": strides}
        shape |= {"filters": filters}
        self.depths = (layers,) if isinstance(layers, int) else tuple(layers)
        _check_depth(self.depths, pool_after, block_layers, strides)
        self.pool_after = tuple(pool_after)
        self.block_layers = block_layers
        self._strided = strides is not None
        depth = [Decision("depth", self.depths)] if self.is_conditional else []
        layered = [d for i in range(self.depths[-1]) for d in _decisions_of_layer(i, shape)]
        self.decisions = (*depth, *layered)

    @property
    def is_conditional(self) -> bool:
        return len(self.depths) > 1

    def allowed(self, prefix: Arch) -> tuple[int, ...]:
        """All choices; for a layer that the network does not have, only the first choice."""
        if prefix and self.is_conditional:
            layer = self.decisions[len(prefix)].node
            if layer is not None and layer >= self.depths[prefix[0]]:
                return (0,)
        return super().allowed(prefix)

    @property
    def size(self) -> int:
        counted = [(d.node, len(d.choices)) for d in self.decisions if d.node is not None]
        return sum(
            math.prod(count for layer, count in counted if layer < depth) for depth in self.depths
        )

    def layers_of(self, arch: Arch) -> tuple[Layer, ...]:
        """The choices of each layer of `arch`."""
        self.check(arch)
        values = iter([d.choices[choice] for d, choice in zip(self.decisions, arch, strict=True)])
        layers = []
        for i in range(next(values) if self.is_conditional else self.depths[0]):
            kernel = next(values), next(values)
            strides = (next(values), next(values)) if self._strided else (1, 1)
            filters = next(values)
            inputs = tuple(j for j in range(i) if next(values))
            layers.append(Layer(kernel, strides, filters, inputs or (IMAGE,)))
        return tuple(layers)

    def inputs(self, arch: Arch) -> list[tuple[int, ...]]:
        """The layers that feed each layer, and last those that feed the classifier (rule c)."""
        feeds = [layer.inputs for layer in self.layers_of(arch)]
        consumed = {j for inputs in feeds for j in inputs}
        return [*feeds, tuple(i for i in range(len(feeds)) if i not in consumed)]

    def key(self, arch: Arch) -> str:
        """Equal if the layers form the same graph; their order and that of inputs do not matter."""
        *feeds, last = self.inputs(arch)
        nodes: list[tuple[str, tuple[int, ...]]] = [("image", ())]
        for i, layer in enumerate(self.layers_of(arch)):
            passed = sum(depth <= i for depth in self.pool_after)
            label = f"{layer.kernel} {layer.strides} {layer.filters} {passed}"
            nodes.append((label, tuple(j + 1 for j in feeds[i])))
        nodes.append(("classifier", tuple(j + 1 for j in last)))
        return canonical(nodes, unordered={label for label, _ in nodes})

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        image = ops.image()
        read = self._reader(image, lambda _, x: ops.max_pool(x, 2, strides=2))
        layers = self.layers_of(arch)
        for i, layer in enumerate(layers):
            filters = skeleton.filters(layer.filters)
            inputs = [read(j, i) for j in layer.inputs]
            for k in range(self.block_layers):
                name = f"layer{i}" if self.block_layers == 1 else f"layer{i}_{k}"
                x = ops.concatenate(inputs)
                x = ops.conv(x, filters, layer.kernel, strides=layer.strides, name=f"{name}_conv")
                x = ops.relu(ops.batch_norm(x, name=f"{name}_bn"))
                inputs.append(x)
            read.add(i, x)
        last = ops.concatenate([read(j, len(layers)) for j in self.inputs(arch)[-1]])
        return ops.classifier(last, skeleton.classes, dropout=skeleton.dropout)

    def graph(self, arch: Arch) -> Graph:
        nodes, edges = [("image", "image", "input")], []

        def pool(depth: int, source: str) -> str:
            name = f"{source}/pool{depth}"
            nodes.append((name, "2x2 max pool", "max_pool"))
            edges.append((source, name))
            return name

        read = self._reader("image", pool)
        layers = self.layers_of(arch)
        for i, layer in enumerate(layers):
            edges += [(read(j, i), f"layer{i}") for j in layer.inputs]
            nodes.append((f"layer{i}", self._label(layer), "x".join(map(str, layer.kernel))))
            read.add(i, f"layer{i}")
        edges += [(read(j, len(layers)), "classifier") for j in self.inputs(arch)[-1]]
        nodes.append(("classifier", "classifier", "classifier"))
        return Graph(tuple(nodes), tuple(edges))

    def _label(self, layer: Layer) -> str:
        height, width = layer.kernel
        times = f"{self.block_layers} x " if self.block_layers > 1 else ""
        strides = f", stride {layer.strides[0]}x{layer.strides[1]}" if self._strided else ""
        return f"{times}{height}x{width}, {layer.filters}{strides}"

    def _reader(self, image: Any, pool: Callable[[int, Any], Any]) -> "_Reader":
        return _Reader(image, self.pool_after, pool)


class _Reader:
    """The output of a layer as a later layer reads it: behind the poolings between them."""

    def __init__(self, image: Any, pool_after: Sequence[int], pool: Callable[[int, Any], Any]):
        self.pool_after, self.pool = pool_after, pool
        self.outputs = {(IMAGE, 0): image}  # by (layer, number of poolings since the image)

    def add(self, layer: int, x: Any) -> None:
        self.outputs[layer, self._poolings(layer)] = x

    def __call__(self, layer: int, reader: int) -> Any:
        first, last = self._poolings(layer), self._poolings(reader)
        for level in range(first, last):
            if (layer, level + 1) not in self.outputs:
                x = self.outputs[layer, level]
                self.outputs[layer, level + 1] = self.pool(self.pool_after[level], x)
        return self.outputs[layer, last]

    def _poolings(self, layer: int) -> int:
        return sum(depth <= layer for depth in self.pool_after)


def _decisions_of_layer(i: int, shape: dict[str, Sequence[int]]) -> list[Decision]:
    chosen = [Decision(f"layer{i}/{name}", tuple(values), i) for name, values in shape.items()]
    skips = [Decision(f"layer{i}/skip{j}", (False, True), i, (None, j)) for j in range(i)]
    return chosen + skips


def _check_choices(setting: str, values: Sequence[int]) -> None:
    if not values or min(values) < 1 or len(set(values)) < len(values):
        raise ConfigError(
            f"space.{setting} must be different whole numbers from 1, got {list(values)}; "
            f"set space.{setting}=[1,3]"
        )


def _check_depth(
    depths: tuple[int, ...],
    pool_after: Sequence[int],
    block_layers: int,
    strides: Sequence[int] | None,
) -> None:
    if not depths or depths[0] < 1 or any(a >= b for a, b in itertools.pairwise(depths)):
        got = depths[0] if len(depths) == 1 else list(depths)
        raise ConfigError(
            f"space.layers must be at least 1, or several such numbers that rise, got {got}; "
            "set space.layers=6"
        )
    if block_layers < 1:
        raise ConfigError(
            f"space.block_layers must be at least 1, got {block_layers}; set space.block_layers=1"
        )
    rising = all(a < b for a, b in itertools.pairwise(pool_after))
    if not rising or any(not 1 <= depth < depths[0] for depth in pool_after):
        raise ConfigError(
            f"space.pool_after must rise within [1, space.layers={depths[0]}), "
            f"got {list(pool_after)}; set space.pool_after=[]"
        )
    if block_layers > 1 and strides is not None:
        raise ConfigError(
            f"space.block_layers must be 1 where strides are searched, got {block_layers}; "
            "set space.block_layers=1 or space.strides=null"
        )
