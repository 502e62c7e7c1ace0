"""What the nodes of CGP-CNN compute (Suganuma et al. 2017, arXiv:1704.00764).

As in the code (sg-nm/cgp-cnn, cnn_model.py): a block for each number of filters and kernel, max and
average pooling (2x2, stride 2, left out where a side is one pixel), concatenation and sum. A conv
block is convolution, batch normalization and ReLU; a res block adds its input to convolution, batch
normalization, ReLU, convolution, batch normalization, behind which stands a ReLU. Of two images of
different sizes the larger is max pooled until they are alike; to a sum, the one of fewer channels
is filled up with zeros.

Departure: the convolutions have no bias, which batch normalization would take away.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from nas.core.ops import Ops
from nas.core.trial import ConfigError

BLOCKS = ("conv", "res")
TWO_INPUTS = ("concat", "sum")


class Function(NamedTuple):
    """kind: conv, res, max_pool, avg_pool, concat or sum."""

    kind: str
    filters: int = 0  # before the skeleton's width
    kernel: int = 0  # pixels

    def __str__(self) -> str:
        return f"{self.kind}{self.filters}_{self.kernel}" if self.filters else self.kind

    @property
    def label(self) -> str:
        """For a drawing."""
        if self.filters:
            return f"{self.kind} {self.kernel}x{self.kernel}, {self.filters}"
        return self.kind.replace("_", " ")

    @property
    def inputs(self) -> int:
        return 2 if self.kind in TWO_INPUTS else 1


def functions(blocks: str, filters: Sequence[int], kernels: Sequence[int]) -> tuple[Function, ...]:
    """In the order of the code. Raises ConfigError for settings that make none."""
    _check(blocks, filters=filters, kernels=kernels)
    return (
        *(Function(blocks, f, k) for f in filters for k in kernels),
        *(Function(kind) for kind in ("max_pool", "avg_pool", *TWO_INPUTS)),
    )


def apply(ops: Ops, function: Function, inputs: list, filters: int, name: str) -> Any:
    """What the function makes of its inputs, one or two. filters: with the skeleton's width."""
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


def _of_one_size(ops: Ops, a, b) -> list:
    """The larger image is max pooled until it is as small as the other."""
    while ops.shape(a)[0] > ops.shape(b)[0]:
        a = ops.max_pool(a, 2, strides=2, padding="valid")
    while ops.shape(b)[0] > ops.shape(a)[0]:
        b = ops.max_pool(b, 2, strides=2, padding="valid")
    return [a, b]


def _sum(ops: Ops, a, b) -> Any:
    """Of different channels, the fewer are filled up with zeros."""
    less, more = sorted(_of_one_size(ops, a, b), key=lambda x: ops.shape(x)[2])
    missing = ops.shape(more)[2] - ops.shape(less)[2]
    if missing:
        less = ops.concatenate([less, ops.zeros(ops.first(more, missing))])
    return ops.add([less, more])


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
