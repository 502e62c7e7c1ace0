"""The cell of NAS-Bench-201 and the network around it, as the space and its supernet share them.

Dong & Yang, ICLR 2020, arXiv:2001.00326, section 2: a 3x3 stem, then three stages of
`skeleton.cells` cells. Between two stages, a residual block of stride 2 doubles the channels. Batch
normalization, ReLU, global average pooling and a dense layer end the network.

In the form `search` (`skeleton.form`), which shares weights, the normalizations of the cells have
no scale and no offset; those of the stem, the residual blocks and the end keep theirs
(AutoDL-Projects, search_model_random.py, lines 22-59: `affine` reaches the cells alone).
"""

from collections.abc import Callable
from typing import Any

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import Arch

OPERATIONS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")
NONE, SKIP, CONV_1X1, CONV_3X3, AVG_POOL = range(5)
EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))  # (from, to), in the official order
OUTPUT = 3  # the node that leaves the cell
KERNELS = {CONV_1X1: (1, 1), CONV_3X3: (3, 3)}
STAGES = 3
SEARCH = "search"  # the form that shares weights


def live_edges(arch: Arch) -> tuple[int, ...]:
    """The edges on a way from the cell's input to its output; () if the output is always zero."""
    chosen = [edge for edge, choice in enumerate(arch) if choice != NONE]
    fed, used = {0}, {OUTPUT}
    for edge in chosen:  # edges are in the order of their targets
        if EDGES[edge][0] in fed:
            fed.add(EDGES[edge][1])
    for edge in reversed(chosen):
        if EDGES[edge][1] in used:
            used.add(EDGES[edge][0])
    return tuple(edge for edge in chosen if EDGES[edge][0] in fed and EDGES[edge][1] in used)


def write_network(
    ops: Ops, skeleton: ImageSkeleton, write_cell: Callable[[Any, Any, int, str], Any]
) -> Any:
    """Writes the network from the image to the logits, which it returns.

    write_cell(ops, x, channels, name) writes one cell, which keeps the shape of x.
    """
    channels = skeleton.channels
    x = ops.conv(ops.image(), channels, (3, 3), name="stem_conv")
    x = ops.batch_norm(x, name="stem_bn")
    for stage in range(STAGES):
        if stage:
            channels *= 2
            x = _residual(ops, x, channels, f"residual{stage}")
        for i in range(skeleton.cells):
            x = write_cell(ops, x, channels, f"stage{stage}_cell{i}")
    x = ops.relu(ops.batch_norm(x, name="last_bn"))
    return ops.classifier(x, skeleton.classes, dropout=skeleton.dropout)


def cell(ops: Ops, x: Any, arch: Arch, channels: int, name: str, *, affine: bool = True) -> Any:
    """x [batch, height, width, channels] -> the same shape. `arch` must have a live edge.

    affine: normalizations have a scale and an offset.
    """
    nodes, rectified = {0: x}, {}  # all convolutions that read a node share its ReLU
    sums: dict[int, list] = {1: [], 2: [], OUTPUT: []}
    live = live_edges(arch)
    for edge in live:
        a, b = EDGES[edge]
        if a not in nodes:
            nodes[a] = ops.add(sums[a])
        if arch[edge] == SKIP:
            y = nodes[a]
        elif arch[edge] == AVG_POOL:
            y = ops.avg_pool(nodes[a], 3, strides=1)
        else:
            if a not in rectified:
                rectified[a] = ops.relu(nodes[a])
            own = f"{name}_edge{a}{b}"
            y = conv(ops, rectified[a], channels, arch[edge], own, affine=affine)
        sums[b].append(y)
    return ops.add(sums[OUTPUT])


def conv(
    ops: Ops, rectified: Any, channels: int, choice: int, name: str, **normalization: bool
) -> Any:
    """The convolution CONV_1X1 or CONV_3X3 of a rectified node, and its batch normalization.

    normalization: settings of it, such as affine.
    """
    x = ops.conv(rectified, channels, KERNELS[choice], name=f"{name}_conv")
    return ops.batch_norm(x, name=f"{name}_bn", **normalization)


def _residual(ops: Ops, x: Any, channels: int, name: str) -> Any:
    """Halves height and width. Two ReLU-conv-BN, and an average pooling with a 1x1 convolution."""
    y = ops.conv(ops.relu(x), channels, (3, 3), strides=(2, 2), name=f"{name}_a_conv")
    y = ops.batch_norm(y, name=f"{name}_a_bn")
    y = ops.conv(ops.relu(y), channels, (3, 3), name=f"{name}_b_conv")
    y = ops.batch_norm(y, name=f"{name}_b_bn")
    shortcut = ops.avg_pool(x, 2, strides=2)
    return ops.add([ops.conv(shortcut, channels, (1, 1), name=f"{name}_short_conv"), y])
