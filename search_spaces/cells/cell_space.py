"""Spaces of a normal and a reduction cell that the network repeats: NASNet, AmoebaNet, ENAS, DARTS.

A cell has two inputs, the outputs of the two cells before it: states 0 and 1. Each of its nodes
applies two operations to two earlier states and combines the results, which are the next state.
Some of the states are concatenated along channels and leave the cell. In a reduction cell the
operations on the inputs have stride 2.

The network (Zoph et al. 2018, figure 2) is a stem and three stages of `skeleton.cells` normal
cells. A reduction cell between two stages doubles the filters. With stem=imagenet two more
reduction cells, with a quarter and with half of the filters, stand before the first stage. The
differences between the papers are data: `Rules` (network.py).

The states that leave a published cell are not always those that its paper's rule names. Therefore
an architecture that equals a published one has the output of its authors' code, and every other
architecture has the output that the rule names.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.cells.network import Rules, network
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.published.genotypes import (
    ADD,
    CONCAT,
    INPUTS,
    Cell,
    Genotype,
    Node,
    canonical,
    unread,
)

if TYPE_CHECKING:
    import keras

CELLS = ("normal", "reduction")


class CellSpace(ImageSpace):
    """Subclasses set the class attributes; their constructor defines what is searched.

    Args:
      nodes: the nodes of each cell, without the two inputs.
      operations, combinations: the choices of a node.
    """

    rules: ClassVar[Rules]
    # What is asked about each node, in this order: input1, op1, input2, op2 and combination, or
    # inputs, op1 and op2, where inputs is a pair of different states.
    questions: ClassVar[tuple[str, ...]]
    has_anchors = False  # whether a controller can point at states
    all_nodes_leave = (
        False  # whether all nodes leave the cell; otherwise the states that none reads
    )
    published: ClassVar[Mapping[str, Genotype]]  # by the names that `parse` reads

    def __init__(
        self, *, nodes: int, operations: Sequence[str], combinations: Sequence[str] = (ADD,)
    ):
        if nodes < 1:
            raise ConfigError(f"space.nodes must be at least 1, got {nodes}; set space.nodes=5")
        _check_names("operations", operations, list(self.rules.operations))
        _check_names("combinations", combinations, [ADD, CONCAT])
        self.nodes = nodes
        self.operations, self.combinations = tuple(operations), tuple(combinations)
        self.decisions = tuple(
            self._decision(question, cell, k)
            for cell in range(len(CELLS))
            for k in range(nodes)
            for question in self.questions
        )
        self._published_archs = {
            self.arch_of(g): g for g in self.published.values() if self._contains(g)
        }

    def genotype(self, arch: Arch) -> Genotype:
        """The cells of `arch`."""
        self.check(arch)
        if arch in self._published_archs:
            return self._published_archs[arch]
        answers = iter([d.choices[i] for d, i in zip(self.decisions, arch, strict=True)])
        cells = []
        for _ in CELLS:
            nodes = []
            for _ in range(self.nodes):
                answer = {question: next(answers) for question in self.questions}
                inputs = (
                    answer["inputs"] if "inputs" in answer else (answer["input1"], answer["input2"])
                )
                operations = answer["op1"], answer["op2"]
                nodes.append(Node(inputs, operations, answer.get("combination", ADD)))
            all_nodes = tuple(range(INPUTS, INPUTS + self.nodes))
            cells.append(Cell(tuple(nodes), all_nodes if self.all_nodes_leave else unread(nodes)))
        return Genotype(*cells)

    def arch_of(self, genotype: Genotype) -> Arch:
        """The inverse of `genotype`, which ignores what leaves the cells.

        Raises ValueError if the space does not contain it.
        """
        chosen = {}
        for label, cell in zip(CELLS, (genotype.normal, genotype.reduction), strict=True):
            for k, node in enumerate(cell.nodes, INPUTS):
                paths = list(zip(node.inputs, node.operations, strict=True))
                if "inputs" in self.questions:  # the pair is in rising order
                    paths.sort(key=lambda path: path[0])
                (input1, op1), (input2, op2) = paths
                answers = {
                    "inputs": (input1, input2),
                    "input1": input1,
                    "op1": op1,
                    "input2": input2,
                    "op2": op2,
                    "combination": node.combination,
                }
                for question in self.questions:
                    chosen[f"{label}/node{k}/{question}"] = answers[question]
        return self.encode(chosen)

    def parse(self, text: str) -> Arch:
        """Also reads the name of a published architecture, such as nasnet_a."""
        name = text.strip()
        if name in self.published:
            return self._parsed(name, self.published[name])
        if name[:1].isalpha():
            names = list(self.published)
            raise ConfigError(
                f"genotype must be one of {', '.join(names)} or {len(self.decisions)} choices "
                f"separated by commas, got {text}; set genotype={names[0]}"
            )
        return super().parse(text)

    def key(self, arch: Arch) -> str:
        """Equal for cells that differ only in the order of the nodes or of a node's two paths."""
        genotype = self.genotype(arch)
        return f"{canonical(genotype.normal)} | {canonical(genotype.reduction)}"

    def build(self, arch: Arch, skeleton: ImageSkeleton) -> "keras.Model":
        """images [batch, height, width, channels] float32 -> logits [batch, classes] float32.

        If the skeleton has an auxiliary head or drops paths, the model has an attribute
        `in_training` (nas/ops/training.py): the same layers, as they run in training.
        """
        from nas.ops.keras import KerasOps

        ops = KerasOps(skeleton.image_shape)
        model = ops.model(self.network(ops, arch, skeleton))
        if skeleton.drop_path or skeleton.auxiliary_weight:
            from nas.ops.training import InTraining, TrainingOps

            training = TrainingOps(skeleton.image_shape, ops.made)
            logits = self.network(training, arch, skeleton)
            model.in_training = InTraining(training, logits, skeleton)
        return model

    def network(self, ops: Ops, arch: Arch, skeleton: ImageSkeleton) -> Any:
        genotype = self.genotype(arch)
        return network(
            ops, self.rules_in(skeleton), (genotype.normal, genotype.reduction), skeleton
        )

    def rules_in(self, skeleton: ImageSkeleton) -> Rules:
        """The rules in the skeleton's form; most spaces have one form."""
        return self.rules

    def graph(self, arch: Arch) -> Graph:
        """Both cells, side by side."""
        genotype = self.genotype(arch)
        names = ("last", "before last") if self.rules.newer_first else ("before last", "last")
        parts = [
            drawn(label, cell, names)
            for label, cell in zip(CELLS, (genotype.normal, genotype.reduction), strict=True)
        ]
        return Graph(
            tuple(node for part in parts for node in part.nodes),
            tuple(edge for part in parts for edge in part.edges),
        )

    def _decision(self, question: str, cell: int, k: int) -> Decision:
        states = k + INPUTS  # the number of states before this node
        first = cell * (self.nodes + INPUTS)  # the states of both cells have one numbering
        name, node = f"{CELLS[cell]}/node{states}/{question}", first + states
        if question == "inputs":
            pairs = [(i, j) for i in range(states) for j in range(i + 1, states)]
            return Decision(name, tuple(pairs), node)
        if question in ("input1", "input2"):
            anchors = tuple(range(first, node)) if self.has_anchors else None
            return Decision(name, tuple(range(states)), node, anchors)
        choices = self.combinations if question == "combination" else self.operations
        return Decision(name, choices, node)

    def _parsed(self, text: str, genotype: Genotype) -> Arch:
        try:
            return self.arch_of(genotype)
        except ValueError as error:
            nodes = [*genotype.normal.nodes, *genotype.reduction.nodes]
            missing = {o for node in nodes for o in node.operations} - set(self.operations)
            wider = ",".join([*self.operations, *sorted(missing)])
            raise ConfigError(
                f"genotype must be an architecture of the space, got {text}: {error}; change "
                f"space.nodes={len(genotype.normal.nodes)} or space.operations=[{wider}]"
            ) from None

    def _contains(self, genotype: Genotype) -> bool:
        try:
            self.arch_of(genotype)
        except ValueError:
            return False
        return True


