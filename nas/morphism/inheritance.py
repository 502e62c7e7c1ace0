"""Gives a child network its parent's weights, through transforms that lead from one to the other.

Layers are recognised by the names that their space gives them. Where the child has another layer, a
skip or more channels, the parent is transformed (nas/morphism/transforms.py), so that the child at
first computes what the parent did. Where a change cannot preserve the function, layers keep the
weights whose shape has stayed (Real et al. 2017, arXiv:1703.01041, section 3.2).
"""

import contextlib
from collections.abc import Callable

import numpy as np

from nas.morphism.layer_copy import copy_layer
from nas.morphism.settings import AUTO_KERAS, EXACT, SAME_SHAPE, MorphismSettings
from nas.morphism.skips import add_skip, concat_skip
from nas.morphism.transforms import IdentityBlock, deeper, wider
from nas.ops.description import Description, Layer, Moments, Weights

HIDDEN = ("conv", "dense")

# (network, its weights, name of a layer) -> mean and variance of that layer over training images.
MeasureMoments = Callable[[Description, Weights, str], Moments]
Network = tuple[Description, Weights]


def inherit_weights(
    parent: Description,
    weights: Weights,
    child: Description,
    rng: np.random.Generator,
    *,
    settings: MorphismSettings = EXACT,
    moments: MeasureMoments | None = None,
) -> tuple[Weights, bool]:
    """Returns the weights that `child` can take, by name, and whether it then computes the same.

    Noise aside: with it, a child computes nearly the same.

    Args:
      weights: of `parent`.
      settings: the transforms, and their noise.
      moments: measures a layer over training images, for the normalization of inserted layers;
        None: they are the identity at inference alone.
    """
    network, child_weights = parent, weights
    if settings.method == SAME_SHAPE:
        return weights, _equal(parent, child)
    if settings.method == AUTO_KERAS:
        moments = None
    for layer in child.layers:
        if layer.kind in HIDDEN and layer.name not in network:
            with contextlib.suppress(ValueError):
                insertion = _Insertion(network, child_weights, child, rng, settings, moments)
                network, child_weights = insertion.add(layer)
    for layer in child.layers:
        if layer.kind in HIDDEN and layer.name in network:
            width = layer.width
            if width > network[layer.name].width and network[layer.name].kind == layer.kind:
                with contextlib.suppress(ValueError):
                    network, child_weights = wider(
                        network, child_weights, layer.name, width, rng,
                        noise=settings.wider_noise, zeros_outward=settings.method == AUTO_KERAS,
                    )  # fmt: skip
    return child_weights, _equal(network, child)


def _equal(one: Description, other: Description) -> bool:
    return one.keys(widths=True)[one.output] == other.keys(widths=True)[other.output]


