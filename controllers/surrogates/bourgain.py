"""Points whose distances are about those of any metric (Bourgain 1985).

A coordinate is the distance to the nearest of a random subset; subsets have 1, 2, 4 ... members,
and of each size there are about log n. As in Auto-Keras' code, version 0.3.7 (Jin, Song & Hu 2019,
arXiv:1806.10282), members are drawn with replacement, always from the same seed.
"""

import math

import numpy as np

SEED = 123  # Auto-Keras' code


def subsets(count: int, *, shrinking: bool = False) -> list[np.ndarray]:
    """Of `count` points: ceil(ln n) subsets of each size 2^i, i to ceil(log2 n - 1).

    shrinking: one less with each size, as in the code, whose inner loop overwrites its bound.
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
    """[points, subsets], scaled so that no two are further apart than they were.

    distances: [points, observed], to the points that `chosen` chooses from.
    """
    nearest = [distances[:, members].min(1) for members in chosen]
    return np.stack(nearest, axis=1) / math.sqrt(len(chosen))
