"""The supernet of the ENAS micro space (Pham et al. 2018, section 2.4; official code, _enas_layer).

A path computes the same as the network that is built for it in the form "search". The weights of an
operation have a row for each state that it may read. Besides the decisions, the supernet asks about
each state of a cell whether no node reads it, so that it leaves the cell; the last state always
leaves.
"""

import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nas.core.skeleton import ImageSkeleton
from nas.search_spaces.cells.cell_space import CELLS
from nas.search_spaces.cells.network import Place, Rules
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.papers.enas_micro.search_form import calibrate, leave, network, path
from nas.search_spaces.published.genotypes import INPUTS
from nas.search_spaces.supernet.ops import SupernetOps
from nas.search_spaces.supernet.supernet import Supernet


def supernet(
    space: ImageSpace,
    skeleton: ImageSkeleton,
    *,
    rules: Rules,
    nodes: int,
    operations: Sequence[str],
) -> Supernet:
    """The supernet of a space that asks for input1, op1, input2 and op2 of `nodes` nodes."""
    skeleton = skeleton.replace(form="search")

    def write(ops: SupernetOps) -> Any:
        write_cell = functools.partial(_cell, nodes, operations)
        return network(ops, rules, (0, 1), skeleton, write_cell)

    return Supernet(space, skeleton, write, functools.partial(questions, nodes))


def input_of(nodes: int, cell: int, node: int, side: int) -> int:
    """The decision about what a path of a node reads; the next decision is its operation."""
    return 4 * (cell * nodes + node) + 2 * side


def leaving_of(nodes: int, cell: int, state: int) -> int:
    """The question whether a state, which is not the last, leaves a cell."""
    return input_of(nodes, len(CELLS), 0, 0) + cell * (nodes + 1) + state


def questions(nodes: int, arch: tf.Tensor) -> tf.Tensor:
    """[..., decisions] int32 -> [..., questions] int32: 1 for states that no node reads."""
    leaves = []
    for cell in range(len(CELLS)):
        inputs = [
            arch[..., input_of(nodes, cell, k, side)] for k in range(nodes) for side in (0, 1)
        ]
        for state in range(nodes + 1):
            reads = tf.reduce_any(tf.equal(tf.stack(inputs, -1), state), -1)
            leaves.append(1 - tf.cast(reads, arch.dtype))
    return tf.concat([arch, tf.stack(leaves, -1)], -1)


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
    """Writes a cell as search_form.py does. part: 0 for the normal, 1 for the reduction cell."""
    name, filters = place.name, place.filters
    states = _States(nodes, ops, part)
    for x in calibrate(ops, older, newer, filters, name):
        states.append(x)
    for k in range(nodes):
        paths = []
        for side, letter in enumerate("ab"):
            decision = input_of(nodes, part, k, side)
            x = ops.select(decision, [states.read[i, decision] for i in range(k + INPUTS)])
            label = f"{name}_node{k + INPUTS}{letter}"
            branches = []
            for operation in operations:
                run = functools.partial(path, ops, rules, operation, x, filters, label, drop_path)
                branches.append(functools.partial(ops.in_rows, label, decision, k + INPUTS, run))
            paths.append(ops.choose(decision + 1, branches))
        states.append(ops.add(paths))
    return _output(nodes, ops, states, filters, name)


def _output(nodes: int, ops: SupernetOps, states: "_States", filters: int, name: str) -> tf.Tensor:
    """The sum of the states that leave the cell, normalised."""
    last = nodes + 1
    numbers = [leaving_of(nodes, states.part, i) for i in range(last)]
    others = []
    for i, number in enumerate(numbers):
        branch = functools.partial(leave, ops, filters=filters, name=f"{name}_leaving{i}")
        others.append(ops.run_if_chosen(number, branch, states.read[i, number]))
    x = leave(ops, states.last, filters, f"{name}_leaving{last}")
    return ops.batch_norm(ops.add_chosen(x, others, numbers), name=f"{name}_leaving_bn")


class _States:
    """The states of a cell, with a copy for each question whose answer may be to read one.

    Attributes:
      read: the copies, by (state, question).
      last: the last state, which no node reads.
    """

    def __init__(self, nodes: int, ops: SupernetOps, part: int):
        self.nodes, self.ops, self.part = nodes, ops, part
        self.read: dict[tuple[int, int], tf.Tensor] = {}
        self.count = 0

    def append(self, x: tf.Tensor) -> None:
        i, nodes = self.count, self.nodes
        self.count, self.last = i + 1, x
        if i == nodes + 1:
            return
        readers = [
            (input_of(nodes, self.part, k, side), i)
            for k in range(max(0, i - 1), nodes)
            for side in (0, 1)
        ]
        readers.append((leaving_of(nodes, self.part, i), 1))
        copies = self.ops.copies_for_readers(x, readers)
        self.read |= {(i, q): copy for (q, _), copy in zip(readers, copies, strict=True)}
