"""The supernet of the ENAS micro space (Pham et al. 2018, section 2.4; official code, _enas_layer).

A path equals the network that is built for it in the form "search". The weights of an operation
have a row for each state that it may read. To the decisions the supernet adds a question for each
state of a cell: whether no node reads it, so that it leaves the cell; the last one always does.
"""

import functools
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from nas.search_spaces.cells.cell_space import CELLS
from nas.search_spaces.cells.network import Place, Rules
from nas.search_spaces.papers.enas_micro.search_form import calibrate, leave, network, path
from nas.search_spaces.published.genotypes import INPUTS
from nas.search_spaces.supernet.ops import SupernetOps
from nas.search_spaces.supernet.supernet import Supernet

if TYPE_CHECKING:
    from nas.core.skeleton import ImageSkeleton
    from nas.search_spaces.papers.enas_micro.space import ENASMicro


def supernet(space: "ENASMicro", skeleton: "ImageSkeleton") -> Supernet:
    skeleton = skeleton.replace(form="search")

    def write(ops: SupernetOps) -> Any:
        cell = functools.partial(_cell, space)
        return network(ops, space.rules, SimpleNamespace(normal=0, reduction=1), skeleton, cell)  # type: ignore[arg-type]

    return Supernet(space, skeleton, write, functools.partial(questions, space))


def input_of(space: "ENASMicro", cell: int, node: int, side: int) -> int:
    """The decision about what a path of a node reads; the next one is about its operation."""
    return 4 * (cell * space.nodes + node) + 2 * side


def leaving_of(space: "ENASMicro", cell: int, state: int) -> int:
    """The question whether a state but the last leaves a cell."""
    return len(space.decisions) + cell * (space.nodes + 1) + state


def questions(space: "ENASMicro", arch: tf.Tensor) -> tf.Tensor:
    """[..., decisions] int32 -> [..., questions] int32: 1 for states that no node reads."""
    leave = []
    for cell in range(len(CELLS)):
        inputs = [
            arch[..., input_of(space, cell, k, side)] for k in range(space.nodes) for side in (0, 1)
        ]
        for state in range(space.nodes + 1):
            reads = tf.reduce_any(tf.equal(tf.stack(inputs, -1), state), -1)
            leave.append(1 - tf.cast(reads, arch.dtype))
    return tf.concat([arch, tf.stack(leave, -1)], -1)


def _cell(
    space: "ENASMicro", ops: SupernetOps, rules: Rules, part: int, older, newer, place: Place,
    drop_path: float,
) -> tf.Tensor:  # fmt: skip
    """part: 0 for the normal cell, 1 for the reduction cell. As enas_micro_search.cell."""
    name, filters = place.name, place.filters
    states = _States(space, ops, part)
    for x in calibrate(ops, older, newer, filters, name):
        states.made(x)
    for k in range(space.nodes):
        paths = []
        for side, letter in enumerate("ab"):
            decision = input_of(space, part, k, side)
            x = ops.select(decision, [states.read[i, decision] for i in range(k + INPUTS)])
            label = f"{name}_node{k + INPUTS}{letter}"
            ways = []
            for operation in space.operations:
                way = functools.partial(path, ops, rules, operation, x, filters, label, drop_path)
                ways.append(functools.partial(ops.in_rows, label, decision, k + INPUTS, way))
            paths.append(ops.choose(decision + 1, ways))
        states.made(ops.add(paths))
    return _leaving(space, ops, states, filters, name)


def _leaving(space: "ENASMicro", ops: SupernetOps, states: "_States", filters: int, name: str):
    last = space.nodes + 1
    numbers = [leaving_of(space, states.part, i) for i in range(last)]
    others = []
    for i, number in enumerate(numbers):
        branch = functools.partial(leave, ops, filters=filters, name=f"{name}_leaving{i}")
        others.append(ops.only_if(number, branch, states.read[i, number]))
    x = leave(ops, states.last, filters, f"{name}_leaving{last}")
    return ops.batch_norm(ops.add_chosen(x, others, numbers), name=f"{name}_leaving_bn")


class _States:
    """The states of a cell: a copy for each question whose answer may be to read one.

    read: by (state, question). last: the one that only leaves.
    """

    def __init__(self, space: "ENASMicro", ops: SupernetOps, part: int):
        self.space, self.ops, self.part = space, ops, part
        self.read: dict[tuple[int, int], tf.Tensor] = {}
        self.count = 0

    def made(self, x: tf.Tensor) -> None:
        i, space = self.count, self.space
        self.count, self.last = i + 1, x
        if i == space.nodes + 1:
            return
        readers = [
            (input_of(space, self.part, k, side), i)
            for k in range(max(0, i - 1), space.nodes)
            for side in (0, 1)
        ]
        readers.append((leaving_of(space, self.part, i), 1))
        copies = self.ops.spread(x, readers)
        self.read |= {(i, q): copy for (q, _), copy in zip(readers, copies, strict=True)}
