"""Gives a tree-structured cell the weights of the cell that it grew from by path-level transforms.

Replication by addition averages branches with the same input and weights. Replication by
concatenation divides the filters of a convolution, or the channels of an identity or a pooling,
among branches. Both compute what the one branch did (Cai et al. 2018, arXiv:1806.02639, section 3;
code PathLevel-EAS, models/tree_node.py). An identity may become a convolution, which starts as the
identity (models/layers.py).
"""

import itertools
from typing import Any

import numpy as np

from nas.core.trial import Arch
from nas.morphism.inheritance import MeasureMoments
from nas.morphism.noise import with_noise
from nas.morphism.settings import EXACT, MorphismSettings
from nas.morphism.transforms import identity_norm
from nas.ops.description import NORM_WEIGHTS, Description, Weights
from nas.ops.recorder import describe


def inherit_tree_weights(
    space,
    old: Arch,
    weights: Weights,
    new: Arch,
    skeleton,
    rng: np.random.Generator,
    *,
    settings: MorphismSettings = EXACT,
    moments: MeasureMoments | None = None,
) -> tuple[Weights, bool]:
    """Returns what the network of `new` takes, by name, and whether it then computes the same.

    Args:
      space: as search_spaces/papers/path_level/space.py; cells are made of its `trees`.
      weights: of `old`.
      settings: wider_noise is on copied branches, deeper_noise on what starts as the identity.
      moments: measures a layer over training images, for the normalization of inserted
        convolutions; None: they are the identity at inference alone.
    """
    inheritor = _TreeInheritor(
        space.trees, describe(space, new, skeleton), weights, rng, settings, moments
    )
    for name in space.cells(skeleton):
        inheritor.node(space.tree(old), space.tree(new), name, is_root=True)
    return inheritor.weights, inheritor.same


class _TreeInheritor:
    """Fills in `weights`, those of the child, cell by cell and edge by edge, inputs first.

    trees: the kinds of edges and merges that cells are made of
    (search_spaces/papers/path_level/trees.py).
    same: whether the child still computes what its parent did.
    """

    def __init__(self, trees, child: Description, weights: Weights, rng, settings, moments):
        self.trees = trees
        self.child, self.weights, self.same = child, dict(weights), True
        self.rng, self.settings, self.moments = rng, settings, moments

    def node(self, old: Any, new: Any, name: str, *, is_root: bool = False) -> None:
        """The node called `name` in the child, whose weights are the old node's so far."""
        count, branches = len(new.branches), old.branches
        if (old.merge, len(branches)) != (new.merge, count):
            divides = is_root or branches[0].edge in (self.trees.IDENTITY, *self.trees.POOLS)
            if old.merge != self.trees.NONE or (
                new.merge != self.trees.ADD and (branches[0].node or not divides)
            ):
                self.same = False
            elif new.merge == self.trees.ADD:
                for i in range(1, count):
                    self._copy(f"{name}_0", f"{name}_{i}")
            elif is_root:
                self._divide(f"{name}_0", [f"{name}_{i}" for i in range(count)])
            branches = (branches[0],) * count if old.merge == self.trees.NONE else branches
        for i, branch in enumerate(new.branches):
            before = branches[i] if i < len(branches) else self.trees.Branch(self.trees.IDENTITY)
            self._branch(before, branch, f"{name}_{i}")

    def _branch(self, old: Any, new: Any, name: str) -> None:
        trees = self.trees
        if old.edge != new.edge and (old.edge != trees.IDENTITY or new.edge not in trees.CONVS):
            self.same = False
        if new.edge in trees.CONVS and (old.edge != new.edge or not self._fits(name)):
            self.same = self.same and old.edge == trees.IDENTITY
            self._identity(name)
        if new.edge == trees.ROOT_EDGE and not self._fits(name):
            self.same, self.moments = False, None  # what follows has no input to measure
        if new.node:
            identity = trees.Node(trees.NONE, (trees.Branch(trees.IDENTITY),))
            self.node(old.node or identity, new.node, name)
        elif old.node:
            self.same = False

    def _groups(self, name: str) -> list[str]:
        """The layers of the convolution `name` that the child has, one a group."""
        names = (self.trees.conv_name(name, group) for group in itertools.count())
        return list(itertools.takewhile(lambda layer: layer in self.child, names))

    def _fits(self, name: str) -> bool:
        """Whether the weights fit the edge `name` of the child."""
        for layer in self._groups(name):
            expected = self.child.shapes[self.child[layer].inputs[0]][2], self.child[layer].width
            kernel = self.weights.get(f"{layer}/kernel", np.zeros(0))
            if kernel.shape[2:] != expected:
                return False
        return True

    def _identity(self, name: str) -> None:
        """Makes the convolution `name` of the child give what it reads."""
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
            self.weights[kernel] = with_noise(value, self.settings.deeper_noise, self.rng)
        measured = self.moments(self.child, self.weights, source) if self.moments else None
        self.weights |= identity_norm(f"{name}_bn", width, measured)

    def _copy(self, name: str, copy: str) -> None:
        """Repeats the weights of `name` and of what stands behind it as those of `copy`."""
        for weight, value in list(self.weights.items()):
            if weight.startswith(f"{name}_"):
                noise = self.settings.wider_noise if weight.endswith("/kernel") else 0.0
                self.weights[copy + weight.removeprefix(name)] = with_noise(value, noise, self.rng)

    def _divide(self, name: str, parts: list[str]) -> None:
        """Divides the filters of the convolution `name`, or its groups, among `parts`."""
        whole = {weight: self.weights[f"{name}_bn/{weight}"] for weight in NORM_WEIGHTS}
        kernels = [self.weights[f"{name}_conv/kernel"]]
        while (group := f"{self.trees.conv_name(name, len(kernels))}/kernel") in self.weights:
            kernels.append(self.weights[group])
        ends = np.cumsum(self.trees.shares(len(whole["gamma"]), len(parts)))[:-1]
        if len(kernels) == 1:
            kernels = np.split(kernels[0], ends, -1)
        each = len(kernels) // len(parts)
        for i, part in enumerate(parts):
            for j in range(each):
                layer = self.trees.conv_name(part, j)
                self.weights[f"{layer}/kernel"] = kernels[i * each + j]
            for weight, value in whole.items():
                self.weights[f"{part}_bn/{weight}"] = np.split(value, ends)[i]
