"""One text for all drawings of one network: a graph's canonical form, exact, for small graphs.

Nodes are told apart by what they do, what they read and who reads them, until that tells nothing
new (Weisfeiler & Leman 1968). Where some are still alike, each of them is tried as the first, and
the smallest text is the form (McKay & Piperno 2014, arXiv:1301.1493, section 2).
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

Node = tuple[str, tuple[int, ...]]  # what it does, and the nodes that it reads


def canonical(nodes: Sequence[Node], unordered: Collection[str] = ()) -> str:
    """Equal for graphs that differ only in the order of their nodes, and for no others.

    unordered: labels of nodes for which the order of what they read does not matter.
    """
    places = range(len(nodes))
    readers: list[list[tuple[int, int]]] = [[] for _ in places]
    for i, (label, inputs) in enumerate(nodes):
        for place, j in enumerate(inputs):
            readers[j].append((i, 0 if label in unordered else place))
    loose = [label in unordered for label, _ in nodes]
    ranks = _ranks([label for label, _ in nodes])
    return min(_forms(nodes, readers, loose, ranks))


def _forms(nodes, readers, loose, ranks: list[int]) -> Iterator[str]:
    """The text of every numbering that is left."""
    ranks = _refined(nodes, readers, loose, ranks)
    tied = [rank for rank, count in Counter(ranks).items() if count > 1]
    if not tied:
        yield _text(nodes, loose, ranks)
        return
    twins = set()  # nodes that read the same and are read by the same: one stands for all
    for i, rank in enumerate(ranks):
        around = nodes[i][1], tuple(sorted(readers[i]))
        if rank == min(tied) and around not in twins:
            twins.add(around)
            yield from _forms(
                nodes, readers, loose, [2 * r - (i == j) for j, r in enumerate(ranks)]
            )


def _refined(nodes, readers, loose, ranks: list[int]) -> list[int]:
    while True:
        seen: list[Any] = []
        for i, (_, inputs) in enumerate(nodes):
            read = [ranks[j] for j in inputs]
            by = sorted((ranks[j], place) for j, place in readers[i])
            seen.append((ranks[i], sorted(read) if loose[i] else read, by))
        finer = _ranks(seen)
        if max(finer) == max(ranks):
            return finer
        ranks = finer


def _ranks(values: Sequence[Any]) -> list[int]:
    """The place of each value among the different ones, from 0."""
    ordered: list[Any] = []
    for value in sorted(values):
        if not ordered or value != ordered[-1]:
            ordered.append(value)
    return [ordered.index(value) for value in values]


def _text(nodes, loose, ranks: list[int]) -> str:
    words = []
    for i in sorted(range(len(nodes)), key=ranks.__getitem__):
        read = [ranks[j] for j in nodes[i][1]]
        words.append(f"{nodes[i][0]}({','.join(map(str, sorted(read) if loose[i] else read))})")
    return " ".join(words)
