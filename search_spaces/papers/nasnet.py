"""The NASNet space (Zoph et al. 2018, arXiv:1707.07012, section 3 and appendix A.4).

State 0 is the output of the last cell, as in the official code (slim/nets/nasnet), from which the
rules of the network are taken. That code contains only NASNet-A. The operations that NASNet-A does
not use, and `concat`, follow the text of the paper: a dilated convolution has a dilation of 2. The
output of a cell has the states that no node reads; the published NASNet-A has a further state in
each cell.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

from nas.core.ops import Ops
from nas.search_spaces.cells.cell_space import CellSpace
from nas.search_spaces.cells.network import Rules
from nas.search_spaces.cells.operations import (
    Operation,
    avg_pool,
    convolution,
    dilated_convolution,
    factorized_reduction,
    identity_conv,
    max_pool,
    relu_conv_bn,
    separable,
)
from nas.search_spaces.published.genotypes import ADD, CONCAT, cells

OPERATIONS: dict[str, Operation] = {
    "identity": identity_conv,
    "conv_1x3_3x1": partial(convolution, kernels=((1, 3), (3, 1))),
    "conv_1x7_7x1": partial(convolution, kernels=((1, 7), (7, 1))),
    "dil_conv_3x3": partial(dilated_convolution, size=3),
    "avg_pool_3x3": partial(avg_pool, size=3),
    "max_pool_3x3": partial(max_pool, size=3),
    "max_pool_5x5": partial(max_pool, size=5),
    "max_pool_7x7": partial(max_pool, size=7),
    "conv_1x1": partial(convolution, kernels=((1, 1),)),
    "conv_3x3": partial(convolution, kernels=((3, 3),)),
    "sep_3x3": partial(separable, size=3),
    "sep_5x5": partial(separable, size=5),
    "sep_7x7": partial(separable, size=7),
}


def calibrate(ops: Ops, older: Any, newer: Any, filters: int, name: str) -> tuple[Any, Any]:
    """ReLU and a 1x1 convolution on the newer input, and on the older if it does not fit. The older
    input of the first cell stays raw (official code, _cell_base)."""
    if older is not newer:
        if ops.shape(older)[:2] != ops.shape(newer)[:2]:
            older = factorized_reduction(ops, ops.relu(older), filters, f"{name}_older")
        elif ops.shape(older)[2] != filters:
            older = relu_conv_bn(ops, older, filters, f"{name}_older")
    return older, relu_conv_bn(ops, newer, filters, f"{name}_newer")


class NASNet(CellSpace):
    """Two cells of `nodes` nodes. A node combines the results of two operations on two states."""

    rules = Rules(
        operations=OPERATIONS,
        newer_first=True,
        calibrate=calibrate,
        last_relu=True,
        classifier_bias=True,
        auxiliary_at=-1,
        drop_path_by_depth=True,
        drops_strided_identity=False,
    )
    questions = ("input1", "input2", "op1", "op2", "combination")
    published = {"nasnet_a": cells("slim")["nasnet_a"]}

    def __init__(
        self,
        *,
        nodes: int = 5,
        operations: Sequence[str] = tuple(OPERATIONS),
        combinations: Sequence[str] = (ADD, CONCAT),
    ):
        super().__init__(nodes=nodes, operations=operations, combinations=combinations)
