"""The recurrent space of Zoph & Le 2017 (arXiv:1611.01578v2, sections 3.4 and 4.2): base-8 trees.

A cell is a tree with `base` leaves. Each leaf reads the input and the last output, through two
matrices of its own. Internal nodes merge two earlier nodes and have no weights. Every node combines
its two inputs (it adds or multiplies them) and applies an activation.

Two indices connect the memory. One names the node whose output is replaced by activation(output
combined with the last memory); the other names the node whose value before its activation is the
next memory. The output of the last node is the output of the cell.
"""

from typing import TYPE_CHECKING, Any

from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.papers.zoph2017_rnn.tree import ACTIVATIONS, COMBINATIONS, inputs_of
from nas.search_spaces.recurrent.space import RecurrentSpace

if TYPE_CHECKING:
    from nas.search_spaces.recurrent.language_model import CellMaker


class ZophRNN(RecurrentSpace):
    """Trees of `base` leaves.

    base: a power of 2: 8 in the paper, 2 in its worked example.
    """

    published = ("nascell",)  # names that `parse` reads

    def __init__(self, *, base: int = 8):
        if isinstance(base, bool) or not isinstance(base, int) or base < 2 or base & (base - 1):
            raise ConfigError(f"space.base must be 2, 4, 8, 16 ..., got {base}; set space.base=8")
        self.base, self.nodes = base, 2 * base - 1
        decisions = []
        for k in [*range(self.nodes), self.nodes]:
            name = f"node{k}" if k < self.nodes else "inject"
            decisions.append(Decision(f"{name}/combination", COMBINATIONS, node=k))
            decisions.append(Decision(f"{name}/activation", ACTIVATIONS, node=k))
        all_nodes = tuple(range(self.nodes))
        decisions.append(Decision("index/new_memory", all_nodes, node=self.nodes + 1))
        decisions.append(Decision("index/old_memory", all_nodes, node=self.nodes + 1))
        self.decisions = tuple(decisions)

    def parse(self, text: str) -> Arch:
        """Also reads nascell, the cell that the paper's search found, in a space of base 8."""
        if text.strip() != "nascell":
            return super().parse(text)
        if self.base != 8:
            raise ConfigError(f"genotype=nascell needs space.base=8, got {self.base}")
        return nascell()

    def maker(self, arch: Arch) -> "CellMaker":
        from nas.search_spaces.papers.zoph2017_rnn.tree_cell import TreeCell

        chosen, base = self.decode(arch), self.base
        return lambda inputs, units, skeleton: TreeCell(
            inputs, units, skeleton, chosen=chosen, base=base
        )

    def cell_weights(self, arch: Arch, inputs: int, units: int) -> int:
        return self.base * units * (inputs + units)

    def graph(self, arch: Arch) -> Graph:
        chosen = self.decode(arch)
        old, new = chosen["index/old_memory"], chosen["index/new_memory"]
        nodes = [("x", "input", "input"), ("h", "last output", "input")]
        nodes.append(("c", "last memory", "input"))
        edges = []
        for k in range(self.nodes):
            names = [f"node{k}/combination", f"node{k}/activation"]
            nodes += [(n, str(chosen[n]), str(chosen[n])) for n in names]
            sources = (
                ("x", "h") if k < self.base else tuple(map(self._end(old), inputs_of(self.base, k)))
            )
            edges += [(source, names[0]) for source in sources]
            edges.append((names[0], names[1]))
            if k == old:
                names = ["inject/combination", "inject/activation"]
                nodes += [(n, str(chosen[n]), str(chosen[n])) for n in names]
                edges += [(f"node{k}/activation", names[0]), ("c", names[0]), (names[0], names[1])]
        nodes += [("output", "output", "output"), ("memory", "memory", "output")]
        edges.append((self._end(old)(self.nodes - 1), "output"))
        edges.append((f"node{new}/combination", "memory"))
        return Graph(tuple(nodes), tuple(edges))

    @staticmethod
    def _end(old: int):
        """A function of a node's number: the drawn node that its output leaves from."""
        return lambda k: "inject/activation" if k == old else f"node{k}/activation"


def nascell() -> Arch:
    """The published cell of genotypes.json as an architecture of base 8."""
    from nas.search_spaces.published.genotypes import read

    entry = read()["nascell"]
    words = {"add": "add", "mul": "elem_mult"}
    chosen: dict[str, Any] = {}
    number = {"a0": 8, "a1": 9, "a2": 10, "a3": 11, "b0": 12, "b1": 13}
    rows = [(k, function, how) for k, function, how in entry["leaves"]]
    rows += [
        (number[n], function, how) for n, function, how, _ in entry["layer2"] + entry["layer3"]
    ]
    rows.append((14, *entry["new_h"][:2]))
    for k, function, how in rows:
        chosen |= {f"node{k}/combination": words[how], f"node{k}/activation": function}
    injected, function, how, _ = entry["cell_inject"]
    chosen |= {"inject/combination": words[how], "inject/activation": function}
    chosen |= {"index/new_memory": number[entry["new_c"]], "index/old_memory": number[injected]}
    return ZophRNN().encode(chosen)