class _Insertion:
    """Finds the transform that inserts a layer of `child` into `network`, which lacks it.

    keys, child_keys: what each layer of the two computes, widths aside (Description.keys).
    """

    def __init__(
        self,
        network: Description,
        weights: Weights,
        child: Description,
        rng: np.random.Generator,
        settings: MorphismSettings,
        moments: MeasureMoments | None,
    ):
        self.network, self.weights, self.child = network, weights, child
        self.rng, self.settings, self.moments = rng, settings, moments
        self.keys, self.child_keys = network.keys(widths=False), child.keys(widths=False)
        self.name_of_key = {key: name for name, key in self.keys.items()}

    def add(self, layer: Layer) -> Network:
        """Inserts `layer`. Raises ValueError if no transform does."""
        readers = self.child.readers(layer.name)
        source = self.child[layer.inputs[0]]
        if len(readers) == 1 and readers[0].kind == "add" and layer.kind == "conv":
            return self._add_skip(layer, readers[0])
        if source.kind == "concatenate" and not self._is_known(source.name):
            return self._concat_skip(layer, source)
        if (last := self._end_of_dense(layer)) is not None:
            return self._copy_layer(last)
        return self._deeper(layer)

    def _is_known(self, name: str) -> bool:
        """Whether `network` computes what the layer `name` of `child` does, widths aside."""
        return self.child_keys[name] in self.name_of_key

    def _find(self, name: str) -> str:
        """The name in `network` of the layer that computes what `name` of `child` does."""
        if not self._is_known(name):
            raise ValueError(f"there is no {name} yet")
        return self.name_of_key[self.child_keys[name]]

    def _add_skip(self, layer: Layer, total: Layer) -> Network:
        source, target = self._find(layer.inputs[0]), self._find(total.inputs[0])
        shrink = layer["strides"][0]
        return add_skip(self.network, self.weights, source, target, layer.name, shrink=shrink)

    def _concat_skip(self, layer: Layer, both: Layer) -> Network:
        target, joined = both.inputs
        pool, shrink = self.child[joined], 1
        if pool.kind == "max_pool" and not self._is_known(joined):
            joined, shrink = pool.inputs[0], pool["strides"]
        source, target = self._find(joined), self._find(target)
        return concat_skip(self.network, self.weights, source, target, layer.name, shrink=shrink)

    def _end_of_dense(self, layer: Layer) -> Layer | None:
        """The last unknown layer behind `layer`, if it is concatenated behind their input."""
        first, last = layer, layer
        while len(first.inputs) == 1 and not self._is_known(first.inputs[0]):
            first = self.child[first.inputs[0]]
        while len(readers := self.child.readers(last.name)) == 1:
            if readers[0].kind == "concatenate":
                joins = readers[0].inputs == (*first.inputs, last.name)
                return last if joins else None
            last = readers[0]
        return None

    def _copy_layer(self, last: Layer) -> Network:
        """Copies the layer of a dense block that stands before the one that ends with `last`."""
        before = self.child[self.child.readers(last.name)[0].inputs[0]]
        if before.kind != "concatenate":
            raise ValueError(f"there is no layer in the block before {last.name}")
        old, name = self._find(before.inputs[-1]), last.name.removesuffix("_conv")
        noise = self.settings.wider_noise
        return copy_layer(self.network, self.weights, old, name, self.rng, noise=noise)

    def _deeper(self, layer: Layer) -> Network:
        stem = layer.name.removesuffix(f"_{layer.kind}")
        if stem == layer.name or (layer.kind == "conv" and layer["strides"] != (1, 1)):
            raise ValueError(f"{layer.name} cannot be the identity")
        source = self.child[layer.inputs[0]]
        norm_first = source.kind == "batch_norm" and not self._is_known(source.name)
        after = self._find(source.inputs[0] if norm_first else source.name)
        if (layer.kind == "dense") != self.network.is_flat(after):
            raise ValueError(f"{layer.name} cannot be the identity behind {after}")
        behind = self._kinds_behind(layer.name)
        normalized = norm_first or behind[:1] == ["batch_norm"]
        measured = None
        if normalized and self.moments:
            measured = self.moments(self.network, self.weights, after)
        block = IdentityBlock(
            kernel=layer["kernel"] if layer.kind == "conv" else (1, 1),
            batch_norm=normalized,
            norm_first=norm_first,
            activation="relu" if "relu" in behind else None,
        )
        return deeper(
            self.network,
            self.weights,
            after,
            stem,
            self.rng,
            block=block,
            moments=measured,
            noise=self.settings.deeper_noise,
            uniform=self.settings.method == AUTO_KERAS,
            readers=self._readers(after),
        )

    def _kinds_behind(self, name: str) -> list[str]:
        """The kinds of the layers behind an inserted one, as far as `deeper` inserts them."""
        kinds: list[str] = []
        for kind in ("batch_norm", "relu"):
            readers = self.child.readers(name)
            if len(readers) == 1 and readers[0].kind == kind:
                kinds.append(kind)
                name = readers[0].name
        return kinds

    def _readers(self, after: str) -> tuple[str, ...]:
        """The readers of `after` in `network`, without those that read just that in `child` too."""
        child_keys = set(self.child_keys.values())
        readers = self.network.readers(after)
        return tuple(layer.name for layer in readers if self.keys[layer.name] not in child_keys)
