"""The ENAS micro space (Pham et al. 2018, arXiv:1802.03268, section 2.4; official code).

State 1 is the last cell's output. The network is the one that a found cell is trained in from the
start (micro_child.py, _fixed_layer); the one with shared weights differs.

Departures: the auxiliary head is trained, which the official code by mistake does not do; its last
convolution has no padding, as in NASNet's.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from nas.trial import Arch
from search_spaces.cell_network import Rules
from search_spaces.cell_operations import (
    Operation,
    avg_pool,
    factorized_reduction,
    identity_factorized,
    max_pool,
    relu_conv_bn,
    separable,
)
from search_spaces.cells import CellSpace
from search_spaces.genotypes import cells
from search_spaces.ops import Ops

# In the official order, so that a choice is the number that the authors' strings have.
OPERATIONS: dict[str, Operation] = {
    "sep_3x3": partial(separable, size=3),
    "sep_5x5": partial(separable, size=5),
    "avg_pool_3x3": partial(avg_pool, size=3),
    "max_pool_3x3": partial(max_pool, size=3),
    "identity": identity_factorized,
}


def calibrate(ops: Ops, older: Any, newer: Any, filters: int, name: str) -> tuple[Any, Any]:
    """Each gets ReLU and a 1x1 convolution where it does not fit, the newer one more in any case
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
    """Two cells of `nodes` nodes: a state and an operation, twice, whose results are added."""

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

    def parse(self, text: str) -> Arch:
        """Also takes the authors' notation: the choices separated by blanks."""
        return super().parse(text if "," in text else ",".join(text.split()))
