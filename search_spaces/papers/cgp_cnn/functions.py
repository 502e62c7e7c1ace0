"""The functions of CGP-CNN's nodes (Suganuma et al. 2017, arXiv:1704.00764).

They are those of the code (sg-nm/cgp-cnn, cnn_model.py): a block for each number of filters and
each kernel; max and average pooling (2x2, stride 2, left out if a side is one pixel); concatenation
and sum. A conv block is convolution, batch normalization and ReLU. A res block is convolution,
batch normalization, ReLU, convolution and batch normalization; its input is added to the result,
and a ReLU follows. If two inputs have different sizes, the larger image is max pooled until the
sizes are equal. In a sum, the input with fewer channels is filled up with zeros.

Departure: the convolutions have no bias, because batch normalization would cancel it.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from nas.core.ops import Ops
from nas.core.trial import ConfigError

BLOCKS = ("conv", "res")
TWO_INPUTS = ("concat", "sum")


class Function(NamedTuple):
    """What a node computes."""

    kind: str  # conv, res, max_pool, avg_pool, concat or sum
    filters: int = 0  # of a block, before the skeleton's width
    kernel: int = 0  # of a block, pixels

    def __str__(self) -> str:
        return f"{self.kind}{self.filters}_{self.kernel}" if self.filters else self.kind

    @property
    def label(self) -> str:
        """The text in a drawing."""
        if self.filters:
            return f"{self.kind} {self.kernel}x{self.kernel}, {self.filters}"
        return self.kind.replace("_", " ")

    @property
    def inputs(self) -> int:
        """The number of inputs, 1 or 2."""
        return 2 if self.kind in TWO_INPUTS else 1


def functions(blocks: str, filters: Sequence[int], kernels: Sequence[int]) -> tuple[Function, ...]:
    """All functions, in the order of the code. Raises ConfigError for wrong settings."""
    _check(blocks, filters=filters, kernels=kernels)
    return (
        *(Function(blocks, f, k) for f in filters for k in kernels),
        *(Function(kind) for kind in ("max_pool", "avg_pool", *TWO_INPUTS)),
    )


def apply(ops: Ops, function: Function, inputs: list[Any], filters: int, name: str) -> Any:
    """Writes the function of one or two inputs. filters: with the skeleton's width."""
    x, window = inputs[0], (function.kernel, function.kernel)
    if function.kind in ("max_pool", "avg_pool"):
        pool = getattr(ops, function.kind)
        return pool(x, 2, strides=2, padding="valid") if min(ops.shape(x)[:2]) > 1 else x
    if function.kind == "concat":
        return ops.concatenate(_of_one_size(ops, *inputs))
    if function.kind == "sum":
        return _sum(ops, *inputs)
    y = ops.batch_norm(ops.conv(x, filters, window, name=f"{name}_conv"), name=f"{name}_bn")
    if function.kind == "conv":
        return ops.relu(y)
    y = ops.conv(ops.relu(y), filters, window, name=f"{name}_conv2")
    return ops.relu(_sum(ops, ops.batch_norm(y, name=f"{name}_bn2"), x))


def _of_one_size(ops: Ops, a: Any, b: Any) -> list[Any]:
    """Both images; the larger one is max pooled until it is as small as the other."""
    while ops.shape(a)[0] > ops.shape(b)[0]:
        a = ops.max_pool(a, 2, strides=2, padding="valid")
    while ops.shape(b)[0] > ops.shape(a)[0]:
        b = ops.max_pool(b, 2, strides=2, padding="valid")
    return [a, b]


def _sum(ops: Ops, a: Any, b: Any) -> Any:
    """The sum; the input with fewer channels is filled up with zeros."""
    narrow, wide = sorted(_of_one_size(ops, a, b), key=lambda x: ops.shape(x)[2])
    missing = ops.shape(wide)[2] - ops.shape(narrow)[2]
    if missing:
        narrow = ops.concatenate([narrow, ops.zeros(ops.first(wide, missing))])
    return ops.add([narrow, wide])


def _check(blocks: str, **numbers: Sequence[int]) -> None:
    if blocks not in BLOCKS:
        raise ConfigError(
            f"space.blocks must be one of {', '.join(BLOCKS)}, got {blocks}; set space.blocks=conv"
        )
    for name, values in numbers.items():
        if not values or min(values) < 1 or len(set(values)) < len(values):
            raise ConfigError(
                f"space.{name} must be different whole numbers from 1, got {list(values)}; "
                f"set space.{name}=[32,64]"
            )
