"""The edit distance of two networks: the cost of turning one's layers and skips into the other's.

Jin, Song & Hu 2019 (arXiv:1806.10282, section 3.1), with the terms of the authors' code, version
0.3.7: layers are matched in order (Levenshtein 1966), skips in any order at the lowest cost. Layers
with weights or windows count; normalization and activation belong to the layer before them.

Departure: dense layers differ by their units, as in the paper; in the code all dense layers are
equal, so that a wider one counts as no change.
"""

import functools
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from nas.core.space import Chain, ChainLayer, ChainSkip


def network_distance(a: Chain, b: Chain, *, skip_weight: float = 1.0) -> float:
    """The distance of the layers, plus `skip_weight` times that of the skips."""
    return layers_distance(a.layers, b.layers) + skip_weight * skips_distance(a.skips, b.skips)


@functools.lru_cache(100_000)  # few different layers are compared very often
def layer_distance(a: ChainLayer, b: ChainLayer) -> float:
    """1 for different kinds; else the mean over their numbers of |x - y| / max(x, y)."""
    (kind, numbers), (other_kind, others) = a, b
    if kind != other_kind:
        return 1.0
    shares = [
        abs(x - y) / max(x, y) if x != y else 0.0 for x, y in zip(numbers, others, strict=True)
    ]
    return sum(shares) / len(shares) if shares else 0.0


def layers_distance(a: Sequence[ChainLayer], b: Sequence[ChainLayer]) -> float:
    """The lowest cost of inserting (1 each), removing (1 each) and changing layers, in order."""
    row = [float(j) for j in range(len(b) + 1)]
    for i, layer in enumerate(a):
        above, row = row, [i + 1.0]
        for j, other in enumerate(b):
            changed = above[j] + layer_distance(layer, other)
            row.append(min(above[j + 1] + 1, row[j] + 1, changed))
    return row[-1]


def skip_distance(a: ChainSkip, b: ChainSkip) -> float:
    """1 for different kinds; else the differences of starts and lengths, over the larger ones."""
    if a[2] != b[2]:
        return 1.0
    start, length = a[0], a[1] - a[0]
    other_start, other_length = b[0], b[1] - b[0]
    apart = abs(start - other_start) + abs(length - other_length)
    return apart / (max(start, other_start) + max(length, other_length))


def skips_distance(a: Sequence[ChainSkip], b: Sequence[ChainSkip]) -> float:
    """The cost of the cheapest matching (Kuhn 1955), plus 1 for each skip without a partner."""
    alone = float(abs(len(a) - len(b)))
    if not a or not b:
        return alone
    costs = np.array([[skip_distance(x, y) for y in b] for x in a])
    return float(costs[linear_sum_assignment(costs)].sum()) + alone
