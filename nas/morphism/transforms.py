"""Function-preserving transforms: a network becomes a larger one that computes the same.

Wider and deeper as Net2Net (Chen, Goodfellow & Shlens 2016, arXiv:1511.05641), through batch
normalization, sums and concatenations as EAS (Cai et al. 2018, arXiv:1707.04873; code han-cai/EAS).

Each transform takes a Description and its weights, returns another of both, and changes neither of
its arguments. A transform that cannot preserve the function raises ValueError and says why.
Transforms that add skips are in nas/morphism/skips.py, the copy of a dense block's layer is in
nas/morphism/layer_copy.py. nas/morphism/inheritance.py chooses the transforms that lead from a
parent to its child.
"""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from nas.core.ops import BN_EPSILON, Pair
from nas.morphism.noise import with_noise, with_uniform_noise
from nas.morphism.zeros_outward import read_zeros
from nas.ops.description import (
    NORM_WEIGHTS,
    PASSING,
    WIDTHS,
    Description,
    Layer,
    Moments,
    Weights,
    conv_layer,
    make_layer,
)

SUMS = ("add", "average")  # the channels of all their inputs are in one order

# New channel -> old channel, by layer; None: the layer's channels are unchanged.
ChannelMaps = dict[str, np.ndarray | None]


def replication(old: int, new: int, rng: np.random.Generator) -> np.ndarray:
    """For each of `new` units the one of `old` that it copies: g of Net2Net's section 3.2. [new]

    The first `old` units copy themselves, the others are drawn uniformly.
    """
    return np.concatenate([np.arange(old), rng.integers(0, old, new - old)])


def wider(
    network: Description,
    weights: Weights,
    name: str,
    width: int,
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
    zeros_outward: bool = False,
) -> tuple[Description, Weights]:
    """Gives the convolution or dense layer `name` `width` channels, and what it is added to too.

    Args:
      noise: on the kernels of the copies, in standard deviations of these (EAS: 0.01).
      zeros_outward: what follows reads the copies with zeros (nas/morphism/zeros_outward.py),
        instead of dividing its weights among them; noise is then as in Auto-Keras' code, uniform,
        in ranges of the kernel (1e-4).

    Raises ValueError if `width` is not larger than the layer's, and if the layer cannot be widened:
    its channels reach the output or a layer of an unknown kind, or are added to the image or to a
    concatenation.
    """
    layer = network[name]
    if layer.kind not in ("conv", "dense") or name == network.output:
        raise ValueError(f"only a convolution or a hidden dense layer can be widened, got {name}")
    if width <= layer.width:
        raise ValueError(f"{name} must become wider than {layer.width}, got {width}")
    widened, channel_maps = spread(network, name, replication(layer.width, width, rng))
    if channel_maps[network.output] is not None:
        raise ValueError(f"{name} cannot be widened: its channels are the network's output")
    changed, new_weights = {}, dict(weights)
    for layer in network.layers:
        if layer.name in widened:
            changed[layer.name] = layer.replace(**{WIDTHS[layer.kind]: width})
        input_map = channel_maps[layer.inputs[0]] if layer.inputs else None
        if input_map is not None:
            if zeros_outward:
                read_zeros(network, layer, input_map, new_weights, noise, rng)
            else:
                widen_inputs(network, layer, input_map, new_weights)
        if layer.name in widened:
            add_noise = _uniformly if zeros_outward else _normally
            _widen_outputs(layer, widened[layer.name], new_weights, rng, noise, add_noise)
    return network.with_layers(changed), new_weights


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdentityBlock:
    """What `deeper` inserts: a layer, its batch normalization, its activation.

    kernel: of a convolution, (height, width), both odd. norm_first: whether the normalization
    stands before a convolution. activation: "relu" or None.
    """

    kernel: Pair = (3, 3)
    batch_norm: bool = True
    norm_first: bool = False
    activation: str | None = "relu"

    def __post_init__(self):
        if self.activation not in (None, "relu"):
            name = self.activation
            raise ValueError(
                f"activation must be relu or None, got {name}: {name}({name}(x)) is not {name}(x)"
            )
        if any(side % 2 == 0 for side in self.kernel):
            raise ValueError(
                f"kernel must have odd sides, got {self.kernel}: an even one has no centre"
            )


