"""Tree-structured cells as plain data, and how they are written.

Cai et al. 2018, arXiv:1806.02639. A node gives its input to its branches and merges what they give:
their average, or their concatenation, each branch with a share of the channels. A branch is an edge
(an operation) and, behind it, perhaps a node.
"""

import dataclasses
from typing import Any

from nas.core.ops import Ops

Merge = tuple[str, int]  # none, add or concat, and how many branches
Key = tuple[object, ...]

NONE, ADD, CONCAT = "none", "add", "concat"
IDENTITY = "identity"
ROOT_EDGE = "conv_3x3"  # of every branch of the root
CONVS = {"conv_1x1": 1, "depth_conv_3x3": 3, "depth_conv_5x5": 5, "depth_conv_7x7": 7}
POOLS = ("max_pool_3x3", "avg_pool_3x3")
EDGES = (IDENTITY, "depth_conv_3x3", "depth_conv_5x5", "depth_conv_7x7", "conv_1x1", *POOLS)


@dataclasses.dataclass(frozen=True)
class Branch:
    """An edge, and the node behind it; None: there is none."""

    edge: str
    node: "Node | None" = None


@dataclasses.dataclass(frozen=True)
class Node:
    """How branches are merged (none: there is one), and they."""

    merge: str
    branches: tuple[Branch, ...]


def shares(channels: int, count: int) -> list[int]:
    """The channels of each of the branches that are concatenated, the first ones larger."""
    return [channels // count + (i < channels % count) for i in range(count)]


def key(node: Node) -> Key:
    """Equal for cells that compute the same: averages have no order, identities do nothing."""
    paths = [_path(branch) for branch in node.branches]
    if node.merge == NONE:
        return paths[0]
    return ((node.merge, *(sorted(paths, key=repr) if node.merge == ADD else paths)),)


def _path(branch: Branch) -> Key:
    edge = () if branch.edge == IDENTITY else (branch.edge,)
    return (*edge, *(key(branch.node) if branch.node else ()))


def write(ops: Ops, x: Any, node: Node, channels: int, name: str, *, is_root: bool = True) -> Any:
    """What `node` makes of x: so many channels. name: what those of its layers begin with."""
    count, before, given = len(node.branches), 0, []
    widths = shares(channels, count) if node.merge == CONCAT else [channels] * count
    for i, (branch, width) in enumerate(zip(node.branches, widths, strict=True)):
        own, read = f"{name}_{i}", x
        if node.merge == CONCAT and not is_root:
            read, before = ops.first(x, width, after=before), before + width
        y = _edge(ops, read, branch.edge, width, own)
        if branch.node:
            y = write(ops, y, branch.node, width, own, is_root=False)
        given.append(y)
    return ops.concatenate(given) if node.merge == CONCAT else ops.average(given)


def _edge(ops: Ops, x: Any, edge: str, filters: int, name: str) -> Any:
    if edge == ROOT_EDGE:
        return conv(ops, x, filters, 3, name)
    if edge in POOLS:
        pool = ops.max_pool if edge.startswith("max") else ops.avg_pool
        return pool(x, 3, strides=1)
    if edge == IDENTITY:
        return x
    if edge.startswith("depth"):
        x = ops.depthwise(x, (CONVS[edge], CONVS[edge]), name=f"{name}_depthwise")
    return conv(ops, x, filters, 1, name)


def conv(ops: Ops, x: Any, filters: int, size: int, name: str) -> Any:
    """Convolution, normalization, ReLU."""
    x = ops.conv(x, filters, (size, size), name=f"{name}_conv")
    return ops.relu(ops.batch_norm(x, name=f"{name}_bn"))
