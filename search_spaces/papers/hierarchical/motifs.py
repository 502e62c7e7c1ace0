"""The graphs of hierarchical representations (Liu et al. 2018, arXiv:1711.00436, section 2).

The nodes of a motif are ordered. An entry for each pair of nodes says what leads from the earlier
node to the later one, or that nothing does. The first node is the input of the motif, the last one
its output.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from nas.core.trial import Arch
from nas.search_spaces.papers.canonical_graph import Node, canonical

NONE = 0  # the choice that nothing leads from one node to the other

Inputs = dict[int, list[tuple[int, int]]]  # node -> (source, choice) of what leads to it


class Motif(NamedTuple):
    """A motif. Its entries are consecutive decisions: for each node, those from earlier nodes."""

    name: str
    level: int  # at least 2
    nodes: int
    start: int  # the index of its first decision
    choices: tuple[str, ...]  # of each entry

    def entry(self, source: int, target: int) -> int:
        """The index of the decision about what leads from `source` to `target`."""
        return self.start + target * (target - 1) // 2 + source

    def reached(self, arch: Arch | list[int]) -> list[bool]:
        """For each node except the output, whether a way leads to it from the input."""
        is_reached = [True]
        for i in range(1, self.nodes - 1):
            is_reached.append(any(is_reached[j] and arch[self.entry(j, i)] for j in range(i)))
        return is_reached

    def joined(self, arch: Arch | list[int]) -> bool:
        """Whether a way leads from the input to the output."""
        last = self.nodes - 1
        return any(
            is_reached and arch[self.entry(j, last)]
            for j, is_reached in enumerate(self.reached(arch))
        )

    def inputs(self, arch: Arch) -> Inputs:
        """What leads to each node; only nodes and entries on a way from the input to the output."""
        reached = [*self.reached(arch), True]
        inputs: Inputs = {}
        used = {self.nodes - 1}
        for i in reversed(range(1, self.nodes)):
            if i in used:
                entries = [(j, arch[self.entry(j, i)]) for j in range(i) if reached[j]]
                inputs[i] = [(j, choice) for j, choice in entries if choice != NONE]
                used |= {j for j, _ in inputs[i]}
        return dict(sorted(inputs.items()))


def form(inputs: Inputs, labels: Sequence[str], identity: int | None) -> str:
    """A digest that is equal for motifs that compute the same.

    Args:
      labels: a text for each choice, the same for choices that compute the same.
      identity: the choice that changes nothing, if there is one. A node whose only input is an
        identity is the same node as the source of that identity.
    """
    nodes: list[Node] = [("input", ())]
    place = {0: 0}
    for i, leads in inputs.items():
        sources = []
        for j, choice in leads:
            if choice != identity:
                nodes.append((labels[choice], (place[j],)))
            sources.append(place[j] if choice == identity else len(nodes) - 1)
        if len(sources) > 1:
            nodes.append(("concat", tuple(sources)))
        place[i] = sources[0] if len(sources) == 1 else len(nodes) - 1
    nodes.append(("output", (place[max(inputs)],)))
    return hashlib.md5(canonical(nodes, ["concat"]).encode(), usedforsecurity=False).hexdigest()


def count(nodes: int, choices: int) -> int:
    """The number of motifs in which a way leads from the input to the output.

    Nodes are added one by one; the graphs are counted by the number of nodes that are reached.
    """
    graphs = Counter({1: 1})  # reached nodes -> graphs
    for i in range(1, nodes):
        larger: Counter[int] = Counter()
        for reached, graph_count in graphs.items():
            # Entries from nodes that are not reached may be anything.
            unreached = graph_count * choices ** (i - reached)
            larger[reached] += unreached
            larger[reached + 1] += unreached * (choices**reached - 1)
            if i == nodes - 1:
                larger[reached] -= unreached  # the output must be reached
        graphs = larger
    return graphs.total()
