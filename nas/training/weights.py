"""A trained network's weights by name: "layer/weight", out of it and into another."""

import math

import numpy as np

from nas.ops.description import Weights
from nas.ops.quick_network import QuickNetwork


def give(model, weights: Weights) -> int:
    """Sets what has the same name and shape. Returns how many trainable values that were.

    model: of nas.training.loop's `build` or `build_for_search`.
    """
    if isinstance(model, QuickNetwork):
        return model.assign(weights)
    count = 0
    for layer in model.layers:
        for variable in layer.variables:
            value = weights.get(f"{layer.name}/{variable.name}")
            if value is not None and value.shape == tuple(variable.shape):
                variable.assign(value)
                count += math.prod(value.shape) if variable.trainable else 0
    return count


def take(model) -> Weights:
    """A model's weights by "layer/weight". Random states of dropout are left out.

    model: of nas.training.loop's `build` or `build_for_search`.
    """
    if isinstance(model, QuickNetwork):
        return model.values()
    return {
        f"{layer.name}/{variable.name}": np.asarray(variable)
        for layer in model.layers
        for variable in layer.variables
        if variable.dtype == "float32"
    }