def deeper(
    network: Description,
    weights: Weights,
    after: str,
    name: str,
    rng: np.random.Generator,
    *,
    block: IdentityBlock | None = None,
    moments: Moments | None = None,
    noise: float = 0.0,
    uniform: bool = False,
    readers: tuple[str, ...] | None = None,
) -> tuple[Description, Weights]:
    """Inserts behind `after` a layer that is the identity: a dense one behind a dense one, else a
    convolution.

    The layer is called NAME_conv or NAME_dense, its batch normalization NAME_bn.

    Args:
      block: what is inserted; None: IdentityBlock().
      moments: mean and variance of what `after` gives in training. With them the normalization is
        the identity in training too (EAS); None: at inference alone.
      noise: normal noise on the identity, in standard deviations of the kernel (EAS: 0.001).
      uniform: the noise is uniform instead, in ranges of the kernel (Auto-Keras: 1e-4).
      readers: the readers of `after` that read the new layer instead; None: all.

    Raises ValueError for a ReLU behind a layer that may be negative.
    """
    block = block or IdentityBlock()
    if block.activation == "relu" and not network.is_non_negative(after):
        raise ValueError(f"{after} may be negative: a relu behind it would change the function")
    channels = network.shapes[after][2]
    if network.is_flat(after):
        main = f"{name}_dense"
        layers = [make_layer(main, "dense", [after], units=channels, dtype=None)]
        kernel = np.eye(channels, dtype=np.float32)
        biases = {f"{main}/bias": np.zeros(channels, np.float32)}
    else:
        main = f"{name}_conv"
        layers = [make_layer(f"{name}_bn", "batch_norm", [after])] if block.norm_first else []
        source = layers[0].name if layers else after
        layers.append(conv_layer(main, source, channels, block.kernel))
        kernel = identity_kernel(block.kernel, channels)
        biases = {}
    add_noise = _uniformly if uniform else _normally
    new_weights = weights | biases | {f"{main}/kernel": add_noise(kernel, kernel, noise, rng)}
    if block.batch_norm:
        if not block.norm_first:
            layers.append(make_layer(f"{name}_bn", "batch_norm", [main]))
        new_weights |= identity_norm(f"{name}_bn", channels, moments)
    if block.activation == "relu":
        layers.append(make_layer(f"{name}_relu", "relu", [layers[-1].name]))
    return network.insert(after, layers, after, readers), new_weights


def spread(
    network: Description, name: str, output_map: np.ndarray
) -> tuple[dict[str, np.ndarray], ChannelMaps]:
    """How other channels of the layer `name` spread through the network.

    output_map: new channel -> old channel of `name`.

    Returns: the layers that are widened, `name` and those whose output is added to its channels,
    with the map of each; and the channel maps of all layers.
    """
    widened = {name: output_map}
    while True:
        channel_maps: ChannelMaps = {}
        known = len(widened)
        for layer in network.layers:
            channel_maps[layer.name] = _channel_map(network, layer, channel_maps, widened)
            if len(widened) > known:
                break
        else:
            return widened, channel_maps


def _channel_map(
    network: Description,
    layer: Layer,
    channel_maps: Mapping[str, np.ndarray | None],
    widened: dict[str, np.ndarray],
) -> np.ndarray | None:
    """New channel -> old channel of `layer`. Adds to `widened` the layers that a sum demands."""
    if layer.name in widened:
        return widened[layer.name]
    input_maps = [channel_maps[i] for i in layer.inputs]
    if layer.kind in WIDTHS or all(each is None for each in input_maps):
        return None
    if layer.kind in PASSING:
        return input_maps[0]
    if layer.kind == "concatenate":
        widths = [network.shapes[i][2] for i in layer.inputs]
        starts = np.cumsum([0, *widths[:-1]])
        parts = [
            np.arange(width) if each is None else each
            for width, each in zip(widths, input_maps, strict=True)
        ]
        return np.concatenate([start + part for start, part in zip(starts, parts, strict=True)])
    if layer.kind not in SUMS:
        raise ValueError(f"cannot be widened: {layer.name} ({layer.kind}) reads it")
    demanded = next(each for each in input_maps if each is not None)
    for name, input_map in zip(layer.inputs, input_maps, strict=True):
        if input_map is None:
            widened |= dict.fromkeys(_producers(network, name), demanded)
        elif not np.array_equal(input_map, demanded):
            raise ValueError(f"cannot be widened: {layer.name} adds channels in different orders")
    return demanded


