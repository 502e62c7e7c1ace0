"""The DARTS space of convolutional cells (Liu et al. 2019, arXiv:1806.09055, section 3; code).

State 1 is the output of the last cell. A node reads two different earlier states and applies one
operation to each, as in the discretised cells of the paper; all nodes leave the cell. The network
is the one in which the authors train a found cell (cnn/model.py). With skeleton.form=search it is
the one that they search (cnn/model_search.py): a normalization follows each pooling, and none but
the stem's has a scale and an offset. DARTS with L cells is skeleton.cells=(L-2)/3.

Departures: padding is "same", which for a stride of 2 pads the other side than PyTorch does, except
in dilated convolutions. Kernels are initialised as in He et al. 2015.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.cells.cell_space import CELLS, CellSpace
from nas.search_spaces.cells.network import Rules
from nas.search_spaces.cells.operations import (
    Operation,
    avg_pool,
    avg_pool_bn,
    factorized_reduction,
    identity_reduction,
    identity_relu_factorized,
    joint_convolution,
    max_pool,
    max_pool_bn,
    relu_conv_bn,
    separable,
)
from nas.search_spaces.published.genotypes import INPUTS, cells, from_darts_text

if TYPE_CHECKING:
    from nas.search_spaces.supernet.flat import FlatSupernet
    from nas.search_spaces.supernet.supernet import Supernet

SEARCHED = (
    "max_pool_3x3", "avg_pool_3x3", "identity", "sep_3x3", "sep_5x5", "dil_sep_3x3", "dil_sep_5x5",
)  # fmt: skip


def _convolutions(*, affine: bool) -> dict[str, Operation]:
    """affine: their normalizations have a scale and an offset."""
    return {
        "sep_3x3": partial(separable, size=3, affine=affine),
        "sep_5x5": partial(separable, size=5, affine=affine),
        "sep_7x7": partial(separable, size=7, affine=affine),
        "dil_sep_3x3": partial(separable, size=3, times=1, dilation=2, affine=affine),
        "dil_sep_5x5": partial(separable, size=5, times=1, dilation=2, affine=affine),
        "conv_1x7_7x1": partial(joint_convolution, kernels=((1, 7), (7, 1)), affine=affine),
    }


OPERATIONS: dict[str, Operation] = {
    "max_pool_3x3": partial(max_pool, size=3),
    "avg_pool_3x3": partial(avg_pool, size=3),
    "identity": identity_relu_factorized,
    **_convolutions(affine=True),
}
SEARCH_OPERATIONS: dict[str, Operation] = {
    "max_pool_3x3": partial(max_pool_bn, size=3),
    "avg_pool_3x3": partial(avg_pool_bn, size=3),
    "identity": identity_reduction,
    **_convolutions(affine=False),
}


def calibrate(
    ops: Ops, older: Any, newer: Any, filters: int, name: str, *, affine: bool = True
) -> tuple[Any, Any]:
    """ReLU and a 1x1 convolution on both; a factorized reduction of the older if it is larger."""
    if ops.shape(older)[:2] != ops.shape(newer)[:2]:
        older = factorized_reduction(ops, ops.relu(older), filters, f"{name}_older", affine=affine)
    else:
        older = relu_conv_bn(ops, older, filters, f"{name}_older", affine=affine)
    return older, relu_conv_bn(ops, newer, filters, f"{name}_newer", affine=affine)


class DARTS(CellSpace):
    """Two cells of `nodes` nodes. A node adds the results of two operations on different states."""

    rules = Rules(
        operations=OPERATIONS,
        newer_first=False,
        calibrate=calibrate,
        last_relu=False,
        classifier_bias=True,
        auxiliary_at=0,
        drop_path_by_depth=False,
        drops_strided_identity=True,
    )
    search_rules = dataclasses.replace(
        rules, operations=SEARCH_OPERATIONS, calibrate=partial(calibrate, affine=False)
    )
    questions = ("inputs", "op1", "op2")
    all_nodes_leave = True
    published = cells("darts_cnn")

    def __init__(self, *, nodes: int = 4, operations: Sequence[str] = SEARCHED):
        super().__init__(nodes=nodes, operations=operations)

    def supernet(self, skeleton: ImageSkeleton) -> "Supernet":
        from nas.search_spaces.papers.darts.supernet import supernet

        rules = self.rules_in(skeleton)
        return supernet(self, skeleton, rules=rules, nodes=self.nodes, operations=self.operations)

    def rules_in(self, skeleton: ImageSkeleton) -> Rules:
        return self.search_rules if skeleton.form == "search" else self.rules

    def flat_supernet(self, skeleton: ImageSkeleton) -> "FlatSupernet":
        from nas.search_spaces.supernet.flat import FlatSupernet

        return FlatSupernet(self.supernet(skeleton))

    def gate_counts(self) -> tuple[int, ...]:
        """For each edge of both cells, its operations and `none` (section 2.2)."""
        each = sum(range(INPUTS, INPUTS + self.nodes))
        return (len(self.operations) + 1,) * (len(CELLS) * each)

    def architecture_from_gates(self, weights: np.ndarray) -> Arch:
        """For each node, the two edges whose best operation is strongest (section 2.4).

        weights: [edges of both cells, operations + 1], before the softmax; the last column is
        `none`, which takes part in the softmax but is never chosen.
        """
        p = np.exp(weights - weights.max(1, keepdims=True))
        p = (p / p.sum(1, keepdims=True))[:, :-1]  # without `none`, which the sum includes
        arch: Arch = ()
        first = 0
        for cell in range(len(CELLS)):
            for k in range(self.nodes):
                edges = p[first : first + k + INPUTS]
                first += len(edges)
                pair = tuple(sorted(np.argsort(-edges.max(1), kind="stable")[:2].tolist()))
                pairs = self.decisions[3 * (cell * self.nodes + k)].choices
                arch += (pairs.index(pair), *(int(edges[i].argmax()) for i in pair))
        return arch

    def parse(self, text: str) -> Arch:
        """Also reads what the DARTS code prints, Genotype(normal=[('sep_conv_3x3', 1), ...."""
        if "normal" not in text:
            return super().parse(text)
        try:
            genotype = from_darts_text(text)
        except ValueError as error:
            raise ConfigError(
                f"genotype must be of DARTS' notation, got {text}: {error}; set genotype=darts_v2"
            ) from None
        arch = self._parsed(text, genotype)
        expected = self.genotype(arch)
        if (expected.normal.concat, expected.reduction.concat) != (
            genotype.normal.concat,
            genotype.reduction.concat,
        ):
            raise ConfigError(
                f"genotype must concatenate all nodes, {list(expected.normal.concat)}, got {text}; "
                "change normal_concat and reduce_concat"
            )
        return arch
