"""The supernet of the DARTS space (Liu et al. 2019, arXiv:1806.09055, section 2.2).

Each node of a cell has an edge from every state before it, with every operation and `none` on it:
the questions of the supernet, for a path as for gates. A path has two edges of each node, one
operation on either, and equals the network that is built for it.

Departures: the official code follows poolings by a normalization and takes scales and offsets away
while weights are shared; here all is as in the network of a found cell. Paths are not dropped.
"""

import functools
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from nas.core.trial import Arch, ConfigError
from nas.search_spaces.cells.cell_space import CELLS
from nas.search_spaces.cells.network import Place, Rules, network
from nas.search_spaces.published.genotypes import INPUTS
from nas.search_spaces.supernet.ops import Path, SupernetOps
from nas.search_spaces.supernet.supernet import Supernet

if TYPE_CHECKING:
    from nas.core.skeleton import ImageSkeleton
    from nas.search_spaces.papers.darts.space import DARTS

_SIDE = "{side}"  # stands for a or b in the names of layers: which of its node's paths an edge is


def supernet(space: "DARTS", skeleton: "ImageSkeleton") -> Supernet:
    """Raises ConfigError where the skeleton drops paths or has an auxiliary head."""
    for name in ("drop_path", "auxiliary_weight"):
        if getattr(skeleton, name):
            raise ConfigError(
                f"skeleton.{name} must be 0 for shared weights, got {getattr(skeleton, name)}; "
                f"set skeleton.{name}=0"
            )

    def write(ops: SupernetOps) -> Any:
        cell = functools.partial(_cell, space)
        return network(ops, space.rules, SimpleNamespace(normal=0, reduction=1), skeleton, cell)  # type: ignore[arg-type]

    own = functools.partial(answers, space), functools.partial(_static_name, space)
    return Supernet(space, skeleton, write, *own)


def edges(nodes: int) -> list[tuple[int, int]]:
    """(from, to) states of the edges of a cell, in the order of the questions."""
    return [(i, k) for k in range(INPUTS, INPUTS + nodes) for i in range(k)]


def answers(space: "DARTS", arch: tf.Tensor) -> tf.Tensor:
    """[..., decisions] int32 -> [..., questions] int32, the operation of each edge or `none`."""
    none, found = len(space.operations), []
    columns = iter(tf.unstack(arch, axis=-1))
    for cell in range(len(CELLS)):
        for k in range(space.nodes):
            inputs, op1, op2 = next(columns), next(columns), next(columns)
            pairs = tf.constant(space.decisions[3 * (cell * space.nodes + k)].choices)
            first, second = tf.gather(pairs[:, 0], inputs), tf.gather(pairs[:, 1], inputs)
            for i in range(k + INPUTS):
                other = tf.where(second == i, op2, none)
                found.append(tf.where(first == i, op1, other))
    return tf.stack(found, axis=-1)


def _cell(
    space: "DARTS", ops: SupernetOps, rules: Rules, part: int, older, newer, place: Place, drop_path
) -> tf.Tensor:
    """part: 0 for the normal cell, 1 for the reduction cell. As cell_network.cell."""
    states = list(rules.calibrate(ops, older, newer, place.filters, place.name))
    numbers = {edge: n for n, edge in enumerate(edges(space.nodes))}
    for k in range(INPUTS, INPUTS + space.nodes):
        decisions, branches = [], []
        for i in range(k):
            decisions.append(part * len(numbers) + numbers[i, k])
            stride = 2 if place.is_reduction and i < INPUTS else 1
            name = f"{place.name}_node{k}{_SIDE}"
            ways = [
                functools.partial(
                    rules.operations[operation], ops, states[i], place.filters, stride, name
                )
                for operation in space.operations
            ]
            branches.append([*ways, functools.partial(_nothing, ops, states[i], stride)])
        states.append(ops.choose_sum(decisions, branches))
    return ops.concatenate(states[INPUTS:])


def _nothing(ops: SupernetOps, x: tf.Tensor, stride: int) -> tf.Tensor:
    return ops.zeros(x[:, ::stride, ::stride])


def _static_name(space: "DARTS", arch: Arch, path: Path, name: str) -> str:
    if not path:
        return name
    each = edges(space.nodes)
    cell, number = divmod(path[0][0], len(each))
    i, k = each[number]
    decision = 3 * (cell * space.nodes + k - INPUTS)
    first, _ = space.decisions[decision].choices[arch[decision]]
    return name.replace(_SIDE, "a" if i == first else "b")
