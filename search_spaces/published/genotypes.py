"""The published architectures in genotypes.json, and the cells that they describe.

Every entry of the file keeps the notation of its authors, which `encoding` names, and the name of
the authors' file from which it was taken. `cells` reads the entries of image cells.
"""

import ast
import dataclasses
import functools
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

INPUTS = 2  # states 0 and 1 of a cell
ADD, CONCAT = "add", "concat"

# The authors' names of operations -> the names of this project.
SLIM = {
    "none": "identity",
    "1x1": "conv_1x1",
    "3x3": "conv_3x3",
    "1x3_3x1": "conv_1x3_3x1",
    "1x7_7x1": "conv_1x7_7x1",
    "separable_3x3_2": "sep_3x3",
    "separable_5x5_2": "sep_5x5",
    "separable_7x7_2": "sep_7x7",
    "dil_2_separable_5x5_2": "dil_sep_5x5",
    "avg_pool_3x3": "avg_pool_3x3",
    "max_pool_2x2": "max_pool_2x2",
    "max_pool_3x3": "max_pool_3x3",
}
DARTS = {
    "skip_connect": "identity",
    "max_pool_3x3": "max_pool_3x3",
    "avg_pool_3x3": "avg_pool_3x3",
    "sep_conv_3x3": "sep_3x3",
    "sep_conv_5x5": "sep_5x5",
    "sep_conv_7x7": "sep_7x7",
    "dil_conv_3x3": "dil_sep_3x3",
    "dil_conv_5x5": "dil_sep_5x5",
    "conv_7x1_1x7": "conv_1x7_7x1",
}
ENAS_MICRO = ("sep_3x3", "sep_5x5", "avg_pool_3x3", "max_pool_3x3", "identity")


@dataclasses.dataclass(frozen=True)
class Node:
    """Two earlier states, the operation on each, and the combination of the results."""

    inputs: tuple[int, int]
    operations: tuple[str, str]
    combination: str = ADD


@dataclasses.dataclass(frozen=True)
class Cell:
    """nodes[k] computes state k + 2; the states in `concat` leave the cell."""

    nodes: tuple[Node, ...]
    concat: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Genotype:
    """The two cells of an architecture."""

    normal: Cell
    reduction: Cell


@functools.cache
def read() -> dict[str, dict[str, Any]]:
    """Every published architecture by name, in its authors' notation."""
    text = (resources.files("nas.search_spaces.published") / "genotypes.json").read_text(
        encoding="utf-8"
    )
    return json.loads(text)["genotypes"]


def cells(encoding: str) -> dict[str, Genotype]:
    """The published image cells in one notation: slim, darts_cnn or enas_micro."""
    convert = {"slim": from_slim, "darts_cnn": from_darts, "enas_micro": from_enas_micro}[encoding]
    return {name: convert(e) for name, e in read().items() if e["encoding"] == encoding}


def from_slim(entry: Mapping[str, Any]) -> Genotype:
    """State 0 is the output of the last cell. Flags name the concatenated states; 0 means yes."""

    def cell(part: Mapping[str, Any]) -> Cell:
        operations = [SLIM[name] for name in part["operations"]]
        concat = [i for i, used in enumerate(part["used_hiddenstates"]) if not used]
        return Cell(_nodes(part["hiddenstate_indices"], operations), tuple(concat))

    return Genotype(cell(entry["normal"]), cell(entry["reduction"]))


def from_darts(entry: Mapping[str, Any]) -> Genotype:
    """State 1 is the output of the last cell; each node has two pairs (operation, state)."""

    def cell(edges: Sequence[Sequence[Any]], concat: Sequence[int]) -> Cell:
        operations = [DARTS[name] for name, _ in edges]
        return Cell(_nodes([state for _, state in edges], operations), tuple(concat))

    return Genotype(
        cell(entry["normal"], entry["normal_concat"]), cell(entry["reduce"], entry["reduce_concat"])
    )


def from_enas_micro(entry: Mapping[str, Any]) -> Genotype:
    """State 1 is the output of the last cell; the states that no node reads are concatenated."""

    def cell(rows: Sequence[Sequence[int]]) -> Cell:
        operations = [ENAS_MICRO[row[i]] for row in rows for i in (1, 3)]
        nodes = _nodes([row[i] for row in rows for i in (0, 2)], operations)
        return Cell(nodes, unread(nodes))

    return Genotype(cell(entry["normal"]), cell(entry["reduction"]))


def from_darts_text(text: str) -> Genotype:
    """Reads what the DARTS code prints: Genotype(normal=[('sep_conv_3x3', 1), ...], ...

    Raises ValueError for any other text. Nothing in the text is run.
    """
    try:
        call = ast.parse(text.strip(), mode="eval").body
        return from_darts({k.arg: _literal(k.value) for k in call.keywords})  # type: ignore
    except (SyntaxError, AttributeError, KeyError, TypeError, IndexError) as error:
        raise ValueError(
            "it must be Genotype(normal=[('sep_conv_3x3', 1), ...], normal_concat=range(2, 6), "
            f"reduce=[...], reduce_concat=range(2, 6)) with operations of {', '.join(DARTS)}"
        ) from error


def unread(nodes: Sequence[Node]) -> tuple[int, ...]:
    """The states that no node reads, the cell's inputs included."""
    read_by_some = {i for node in nodes for i in node.inputs}
    return tuple(i for i in range(INPUTS + len(nodes)) if i not in read_by_some)


def canonical(cell: Cell) -> str:
    """The same name for all cells that differ only in the order of nodes and of paths.

    Nodes are renumbered one after another: among the nodes whose inputs have numbers, the one with
    the smallest description is next. If several nodes have the same description, the smallest name
    of the whole cell decides.
    """

    def described(i: int, number: Mapping[int, int]) -> tuple:
        node = cell.nodes[i]
        paths = zip((number[j] for j in node.inputs), node.operations, strict=True)
        return (node.combination, i + INPUTS in cell.concat, *sorted(paths))

    def best(number: dict[int, int]) -> list[tuple]:
        ready = {
            i: described(i, number)
            for i, node in enumerate(cell.nodes)
            if i + INPUTS not in number and all(j in number for j in node.inputs)
        }
        if not ready:
            return []
        least = min(ready.values())
        ties = [i for i, description in ready.items() if description == least]
        return [least, *min(best(number | {i + INPUTS: len(number)}) for i in ties)]

    words = [str([i for i in range(INPUTS) if i in cell.concat])]
    for combination, leaves, *paths in best({i: i for i in range(INPUTS)}):
        text = f" {combination} ".join(f"{operation}({state})" for state, operation in paths)
        words.append(f"{text}!" if leaves else text)
    return "; ".join(words)


def _nodes(states: Sequence[int], operations: Sequence[str]) -> tuple[Node, ...]:
    return tuple(
        Node((states[i], states[i + 1]), (operations[i], operations[i + 1]))
        for i in range(0, len(states), 2)
    )


def _literal(tree: ast.expr) -> Any:
    if isinstance(tree, ast.Call):  # of range
        return list(range(*[ast.literal_eval(argument) for argument in tree.args]))
    return ast.literal_eval(tree)
