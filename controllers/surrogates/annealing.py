"""Simulated annealing over a tree of networks (Jin, Song & Hu 2019, arXiv:1806.10282, section 3.2).

The most promising network is taken from a queue. If it is accepted, its children join the queue; if
not, it is dropped. As in the authors' code, version 0.3.7, the acceptance probability is
exp(min(1, (value - best) / temperature)), which is above 1 (always accepted) for better networks.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from nas.core.trial import Arch

Node = tuple[Arch, int]  # with the number of the root that it descends from
Children = Callable[[Arch], list[Arch]]
Values = Callable[[Sequence[Arch]], np.ndarray]


def temperatures(start: float, end: float, decay: float) -> Iterator[float]:
    """start, start * decay ... as long as they are above `end`."""
    while start > end:
        yield start
        start *= decay


def anneal(
    roots: Iterable[tuple[float, Arch, int]],
    children: Children,
    values: Values,
    schedule: Iterable[float],
    rng: np.random.Generator,
) -> Node | None:
    """The best child that was met, and its root; None if there was no child.

    Args:
      roots: (value, architecture, number) of the networks that the tree begins with.
      children: gives the children of an architecture that were not met before.
      values: gives the values of children, [archs].
      schedule: temperatures; at each of them one network is taken from the queue.
      rng: draws whether a network is accepted.
    """
    ties = itertools.count()
    queue = [(-value, next(ties), arch, root) for value, arch, root in roots]
    heapq.heapify(queue)
    best_node: Node | None = None
    best = -math.inf
    for temperature in schedule:
        if not queue:
            break
        negative, _, arch, root = heapq.heappop(queue)
        if math.exp(min(1.0, (-negative - best) / temperature)) < rng.random():
            continue
        if not (unmet := children(arch)):
            continue
        for child, value in zip(unmet, values(unmet).tolist(), strict=True):
            heapq.heappush(queue, (-value, next(ties), child, root))
            if value > best:
                best_node, best = (child, root), value
    return best_node
