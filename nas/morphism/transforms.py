"""Function-preserving transforms: a network becomes a larger one that computes the same.

Wider and deeper as Net2Net (Chen, Goodfellow & Shlens 2016, arXiv:1511.05641), through batch
normalization, sums and concatenations as EAS (Cai et al. 2018, arXiv:1707.04873; code han-cai/EAS).

Each transform takes a Description and its weights and gives both anew; what it was given stays as it
is. A transform that cannot preserve the function raises ValueError and says why. Those that add
skips are in `nas/morphism/skips.py`, the copy of a dense block's layer in `nas/morphism/layer_copy.py`,
what carries weights to a larger network in `nas/morphism/inheritance.py`.
"""

import numpy as np

from nas.ops.description import (
    PASSING,
    WIDTHS,
    Description,
    Layer,
    Weights,
    conv_layer,
    make_layer,
)

SUMS = ("add", "average")  # whose channels are in the order of all their inputs
BN_EPSILON = 1e-5  # of the ops' batch normalization
_MOMENTS = ("gamma", "beta", "moving_mean", "moving_variance")

Moments = tuple[np.ndarray, np.ndarray]  # mean and variance of each channel, [channels]


def replication(old: int, new: int, rng: np.random.Generator) -> np.ndarray:
    """g of Net2Net's section 3.2: for each of `new` units the one of `old` that it copies. [new]

    The first `old` are themselves, the others are drawn uniformly.
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
) -> tuple[Description, Weights]:
    """The convolution or dense layer `name` gives `width` channels; what it is added to does too.

    noise: added to the copies' kernels, normal, in standard deviations of the kernel (EAS: 0.01).

    Raises ValueError where it would not be wider, or cannot be: its channels reach the output or a
    layer that is not one of the known, or are added to the image or to a concatenation.
    """
    layer = network[name]
    if layer.kind not in ("conv", "dense") or name == network.output:
        raise ValueError(f"only a convolution or a hidden dense layer can be widened, got {name}")
    if width <= layer.width:
        raise ValueError(f"{name} must become wider than {layer.width}, got {width}")
    made, maps = spread(network, name, replication(layer.width, width, rng))
    if maps[network.output] is not None:
        raise ValueError(f"{name} cannot be widened: its channels are the network's output")
    changed, new = {}, dict(weights)
    for layer in network.layers:
        if layer.name in made:
            changed[layer.name] = layer.replace(**{WIDTHS[layer.kind]: width})
        came = maps[layer.inputs[0]] if layer.inputs else None
        if came is not None:
            read(network, layer, came, new)
        if layer.name in made:
            _give(layer, made[layer.name], new, rng, noise)
    return network.with_layers(changed), new


def deeper(
    network: Description,
    weights: Weights,
    after: str,
    name: str,
    rng: np.random.Generator,
    *,
    kernel: tuple[int, int] = (3, 3),
    batch_norm: bool = True,
    activation: str | None = "relu",
    moments: Moments | None = None,
    noise: float = 0.0,
    readers: tuple[str, ...] | None = None,
) -> tuple[Description, Weights]:
    """A layer behind `after` that is the identity: a convolution, or dense behind a dense layer.

    It is called NAME_conv or NAME_dense, its batch normalization NAME_bn.

    Args:
      kernel: of the convolution; both sides odd.
      activation: relu, behind something that is never negative, or None.
      moments: of what `after` gives in training. With them the normalization is the identity in
        training as well (EAS); None: at inference alone.
      noise: added to the identity, normal, in standard deviations of the kernel (EAS: 0.001).
      readers: of `after`, that read the new layer instead; None: all.
    """
    if activation not in (None, "relu"):
        raise ValueError(
            f"activation must be relu or None, got {activation}: "
            f"{activation}({activation}(x)) is not {activation}(x)"
        )
    if activation == "relu" and not network.is_non_negative(after):
        raise ValueError(f"{after} may be negative: a relu behind it would change the function")
    if any(side % 2 == 0 for side in kernel):
        raise ValueError(f"kernel must have odd sides, got {kernel}: an even one has no centre")
    channels, flat = network.shapes[after][2], network.is_flat(after)
    main = f"{name}_dense" if flat else f"{name}_conv"
    new = dict(weights)
    if flat:
        layers = [make_layer(main, "dense", [after], units=channels, dtype=None)]
        identity = np.eye(channels, dtype=np.float32)
        new[f"{main}/bias"] = np.zeros(channels, np.float32)
    else:
        layers = [conv_layer(main, after, channels, kernel)]
        identity = np.zeros((*kernel, channels, channels), np.float32)
        identity[kernel[0] // 2, kernel[1] // 2] = np.eye(channels)
    new[f"{main}/kernel"] = with_noise(identity, noise, rng)
    if batch_norm:
        layers.append(make_layer(f"{name}_bn", "batch_norm", [main]))
        new |= identity_norm(f"{name}_bn", channels, moments)
    if activation == "relu":
        layers.append(make_layer(f"{name}_relu", "relu", [layers[-1].name]))
    return network.insert(after, layers, after, readers), new


def spread(network: Description, name: str, chosen: np.ndarray):
    """Which layers are widened by what, and the map of every layer's channels, None: unchanged.

    chosen: new channel -> old channel of what layer `name` gives.
    """
    made = {name: chosen}
    while True:
        maps: dict[str, np.ndarray | None] = {}
        grown = len(made)
        for layer in network.layers:
            maps[layer.name] = _map(network, layer, maps, made)
            if len(made) > grown:
                break
        else:
            return made, maps


def _map(
    network: Description, layer: Layer, maps, made: dict[str, np.ndarray]
) -> np.ndarray | None:
    """New channel -> old channel of what `layer` gives. May add to `made` what a sum demands."""
    if layer.name in made:
        return made[layer.name]
    came = [maps[i] for i in layer.inputs]
    if layer.kind in WIDTHS or all(m is None for m in came):
        return None
    if layer.kind in PASSING:
        return came[0]
    if layer.kind == "concatenate":
        widths = [network.shapes[i][2] for i in layer.inputs]
        starts = np.cumsum([0, *widths[:-1]])
        parts = [np.arange(w) if m is None else m for w, m in zip(widths, came, strict=True)]
        return np.concatenate([start + part for start, part in zip(starts, parts, strict=True)])
    if layer.kind not in SUMS:
        raise ValueError(f"cannot be widened: {layer.name} ({layer.kind}) reads it")
    demanded = next(m for m in came if m is not None)
    for name, given in zip(layer.inputs, came, strict=True):
        if given is None:
            made |= dict.fromkeys(_producers(network, name), demanded)
        elif not np.array_equal(given, demanded):
            raise ValueError(f"cannot be widened: {layer.name} adds channels in different orders")
    return demanded


def _producers(network: Description, name: str) -> set[str]:
    """The layers that make the channels of `name`, all of which must be widened alike."""
    layer = network[name]
    if layer.kind in ("conv", "dense"):
        return {name}
    if layer.kind in SUMS:
        return set().union(*(_producers(network, i) for i in layer.inputs))
    if layer.kind in PASSING:
        return _producers(network, layer.inputs[0])
    raise ValueError(f"cannot be widened: it is added to {name} ({layer.kind}), which cannot be")


def read(network: Description, layer: Layer, came: np.ndarray, new: Weights) -> None:
    """Changes the weights of a layer whose input channels are now copies as `came` says."""
    if layer.kind == "batch_norm":
        for weight in _MOMENTS:
            new[f"{layer.name}/{weight}"] = new[f"{layer.name}/{weight}"][came]
    elif layer.kind == "depthwise":
        new[f"{layer.name}/kernel"] = new[f"{layer.name}/kernel"][:, :, came]
    elif layer.kind in WIDTHS:
        kernel = new[f"{layer.name}/kernel"]
        height, width, channels = network.shapes[layer.inputs[0]]
        copies = np.bincount(came, minlength=channels)[came]
        if layer.kind == "dense":  # reads every pixel, channels last
            pixels = np.arange(height * width)[:, None]
            came, copies = (pixels * channels + came).ravel(), np.tile(copies, height * width)
        kernel = kernel[..., came, :] / copies[:, None]
        new[f"{layer.name}/kernel"] = kernel.astype(np.float32)


def _give(layer: Layer, chosen: np.ndarray, new: Weights, rng, noise: float) -> None:
    """Copies the output channels of a widened layer."""
    kernel = new[f"{layer.name}/kernel"]
    wide = kernel[..., chosen]
    old = kernel.shape[-1]
    copies = wide[..., old:]
    wide[..., old:] += noise * kernel.std() * rng.standard_normal(copies.shape)
    new[f"{layer.name}/kernel"] = wide
    if f"{layer.name}/bias" in new:
        new[f"{layer.name}/bias"] = new[f"{layer.name}/bias"][chosen]


def with_noise(kernel: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """noise: in standard deviations of the kernel."""
    return kernel + (noise * kernel.std() * rng.standard_normal(kernel.shape)).astype(np.float32)


def identity_norm(name: str, channels: int, moments: Moments | None) -> Weights:
    """The weights of the batch normalization `name` that changes nothing that has these moments."""
    mean, variance = moments if moments else (np.zeros(channels), np.ones(channels))
    values = np.sqrt(variance + BN_EPSILON), mean, mean, variance
    return {
        f"{name}/{weight}": np.asarray(value, np.float32)
        for weight, value in zip(_MOMENTS, values, strict=True)
    }
