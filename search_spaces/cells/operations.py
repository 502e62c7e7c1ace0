"""The operations of cells: functions (ops, x, filters, stride, name) -> `filters` channels.

The order is ReLU, convolution, batch normalization, and separable convolutions are applied twice
(Zoph et al. 2018, appendix A.4). Where the papers differ, there is a function for each variant.
"""

from collections.abc import Callable
from typing import Any

from nas.core.ops import Ops, Pair

Operation = Callable[[Ops, Any, int, int, str], Any]


def relu_conv_bn(ops: Ops, x: Any, filters: int, name: str, **settings: Any) -> Any:
    """settings: kernel, strides and affine, as of conv_bn."""
    return conv_bn(ops, ops.relu(x), filters, name, **settings)


def conv_bn(
    ops: Ops,
    x: Any,
    filters: int,
    name: str,
    *,
    kernel: Pair = (1, 1),
    strides: Pair = (1, 1),
    affine: bool = True,
) -> Any:
    x = ops.conv(x, filters, kernel, strides=strides, name=f"{name}_conv")
    return _norm(ops, x, name, affine)


def _norm(ops: Ops, x: Any, name: str, affine: bool) -> Any:
    """affine: with a learnt scale and offset."""
    return ops.batch_norm(x, name=f"{name}_bn", **({} if affine else {"affine": False}))


