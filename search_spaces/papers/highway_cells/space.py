"""The recurrent space of ENAS and DARTS: highway nodes, each of which reads one earlier state.

Three sources define variants of it:

  Pham et al. 2018 (arXiv:1802.03268, section 2.1) choose 12 functions and 11 predecessors, and
    average the states that no node reads: nodes=11, first=null, average=loose, shared=edge.
  The authors' corrected code (enas_lm) begins with a first state of tanh and averages all nodes:
    shared=function.
  Liu et al. 2019 (arXiv:1806.09055, section 3) use 8 nodes behind a first state of tanh and average
    all of them: shared=node.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nas.core.language_skeleton import LanguageSkeleton
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.papers.highway_cells.rules import EDGE, NODE, SHARED, HighwayRules
from nas.search_spaces.recurrent.genotypes import Nodes, loose_ends, names, published
from nas.search_spaces.recurrent.space import RecurrentSpace, check_skeleton

if TYPE_CHECKING:
    from nas.search_spaces.papers.highway_cells.supernet import RecurrentSupernet
    from nas.search_spaces.recurrent.language_model import CellMaker

FUNCTIONS = ("tanh", "relu", "sigmoid", "identity")
AVERAGES = ("all", "loose")


class RecurrentNodes(RecurrentSpace):
    """Cells of `nodes` nodes behind a first state.

    Args:
      nodes: the number of nodes behind the first state.
      functions: what a node may apply, among tanh, relu, sigmoid and identity.
      first: the function of the first state; None: it is searched too.
      average: the output averages "all" nodes behind the first state, or the "loose" ones, which no
        node reads.
      shared: what has a matrix of its own in the supernet: a "node", whatever it reads; an "edge"
        from a state to a node; or a "function" of an edge.
      normalised: whether the supernet normalises each state by the moments of its batch.
    """

    def __init__(
        self,
        *,
        nodes: int = 8,
        functions: Sequence[str] = FUNCTIONS,
        first: str | None = "tanh",
        average: str = "all",
        shared: str = NODE,
        normalised: bool = True,
    ):
        if isinstance(nodes, bool) or not isinstance(nodes, int) or nodes < 1:
            raise ConfigError(f"space.nodes must be a whole number, at least 1, got {nodes}")
        if not functions or not set(functions) <= set(FUNCTIONS):
            raise ConfigError(
                f"space.functions must be among {', '.join(FUNCTIONS)}, got {list(functions)}"
            )
        if first is not None and first not in FUNCTIONS:
            raise ConfigError(
                f"space.first must be null or one of {', '.join(FUNCTIONS)}, got {first}"
            )
        if average not in AVERAGES:
            raise ConfigError(f"space.average must be one of {', '.join(AVERAGES)}, got {average}")
        if shared not in SHARED:
            raise ConfigError(f"space.shared must be one of {', '.join(SHARED)}, got {shared}")
        self.nodes, self.functions = nodes, tuple(functions)
        self.first, self.average, self.shared = first, average, shared
        self.rules = HighwayRules(nodes, self.functions, first, average, shared, normalised)
        decisions = [] if first else [Decision("node0/function", self.functions, node=0)]
        for k in range(1, nodes + 1):
            states = tuple(range(k))
            decisions.append(Decision(f"node{k}/input", states, node=k, anchors=states))
            decisions.append(Decision(f"node{k}/function", self.functions, node=k))
        self.decisions = tuple(decisions)

    def genotype(self, arch: Arch) -> Nodes:
        """The cell of `arch`."""
        chosen = self.decode(arch)
        nodes = tuple(
            (chosen[f"node{k}/function"], chosen[f"node{k}/input"])
            for k in range(1, self.nodes + 1)
        )
        every = tuple(range(1, self.nodes + 1))
        outputs = every if self.average == "all" else loose_ends(nodes)
        return Nodes(self.first or chosen["node0/function"], nodes, outputs)

    @property
    def published(self) -> tuple[str, ...]:
        """Names of the published cells that the space contains."""
        return tuple(name for name in names() if self._contains(name))

    def _contains(self, name: str) -> bool:
        try:
            self.parse(name)
        except ConfigError:
            return False
        return True

    def parse(self, text: str) -> Arch:
        """Also reads the name of a published cell that the space contains, such as darts_rnn_v2."""
        if text.strip() not in names():
            return super().parse(text)
        cell = published(text.strip())
        chosen: dict[str, Any] = {} if self.first else {"node0/function": cell.first}
        for k, (function, state) in enumerate(cell.nodes, 1):
            chosen |= {f"node{k}/input": state, f"node{k}/function": function}
        try:
            arch = self.encode(chosen)
        except ValueError as error:
            raise ConfigError(f"genotype={text} must lie in the space: {error}") from None
        if self.genotype(arch) != cell:
            raise ConfigError(
                f"genotype={text} must lie in the space, but begins with {cell.first} and averages "
                f"states {list(cell.outputs)}; change space.first or space.average"
            )
        return arch

    def maker(self, arch: Arch) -> "CellMaker":
        from nas.search_spaces.recurrent.published_cells import NodesCell

        genotype = self.genotype(arch)
        return lambda inputs, units, skeleton: NodesCell(inputs, units, skeleton, genotype=genotype)

    def cell_weights(self, arch: Arch, inputs: int, units: int) -> int:
        return 2 * units * (inputs + units) + self.nodes * 2 * units * units

    def supernet(self, skeleton: LanguageSkeleton) -> "RecurrentSupernet":
        from nas.search_spaces.papers.highway_cells.supernet import RecurrentSupernet

        check_skeleton(skeleton)
        return RecurrentSupernet(self, self.rules, skeleton)

    def gate_counts(self) -> tuple[int, ...]:
        """The functions of the first state, if it is searched; for each edge, these and `none`.

        Raises ConfigError if gates cannot answer what the space asks.
        """
        for name, value, known in (
            ("average", self.average, ("all",)),
            ("shared", self.shared, (NODE, EDGE)),
        ):
            if value not in known:
                raise ConfigError(
                    f"space.{name} must be {' or '.join(known)} where all functions run at once, "
                    f"got {value}; set space.{name}={known[0]} or method=uniform"
                )
        width = len(self.functions)
        edges = self.nodes * (self.nodes + 1) // 2
        return (width,) * (self.first is None) + (width + 1,) * edges

    def architecture_from_gates(self, weights: np.ndarray) -> Arch:
        """For each node, the edge with the strongest function, and that function; never `none`
        (code, rnn/model_search.py, genotype).

        weights: [questions, functions + 1], before the softmax.
        """
        weights = weights.astype(np.float64)
        width, chosen = len(self.functions), []
        if self.first is None:
            chosen.append(int(weights[0, :width].argmax()))
            weights = weights[1:]
        p = np.exp(weights - weights.max(1, keepdims=True))
        p = (p / p.sum(1, keepdims=True))[:, :width]
        at = 0
        for k in range(1, self.nodes + 1):
            edges = p[at : at + k]
            state = int(edges.max(1).argmax())
            chosen += [state, int(edges[state].argmax())]
            at += k
        return tuple(chosen)

    def graph(self, arch: Arch) -> Graph:
        cell = self.genotype(arch)
        nodes = [("x", "input", "input"), ("h", "last output", "input")]
        nodes.append(("state0", cell.first, cell.first))
        edges = [("x", "state0"), ("h", "state0")]
        for k, (function, state) in enumerate(cell.nodes, 1):
            nodes.append((f"state{k}", function, function))
            edges.append((f"state{state}", f"state{k}"))
        nodes.append(("output", "mean", "output"))
        edges += [(f"state{k}", "output") for k in cell.outputs]
        return Graph(tuple(nodes), tuple(edges))
