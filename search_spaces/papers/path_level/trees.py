"""Tree-structured cells as plain data, and the function that writes them as layers.

Cai et al. 2018, arXiv:1806.02639. A node passes its input to its branches and merges their outputs:
it averages them, or concatenates them, where each branch has a share of the channels. A branch is
an edge, which has an operation, and possibly a node behind it.
"""

import dataclasses
from typing import Any

from nas.core.ops import Ops

Merge = tuple[str, int]  # none, add or concat, and the number of branches
Key = tuple[object, ...]

NONE, ADD, CONCAT = "none", "add", "concat"
IDENTITY = "identity"
ROOT_EDGE = "conv_3x3"  # the operation of every branch of the root
CONVS = {"conv_1x1": 1, "depth_conv_3x3": 3, "depth_conv_5x5": 5, "depth_conv_7x7": 7}
POOLS = ("max_pool_3x3", "avg_pool_3x3")
EDGES = (IDENTITY, "depth_conv_3x3", "depth_conv_5x5", "depth_conv_7x7", "conv_1x1", *POOLS)


@dataclasses.dataclass(frozen=True)
class Branch:
    """An edge, and the node behind it, if there is one."""

    edge: str
    node: "Node | None" = None


@dataclasses.dataclass(frozen=True)
class Node:
    """Branches, and how they are merged; "none" for a single branch."""

    merge: str
    branches: tuple[Branch, ...]


def shares(channels: int, count: int) -> list[int]:
    """The channels of each concatenated branch; the first branches get those that remain."""
    return [channels // count + (i < channels % count) for i in range(count)]


def key(node: Node) -> Key:
    """Equal for cells that compute the same: it ignores the order of averages, and identities."""
    paths = [_path(branch) for branch in node.branches]
    if node.merge == NONE:
        return paths[0]
    return ((node.merge, *(sorted(paths, key=repr) if node.merge == ADD else paths)),)


def _path(branch: Branch) -> Key:
    edge = () if branch.edge == IDENTITY else (branch.edge,)
    return (*edge, *(key(branch.node) if branch.node else ()))


def write(ops: Ops, x: Any, node: Node, channels: int, name: str, *, groups: int = 0) -> Any:
    """Writes a node: x [batch, height, width, any channels] -> [batch, height, width, channels].

    name: the beginning of its layers' names. groups: of the 3x3 convolutions, if it is the root of
    the cell; 0: it is not. The branches of a root without groups all read the whole of x.
    """
    count, before, outputs = len(node.branches), 0, []
    widths = shares(channels, count) if node.merge == CONCAT else [channels] * count
    divides = node.merge == CONCAT and groups != 1
    if divides and groups:
        groups //= count
    inputs = shares(ops.shape(x)[2], count)
    for i, (branch, width) in enumerate(zip(node.branches, widths, strict=True)):
        branch_name, branch_input = f"{name}_{i}", x
        if divides:
            branch_input, before = ops.first(x, inputs[i], after=before), before + inputs[i]
        if branch.edge == ROOT_EDGE:
            y = conv(ops, branch_input, width, 3, branch_name, groups=groups)
        else:
            y = _edge(ops, branch_input, branch.edge, width, branch_name)
        if branch.node:
            y = write(ops, y, branch.node, width, branch_name)
        outputs.append(y)
    return ops.concatenate(outputs) if node.merge == CONCAT else ops.average(outputs)


def _edge(ops: Ops, x: Any, edge: str, filters: int, name: str) -> Any:
    if edge in POOLS:
        pool = ops.max_pool if edge.startswith("max") else ops.avg_pool
        return pool(x, 3, strides=1)
    if edge == IDENTITY:
        return x
    if edge.startswith("depth"):
        x = ops.depthwise(x, (CONVS[edge], CONVS[edge]), name=f"{name}_depthwise")
    return conv(ops, x, filters, 1, name)


def conv(ops: Ops, x: Any, filters: int, size: int, name: str, *, groups: int = 1) -> Any:
    """Convolution, normalization, ReLU.

    groups: each reads its share of the channels, and is a convolution of its own, because
    TensorFlow has no gradient of grouped convolutions on a CPU.
    """
    before, outputs, channels = 0, [], shares(ops.shape(x)[2], groups)
    for i, (width, read) in enumerate(zip(shares(filters, groups), channels, strict=True)):
        part = ops.first(x, read, after=before) if groups > 1 else x
        outputs.append(ops.conv(part, width, (size, size), name=conv_name(name, i)))
        before += read
    return ops.relu(ops.batch_norm(ops.concatenate(outputs), name=f"{name}_bn"))


def conv_name(name: str, group: int) -> str:
    """The name of a convolution's layer: NAME_conv, and NAME_group1_conv for the second group."""
    return f"{name}_group{group}_conv" if group else f"{name}_conv"
