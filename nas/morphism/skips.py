"""Function-preserving skips, as Auto-Keras adds them (Jin, Song & Hu 2019, arXiv:1806.10282).

As in its code, version 0.3.7, an added skip is a 1x1 convolution of zeros, and a concatenated one
is followed by a 1x1 convolution that is the identity. Departures: that convolution has no batch
normalization behind it, and noise is not added to its zeros, which have a gradient without it.
"""

import numpy as np

from nas.ops.description import Description, Layer, Weights, conv_layer, make_layer


def add_skip(
    network: Description, weights: Weights, source: str, target: str, name: str, *, shrink: int = 1
) -> tuple[Description, Weights]:
    """Adds to the output of `target` a 1x1 convolution `name` of `source` whose kernel is zero.

    shrink: the convolution's stride, which makes the source as small as the target.

    Raises ValueError if the source is not an earlier image, or its size is not the target's.
    """
    _check(network, source, target, shrink)
    channels_in, channels = network.shapes[source][2], network.shapes[target][2]
    layers = [
        conv_layer(name, source, channels, (1, 1), strides=(shrink, shrink)),
        make_layer(f"{name}_add", "add", [target, name]),
    ]
    zeros = np.zeros((1, 1, channels_in, channels), np.float32)
    return network.insert(target, layers, target), weights | {f"{name}/kernel": zeros}


def concat_skip(
    network: Description, weights: Weights, source: str, target: str, name: str, *, shrink: int = 1
) -> tuple[Description, Weights]:
    """Concatenates `source` behind `target`, then restores its width by a 1x1 convolution `name`.

    The convolution copies the target's channels and ignores the source's.

    shrink: size and strides of a max pooling that makes the source as small as the target.

    Raises ValueError as `add_skip` does.
    """
    _check(network, source, target, shrink)
    channels_in, channels = network.shapes[source][2], network.shapes[target][2]
    layers: list[Layer] = []
    joined = source
    if shrink > 1:
        joined = f"{name}_pool"
        settings = {"size": shrink, "strides": shrink, "padding": "same"}
        layers.append(make_layer(joined, "max_pool", [source], **settings))
    layers.append(make_layer(f"{name}_concat", "concatenate", [target, joined]))
    layers.append(conv_layer(name, f"{name}_concat", channels, (1, 1)))
    kernel = np.concatenate([np.eye(channels), np.zeros((channels_in, channels))])
    new_weights = weights | {f"{name}/kernel": kernel[None, None].astype(np.float32)}
    return network.insert(target, layers, target), new_weights


def _check(network: Description, source: str, target: str, shrink: int) -> None:
    if network.position(source) >= network.position(target):
        raise ValueError(f"a skip must start before {target}, got {source}")
    if network.is_flat(source) or network.is_flat(target):
        raise ValueError(f"a skip must join images, got {source} and {target}")
    height, width, _ = network.shapes[source]
    shrunk = -(-height // shrink), -(-width // shrink)
    if shrunk != network.shapes[target][:2]:
        raise ValueError(
            f"{source} must be as large as {target}, {network.shapes[target][:2]}, "
            f"got {shrunk} with shrink={shrink}"
        )
