"""Simulated annealing over a tree of networks (Jin, Song & Hu 2019, arXiv:1806.10282, section 3.2).

The most promising network of a queue is taken out. If it is accepted, its children join the queue;
if not, it is forgotten. As in the authors' code, version 0.3.7, it is accepted with probability
exp(min(1, (value - best) / temperature)), which is above 1 for the better ones.
"""

import heapq
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from nas.core.trial import Arch

Node = tuple[Arch, int]  # and the trained one that it descends from
Children = Callable[[Arch], list[Arch]]
Values = Callable[[Sequence[Arch]], np.ndarray]


def temperatures(start: float, end: float, decay: float) -> Iterator[float]:
    """start, start x decay ... as long as they are above `end`."""
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
    """The child of the largest value that was met, and its root; None where there is none.

    Args:
      roots: (value, architecture, its number) of what the tree begins with.
      children: new ones of an architecture; none that were met before.
      values: [archs], of children.
      schedule: temperatures; with each one network is taken out of the queue.
    """
    ties = itertools.count()
    queue = [(-value, next(ties), arch, root) for value, arch, root in roots]
    heapq.heapify(queue)
    found: Node | None = None
    best = -math.inf
    for temperature in schedule:
        if not queue:
            break
        negative, _, arch, root = heapq.heappop(queue)
        if math.exp(min(1.0, (-negative - best) / temperature)) < rng.random():
            continue
        if not (new := children(arch)):
            continue
        for child, value in zip(new, values(new).tolist(), strict=True):
            heapq.heappush(queue, (-value, next(ties), child, root))
            if value > best:
                found, best = (child, root), value
    return found
