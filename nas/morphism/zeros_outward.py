"""Auto-Keras' way of making a layer wider: what follows reads the added channels with zeros.

Jin, Song & Hu 2019, arXiv:1806.10282; code, version 0.3.7, autokeras/nn/layer_transformer.py
(wider_next_conv, wider_next_dense, wider_bn). The added channels get a new batch normalization, and
noise is on the zeros and on that.

Departures: the code adds noise to the old filters of a widened convolution, to biases and to
inserted normalizations too.
"""

import numpy as np

from nas.morphism.noise import with_uniform_noise
from nas.ops.description import NORM_WEIGHTS, WIDTHS, Description, Layer, Weights

_NEW_NORM = dict(zip(NORM_WEIGHTS, (1.0, 0.0, 0.0, 1.0), strict=True))
_UNIT_RANGE = np.array([0.0, 1.0])  # the range by which the code scales normalizations' noise


def read_zeros(
    network: Description,
    layer: Layer,
    input_map: np.ndarray,
    weights: Weights,
    noise: float,
    rng: np.random.Generator,
) -> None:
    """Changes in `weights` those of a layer whose input channels are copied as `input_map` says.

    input_map: new channel -> old channel. Of those with the same old one, the first is the old one.
    """
    copies = np.ones(len(input_map), bool)
    copies[np.unique(input_map, return_index=True)[1]] = False
    if layer.kind == "batch_norm":
        for weight, value in _NEW_NORM.items():
            wide = weights[f"{layer.name}/{weight}"][input_map]
            fresh = np.full(copies.sum(), value, np.float32)
            wide[copies] = with_uniform_noise(fresh, noise, rng, like=_UNIT_RANGE)
            weights[f"{layer.name}/{weight}"] = wide
    elif layer.kind == "depthwise":  # the code has none: a copied filter
        weights[f"{layer.name}/kernel"] = weights[f"{layer.name}/kernel"][:, :, input_map]
    elif layer.kind in WIDTHS:
        kernel = weights[f"{layer.name}/kernel"]
        height, width, channels = network.shapes[layer.inputs[0]]
        if layer.kind == "dense":  # reads every pixel, channels last
            pixels = np.arange(height * width)[:, None]
            input_map = (pixels * channels + input_map).ravel()
            copies = np.tile(copies, height * width)
        wide = kernel[..., input_map, :]
        zeros = np.zeros_like(wide[..., copies, :])
        wide[..., copies, :] = with_uniform_noise(zeros, noise, rng, like=kernel)
        weights[f"{layer.name}/kernel"] = wide
