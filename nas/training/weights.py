"""Copies a network's weights by name ("layer/weight"): out of it, and into another network."""

import math
from typing import Any, Protocol, runtime_checkable

import numpy as np

from nas.ops.description import Weights


@runtime_checkable
class NamedWeights(Protocol):
    """A network that exports and imports its own weights by name, as QuickNetwork does."""

    def assign(self, weights: Weights) -> int: ...

    def values(self) -> Weights: ...


def give(model: Any, weights: Weights) -> int:
    """Sets the weights that have the same name and shape. Returns how many trainable values it set.

    model: of nas.training.loop's `build` or `build_for_search`.
    """
    if isinstance(model, NamedWeights):
        return model.assign(weights)
    count = 0
    for layer in model.layers:
        for variable in layer.variables:
            value = weights.get(f"{layer.name}/{variable.name}")
            if value is not None and value.shape == tuple(variable.shape):
                variable.assign(value)
                count += math.prod(value.shape) if variable.trainable else 0
    return count


def take(model: Any) -> Weights:
    """A model's weights by name, "layer/weight". The random states of dropout are left out.

    model: of nas.training.loop's `build` or `build_for_search`.
    """
    if isinstance(model, NamedWeights):
        return model.values()
    return {
        f"{layer.name}/{variable.name}": np.asarray(variable)
        for layer in model.layers
        for variable in layer.variables
        if variable.dtype == "float32"
    }
