"""Weights of a tree-structured cell for one that grew from it by path-level transforms.

Replication by addition: branches with the same input and weights, averaged. Replication by
concatenation: the filters of a convolution, or the channels of an identity or a pooling, divided
among branches. Both compute what the one branch did (Cai et al. 2018, arXiv:1806.02639, section 3;
code PathLevel-EAS, models/tree_node.py). An identity becomes a convolution that starts as the
identity (models/layers.py).
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nas.core.trial import Arch
from nas.morphism.transforms import Moments, identity_norm, with_noise
from nas.ops.description import Description, Weights
from nas.ops.recorder import describe

NORM = ("gamma", "beta", "moving_mean", "moving_variance")


def inherit_tree_weights(
    space,
    old: Arch,
    weights: Weights,
    new: Arch,
    skeleton,
    rng: np.random.Generator,
    *,
    noise: float = 0.0,
    moments: Callable[[Description, Weights, str], Moments] | None = None,
) -> tuple[Weights, bool]:
    """What the network of `new` takes, by name, and whether it then computes what `old`'s did.

    Args:
      space: of `search_spaces/papers/path_level/space.py`; its `trees` are what its cells are made of.
      weights: of `old`.
      noise: of copies and of what starts as the identity, in standard deviations of a kernel.
      moments: gives mean and variance of a layer over training images, for the normalization of
        new convolutions; None: they are the identity at inference alone.
    """
    growth = _Growth(space.trees, describe(space, new, skeleton), weights, rng, noise, moments)
    for name in space.cells(skeleton):
        growth.node(space.tree(old), space.tree(new), name, is_root=True)
    return growth.weights, growth.same


class _Growth:
    """weights: of the child, made cell by cell and edge by edge, inputs first.

    trees: search_spaces/papers/path_level/trees.py, what cells are made of.
    """

    def __init__(self, trees, child: Description, weights: Weights, rng, noise: float, moments):
        self.of = trees
        self.child, self.weights, self.same = child, dict(weights), True
        self.rng, self.noise, self.moments = rng, noise, moments

    def node(self, old: Any, new: Any, name: str, *, is_root: bool = False) -> None:
        """What stands behind `name` in the child; the weights there are the old node's."""
        count, branches = len(new.branches), old.branches
        if (old.merge, len(branches)) != (new.merge, count):
            divides = is_root or branches[0].edge in (self.of.IDENTITY, *self.of.POOLS)
            if old.merge != self.of.NONE or (
                new.merge != self.of.ADD and (branches[0].node or not divides)
            ):
                self.same = False
            elif new.merge == self.of.ADD:
                for i in range(1, count):
                    self._copy(f"{name}_0", f"{name}_{i}")
            elif is_root:
                self._divide(f"{name}_0", [f"{name}_{i}" for i in range(count)])
            branches = (branches[0],) * count if old.merge == self.of.NONE else branches
        for i, branch in enumerate(new.branches):
            before = branches[i] if i < len(branches) else self.of.Branch(self.of.IDENTITY)
            self._branch(before, branch, f"{name}_{i}")

    def _branch(self, old: Any, new: Any, name: str) -> None:
        if old.edge != new.edge and (old.edge != self.of.IDENTITY or new.edge not in self.of.CONVS):
            self.same = False
        if new.edge in self.of.CONVS and (old.edge != new.edge or not self._fits(name)):
            self.same = self.same and old.edge == self.of.IDENTITY
            self._identity(name)
        if new.edge == self.of.ROOT_EDGE and not self._fits(name):
            self.same, self.moments = False, None  # what follows has no input to be measured
        if new.node:
            self.node(
                old.node or self.of.Node(self.of.NONE, (self.of.Branch(self.of.IDENTITY),)),
                new.node,
                name,
            )
        elif old.node:
            self.same = False

    def _fits(self, name: str) -> bool:
        """Whether there are weights for the edge `name` of the child."""
        layer = self.child[f"{name}_conv"]
        expected = self.child.shapes[layer.inputs[0]][2], layer.width
        kernel = self.weights.get(f"{name}_conv/kernel", np.zeros(0))
        return kernel.shape[2:] == expected

    def _identity(self, name: str) -> None:
        """The convolution `name` of the child gives what it reads."""
        width = self.child[f"{name}_conv"].width
        first = f"{name}_depthwise" if f"{name}_depthwise" in self.child else f"{name}_conv"
        source = self.child[first].inputs[0]
        kernels = {f"{name}_conv/kernel": np.eye(width, dtype=np.float32)[None, None]}
        if first.endswith("depthwise"):
            side = self.child[first]["kernel"][0]
            centre = np.zeros((side, side, width, 1), np.float32)
            centre[side // 2, side // 2] = 1
            kernels[f"{first}/kernel"] = centre
        for kernel, value in kernels.items():
            self.weights[kernel] = with_noise(value, self.noise, self.rng)
        given = self.moments(self.child, self.weights, source) if self.moments else None
        self.weights |= identity_norm(f"{name}_bn", width, given)

    def _copy(self, name: str, copy: str) -> None:
        """All that is called `name` and what stands behind it is there again as `copy`."""
        for weight, value in list(self.weights.items()):
            if weight.startswith(f"{name}_"):
                noise = self.noise if weight.endswith("/kernel") else 0.0
                self.weights[copy + weight.removeprefix(name)] = with_noise(value, noise, self.rng)

    def _divide(self, name: str, parts: list[str]) -> None:
        """The filters of the convolution `name`, divided among `parts`."""
        whole = {w: self.weights[f"{name}_bn/{w}"] for w in NORM}
        kernel = self.weights[f"{name}_conv/kernel"]
        ends = np.cumsum(self.of.shares(kernel.shape[-1], len(parts)))[:-1]
        for i, part in enumerate(parts):
            self.weights[f"{part}_conv/kernel"] = np.split(kernel, ends, -1)[i]
            for weight, value in whole.items():
                self.weights[f"{part}_bn/{weight}"] = np.split(value, ends)[i]
