"""The layers that an image network is written with: the protocol of all interpreters.

A space writes its network once, as calls of an `ops` object (`ImageSpace.network`). Each class of
nas/ops interprets these calls in its own way: KerasOps makes Keras layers, CountOps adds up their
costs, TensorOps computes with plain tensors. What a tensor is depends on the interpreter.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

Pair = tuple[int, int]  # along the height and the width
Shape = tuple[int, int, int]  # height, width, channels

# He et al. 2015, for convolutions before ReLUs; the first spaces' papers name none.
KERNEL_INITIALIZER = "he_normal"
# The same for depthwise convolutions: a filter reads one channel, but fan_in would count all.
DEPTHWISE_INITIALIZER = {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"}
# PyTorch's defaults, which NAS-Bench-201's official code uses. With Keras' momentum of 0.99 the
# moving averages need hundreds of steps to approach the statistics of the data: more than a short
# training has.
BN_MOMENTUM, BN_EPSILON = 0.9, 1e-5


class Ops(Protocol):
    """The layers of a network.

    Padding is "same" unless an argument says "valid": a stride divides the size, rounded up.
    """

    def image(self) -> Any:
        """The input: images [batch, height, width, channels]."""

    def shape(self, x: Any) -> Shape:
        """The height, width and channels of x."""

    def conv(
        self,
        x: Any,
        filters: int,
        kernel: Pair,
        *,
        strides: Pair = (1, 1),
        dilation: int = 1,
        padding: str = "same",
        bias: bool = False,
        initializer: str = KERNEL_INITIALIZER,
        name: str,
    ) -> Any:
        """A convolution. It needs no bias if a batch normalization follows.

        A strided 1x1 convolution is computed as one without strides on the pixels that it reads,
        because TensorFlow 2.21's oneDNN computes a wrong gradient of a strided 1x1 kernel on CPUs
        that have AVX2 only (tests/ops/test_gradients.py).
        """

    def depthwise(
        self, x: Any, kernel: Pair, *, strides: int = 1, dilation: int = 1, name: str
    ) -> Any:
        """A depthwise convolution: one filter for each channel, without bias."""

    def batch_norm(
        self, x: Any, *, name: str, epsilon: float = BN_EPSILON, affine: bool = True
    ) -> Any:
        """Normalises each channel. affine: with a learnt scale and offset."""

    def relu(self, x: Any) -> Any: ...

    def max_pool(self, x: Any, size: int, *, strides: int, padding: str = "same") -> Any: ...

    def avg_pool(self, x: Any, size: int, *, strides: int, padding: str = "same") -> Any:
        """The mean over the pixels inside the image; padding is not counted."""

    def shift(self, x: Any) -> Any:
        """x moved up and left by one pixel, with zeros at the end.

        A stride of 2 then reads the pixels that it skips in x. An odd height or width reads zeros.
        """

    def pad_end(self, x: Any, rows: int, columns: int) -> Any:
        """x with `rows` of zeros below it and `columns` of zeros at its right."""

    def add(self, inputs: Sequence[Any]) -> Any:
        """The sum of tensors of one shape. A single tensor is returned unchanged."""

    def concatenate(self, inputs: Sequence[Any]) -> Any:
        """Concatenates along channels. A single tensor is returned unchanged.

        Smaller images are padded with zeros to the largest size, centred; an odd pixel is added at
        the bottom or the right.
        """

    def average(self, inputs: Sequence[Any]) -> Any:
        """The mean of tensors of one shape. A single tensor is returned unchanged."""

    def first(self, x: Any, channels: int, after: int = 0) -> Any:
        """The `channels` channels of x that follow the first `after` ones."""

    def zeros(self, x: Any) -> Any:
        """Zeros of x's shape; the gradient through them is zero."""

    def drop_path(self, x: Any, rate: float) -> Any:
        """x. In training x is zero for a share of the images that grows to `rate` at the end."""

    def dropout(self, x: Any, rate: float) -> Any:
        """x. In training each value is zero with probability `rate`."""

    def dense(self, x: Any, units: int, *, name: str, dtype: str | None = None) -> Any:
        """A dense layer with a bias on all values of x; gives [batch, units]."""

    def auxiliary(self, head: Callable[[], Any]) -> None:
        """An auxiliary classifier, which only training has: `head` makes it."""

    def classifier(
        self, x: Any, classes: int, *, dropout: float, bias: bool = True, name: str = "logits"
    ) -> Any:
        """Global average pooling, dropout, and a dense layer to logits [batch, classes] float32."""