def factorized_reduction(ops: Ops, x: Any, filters: int, name: str, *, affine: bool = True) -> Any:
    """Halves the image by two strided 1x1 convolutions, which read the even and the odd pixels."""
    even = ops.conv(x, filters - filters // 2, (1, 1), strides=(2, 2), name=f"{name}_even_conv")
    if filters == 1:  # there is no filter left for the odd pixels
        return _norm(ops, even, name, affine)
    odd = ops.conv(ops.shift(x), filters // 2, (1, 1), strides=(2, 2), name=f"{name}_odd_conv")
    return _norm(ops, ops.concatenate([even, odd]), name, affine)


def fit(ops: Ops, x: Any, filters: int, halve: bool, name: str) -> Any:
    """x with `filters` channels, and half its size if `halve`; x itself if it fits. No ReLU."""
    if halve:
        return factorized_reduction(ops, x, filters, name)
    return x if ops.shape(x)[2] == filters else conv_bn(ops, x, filters, name)


def separable(
    ops: Ops,
    x: Any,
    filters: int,
    stride: int,
    name: str,
    *,
    size: int,
    times: int = 2,
    dilation: int = 1,
    affine: bool = True,
) -> Any:
    """ReLU, depthwise and 1x1 convolution, batch normalization, repeated `times` times."""
    for i in range(times):
        x, strides, rate = _one_at_a_time(ops, ops.relu(x), stride if i == 0 else 1, dilation)
        x = ops.depthwise(
            x, (size, size), strides=strides, dilation=rate, name=f"{name}_{i}_depthwise"
        )
        x = conv_bn(ops, x, filters, f"{name}_{i}", affine=affine)
    return x


def convolution(
    ops: Ops,
    x: Any,
    filters: int,
    stride: int,
    name: str,
    *,
    kernels: tuple[Pair, ...],
    bottleneck: bool = False,
) -> Any:
    """ReLU, convolution, batch normalization for each of the kernels.

    bottleneck: the convolutions have a quarter of the filters, between two 1x1 convolutions; it has
      no effect on fewer than 4 filters (AmoebaNet's official code, network_utils.py).
    """
    narrow = filters // 4 if bottleneck else 0
    if narrow:
        x = relu_conv_bn(ops, x, narrow, f"{name}_before")
    for kernel in kernels:
        strides = _along(kernel, stride)
        label = f"{name}_{kernel[0]}x{kernel[1]}"
        x = relu_conv_bn(ops, x, narrow or filters, label, kernel=kernel, strides=strides)
    return relu_conv_bn(ops, x, filters, f"{name}_after") if narrow else x


def dilated_convolution(
    ops: Ops, x: Any, filters: int, stride: int, name: str, *, size: int
) -> Any:
    """ReLU, convolution with a dilation of 2, batch normalization."""
    x, strides, rate = _one_at_a_time(ops, ops.relu(x), stride, 2)
    x = ops.conv(
        x, filters, (size, size), strides=(strides, strides), dilation=rate, name=f"{name}_conv"
    )
    return ops.batch_norm(x, name=f"{name}_bn")


def joint_convolution(
    ops: Ops,
    x: Any,
    filters: int,
    stride: int,
    name: str,
    *,
    kernels: tuple[Pair, ...],
    affine: bool = True,
) -> Any:
    """ReLU, a convolution for each of the kernels, a single batch normalization (DARTS' code)."""
    x = ops.relu(x)
    for kernel in kernels:
        label = f"{name}_{kernel[0]}x{kernel[1]}_conv"
        x = ops.conv(x, filters, kernel, strides=_along(kernel, stride), name=label)
    return _norm(ops, x, name, affine)


def max_pool(ops: Ops, x: Any, filters: int, stride: int, name: str, *, size: int) -> Any:
    """A max pooling, and a 1x1 convolution if the number of channels differs."""
    return fit(ops, ops.max_pool(x, size, strides=stride), filters, False, name)


def avg_pool(ops: Ops, x: Any, filters: int, stride: int, name: str, *, size: int) -> Any:
    """A mean pooling, and a 1x1 convolution if the number of channels differs."""
    return fit(ops, ops.avg_pool(x, size, strides=stride), filters, False, name)


def identity_conv(ops: Ops, x: Any, filters: int, stride: int, name: str) -> Any:
    """The identity; ReLU and a 1x1 convolution if it is strided or the number of channels differs
    (NASNet's official code)."""
    if stride == 1 and ops.shape(x)[2] == filters:
        return x
    return relu_conv_bn(ops, x, filters, name, strides=(stride, stride))


def identity_factorized(ops: Ops, x: Any, filters: int, stride: int, name: str) -> Any:
    """The identity; a factorized reduction if it is strided (ENAS' official code)."""
    return fit(ops, x, filters, stride > 1, name)


def identity_relu_factorized(ops: Ops, x: Any, filters: int, stride: int, name: str) -> Any:
    """The identity; ReLU and a factorized reduction if it is strided (DARTS' official code)."""
    return fit(ops, ops.relu(x) if stride > 1 else x, filters, stride > 1, name)


def max_pool_bn(ops: Ops, x: Any, filters: int, stride: int, name: str, *, size: int) -> Any:
    """A max pooling and a normalization without scale and offset (DARTS' search, MixedOp)."""
    return _norm(ops, ops.max_pool(x, size, strides=stride), name, False)


def avg_pool_bn(ops: Ops, x: Any, filters: int, stride: int, name: str, *, size: int) -> Any:
    """A mean pooling and a normalization without scale and offset (DARTS' search, MixedOp)."""
    return _norm(ops, ops.avg_pool(x, size, strides=stride), name, False)


def identity_reduction(ops: Ops, x: Any, filters: int, stride: int, name: str) -> Any:
    """The identity; if it is strided, ReLU and a factorized reduction without scale and offset."""
    if stride == 1:
        return x
    return factorized_reduction(ops, ops.relu(x), filters, name, affine=False)


def _along(kernel: Pair, stride: int) -> Pair:
    """The strides of one kernel of a chain: 1x7 strides along the width, 7x1 along the height."""
    if kernel[0] == kernel[1]:
        return stride, stride
    return (stride, 1) if kernel[1] == 1 else (1, stride)


def _one_at_a_time(ops: Ops, x: Any, stride: int, dilation: int) -> tuple[Any, int, int]:
    """x, a stride and a dilation, one of which is 1, because no library supports both at once.

    With a stride of 2, a dilation of 2 reads only every second pixel, with equal padding on both
    sides, as in DARTS. Therefore these pixels are selected first.
    """
    if stride == 1 or dilation == 1:
        return x, stride, dilation
    return ops.max_pool(x, 1, strides=stride), 1, dilation // stride
