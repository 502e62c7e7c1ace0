"""WeightOps lists the weights of a network without TensorFlow; here too: first values, layouts.

Weights are named as in the model of `ImageSpace.build`, "layer/weight": "stem_bn/gamma".
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from nas.core.ops import BN_EPSILON, KERNEL_INITIALIZER, Pair, Shape
from nas.ops.count import CountOps

# Kinds of weights. Weight decay applies to kernels alone; the moving averages are not trained.
KERNEL, OTHER, MEAN, VARIANCE = "kernel", "other", "moving_mean", "moving_variance"
FIXED = "fixed"  # weights of an auxiliary head that is not trained
# Keras' initializers: variance = this / fan_in (glorot: this / the mean of both fans).
VARIANCES = {"he": 2.0, "lecun": 1.0, "glorot": 1.0}
DENSE_INITIALIZER = "glorot_uniform"
DEPTHWISE = "depthwise"  # core.ops.DEPTHWISE_INITIALIZER: the fan of a filter is its pixels
# A normal distribution is cut off at two deviations, which leaves this share of its deviation.
CUT_OFF, REMAINING_DEVIATION = 2.0, 0.87962566103423978


class Weight(NamedTuple):
    """A weight before it has values."""

    shape: tuple[int, ...]
    kind: str  # KERNEL, OTHER, FIXED, MEAN or VARIANCE
    initializer: str


class WeightOps(CountOps):
    """Lists the weights of the layers that KerasOps builds, and of the auxiliary head.

    weights: by "layer/weight". drop_path_rates: of the paths, in the order of the network.
    """

    def __init__(self, image_shape: Shape, *, auxiliary_trained: bool = True):
        super().__init__(image_shape)
        self.auxiliary_trained, self._is_fixed = auxiliary_trained, False
        self.weights: dict[str, Weight] = {}
        self.drop_path_rates: list[float] = []

    def conv(
        self,
        x: Shape,
        filters: int,
        kernel: Pair,
        *,
        bias: bool = False,
        initializer: str = KERNEL_INITIALIZER,
        name: str,
        **settings: Any,
    ) -> Shape:
        self._weighted(name, (*kernel, x[2], filters), bias, initializer)
        return super().conv(x, filters, kernel, bias=bias, name=name, **settings)

    def depthwise(self, x: Shape, kernel: Pair, *, name: str, **settings: Any) -> Shape:
        self._weighted(name, (*kernel, x[2], 1), False, DEPTHWISE)
        return super().depthwise(x, kernel, name=name, **settings)

    def batch_norm(
        self, x: Shape, *, name: str, epsilon: float = BN_EPSILON, affine: bool = True
    ) -> Shape:
        shape = (x[2],)
        if affine:
            self.weights[f"{name}/gamma"] = Weight(shape, self._trained(OTHER), "ones")
            self.weights[f"{name}/beta"] = Weight(shape, self._trained(OTHER), "zeros")
        self.weights |= {
            f"{name}/{MEAN}": Weight(shape, MEAN, "zeros"),
            f"{name}/{VARIANCE}": Weight(shape, VARIANCE, "ones"),
        }
        return super().batch_norm(x, name=name, epsilon=epsilon, affine=affine)

    def drop_path(self, x: Shape, rate: float) -> Shape:
        if rate:
            self.drop_path_rates.append(rate)
        return x

    def dense(self, x: Shape, units: int, *, name: str, dtype: str | None = None) -> Shape:
        self._weighted(name, (math.prod(x), units), True, DENSE_INITIALIZER)
        return super().dense(x, units, name=name, dtype=dtype)

    def auxiliary(self, head: Callable[[], Shape]) -> None:
        self._is_fixed = not self.auxiliary_trained
        head()
        self._is_fixed = False

    def classifier(
        self, x: Shape, classes: int, *, dropout: float, bias: bool = True, name: str = "logits"
    ) -> Shape:
        self._weighted(name, (x[2], classes), bias, DENSE_INITIALIZER)
        return super().classifier(x, classes, dropout=dropout, bias=bias, name=name)

    def _weighted(self, name: str, shape: tuple[int, ...], bias: bool, initializer: str) -> None:
        if f"{name}/kernel" in self.weights:
            raise ValueError(f"layers must have names of their own, got {name} twice")
        self.weights[f"{name}/kernel"] = Weight(shape, self._trained(KERNEL), initializer)
        if bias:
            self.weights[f"{name}/bias"] = Weight(shape[-1:], self._trained(OTHER), "zeros")

    def _trained(self, kind: str) -> str:
        return FIXED if self._is_fixed else kind


class FlatLayout:
    """Weights in one vector, those of one shape side by side, so that one operation divides them.

    groups: names, and the shape that they share. names: of all weights, in the order of the vector.
    sizes: values of each group.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]]):
        groups: dict[tuple[int, ...], list[str]] = {}
        for name, shape in shapes.items():
            groups.setdefault(shape, []).append(name)
        self.groups = [(names, shape) for shape, names in groups.items()]
        self.names = [name for names, _ in self.groups for name in names]
        self.sizes = [len(names) * math.prod(shape) for names, shape in self.groups]

    def join(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The vector of the arrays, float32."""
        return np.concatenate([np.ravel(arrays[name]) for name in self.names], dtype=np.float32)

    def divide(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """The inverse of `join`."""
        arrays: dict[str, np.ndarray] = {}
        parts = np.split(vector, np.cumsum(self.sizes)[:-1])
        for (names, shape), part in zip(self.groups, parts, strict=True):
            arrays |= zip(names, part.reshape(-1, *shape), strict=True)
        return arrays


def draw(weights: Mapping[str, Weight], seed: int) -> dict[str, np.ndarray]:
    """First values by name, float32. They depend on the weights and the seed alone."""
    rng = np.random.default_rng(seed)
    return {name: _draw(rng, weight) for name, weight in weights.items()}


def _draw(rng: np.random.Generator, weight: Weight) -> np.ndarray:
    shape, _, initializer = weight
    if initializer in ("zeros", "ones"):
        return np.full(shape, initializer == "ones", np.float32)
    *window, inputs, outputs = shape
    if initializer == DEPTHWISE:
        deviation, distribution = math.sqrt(2.0 / math.prod(window)), "normal"
    else:
        kind, _, distribution = initializer.partition("_")
        if kind not in VARIANCES or distribution not in ("normal", "uniform"):
            known = [f"{kind}_{how}" for kind in VARIANCES for how in ("normal", "uniform")]
            raise ValueError(f"initializer must be one of {', '.join(known)}, got {initializer}")
        fan = (inputs + outputs) / 2 if kind == "glorot" else inputs
        deviation = math.sqrt(VARIANCES[kind] / (fan * math.prod(window)))
    if distribution == "uniform":
        limit = math.sqrt(3.0) * deviation
        return rng.uniform(-limit, limit, shape).astype(np.float32)
    drawn = rng.standard_normal(shape, np.float32)
    while (outside := np.abs(drawn) > CUT_OFF).any():
        drawn[outside] = rng.standard_normal(np.count_nonzero(outside), np.float32)
    return drawn * np.float32(deviation / REMAINING_DEVIATION)
