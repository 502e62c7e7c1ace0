"""The ENAS macro space (Pham et al. 2018, arXiv:1802.03268, section 2.3; official code).

Each layer has one of six operations on the tensor right before it, and a bit for each older tensor:
whether it joins in. Tensor 0 is the stem's and tensor i the output of layer i-1; layer l has bits
for the tensors 0 to l-1, and none for tensor l, which it reads in any case. After a third and two
thirds of the layers a factorized reduction halves every tensor that is still to be read.

A network has one of three forms (`skeleton.form`):

  final: a found architecture's. The operations are the searched ones, written as ReLU, convolution,
    normalization. What joins in is concatenated, and a 1x1 convolution brings it back. Filters
    double at the reductions. The default.
  released: as the official code builds it (general_child.py, _fixed_layer): as before, but its
    separable convolutions are plain ones and its poolings are left out.
  search: with shared weights (_enas_layer). What joins in is added up and normalised. Filters stay
    as many as they are.

Departures: in all forms a tensor that is not read any more is not reduced, while the official code
keeps weights for that (`official_parameters` counts them). Odd filters are reduced as well.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from nas.core.ops import Ops
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.ops.count import CountOps
from nas.search_spaces.cells.operations import conv_bn, factorized_reduction, relu_conv_bn
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.published.genotypes import read

if TYPE_CHECKING:
    from nas.core.skeleton import ImageSkeleton
    from nas.search_spaces.supernet.supernet import Supernet

# In the official order, so that a choice is the number that the authors' strings have.
OPERATIONS = ("conv_3x3", "sep_3x3", "conv_5x5", "sep_5x5", "avg_pool_3x3", "max_pool_3x3")
BRANCH_EPSILON = 1e-3  # of the last normalization of a branch (batch_norm_with_mask)
FINAL, RELEASED, SEARCH = "final", "released", "search"


@dataclasses.dataclass(frozen=True)
class Layer:
    """What was chosen for one layer. skips: the older tensors that join in."""

    operation: str
    skips: tuple[int, ...]


class ENASMacro(ImageSpace):
    """`layers` operations in a row, with any skip connections between them."""

    published: ClassVar[Mapping[str, Arch]] = {
        name: tuple(choice for row in entry["layers"] for choice in row)
        for name, entry in read().items()
        if entry["encoding"] == "enas_macro"
    }

    def __init__(self, *, layers: int = 12, operations: Sequence[str] = OPERATIONS):
        if layers < 1:
            raise ConfigError(f"space.layers must be at least 1, got {layers}; set space.layers=12")
        known = set(operations) <= set(OPERATIONS)
        if not operations or not known or len(set(operations)) < len(operations):
            raise ConfigError(
                f"space.operations must be different ones of {', '.join(OPERATIONS)}, got "
                f"{list(operations)}; set space.operations=[{OPERATIONS[0]}]"
            )
        self.layers, self.operations = layers, tuple(operations)
        decisions = []
        for i in range(layers):
            decisions.append(Decision(f"layer{i}/op", self.operations, i))
            # The official controller attends, for tensor j, to what it thought of at layer j.
            decisions += [
                Decision(f"layer{i}/skip{j}", (False, True), i, (None, j)) for j in range(i)
            ]
        self.decisions = tuple(decisions)

    @property
    def reductions(self) -> tuple[int, ...]:
        """The layers behind which tensors are halved."""
        third = self.layers // 3
        return (third - 1, 2 * third - 1) if third else ()

    def layers_of(self, arch: Arch) -> tuple[Layer, ...]:
        """What `arch` says about each layer."""
        self.check(arch)
        values = iter([d.choices[choice] for d, choice in zip(self.decisions, arch, strict=True)])
        return tuple(
            Layer(next(values), tuple([j for j in range(i) if next(values)]))
            for i in range(self.layers)
        )

    def parse(self, text: str) -> Arch:
        """Also takes the authors' notation, with blanks, and the name of the published one."""
        name = text.strip()
        arch = self.published.get(name)
        if arch is None and name[:1].isalpha():
            raise ConfigError(
                f"genotype must be one of {', '.join(self.published)} or {len(self.decisions)} "
                f"choices, got {text}; set genotype={next(iter(self.published))}"
            )
        if arch is not None and len(arch) != len(self.decisions):
            layers = math.isqrt(2 * len(arch))  # there are layers * (layers + 1) / 2 choices
            raise ConfigError(
                f"genotype must be of space.layers={self.layers} layers, got {text}, which has "
                f"{layers}; set space.layers={layers}"
            )
        if arch is not None:
            return super().parse(",".join(map(str, arch)))
        return super().parse(text if "," in text else ",".join(text.split()))

    def network(self, ops: Ops, arch: Arch, skeleton: "ImageSkeleton") -> Any:
        layers, filters = self.layers_of(arch), skeleton.channels
        tensors = [stem(ops, filters)]
        for i, layer in enumerate(layers):
            x = OPERATION_OF[skeleton.form](ops, tensors[-1], filters, layer.operation, f"layer{i}")
            if i:
                x = join(ops, [*(tensors[j] for j in layer.skips), x], filters, skeleton, i)
            tensors.append(x)
            if i in self.reductions:
                filters *= 1 if skeleton.form == SEARCH else 2
                still = read_behind(layers, i)
                tensors = [
                    reduction(ops, t, filters, i, j) if j in still else t
                    for j, t in enumerate(tensors)
                ]
        return classifier(ops, tensors[-1], skeleton)

    def supernet(self, skeleton: "ImageSkeleton") -> "Supernet":
        from nas.search_spaces.papers.enas_macro.supernet import supernet

        return supernet(self, skeleton)

    def official_parameters(self, arch: Arch, skeleton: "ImageSkeleton") -> int:
        """Trainable weights as the official code counts them: all reductions among them."""
        layers, unread, filters = self.layers_of(arch), CountOps(skeleton.image_shape), 0
        for i in self.reductions:
            before = filters or skeleton.channels
            filters = before * (1 if skeleton.form == SEARCH else 2)
            for j in set(range(i + 2)) - read_behind(layers, i):
                reduction(unread, (1, 1, before), filters, i, j)
        return self.cost(arch, skeleton).parameters + unread.parameters

    def graph(self, arch: Arch) -> Graph:
        nodes, edges = [("stem", "stem", "input")], []
        names = ["stem", *(f"layer{i}" for i in range(self.layers))]
        for i, layer in enumerate(self.layers_of(arch)):
            nodes.append((f"layer{i}", f"{i}: {layer.operation}", layer.operation))
            edges += [(names[j], f"layer{i}") for j in (*layer.skips, i)]
        nodes.append(("classifier", "classifier", "output"))
        return Graph(tuple(nodes), (*edges, (names[-1], "classifier")))


