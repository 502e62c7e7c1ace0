"""The few layers that an image network is written with: the protocol of its interpreters.

A space writes its network once, in terms of an `ops` (`ImageSpace.network`). Each room of nas/ops is
one way to read what was written: KerasOps makes Keras layers, CountOps adds up what they cost,
TensorOps computes with plain tensors. Tensors are whatever the ops give.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

Pair = tuple[int, int]  # of the height and the width
Shape = tuple[int, int, int]  # height, width, channels

# He et al. 2015 for convolutions before ReLUs; neither paper of this folder's first spaces says.
KERNEL_INITIALIZER = "he_normal"
# The same for one filter a channel, which sees height x width pixels: Keras' fan_in would count the
# channels too.
DEPTHWISE_INITIALIZER = {"scale": 2.0, "mode": "fan_out", "distribution": "truncated_normal"}
# PyTorch's defaults, which NAS-Bench-201's official code keeps. Keras' own momentum of 0.99 would
# need hundreds of steps before validation sees fair statistics: more than a short search has.
BN_MOMENTUM, BN_EPSILON = 0.9, 1e-5


class Ops(Protocol):
    """What a network may be written with. Padding is "same", sizes are divided rounding up, unless
    it is said to be "valid"."""

    def image(self) -> Any:
        """The input: images [batch, height, width, channels]."""

    def shape(self, x) -> Shape:
        """The height, width and channels of x."""

    def conv(
        self,
        x,
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
        """A convolution; without bias where a batch normalization follows it.

        One of 1x1 is made without strides, of the pixels it would read: TensorFlow 2.21's oneDNN
        adds up the gradient of a strided 1x1 kernel wrongly on CPUs with AVX2 alone
        (tests/ops/test_gradients.py).
        """

    def depthwise(self, x, kernel: Pair, *, strides: int = 1, dilation: int = 1, name: str) -> Any:
        """One filter for each channel, without bias."""

    def batch_norm(self, x, *, name: str, epsilon: float = BN_EPSILON) -> Any: ...

    def relu(self, x) -> Any: ...

    def max_pool(self, x, size: int, *, strides: int, padding: str = "same") -> Any: ...

    def avg_pool(self, x, size: int, *, strides: int, padding: str = "same") -> Any:
        """The mean over the pixels inside the image: the padding does not count."""

    def shift(self, x) -> Any:
        """The image moved up and left by a pixel: what a stride of 2 reads of it are the pixels
        that it skips in x. Zeros come in where the height or the width is odd."""

    def add(self, inputs: Sequence) -> Any:
        """The sum of tensors of one shape; one alone passes as it is."""

    def concatenate(self, inputs: Sequence) -> Any:
        """Along channels. Smaller images are padded with zeros to the largest, centred; an odd
        pixel goes to the bottom or the right. One alone passes as it is."""

    def average(self, inputs: Sequence) -> Any:
        """The mean of tensors of one shape; one alone passes as it is."""

    def first(self, x, channels: int, after: int = 0) -> Any:
        """The first channels of x behind so many others; all of them pass as they are."""

    def zeros(self, x) -> Any:
        """Zeros of x's shape, through which the gradient is zero."""

    def drop_path(self, x, rate: float) -> Any:
        """x; in training, zeros for so large a share of the images, at the end of the training."""

    def dropout(self, x, rate: float) -> Any:
        """x; in training, each value is zero with so large a probability."""

    def dense(self, x, units: int, *, name: str, dtype: str | None = None) -> Any:
        """A dense layer with a bias over all values of x: [batch, units]."""

    def auxiliary(self, head: Callable[[], Any]) -> None:
        """A head that gives logits which only training uses: it is made in training alone."""

    def classifier(
        self, x, classes: int, *, dropout: float, bias: bool = True, name: str = "logits"
    ) -> Any:
        """Global average pooling, dropout, and a dense layer to logits [batch, classes] float32."""
