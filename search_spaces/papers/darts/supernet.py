"""The supernet of the DARTS space (Liu et al. 2019, arXiv:1806.09055, section 2.2).

Each node of a cell has an edge from every earlier state. The supernet asks one question for each
edge, for a path and for gates alike: which operation it carries, or `none`. On a path, two edges of
each node carry one operation each, and the path computes the same as the network that is built for
it.

The layers are those of the skeleton's form (space.py): with form=search those of the official
code's search, with form=final those of the network of a found cell. Paths are not dropped.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import Arch, ConfigError
from nas.search_spaces.cells.cell_space import CELLS
from nas.search_spaces.cells.network import Place, Rules, network
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.published.genotypes import INPUTS
from nas.search_spaces.supernet.ops import Path, SupernetOps
from nas.search_spaces.supernet.supernet import Supernet

_SIDE = "{side}"  # in layer names: a or b, the path of the node that the edge is


def supernet(
    space: ImageSpace,
    skeleton: ImageSkeleton,
    *,
    rules: Rules,
    nodes: int,
    operations: Sequence[str],
) -> Supernet:
    """The supernet of a space that asks for inputs, op1 and op2 of each of `nodes` nodes.

    Raises ConfigError if the skeleton drops paths or has an auxiliary head.
    """
    for name, rate in (
        ("drop_path", skeleton.drop_path),
        ("auxiliary_weight", skeleton.auxiliary_weight),
    ):
        if rate:
            raise ConfigError(
                f"skeleton.{name} must be 0 for shared weights, got {rate}; set skeleton.{name}=0"
            )

    def write(ops: SupernetOps) -> Any:
        write_cell = functools.partial(_cell, nodes, operations)
        return network(ops, rules, (0, 1), skeleton, write_cell)

    return Supernet(
        space,
        skeleton,
        write,
        functools.partial(answers, nodes, len(operations)),
        functools.partial(_static_name, nodes),
    )


def edges(nodes: int) -> list[tuple[int, int]]:
    """(from, to) states of the edges of a cell, in the order of the questions."""
    return [(i, k) for k in range(INPUTS, INPUTS + nodes) for i in range(k)]


def answers(nodes: int, none: int, arch: tf.Tensor) -> tf.Tensor:
    """The operation of each edge: [..., decisions] int32 -> [..., questions] int32.

    none: the answer of an edge that carries nothing, which is the number of operations.
    """
    operations = []
    columns = iter(tf.unstack(arch, axis=-1))
    for _ in CELLS:
        for k in range(nodes):
            inputs, op1, op2 = next(columns), next(columns), next(columns)
            pairs = tf.constant(_pairs(k))
            first, second = tf.gather(pairs[:, 0], inputs), tf.gather(pairs[:, 1], inputs)
            for i in range(k + INPUTS):
                other = tf.where(second == i, op2, none)
                operations.append(tf.where(first == i, op1, other))
    return tf.stack(operations, axis=-1)


def _pairs(node: int) -> list[tuple[int, int]]:
    """The choices of a node's inputs, as CellSpace orders them."""
    return list(itertools.combinations(range(node + INPUTS), 2))


def _cell(
    nodes: int,
    operations: Sequence[str],
    ops: SupernetOps,
    rules: Rules,
    part: int,
    older: tf.Tensor,
    newer: tf.Tensor,
    place: Place,
    drop_path: float,
) -> tf.Tensor:
    """Writes a cell as nas/search_spaces/cells/network.py does.

    part: 0 for the normal cell, 1 for the reduction cell.
    """
    states = list(rules.calibrate(ops, older, newer, place.filters, place.name))
    numbers = {edge: n for n, edge in enumerate(edges(nodes))}
    for k in range(INPUTS, INPUTS + nodes):
        decisions, branches = [], []
        for i in range(k):
            decisions.append(part * len(numbers) + numbers[i, k])
            stride = 2 if place.is_reduction and i < INPUTS else 1
            name = f"{place.name}_node{k}{_SIDE}"
            alternatives = [
                functools.partial(
                    rules.operations[operation], ops, states[i], place.filters, stride, name
                )
                for operation in operations
            ]
            branches.append([*alternatives, functools.partial(_nothing, ops, states[i], stride)])
        states.append(ops.choose_sum(decisions, branches))
    return ops.concatenate(states[INPUTS:])


def _nothing(ops: SupernetOps, x: tf.Tensor, stride: int) -> tf.Tensor:
    return ops.zeros(x[:, ::stride, ::stride])


def _static_name(nodes: int, arch: Arch, path: Path, name: str) -> str:
    if not path:
        return name
    cell_edges = edges(nodes)
    cell, number = divmod(path[0][0], len(cell_edges))
    i, k = cell_edges[number]
    node = k - INPUTS
    first, _ = _pairs(node)[arch[3 * (cell * nodes + node)]]
    return name.replace(_SIDE, "a" if i == first else "b")
