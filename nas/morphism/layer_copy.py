"""Copies a layer of a dense block behind itself: EAS' deeper change of a DenseNet.

Cai et al. 2018, arXiv:1707.04873; code han-cai/EAS, models/dense_net.py (insert_miniblock). The
copy's outputs are channels of the old layer, drawn with replacement. The weights of what reads both
are divided by how often each channel is there, as behind a wider layer.
"""

import dataclasses

import numpy as np

from nas.morphism.noise import with_noise
from nas.morphism.transforms import spread, widen_inputs
from nas.ops.description import Description, Layer, Weights, make_layer

KINDS = ("batch_norm", "relu", "conv")  # such a layer is made of these
_NEUTRAL = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}


def copy_layer(
    network: Description,
    weights: Weights,
    last: str,
    name: str,
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
) -> tuple[Description, Weights]:
    """Copies the layers up to `last`, whose output is concatenated behind their input.

    The copy reads that concatenation, ignores at first the channels of `last` in it, and is
    concatenated behind it. If `last` is STEM_conv, the copy of STEM_x is called NAME_x.

    noise: normal noise on the copy's kernels, in standard deviations of the kernel (EAS: 0.01).

    Raises ValueError if `last` does not end such layers, or if its output is added to others or is
    the network's.
    """
    joined = _concatenation_of(network, last)
    row = _row(network, joined.inputs[0], last)
    width, total = network.shapes[last][2], network.shapes[joined.name][2]
    copied_channels = rng.integers(0, width, width)
    output_map = np.concatenate([np.arange(total), total - width + copied_channels])
    widened, channel_maps = spread(network, joined.name, output_map)
    if set(widened) != {joined.name} or channel_maps[network.output] is not None:
        raise ValueError(f"{last} cannot be copied: it is added to others, or is the output")
    new_weights = dict(weights)
    for layer in network.layers:
        if layer.inputs and (input_map := channel_maps[layer.inputs[0]]) is not None:
            widen_inputs(network, layer, input_map, new_weights)
    copies = _copies(row, last, name, joined.name)
    for layer, copy in zip(row, copies, strict=True):
        new_weights |= {
            f"{copy.name}/{weight.rpartition('/')[2]}": value
            for weight, value in weights.items()
            if weight.rpartition("/")[0] == layer.name
        }
    _ignore_inputs(copies, width, new_weights)
    end = copies[-1].name
    for weight in (f"{end}/kernel", f"{end}/bias"):
        if weight in new_weights:
            new_weights[weight] = new_weights[weight][..., copied_channels]
    for layer in copies:
        if layer.kind == "conv":
            kernel = f"{layer.name}/kernel"
            new_weights[kernel] = with_noise(new_weights[kernel], noise, rng)
    both = make_layer(f"{name}_concat", "concatenate", [joined.name, end])
    return network.insert(joined.name, [*copies, both], joined.name), new_weights


def _concatenation_of(network: Description, last: str) -> Layer:
    """The layer that concatenates `last` behind the input of its row."""
    readers = network.readers(last)
    if len(readers) != 1 or readers[0].kind != "concatenate" or readers[0].inputs[1:] != (last,):
        raise ValueError(f"{last} must be concatenated behind another layer, and nothing else")
    return readers[0]


def _row(network: Description, start: str, last: str) -> list[Layer]:
    """The layers behind `start` up to `last`."""
    row = [network[last]]
    while row[0].inputs != (start,):
        if row[0].kind not in KINDS or len(row[0].inputs) != 1:
            raise ValueError(f"{last} must be at the end of layers in a row behind {start}")
        row.insert(0, network[row[0].inputs[0]])
    if any(layer.kind not in KINDS for layer in row) or row[-1].kind != "conv":
        raise ValueError(f"{last} must be at the end of layers in a row behind {start}")
    return row


def _copies(row: list[Layer], last: str, name: str, source: str) -> list[Layer]:
    """The layers of `row` under other names, the first of which reads `source`."""
    stem = last.removesuffix("_conv")
    copies: list[Layer] = []
    for layer in row:
        suffix = layer.name.removeprefix(stem) if layer.kind != "relu" else f"_{layer.name}"
        copies.append(dataclasses.replace(layer, name=f"{name}{suffix}", inputs=(source,)))
        source = copies[-1].name
    return copies


def _ignore_inputs(row: list[Layer], channels: int, weights: Weights) -> None:
    """Appends to the row's input `channels` channels that its first convolution does not read."""
    for layer in row:
        if layer.kind == "conv":
            kernel = weights[f"{layer.name}/kernel"]
            zeros = np.zeros((*kernel.shape[:2], channels, kernel.shape[3]), np.float32)
            weights[f"{layer.name}/kernel"] = np.concatenate([kernel, zeros], axis=2)
            return
        if layer.kind == "batch_norm":
            for weight, value in _NEUTRAL.items():
                appended = np.full(channels, value, np.float32)
                old = weights[f"{layer.name}/{weight}"]
                weights[f"{layer.name}/{weight}"] = np.concatenate([old, appended])
