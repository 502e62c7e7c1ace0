"""Random networks with random weights, and a Keras model of any described one."""

import numpy as np

from nas.ops.description import WIDTHS, Description, Weights
from nas.ops.keras import KerasOps
from nas.ops.recorder import Recorder

IMAGE = (6, 5, 2)


def random_network(rng: np.random.Generator) -> Description:
    """Convolutions, poolings, sums and concatenations, then dense layers or a classifier."""
    ops = Recorder(IMAGE)
    tensors = [block(ops, ops.image(), "first", rng)]
    for i in range(int(rng.integers(1, 5))):
        x = tensors[rng.integers(len(tensors))]
        alike = [y for y in tensors if y != x and ops.shape(y) == ops.shape(x)]
        what = rng.choice(["conv", "conv", "pool", "residual", "add", "concatenate"])
        if what == "pool":
            x = (ops.max_pool, ops.avg_pool)[rng.integers(2)](x, 3, strides=2)
        elif what == "residual":
            y = ops.conv(x, ops.shape(x)[2], (3, 3), name=f"res{i}_conv")
            x = ops.add([x, ops.batch_norm(y, name=f"res{i}_bn")])
        elif what == "add" and alike:
            x = ops.relu(ops.add([x, alike[rng.integers(len(alike))]]))
        elif what == "concatenate":
            x = ops.concatenate([x, tensors[rng.integers(len(tensors))]])
        else:
            x = block(ops, x, f"layer{i}", rng)
        tensors.append(x)
    x = tensors[-1]
    if rng.random() < 0.5:
        return ops.network(ops.classifier(x, 3, dropout=0.0))
    x = ops.relu(ops.dense(x, int(rng.integers(2, 5)), name="hidden"))
    if rng.random() < 0.5:
        x = ops.concatenate([x, ops.dense(tensors[0], 3, name="other")])
    return ops.network(ops.dense(x, 3, name="logits", dtype="float32"))


def block(ops, x, name: str, rng: np.random.Generator):
    kernel = tuple(int(k) for k in rng.choice([1, 3], 2))
    strides = (1, 1) if rng.random() < 0.7 else (2, 2)
    bias = bool(rng.random() < 0.3)
    filters = int(rng.integers(2, 5))
    x = ops.conv(x, filters, kernel, strides=strides, bias=bias, name=f"{name}_conv")
    if rng.random() < 0.7:
        x = ops.batch_norm(x, name=f"{name}_bn")
    return ops.relu(x)


def random_weights(network: Description, rng: np.random.Generator) -> Weights:
    weights: Weights = {}
    for layer in network.layers:
        name, inputs = layer.name, layer.inputs
        channels = network.shapes[inputs[0]][2] if inputs else 0
        if layer.kind == "batch_norm":
            weights[f"{name}/gamma"] = rng.uniform(0.5, 1.5, channels)
            weights[f"{name}/beta"] = rng.normal(0, 0.3, channels)
            weights[f"{name}/moving_mean"] = rng.normal(0, 0.3, channels)
            weights[f"{name}/moving_variance"] = rng.uniform(0.5, 1.5, channels)
        elif layer.kind == "depthwise":
            window = layer["kernel"]
            weights[f"{name}/kernel"] = rng.normal(
                0, np.prod(window) ** -0.5, (*window, channels, 1)
            )
        elif layer.kind in WIDTHS:
            window = layer["kernel"] if layer.kind == "conv" else ()
            if layer.kind == "dense":
                channels = int(np.prod(network.shapes[inputs[0]]))
            fan_in = channels * int(np.prod(window or (1,)))
            shape = (*window, channels, layer.width)
            weights[f"{name}/kernel"] = rng.normal(0, fan_in**-0.5, shape)
            if layer.kind != "conv" or layer["bias"]:
                weights[f"{name}/bias"] = rng.normal(0, 0.3, layer.width)
    return {name: np.asarray(value, np.float32) for name, value in weights.items()}


def images(rng: np.random.Generator, count: int = 4, shape=IMAGE) -> np.ndarray:
    return rng.normal(size=(count, *shape)).astype(np.float32)


def keras_model(network: Description, weights: Weights):
    ops = KerasOps(network.image_shape)
    model = ops.model(network.write(ops))
    for layer in model.layers:
        for variable in layer.variables:
            if f"{layer.name}/{variable.name}" in weights:
                variable.assign(weights[f"{layer.name}/{variable.name}"])
    return model
