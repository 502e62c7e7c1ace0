"""Weights of a network for a larger one: which transforms lead from the one to the other.

Layers are recognised by the names that their space gives them. Where the larger network has a new
layer, a new skip or more channels, the smaller one is transformed (`nas/morphism/transforms.py`), so that the
larger computes at first what the smaller did. Where a change cannot preserve the function, layers
keep the weights whose shape has stayed (Real et al. 2017, arXiv:1703.01041, section 3.2).
"""

import contextlib
from collections.abc import Callable

import numpy as np

from nas.morphism.layer_copy import copy_layer
from nas.morphism.skips import add_skip, concat_skip
from nas.morphism.transforms import Moments, deeper, wider
from nas.ops.description import Description, Layer, Weights

HIDDEN = ("conv", "dense")


def inherit_weights(
    parent: Description,
    weights: Weights,
    child: Description,
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
    moments: Callable[[Description, Weights, str], Moments] | None = None,
) -> tuple[Weights, bool]:
    """The weights that `child` can take, by name, and whether it then computes what `parent` did.

    Args:
      weights: of `parent`.
      noise: of the transforms that have one, in standard deviations of a kernel.
      moments: gives mean and variance of a layer over training images, for the normalization of
        new layers; None: the identity at inference alone.
    """
    network, new = parent, weights
    for layer in child.layers:
        if layer.kind in HIDDEN and layer.name not in network:
            with contextlib.suppress(ValueError):
                network, new = _Growth(network, new, child).add(layer, rng, noise, moments)
    for layer in child.layers:
        if layer.kind in HIDDEN and layer.name in network:
            wanted = layer.width
            if wanted > network[layer.name].width and network[layer.name].kind == layer.kind:
                with contextlib.suppress(ValueError):
                    network, new = wider(network, new, layer.name, wanted, rng, noise=noise)
    same = network.keys(widths=True)[network.output] == child.keys(widths=True)[child.output]
    return new, same


class _Growth:
    """What a new layer of `child` is in terms of `network`, which does not have it yet."""

    def __init__(self, network: Description, weights: Weights, child: Description):
        self.network, self.weights, self.child = network, weights, child
        self.mine, self.theirs = network.keys(widths=False), child.keys(widths=False)
        self.here = {key: name for name, key in self.mine.items()}

    def add(self, layer: Layer, rng, noise: float, moments) -> tuple[Description, Weights]:
        """Raises ValueError where no transform makes `layer`."""
        readers = self.child.readers(layer.name)
        source = self.child[layer.inputs[0]]
        if len(readers) == 1 and readers[0].kind == "add" and layer.kind == "conv":
            return self._add_skip(layer, readers[0])
        if source.kind == "concatenate" and self.theirs[source.name] not in self.here:
            return self._concat_skip(layer, source)
        if (last := self._end_of_dense(layer)) is not None:
            return self._twin(last, rng, noise)
        return self._deeper(layer, rng, noise, moments)

    def _find(self, name: str) -> str:
        """The layer of `network` that is, but for its width, `name` of `child`."""
        if self.theirs[name] not in self.here:
            raise ValueError(f"there is no {name} yet")
        return self.here[self.theirs[name]]

    def _add_skip(self, layer: Layer, total: Layer) -> tuple[Description, Weights]:
        source, target = self._find(layer.inputs[0]), self._find(total.inputs[0])
        shrink = layer["strides"][0]
        return add_skip(self.network, self.weights, source, target, layer.name, shrink=shrink)

    def _concat_skip(self, layer: Layer, both: Layer) -> tuple[Description, Weights]:
        target, read = both.inputs
        pool, shrink = self.child[read], 1
        if pool.kind == "max_pool" and self.theirs[read] not in self.here:
            read, shrink = pool.inputs[0], pool["strides"]
        source, target = self._find(read), self._find(target)
        return concat_skip(self.network, self.weights, source, target, layer.name, shrink=shrink)

    def _end_of_dense(self, layer: Layer) -> Layer | None:
        """The last of the new layers round `layer`, if it is concatenated behind what they read."""
        first, last = layer, layer
        while len(first.inputs) == 1 and self.theirs[first.inputs[0]] not in self.here:
            first = self.child[first.inputs[0]]
        while len(readers := self.child.readers(last.name)) == 1:
            if readers[0].kind == "concatenate":
                joins = readers[0].inputs == (*first.inputs, last.name)
                return last if joins else None
            last = readers[0]
        return None

    def _twin(self, last: Layer, rng, noise: float) -> tuple[Description, Weights]:
        """A copy of the layer of a dense block that stands before the one that ends with `last`."""
        before = self.child[self.child.readers(last.name)[0].inputs[0]]
        if before.kind != "concatenate":
            raise ValueError(f"there is no layer in the block before {last.name}")
        old, name = self._find(before.inputs[-1]), last.name.removesuffix("_conv")
        return copy_layer(self.network, self.weights, old, name, rng, noise=noise)

    def _deeper(self, layer: Layer, rng, noise: float, moments) -> tuple[Description, Weights]:
        stem = layer.name.removesuffix(f"_{layer.kind}")
        if stem == layer.name or (layer.kind == "conv" and layer["strides"] != (1, 1)):
            raise ValueError(f"{layer.name} cannot be the identity")
        after = self._find(layer.inputs[0])
        if (layer.kind == "dense") != self.network.is_flat(after):
            raise ValueError(f"{layer.name} cannot be the identity behind {after}")
        behind = self._behind(layer.name)
        normalized = behind[:1] == ["batch_norm"]
        given = moments(self.network, self.weights, after) if normalized and moments else None
        return deeper(
            self.network,
            self.weights,
            after,
            stem,
            rng,
            kernel=layer["kernel"] if layer.kind == "conv" else (1, 1),
            batch_norm=normalized,
            activation="relu" if "relu" in behind else None,
            moments=given,
            noise=noise,
            readers=self._readers(after),
        )

    def _behind(self, name: str) -> list[str]:
        """The kinds of the layers behind a new one, as far as `deeper` makes them."""
        kinds: list[str] = []
        for kind in ("batch_norm", "relu"):
            readers = self.child.readers(name)
            if len(readers) == 1 and readers[0].kind == kind:
                kinds.append(kind)
                name = readers[0].name
        return kinds

    def _readers(self, after: str) -> tuple[str, ...]:
        """Of what reads `after`, all that does not read just that in `child` as well."""
        known = set(self.theirs.values())
        readers = self.network.readers(after)
        return tuple(layer.name for layer in readers if self.mine[layer.name] not in known)
