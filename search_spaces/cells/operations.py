"""The operations of cells. Each is operation(ops, x, filters, stride, name) -> filters channels.

The order is ReLU, convolution, batch normalization, and separable convolutions are applied twice
(Zoph et al. 2018, appendix A.4). What the papers do differently has a function for each way.
"""

from collections.abc import Callable
from typing import Any

from nas.core.ops import Ops, Pair

Operation = Callable[[Ops, Any, int, int, str], Any]


def relu_conv_bn(
    ops: Ops, x, filters: int, name: str, *, kernel: Pair = (1, 1), strides: Pair = (1, 1)
):
    return conv_bn(ops, ops.relu(x), filters, name, kernel=kernel, strides=strides)


def conv_bn(ops: Ops, x, filters: int, name: str, *, kernel: Pair = (1, 1), strides: Pair = (1, 1)):
    x = ops.conv(x, filters, kernel, strides=strides, name=f"{name}_conv")
    return ops.batch_norm(x, name=f"{name}_bn")


def factorized_reduction(ops: Ops, x, filters: int, name: str):
    """Halves the image: two strided 1x1 convolutions, which read the even and the odd pixels."""
    even = ops.conv(x, filters - filters // 2, (1, 1), strides=(2, 2), name=f"{name}_even_conv")
    if filters == 1:  # nothing is left for the odd pixels
        return ops.batch_norm(even, name=f"{name}_bn")
    odd = ops.conv(ops.shift(x), filters // 2, (1, 1), strides=(2, 2), name=f"{name}_odd_conv")
    return ops.batch_norm(ops.concatenate([even, odd]), name=f"{name}_bn")


def fit(ops: Ops, x, filters: int, halve: bool, name: str):
    """x with `filters` channels, halved if asked; x itself where it fits already. No ReLU."""
    if halve:
        return factorized_reduction(ops, x, filters, name)
    return x if ops.shape(x)[2] == filters else conv_bn(ops, x, filters, name)


def separable(
    ops: Ops,
    x,
    filters: int,
    stride: int,
    name: str,
    *,
    size: int,
    times: int = 2,
    dilation: int = 1,
):
    """ReLU, depthwise and 1x1 convolution, batch normalization, so many times."""
    for i in range(times):
        x, strides, rate = _one_at_a_time(ops, ops.relu(x), stride if i == 0 else 1, dilation)
        x = ops.depthwise(
            x, (size, size), strides=strides, dilation=rate, name=f"{name}_{i}_depthwise"
        )
        x = conv_bn(ops, x, filters, f"{name}_{i}")
    return x


def convolution(
    ops: Ops,
    x,
    filters: int,
    stride: int,
    name: str,
    *,
    kernels: tuple[Pair, ...],
    bottleneck: bool = False,
):
    """ReLU, convolution, batch normalization for each of the kernels.

    bottleneck: at a quarter of the filters, between two 1x1 convolutions, unless that is none
    (AmoebaNet's official code, network_utils.py).
    """
    narrow = filters // 4 if bottleneck else 0
    if narrow:
        x = relu_conv_bn(ops, x, narrow, f"{name}_before")
    for kernel in kernels:
        strides = _along(kernel, stride)
        label = f"{name}_{kernel[0]}x{kernel[1]}"
        x = relu_conv_bn(ops, x, narrow or filters, label, kernel=kernel, strides=strides)
    return relu_conv_bn(ops, x, filters, f"{name}_after") if narrow else x


def dilated_convolution(ops: Ops, x, filters: int, stride: int, name: str, *, size: int):
    """ReLU, convolution with a dilation of 2, batch normalization."""
    x, strides, rate = _one_at_a_time(ops, ops.relu(x), stride, 2)
    x = ops.conv(
        x, filters, (size, size), strides=(strides, strides), dilation=rate, name=f"{name}_conv"
    )
    return ops.batch_norm(x, name=f"{name}_bn")


def joint_convolution(
    ops: Ops, x, filters: int, stride: int, name: str, *, kernels: tuple[Pair, ...]
):
    """ReLU, a convolution for each of the kernels, one batch normalization (DARTS' code)."""
    x = ops.relu(x)
    for kernel in kernels:
        label = f"{name}_{kernel[0]}x{kernel[1]}_conv"
        x = ops.conv(x, filters, kernel, strides=_along(kernel, stride), name=label)
    return ops.batch_norm(x, name=f"{name}_bn")


def max_pool(ops: Ops, x, filters: int, stride: int, name: str, *, size: int):
    """A 1x1 convolution follows where the channels differ."""
    return fit(ops, ops.max_pool(x, size, strides=stride), filters, False, name)


def avg_pool(ops: Ops, x, filters: int, stride: int, name: str, *, size: int):
    """A 1x1 convolution follows where the channels differ."""
    return fit(ops, ops.avg_pool(x, size, strides=stride), filters, False, name)


def identity_conv(ops: Ops, x, filters: int, stride: int, name: str):
    """Strided, or where channels differ: ReLU and a 1x1 convolution (NASNet's official code)."""
    if stride == 1 and ops.shape(x)[2] == filters:
        return x
    return relu_conv_bn(ops, x, filters, name, strides=(stride, stride))


def identity_factorized(ops: Ops, x, filters: int, stride: int, name: str):
    """Strided: a factorized reduction (ENAS' official code)."""
    return fit(ops, x, filters, stride > 1, name)


def identity_relu_factorized(ops: Ops, x, filters: int, stride: int, name: str):
    """Strided: a ReLU and a factorized reduction (DARTS' official code)."""
    return fit(ops, ops.relu(x) if stride > 1 else x, filters, stride > 1, name)


def _along(kernel: Pair, stride: int) -> Pair:
    """The strides of one kernel of a chain: a 1x7 takes those of the width, a 7x1 the height's."""
    if kernel[0] == kernel[1]:
        return stride, stride
    return (stride, 1) if kernel[1] == 1 else (1, stride)


def _one_at_a_time(ops: Ops, x, stride: int, dilation: int) -> tuple[Any, int, int]:
    """x, stride and dilation of which one is 1: no library has both at once.

    At a stride of 2 a dilation of 2 reads every second pixel and no other, with the padding alike
    on both sides, as DARTS has it. So those pixels are taken first.
    """
    if stride == 1 or dilation == 1:
        return x, stride, dilation
    return ops.max_pool(x, 1, strides=stride), 1, dilation // stride
