"""The layers of an ENAS macro network, as the space and its supernet share them.

Pham et al. 2018, arXiv:1802.03268, section 2.3; official code. space.py describes the three forms.
"""

import dataclasses
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.search_spaces.cells.operations import conv_bn, factorized_reduction, relu_conv_bn

# In the official order, so that choices are the numbers of the authors' strings.
OPERATIONS = ("conv_3x3", "sep_3x3", "conv_5x5", "sep_5x5", "avg_pool_3x3", "max_pool_3x3")
BRANCH_EPSILON = 1e-3  # of the last normalization of a branch (batch_norm_with_mask)
FINAL, RELEASED, SEARCH = "final", "released", "search"


@dataclasses.dataclass(frozen=True)
class Layer:
    """What was chosen for one layer. skips: the older tensors that join in."""

    operation: str
    skips: tuple[int, ...]


def read_behind(layers: Sequence[Layer], i: int) -> set[int]:
    """The tensors computed up to layer i that later layers read."""
    return {i + 1} | {j for later in layers[i + 1 :] for j in later.skips if j <= i}


def stem(ops: Ops, filters: int) -> Any:
    """Tensor 0."""
    return conv_bn(ops, ops.image(), filters, "stem", kernel=(3, 3))


def reduction(ops: Ops, x: Any, filters: int, layer: int, tensor: int) -> Any:
    """Tensor number `tensor`, halved, as later layers read it behind `layer`."""
    return factorized_reduction(ops, x, filters, f"reduction{layer}_tensor{tensor}")


def classifier(ops: Ops, x: Any, skeleton: ImageSkeleton) -> Any:
    """The logits."""
    return ops.classifier(x, skeleton.classes, dropout=skeleton.dropout, bias=False)


def join(ops: Ops, inputs: Sequence, filters: int, skeleton: ImageSkeleton, layer: int) -> Any:
    """Joins the inputs: the older tensors that join in, then the layer's own operation."""
    if skeleton.form == SEARCH:
        return ops.batch_norm(ops.add(inputs), name=f"layer{layer}_join_bn")
    return relu_conv_bn(ops, ops.concatenate(inputs), filters, f"layer{layer}_join")


def search_operation(ops: Ops, x: Any, filters: int, operation: str, name: str) -> Any:
    """1x1 convolution, normalization, ReLU; then the operation.

    A convolution is followed by normalization and ReLU, a pooling is not.
    """
    x = ops.relu(conv_bn(ops, x, filters, f"{name}_before"))
    x = _core(ops, x, filters, operation, name)
    if operation.endswith("pool_3x3"):
        return x
    return ops.relu(ops.batch_norm(x, name=f"{name}_bn", epsilon=BRANCH_EPSILON))


def final_operation(
    ops: Ops, x: Any, filters: int, operation: str, name: str, *, released: bool
) -> Any:
    """ReLU, 1x1 convolution, normalization; then the operation.

    A convolution stands between ReLU and normalization, a pooling alone.
    """
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
    """The operation alone, with a stride of 1."""
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
