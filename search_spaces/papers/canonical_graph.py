"""The exact canonical form of a small graph: one text for all numberings of its nodes.

Nodes are distinguished by their label, the nodes that they read and the nodes that read them, until
this separates no more nodes (Weisfeiler & Leman 1968). If some nodes are still alike, each of them
is tried as the first, and the smallest text is the canonical form (McKay & Piperno 2014,
arXiv:1301.1493, section 2).
"""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Any

Node = tuple[str, tuple[int, ...]]  # its label, and the nodes that it reads
Readers = list[list[tuple[int, int]]]  # for each node: (a node that reads it, at which input)


def canonical(nodes: Sequence[Node], unordered: Collection[str] = ()) -> str:
    """Equal for graphs that differ only in the order of their nodes, and for no others.

    unordered: labels of nodes for which the order of what they read does not matter.
    """
    places = range(len(nodes))
    readers: Readers = [[] for _ in places]
    for i, (label, inputs) in enumerate(nodes):
        for place, j in enumerate(inputs):
            readers[j].append((i, 0 if label in unordered else place))
    loose = [label in unordered for label, _ in nodes]
    ranks = _ranks([label for label, _ in nodes])
    return min(_forms(nodes, readers, loose, ranks))


def _forms(
    nodes: Sequence[Node], readers: Readers, loose: list[bool], ranks: list[int]
) -> Iterator[str]:
    """The text of every numbering that the ranks leave open."""
    ranks = _refined(nodes, readers, loose, ranks)
    tied = [rank for rank, count in Counter(ranks).items() if count > 1]
    if not tied:
        yield _text(nodes, loose, ranks)
        return
    tried = set()  # nodes with the same inputs and the same readers: trying one of them is enough
    for i, rank in enumerate(ranks):
        neighbours = nodes[i][1], tuple(sorted(readers[i]))
        if rank == min(tied) and neighbours not in tried:
            tried.add(neighbours)
            yield from _forms(
                nodes, readers, loose, [2 * r - (i == j) for j, r in enumerate(ranks)]
            )


def _refined(
    nodes: Sequence[Node], readers: Readers, loose: list[bool], ranks: list[int]
) -> list[int]:
    """Ranks that distinguish nodes by their neighbours' ranks, until these separate no more."""
    while True:
        descriptions: list[Any] = []
        for i, (_, inputs) in enumerate(nodes):
            input_ranks = [ranks[j] for j in inputs]
            reader_ranks = sorted((ranks[j], place) for j, place in readers[i])
            descriptions.append(
                (ranks[i], sorted(input_ranks) if loose[i] else input_ranks, reader_ranks)
            )
        finer = _ranks(descriptions)
        if max(finer) == max(ranks):
            return finer
        ranks = finer


def _ranks(values: Sequence[Any]) -> list[int]:
    """The rank of each value among the different values, from 0."""
    ordered: list[Any] = []
    for value in sorted(values):
        if not ordered or value != ordered[-1]:
            ordered.append(value)
    return [ordered.index(value) for value in values]


def _text(nodes: Sequence[Node], loose: list[bool], ranks: list[int]) -> str:
    words = []
    for i in sorted(range(len(nodes)), key=ranks.__getitem__):
        inputs = [ranks[j] for j in nodes[i][1]]
        if loose[i]:
            inputs = sorted(inputs)
        words.append(f"{nodes[i][0]}({','.join(map(str, inputs))})")
    return " ".join(words)
