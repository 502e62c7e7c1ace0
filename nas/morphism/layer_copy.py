"""A layer of a dense block, copied behind itself: EAS' deeper change of a DenseNet.

Cai et al. 2018, arXiv:1707.04873; code han-cai/EAS, models/dense_net.py (insert_miniblock). The
copy's outputs are channels of the old layer, drawn with replacement; what reads both has its
weights divided by how often each channel is there, as behind a wider layer.
"""

import dataclasses

import numpy as np

from nas.morphism.transforms import read, spread, with_noise
from nas.ops.description import Description, Layer, Weights, make_layer

KINDS = ("batch_norm", "relu", "conv")  # of which such a layer is made
_NO_MOMENTS = {"gamma": 1.0, "beta": 0.0, "moving_mean": 0.0, "moving_variance": 1.0}


def copy_layer(
    network: Description,
    weights: Weights,
    last: str,
    name: str,
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
) -> tuple[Description, Weights]:
    """Copies the layers up to `last`, which is concatenated behind what they read.

    The copy reads that concatenation, of which it ignores at first what `last` gives, and is
    concatenated behind it. Where `last` is STEM_conv, the copy of STEM_x is called NAME_x.

    noise: added to the copy's kernels, normal, in standard deviations of the kernel (EAS: 0.01).

    Raises ValueError where `last` is not the end of such layers, or what it gives is added to
    others or is the output.
    """
    joined = _joined(network, last)
    row = _row(network, joined.inputs[0], last)
    width, total = network.shapes[last][2], network.shapes[joined.name][2]
    chosen = rng.integers(0, width, width)
    came = np.concatenate([np.arange(total), total - width + chosen])
    made, maps = spread(network, joined.name, came)
    if set(made) != {joined.name} or maps[network.output] is not None:
        raise ValueError(f"{last} cannot be copied: it is added to others, or is the output")
    new = dict(weights)
    for layer in network.layers:
        if layer.inputs and (copies := maps[layer.inputs[0]]) is not None:
            read(network, layer, copies, new)
    stem, copied, source = last.removesuffix("_conv"), [], joined.name
    for layer in row:
        own = layer.name.removeprefix(stem) if layer.kind != "relu" else f"_{layer.name}"
        copied.append(dataclasses.replace(layer, name=f"{name}{own}", inputs=(source,)))
        source = copied[-1].name
        new |= {
            f"{source}/{weight.rpartition('/')[2]}": value
            for weight, value in weights.items()
            if weight.rpartition("/")[0] == layer.name
        }
    _ignore(copied, width, new)
    for weight in (f"{source}/kernel", f"{source}/bias"):
        if weight in new:
            new[weight] = new[weight][..., chosen]
    for layer in copied:
        if layer.kind == "conv":
            kernel = f"{layer.name}/kernel"
            new[kernel] = with_noise(new[kernel], noise, rng)
    both = make_layer(f"{name}_concat", "concatenate", [joined.name, source])
    return network.insert(joined.name, [*copied, both], joined.name), new


def _joined(network: Description, last: str) -> Layer:
    """The concatenation of `last` behind what its layers read."""
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


def _ignore(row: list[Layer], channels: int, new: Weights) -> None:
    """The row takes so many channels more, which the first convolution does not read."""
    for layer in row:
        if layer.kind == "conv":
            kernel = new[f"{layer.name}/kernel"]
            zeros = np.zeros((*kernel.shape[:2], channels, kernel.shape[3]), np.float32)
            new[f"{layer.name}/kernel"] = np.concatenate([kernel, zeros], axis=2)
            return
        if layer.kind == "batch_norm":
            for weight, value in _NO_MOMENTS.items():
                more = np.full(channels, value, np.float32)
                old = new[f"{layer.name}/{weight}"]
                new[f"{layer.name}/{weight}"] = np.concatenate([old, more])
