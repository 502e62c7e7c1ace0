"""The graphs of hierarchical representations (Liu et al. 2018, arXiv:1711.00436, section 2).

A motif has ordered nodes, and for each pair of them an entry: nothing, or what leads from the
earlier to the later. The first node is its input, the last one its output.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from nas.core.trial import Arch
from nas.search_spaces.papers.canonical_graph import Node, canonical

NONE = 0  # the choice of nothing

Inputs = dict[int, list[tuple[int, int]]]  # of each node: where from, and by which choice


class Motif(NamedTuple):
    """Its entries are decisions in a row: node by node, each with all that come before it."""

    name: str
    level: int  # 2 and up
    nodes: int
    start: int  # its first decision
    choices: tuple[str, ...]  # of each entry

    def entry(self, source: int, target: int) -> int:
        """The decision about what leads from one node to another."""
        return self.start + target * (target - 1) // 2 + source

    def reached(self, arch: Arch | list[int]) -> list[bool]:
        """Of each node but the output, whether anything leads to it from the input."""
        found = [True]
        for i in range(1, self.nodes - 1):
            found.append(any(found[j] and arch[self.entry(j, i)] for j in range(i)))
        return found

    def joined(self, arch: Arch | list[int]) -> bool:
        """Whether the input leads to the output."""
        last = self.nodes - 1
        return any(
            there and arch[self.entry(j, last)] for j, there in enumerate(self.reached(arch))
        )

    def inputs(self, arch: Arch) -> Inputs:
        """What leads to each node, of all that lies on a way from the input to the output."""
        reached = [*self.reached(arch), True]
        found: Inputs = {}
        wanted = {self.nodes - 1}
        for i in reversed(range(1, self.nodes)):
            if i in wanted:
                entries = [(j, arch[self.entry(j, i)]) for j in range(i) if reached[j]]
                found[i] = [(j, choice) for j, choice in entries if choice != NONE]
                wanted |= {j for j, _ in found[i]}
        return dict(sorted(found.items()))


def form(inputs: Inputs, labels: Sequence[str], identity: int | None) -> str:
    """A digest, equal for motifs that compute alike.

    Args:
      labels: of each choice; alike where the choices are.
      identity: the choice that changes nothing. A node to which one identity leads and nothing else
        is the node where it comes from.
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
    """How many motifs lead from the input to the output.

    Nodes are added one by one to so many graphs of which so many nodes are reached.
    """
    graphs = Counter({1: 1})  # by the number of nodes that are reached
    for i in range(1, nodes):
        more: Counter[int] = Counter()
        for reached, ways in graphs.items():
            others = ways * choices ** (i - reached)  # what the other nodes have, leads nowhere
            more[reached] += others
            more[reached + 1] += others * (choices**reached - 1)
            if i == nodes - 1:
                more[reached] -= others  # the output must be reached
        graphs = more
    return graphs.total()