def _producers(network: Description, name: str) -> set[str]:
    """The layers that produce the channels of `name`: all of them must be widened alike."""
    layer = network[name]
    if layer.kind in ("conv", "dense"):
        return {name}
    if layer.kind in SUMS:
        return set().union(*(_producers(network, i) for i in layer.inputs))
    if layer.kind in PASSING:
        return _producers(network, layer.inputs[0])
    raise ValueError(f"cannot be widened: it is added to {name} ({layer.kind}), which cannot be")


def widen_inputs(
    network: Description, layer: Layer, input_map: np.ndarray, weights: Weights
) -> None:
    """Changes in `weights` those of a layer whose input channels are copied as `input_map` says.

    Kernels are divided by how often each channel is there, so that the sum stays.
    """
    if layer.kind == "batch_norm":
        for weight in NORM_WEIGHTS:
            weights[f"{layer.name}/{weight}"] = weights[f"{layer.name}/{weight}"][input_map]
    elif layer.kind == "depthwise":
        weights[f"{layer.name}/kernel"] = weights[f"{layer.name}/kernel"][:, :, input_map]
    elif layer.kind in WIDTHS:
        kernel = weights[f"{layer.name}/kernel"]
        height, width, channels = network.shapes[layer.inputs[0]]
        copies = np.bincount(input_map, minlength=channels)[input_map]
        if layer.kind == "dense":  # reads every pixel, channels last
            pixels = np.arange(height * width)[:, None]
            input_map = (pixels * channels + input_map).ravel()
            copies = np.tile(copies, height * width)
        kernel = kernel[..., input_map, :] / copies[:, None]
        weights[f"{layer.name}/kernel"] = kernel.astype(np.float32)


def _widen_outputs(
    layer: Layer,
    output_map: np.ndarray,
    weights: Weights,
    rng: np.random.Generator,
    noise: float,
    add_noise: "_AddNoise",
) -> None:
    """Copies in `weights` the output channels of a layer as `output_map` says."""
    kernel = weights[f"{layer.name}/kernel"]
    wide, old_width = kernel[..., output_map], kernel.shape[-1]
    wide[..., old_width:] = add_noise(wide[..., old_width:], kernel, noise, rng)
    weights[f"{layer.name}/kernel"] = wide
    if f"{layer.name}/bias" in weights:
        weights[f"{layer.name}/bias"] = weights[f"{layer.name}/bias"][output_map]


# (values, the kernel that they are of, noise) -> values with noise.
_AddNoise = Callable[[np.ndarray, np.ndarray, float, np.random.Generator], np.ndarray]


def _normally(
    values: np.ndarray, kernel: np.ndarray, noise: float, rng: np.random.Generator
) -> np.ndarray:
    return with_noise(values, noise, rng)


def _uniformly(
    values: np.ndarray, kernel: np.ndarray, noise: float, rng: np.random.Generator
) -> np.ndarray:
    return with_uniform_noise(values, noise, rng, like=kernel)


def identity_kernel(window: Pair, channels: int) -> np.ndarray:
    """The kernel of a convolution that gives what it reads: [*window, channels, channels]."""
    kernel = np.zeros((*window, channels, channels), np.float32)
    kernel[window[0] // 2, window[1] // 2] = np.eye(channels)
    return kernel


def identity_norm(name: str, channels: int, moments: Moments | None) -> Weights:
    """Weights of the batch normalization `name` that leaves what has these moments unchanged.

    moments: mean and variance, each [channels]; None: zeros and ones.
    """
    mean, variance = moments if moments else (np.zeros(channels), np.ones(channels))
    values = np.sqrt(variance + BN_EPSILON), mean, mean, variance
    return {
        f"{name}/{weight}": np.asarray(value, np.float32)
        for weight, value in zip(NORM_WEIGHTS, values, strict=True)
    }