def drawn(label: str, cell: Cell, inputs: tuple[str, str]) -> Graph:
    """A drawing of one cell. inputs: the names of states 0 and 1."""
    states = [f"{label}/state{i}" for i in range(INPUTS + len(cell.nodes))]
    read = {i for node in cell.nodes for i in node.inputs} | set(cell.concat)
    nodes = [(states[i], f"{label}: {inputs[i]}", "input") for i in range(INPUTS) if i in read]
    edges = []
    for state, node in zip(states[INPUTS:], cell.nodes, strict=True):
        for side, i, operation in zip("ab", node.inputs, node.operations, strict=True):
            nodes.append((f"{state}{side}", operation, operation))
            edges += [(states[i], f"{state}{side}"), (f"{state}{side}", state)]
        nodes.append((state, node.combination, node.combination))
    nodes.append((f"{label}/output", "concat", "output"))
    edges += [(states[i], f"{label}/output") for i in cell.concat]
    return Graph(tuple(nodes), tuple(edges))


def _check_names(setting: str, names: Sequence[str], known: Sequence[str]) -> None:
    if not names or not set(names) <= set(known) or len(set(names)) < len(names):
        raise ConfigError(
            f"space.{setting} must be different ones of {', '.join(known)}, got {list(names)}; "
            f"set space.{setting}=[{known[0]}]"
        )
