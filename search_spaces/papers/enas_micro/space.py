"""The ENAS micro space (Pham et al. 2018, arXiv:1802.03268, section 2.4; official code).

State 1 is the output of the last cell. The network is the one in which the authors train a found
cell from scratch (micro_child.py, _fixed_layer), or with skeleton.form=search the one that shares
weights (search_form.py).

Departures: the auxiliary head is trained. The official code leaves it untrained by mistake;
skeleton.auxiliary_trained=false does the same. The head's last convolution has no padding, as in
NASNet.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.cells.cell_space import CellSpace
from nas.search_spaces.cells.network import Rules, network
from nas.search_spaces.cells.operations import (
    Operation,
    avg_pool,
    factorized_reduction,
    identity_factorized,
    max_pool,
    relu_conv_bn,
    separable,
)
from nas.search_spaces.papers.enas_micro import search_form
from nas.search_spaces.published.genotypes import cells

if TYPE_CHECKING:
    from nas.search_spaces.supernet.flat import FlatSupernet
    from nas.search_spaces.supernet.supernet import Supernet

# In the official order, so that choices are the numbers of the authors' strings.
OPERATIONS: dict[str, Operation] = {
    "sep_3x3": partial(separable, size=3),
    "sep_5x5": partial(separable, size=5),
    "avg_pool_3x3": partial(avg_pool, size=3),
    "max_pool_3x3": partial(max_pool, size=3),
    "identity": identity_factorized,
}


def calibrate(ops: Ops, older: Any, newer: Any, filters: int, name: str) -> tuple[Any, Any]:
    """ReLU and a 1x1 convolution on each input that does not fit; then once more on the newer
    (official code, _maybe_calibrate_size and layer_base)."""
    first = newer
    if ops.shape(newer)[2] != filters:
        newer = relu_conv_bn(ops, newer, filters, f"{name}_newer_fit")
    if ops.shape(older)[:2] != ops.shape(first)[:2]:
        older = factorized_reduction(ops, ops.relu(older), filters, f"{name}_older")
    elif ops.shape(older)[2] != filters:
        older = relu_conv_bn(ops, older, filters, f"{name}_older")
    return older, relu_conv_bn(ops, newer, filters, f"{name}_newer")


class ENASMicro(CellSpace):
    """Two cells of `nodes` nodes. A node adds the results of two operations on two states."""

    rules = Rules(
        operations=OPERATIONS,
        newer_first=False,
        calibrate=calibrate,
        last_relu=True,
        classifier_bias=False,
        auxiliary_at=1,
        drop_path_by_depth=True,
        drops_strided_identity=False,
    )
    questions = ("input1", "op1", "input2", "op2")
    has_anchors = True
    published = cells("enas_micro")

    def __init__(self, *, nodes: int = 5, operations: Sequence[str] = tuple(OPERATIONS)):
        super().__init__(nodes=nodes, operations=operations)

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        write = search_form.network if skeleton.form == "search" else network
        genotype = self.genotype(arch)
        return write(ops, self.rules, (genotype.normal, genotype.reduction), skeleton)

    def supernet(self, skeleton: ImageSkeleton) -> "Supernet":
        from nas.search_spaces.papers.enas_micro.supernet import supernet

        return supernet(
            self, skeleton, rules=self.rules, nodes=self.nodes, operations=self.operations
        )

    def flat_supernet(self, skeleton: ImageSkeleton) -> "FlatSupernet":
        from nas.search_spaces.supernet.flat import FlatSupernet

        return FlatSupernet(self.supernet(skeleton))

    def gate_counts(self) -> tuple[int, ...]:
        """Raises ConfigError: an operation has other weights for each state that it reads."""
        raise ConfigError(
            "method must draw paths in the ENAS micro space, where an operation has other weights "
            "for each state that it reads, got gates; set method=uniform"
        )

    def parse(self, text: str) -> Arch:
        """Also reads the authors' notation: the choices separated by blanks."""
        return super().parse(text if "," in text else ",".join(text.split()))
