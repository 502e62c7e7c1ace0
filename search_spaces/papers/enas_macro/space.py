"""The ENAS macro space (Pham et al. 2018, arXiv:1802.03268, section 2.3; official code).

Each layer has one of six operations on the tensor right before it, and a bit for each older tensor,
which says whether that tensor joins in. Tensor 0 is the output of the stem and tensor i the output
of layer i-1. Layer l has bits for the tensors 0 to l-1, and none for tensor l, which it always
reads. After a third and after two thirds of the layers, a factorized reduction halves every tensor
that a later layer reads.

A network has one of three forms (`skeleton.form`):

  final: the form of a found architecture, and the default. The operations are the searched ones,
    written as ReLU, convolution, normalization. The tensors that join in are concatenated, and a
    1x1 convolution brings them back to the number of filters, which doubles at the reductions.
  released: as the official code builds it (general_child.py, _fixed_layer). It differs from `final`
    in that its separable convolutions are plain ones and its poolings are left out.
  search: the form that shares weights (_enas_layer). The tensors that join in are added up and
    normalised. The number of filters stays the same.

Departures: in all forms, a tensor that no later layer reads is not reduced, while the official code
keeps weights for that (`official_parameters` counts them). Odd numbers of filters are reduced too.
"""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.ops.count import CountOps
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.papers.enas_macro.network import (
    OPERATION_OF,
    OPERATIONS,
    SEARCH,
    Layer,
    classifier,
    join,
    read_behind,
    reduction,
    stem,
)
from nas.search_spaces.published.genotypes import read

if TYPE_CHECKING:
    from nas.search_spaces.supernet.flat import FlatSupernet
    from nas.search_spaces.supernet.supernet import Supernet


class ENASMacro(ImageSpace):
    """A row of `layers` operations, with any skip connections between them.

    Args:
      late_binding: whether the form `search` has the fault of the official code (supernet.py):
        every operation is the last one.
    """

    published: ClassVar[Mapping[str, Arch]] = {
        name: tuple(choice for row in entry["layers"] for choice in row)
        for name, entry in read().items()
        if entry["encoding"] == "enas_macro"
    }

    def __init__(
        self,
        *,
        layers: int = 12,
        operations: Sequence[str] = OPERATIONS,
        late_binding: bool = False,
    ):
        if layers < 1:
            raise ConfigError(f"space.layers must be at least 1, got {layers}; set space.layers=12")
        known = set(operations) <= set(OPERATIONS)
        if not operations or not known or len(set(operations)) < len(operations):
            raise ConfigError(
                f"space.operations must be different ones of {', '.join(OPERATIONS)}, got "
                f"{list(operations)}; set space.operations=[{OPERATIONS[0]}]"
            )
        self.layers, self.operations = layers, tuple(operations)
        self.late_binding = late_binding
        decisions = []
        for i in range(layers):
            decisions.append(Decision(f"layer{i}/op", self.operations, i))
            # For tensor j, the official controller attends to its hidden state at layer j.
            decisions += [
                Decision(f"layer{i}/skip{j}", (False, True), i, (None, j)) for j in range(i)
            ]
        self.decisions = tuple(decisions)

    @property
    def reductions(self) -> tuple[int, ...]:
        """The layers after which tensors are halved."""
        third = self.layers // 3
        return (third - 1, 2 * third - 1) if third else ()

    def layers_of(self, arch: Arch) -> tuple[Layer, ...]:
        """What `arch` chooses for each layer."""
        self.check(arch)
        values = iter([d.choices[choice] for d, choice in zip(self.decisions, arch, strict=True)])
        return tuple(
            Layer(next(values), tuple([j for j in range(i) if next(values)]))
            for i in range(self.layers)
        )

    def parse(self, text: str) -> Arch:
        """Also reads the authors' notation, with blanks, and names of published architectures."""
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

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        layers, filters = self.layers_of(arch), skeleton.channels
        tensors = [stem(ops, filters)]
        for i, layer in enumerate(layers):
            is_last = self.late_binding and skeleton.form == SEARCH
            operation = self.operations[-1] if is_last else layer.operation
            x = OPERATION_OF[skeleton.form](ops, tensors[-1], filters, operation, f"layer{i}")
            if i:
                x = join(ops, [*(tensors[j] for j in layer.skips), x], filters, skeleton, i)
            tensors.append(x)
            if i in self.reductions:
                filters *= 1 if skeleton.form == SEARCH else 2
                is_read = read_behind(layers, i)
                tensors = [
                    reduction(ops, t, filters, i, j) if j in is_read else t
                    for j, t in enumerate(tensors)
                ]
        return classifier(ops, tensors[-1], skeleton)

    def supernet(self, skeleton: ImageSkeleton) -> "Supernet":
        from nas.search_spaces.papers.enas_macro.supernet import supernet

        return supernet(
            self,
            skeleton,
            layers=self.layers,
            operations=self.operations,
            halved_behind=self.reductions,
            late_binding=self.late_binding,
        )

    def flat_supernet(self, skeleton: ImageSkeleton) -> "FlatSupernet":
        from nas.search_spaces.supernet.flat import FlatSupernet

        return FlatSupernet(self.supernet(skeleton))

    def official_parameters(self, arch: Arch, skeleton: ImageSkeleton) -> int:
        """Trainable weights as the official code counts them, with all reductions."""
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