def read_behind(layers: Sequence[Layer], i: int) -> set[int]:
    """The tensors made up to layer i that later layers read."""
    return {i + 1} | {j for later in layers[i + 1 :] for j in later.skips if j <= i}


def stem(ops: Ops, filters: int) -> Any:
    return conv_bn(ops, ops.image(), filters, "stem", kernel=(3, 3))


def reduction(ops: Ops, x: Any, filters: int, layer: int, tensor: int) -> Any:
    """Tensor number `tensor` as it is read behind `layer`."""
    return factorized_reduction(ops, x, filters, f"reduction{layer}_tensor{tensor}")


def classifier(ops: Ops, x: Any, skeleton: "ImageSkeleton") -> Any:
    return ops.classifier(x, skeleton.classes, dropout=skeleton.dropout, bias=False)


def join(ops: Ops, inputs: Sequence, filters: int, skeleton: "ImageSkeleton", layer: int) -> Any:
    """The tensors that join in, and last the layer's own."""
    if skeleton.form == SEARCH:
        return ops.batch_norm(ops.add(inputs), name=f"layer{layer}_join_bn")
    return relu_conv_bn(ops, ops.concatenate(inputs), filters, f"layer{layer}_join")


def search_operation(ops: Ops, x: Any, filters: int, operation: str, name: str) -> Any:
    """1x1 convolution, normalization, ReLU; then, but for poolings, the same around a kernel."""
    x = ops.relu(conv_bn(ops, x, filters, f"{name}_before"))
    x = _core(ops, x, filters, operation, name)
    if operation.endswith("pool_3x3"):
        return x
    return ops.relu(ops.batch_norm(x, name=f"{name}_bn", epsilon=BRANCH_EPSILON))


def final_operation(
    ops: Ops, x: Any, filters: int, operation: str, name: str, *, released: bool
) -> Any:
    """ReLU, 1x1 convolution, normalization; then, but for poolings, the same around a kernel."""
    is_pooling = operation.endswith("pool_3x3")
    if released and is_pooling:
        return x
    if released:
        operation = operation.replace("sep", "conv")
    x = relu_conv_bn(ops, x, filters, f"{name}_before")
    if is_pooling:
        return _core(ops, x, filters, operation, name)
    return ops.batch_norm(_core(ops, ops.relu(x), filters, operation, name), name=f"{name}_bn")


def _core(ops: Ops, x: Any, filters: int, operation: str, name: str) -> Any:
    """The bare operation, with a stride of 1."""
    kind, size = operation.rsplit("_", 1)
    width = int(size[0])
    if kind == "avg_pool":
        return ops.avg_pool(x, width, strides=1)
    if kind == "max_pool":
        return ops.max_pool(x, width, strides=1)
    if kind == "sep":
        x = ops.depthwise(x, (width, width), name=f"{name}_depthwise")
        return ops.conv(x, filters, (1, 1), name=f"{name}_conv")
    return ops.conv(x, filters, (width, width), name=f"{name}_conv")


OPERATION_OF: dict[str, Callable[[Ops, Any, int, str, str], Any]] = {
    FINAL: partial(final_operation, released=False),
    RELEASED: partial(final_operation, released=True),
    SEARCH: search_operation,
}
