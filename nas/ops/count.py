"""CountOps computes what a network costs from the shapes of its layers, without building it.

The estimate cannot drift from the model: both come from the one network that a space writes.
"""

import math
from collections.abc import Callable, Sequence

from nas.core.ops import BN_EPSILON, KERNEL_INITIALIZER, Pair, Shape


class CountOps:
    """Adds up what the layers of KerasOps would cost for one image; tensors are shapes.

    parameters: trainable weights. flops: multiply-adds of convolutions and dense layers, forward.
    activations: values that the backward pass reads again: the image and the outputs of
    convolutions, ReLUs, poolings, concatenations and paddings. (Of a normalization the input is
    kept, of a sum nothing.)
    """

    def __init__(self, image_shape: Shape):
        self.image_shape = image_shape
        self.parameters = self.flops = self.activations = 0

    def image(self) -> Shape:
        return self._kept(*self.image_shape)

    def shape(self, x: Shape) -> Shape:
        return x

    def conv(
        self,
        x: Shape,
        filters: int,
        kernel: Pair,
        *,
        strides: Pair = (1, 1),
        dilation: int = 1,
        padding: str = "same",
        bias: bool = False,
        initializer: str = KERNEL_INITIALIZER,
        name: str,
    ) -> Shape:
        height = _size(x[0], kernel[0], strides[0], padding)
        width = _size(x[1], kernel[1], strides[1], padding)
        if kernel == (1, 1) and strides != (1, 1):
            self._kept(height, width, x[2])
        weights = kernel[0] * kernel[1] * x[2] * filters
        self.parameters += weights + bias * filters
        self.flops += weights * height * width
        return self._kept(height, width, filters)

    def depthwise(
        self, x: Shape, kernel: Pair, *, strides: int = 1, dilation: int = 1, name: str
    ) -> Shape:
        height, width = math.ceil(x[0] / strides), math.ceil(x[1] / strides)
        weights = kernel[0] * kernel[1] * x[2]
        self.parameters += weights
        self.flops += weights * height * width
        return self._kept(height, width, x[2])

    def batch_norm(
        self, x: Shape, *, name: str, epsilon: float = BN_EPSILON, affine: bool = True
    ) -> Shape:
        self.parameters += 2 * x[2] if affine else 0
        return x

    def relu(self, x: Shape) -> Shape:
        return self._kept(*x)

    def max_pool(self, x: Shape, size: int, *, strides: int, padding: str = "same") -> Shape:
        height, width = (_size(n, size, strides, padding) for n in x[:2])
        return self._kept(height, width, x[2])

    def avg_pool(self, x: Shape, size: int, *, strides: int, padding: str = "same") -> Shape:
        height, width = (_size(n, size, strides, padding) for n in x[:2])
        return self._kept(height, width, x[2])

    def shift(self, x: Shape) -> Shape:
        height, width, channels = x
        if height % 2 or width % 2:
            self._kept(height + height % 2, width + width % 2, channels)
        return self._kept(height + height % 2 - 1, width + width % 2 - 1, channels)

    def pad_end(self, x: Shape, rows: int, columns: int) -> Shape:
        return self._kept(x[0] + rows, x[1] + columns, x[2])

    def add(self, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]

    def concatenate(self, inputs: Sequence[Shape]) -> Shape:
        if len(inputs) == 1:
            return inputs[0]
        height, width = max(x[0] for x in inputs), max(x[1] for x in inputs)
        for x, pad in zip(inputs, paddings([x[:2] for x in inputs]), strict=True):
            if pad:
                self._kept(height, width, x[2])
        return self._kept(height, width, sum(x[2] for x in inputs))

    def average(self, inputs: Sequence[Shape]) -> Shape:
        return inputs[0]

    def first(self, x: Shape, channels: int, after: int = 0) -> Shape:
        return x if x[2] == channels else self._kept(x[0], x[1], channels)

    def zeros(self, x: Shape) -> Shape:
        return x

    def drop_path(self, x: Shape, rate: float) -> Shape:
        return x

    def dropout(self, x: Shape, rate: float) -> Shape:
        return x

    def dense(self, x: Shape, units: int, *, name: str, dtype: str | None = None) -> Shape:
        self.parameters += (math.prod(x) + 1) * units
        self.flops += math.prod(x) * units
        return self._kept(1, 1, units)

    def auxiliary(self, head: Callable[[], Shape]) -> None:
        pass

    def classifier(
        self, x: Shape, classes: int, *, dropout: float, bias: bool = True, name: str = "logits"
    ) -> Shape:
        self.parameters += (x[2] + bias) * classes
        self.flops += x[2] * classes
        self._kept(1, 1, x[2])
        return self._kept(1, 1, classes)

    def _kept(self, height: int, width: int, channels: int) -> Shape:
        self.activations += height * width * channels
        return height, width, channels


def _size(n: int, kernel: int, strides: int, padding: str) -> int:
    return math.ceil((n if padding == "same" else n - kernel + 1) / strides)


def paddings(sizes: Sequence[Pair]) -> list[tuple[Pair, Pair] | None]:
    """The padding ((top, bottom), (left, right)) that brings each size to the largest, centred.

    sizes: (height, width) of each image. An odd pixel goes to the bottom or the right. None for an
    image that needs no padding.
    """
    height, width = max(size[0] for size in sizes), max(size[1] for size in sizes)
    pads: list[tuple[Pair, Pair] | None] = []
    for h, w in sizes:
        down, across = height - h, width - w
        pad = (down // 2, down - down // 2), (across // 2, across - across // 2)
        pads.append(pad if down or across else None)
    return pads
