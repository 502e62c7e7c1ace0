"""Cell spaces: a normal and a reduction cell, repeated. NASNet, AmoebaNet, ENAS micro, DARTS.

A cell has two inputs, the outputs of the two cells before it: states 0 and 1. Each of its nodes
applies two operations to two earlier states, combines the results and is the next state; some of
the states are concatenated along channels and leave the cell. In a reduction cell the operations
on the inputs have stride 2. The network (Zoph et al. 2018, figure 2) is a stem, then three stages
of `skeleton.cells` normal cells, with a reduction cell, which doubles the filters, between two of
them. With stem=imagenet two more reduction cells, at a quarter and at half of the filters, stand
before the first stage. What the papers do differently is data: `Rules` (cell_network.py).

Which states leave a published cell is not always what its paper's rule says. So an architecture
that equals a published one has what its authors' code has; all others have the rule's.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from nas.core.ops import Ops
from nas.core.space import Decision, Graph
from nas.core.trial import Arch, ConfigError
from nas.ops.keras import KerasOps
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

    from nas.core.skeleton import ImageSkeleton

CELLS = ("normal", "reduction")


class CellSpace(ImageSpace):
    """Subclasses set the class attributes and say in their constructor what is searched.

    Args:
      nodes: of each cell.
      operations, combinations: what a node may choose.
    """

    rules: ClassVar[Rules]
    # Asked of each node, in this order. Of input1, op1, input2, op2, combination; or inputs, op1,
    # op2: a pair of different states.
    questions: ClassVar[tuple[str, ...]]
    has_anchors = False  # whether a controller can point at states
    all_nodes_leave = False  # the cell; or the states that no node reads
    published: ClassVar[Mapping[str, Genotype]]  # by the names that `parse` takes

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
        self._own = {self.arch_of(g): g for g in self.published.values() if self._holds(g)}

    def genotype(self, arch: Arch) -> Genotype:
        """The cells of `arch`."""
        self.check(arch)
        if arch in self._own:
            return self._own[arch]
        answers = iter([d.choices[i] for d, i in zip(self.decisions, arch, strict=True)])
        cells = []
        for _ in CELLS:
            nodes = []
            for _ in range(self.nodes):
                said = {question: next(answers) for question in self.questions}
                inputs = said["inputs"] if "inputs" in said else (said["input1"], said["input2"])
                operations = said["op1"], said["op2"]
                nodes.append(Node(inputs, operations, said.get("combination", ADD)))
            after = tuple(range(INPUTS, INPUTS + self.nodes))
            cells.append(Cell(tuple(nodes), after if self.all_nodes_leave else unread(nodes)))
        return Genotype(*cells)

    def arch_of(self, genotype: Genotype) -> Arch:
        """The inverse of `genotype`, whatever leaves the cells. ValueError where there is none."""
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
        """Also takes the name of a published architecture, such as nasnet_a."""
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
        """Equal where the order of the nodes and of a node's two paths is the only difference."""
        genotype = self.genotype(arch)
        return f"{canonical(genotype.normal)} | {canonical(genotype.reduction)}"

    def build(self, arch: Arch, skeleton: "ImageSkeleton") -> "keras.Model":
        """images [batch, height, width, channels] float32 -> logits [batch, classes] float32.

        Where the skeleton has an auxiliary head or drops paths, the model has an `in_training`
        (nas/ops/training.py): its own layers, as they run while they are trained.
        """
        ops = KerasOps(skeleton.image_shape)
        model = ops.model(self.network(ops, arch, skeleton))
        if skeleton.drop_path or skeleton.auxiliary_weight:
            from nas.ops.training import InTraining, TrainingOps

            training = TrainingOps(skeleton.image_shape, ops.made)
            logits = self.network(training, arch, skeleton)
            model.in_training = InTraining(training, logits, skeleton)
        return model

    def network(self, ops: Ops, arch: Arch, skeleton: "ImageSkeleton") -> Any:
        return network(ops, self.rules, self.genotype(arch), skeleton)

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
        states = k + INPUTS  # before this node
        first = cell * (self.nodes + INPUTS)  # states of both cells are numbered through
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

    def _holds(self, genotype: Genotype) -> bool:
        try:
            self.arch_of(genotype)
        except ValueError:
            return False
        return True


def drawn(label: str, cell: Cell, inputs: tuple[str, str]) -> Graph:
    """One cell; inputs: what states 0 and 1 are called."""
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
