"""The supernet of the ENAS macro space (Pham et al. 2018, section 2.3; official code, _enas_layer).

A path equals the network that is built for it in the form "search". To the decisions the supernet
adds a question for each reduction of each tensor: whether a later layer of the path reads it.

Departure: in the official code all reductions run.
"""

import functools
from typing import TYPE_CHECKING, Any

import tensorflow as tf

from nas.search_spaces.papers.enas_macro.space import (
    SEARCH,
    ENASMacro,
    classifier,
    join,
    reduction,
    search_operation,
    stem,
)
from nas.search_spaces.supernet.ops import SupernetOps
from nas.search_spaces.supernet.supernet import Supernet

if TYPE_CHECKING:
    from nas.core.skeleton import ImageSkeleton


def supernet(space: ENASMacro, skeleton: "ImageSkeleton") -> Supernet:
    skeleton = skeleton.replace(form=SEARCH)
    write = functools.partial(_write, space, skeleton)
    return Supernet(space, skeleton, write, functools.partial(questions, space))


def op_of(layer: int) -> int:
    """The decision about a layer's operation."""
    return layer * (layer + 1) // 2


def skip_of(layer: int, tensor: int) -> int:
    return op_of(layer) + 1 + tensor


def reductions(space: ENASMacro) -> list[tuple[int, int]]:
    """(layer, tensor) of the reductions that a path may leave out, in the order of the questions.

    Those of the last tensor always run: the next layer reads it.
    """
    return [(i, j) for i in space.reductions for j in range(i + 1)]


def questions(space: ENASMacro, arch: tf.Tensor) -> tf.Tensor:
    """[..., decisions] int32 -> [..., decisions + reductions]: 1 where a later layer reads."""
    read = []
    for i, j in reductions(space):
        bits = [arch[..., skip_of(later, j)] for later in range(i + 1, space.layers)]
        read.append(tf.reduce_max(tf.stack(bits, axis=-1), axis=-1))
    return tf.concat([arch, tf.stack(read, axis=-1)], axis=-1) if read else arch


def _write(space: ENASMacro, skeleton: "ImageSkeleton", ops: SupernetOps) -> Any:
    number = {pair: len(space.decisions) + n for n, pair in enumerate(reductions(space))}
    filters, stage = skeleton.channels, _Stage(space, ops, number, 0)
    stage.made(0, stem(ops, filters))
    for i in range(space.layers):
        last = stage.last.pop()
        ways = [
            functools.partial(search_operation, ops, last, filters, operation, f"layer{i}")
            for operation in space.operations
        ]
        x = ops.choose(op_of(i), ways)
        if i:
            others = [stage.read.pop((j, i)) for j in range(i)]
            x = ops.add_chosen(x, others, [skip_of(i, j) for j in range(i)])
            x = join(ops, [x], filters, skeleton, i)
        stage.made(i + 1, x)
        if i in space.reductions:
            before, stage = stage, _Stage(space, ops, number, i + 1)
            for j in range(i + 1):
                halve = functools.partial(reduction, ops, filters=filters, layer=i, tensor=j)
                x = ops.only_if(number[i, j], halve, before.read.pop((j, None)))
                stage.made(j, x, is_last=False)
            stage.made(i + 1, reduction(ops, before.last.pop(), filters, i, i + 1))
    return classifier(ops, stage.last.pop(), skeleton)


class _Stage:
    """The tensors of one size: a copy for each of those that may read them.

    read: by (tensor, layer), and by (tensor, None) for the reduction at the stage's end.
    """

    def __init__(self, space: ENASMacro, ops: SupernetOps, number: dict, first: int):
        self.ops, self.number, self.first = ops, number, first
        self.end = min([i for i in space.reductions if i >= first], default=space.layers - 1)
        self.is_reduced = self.end in space.reductions
        self.read: dict[tuple[int, int | None], tf.Tensor] = {}
        self.last: list[tf.Tensor] = []

    def made(self, j: int, x: tf.Tensor, is_last: bool = True) -> None:
        """Tensor j, which the next layer reads in any case, or with is_last=False does not."""
        layers = range(max(self.first, j + 1), self.end + 1)
        readers: list[tuple[int, int] | None] = [(skip_of(i, j), 1) for i in layers]
        names: list[int | None] = list(layers)
        if self.is_reduced and j <= self.end:
            names.append(None)
            readers.append((self.number[self.end, j], 1))
        copies = self.ops.spread(x, [None, *readers] if is_last else readers)
        if is_last:
            self.last.append(copies.pop(0))
        self.read |= {(j, name): copy for name, copy in zip(names, copies, strict=True)}
