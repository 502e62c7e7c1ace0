"""Embeds a metric in Euclidean space, approximately (Bourgain 1985).

A coordinate of a point is its distance to the nearest member of a random subset; subsets have 1, 2,
4 ... members, and there are about log n subsets of each size. As in Auto-Keras' code, version 0.3.7
(Jin, Song & Hu 2019, arXiv:1806.10282), members are drawn with replacement, always from the same
seed.
"""

import math

import numpy as np

SEED = 123  # Auto-Keras' code


def subsets(count: int, *, shrinking: bool = False) -> list[np.ndarray]:
    """Subsets of `count` = n points: ceil(ln n) of each size 2^i, for i up to ceil(log2 n - 1).

    shrinking: one subset fewer for each larger size, as in the code, whose inner loop overwrites
      its bound.
    """
    rng = np.random.default_rng(SEED)
    largest = max(0, math.ceil(math.log2(count) - 1))
    each = max(1, math.ceil(math.log(count)))
    return [
        rng.integers(count, size=2**i)
        for i in range(largest + 1)
        for _ in range(max(0, each - i) if shrinking else each)
    ]


def embedded(distances: np.ndarray, chosen: list[np.ndarray]) -> np.ndarray:
    """The points' coordinates, [points, subsets], scaled so that no distance grows.

    Args:
      distances: [points, observed], to the points of which `chosen` are subsets.
      chosen: what `subsets` gave.
    """
    nearest = [distances[:, members].min(1) for members in chosen]
    return np.stack(nearest, axis=1) / math.sqrt(len(chosen))
