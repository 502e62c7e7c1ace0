"""The supernet of the ENAS macro space (Pham et al. 2018, section 2.3; official code, _enas_layer).

A path computes the same as the network that is built for it in the form "search". Besides the
decisions, the supernet asks about each reduction of each tensor whether a later layer of the path
reads it.

Departure: in the official code all reductions run.

With late_binding the supernet has the fault of the official search (general_child.py, lines
265-295): the functions that its tf.case calls all read one variable, which holds the last branch by
then. So every operation is the last one, the max pooling, and only the skips of an architecture
have an effect. The weights of the other branches, which the code keeps and never trains, are left
out here.
"""

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from nas.core.skeleton import ImageSkeleton
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.papers.enas_macro.network import (
    SEARCH,
    classifier,
    join,
    reduction,
    search_operation,
    stem,
)
from nas.search_spaces.supernet.ops import SupernetOps
from nas.search_spaces.supernet.supernet import Supernet


def supernet(
    space: ImageSpace,
    skeleton: ImageSkeleton,
    *,
    layers: int,
    operations: Sequence[str],
    halved_behind: Sequence[int],
    late_binding: bool,
) -> Supernet:
    """The supernet of a space that asks for the operation and the skips of each of `layers` layers.

    halved_behind: the layers after which tensors are halved.
    """
    skeleton = skeleton.replace(form=SEARCH)
    plan = _Plan(layers, tuple(operations), tuple(halved_behind), late_binding)
    write = functools.partial(_write, plan, skeleton)
    return Supernet(space, skeleton, write, functools.partial(questions, layers, halved_behind))


def op_of(layer: int) -> int:
    """The decision about a layer's operation."""
    return layer * (layer + 1) // 2


def skip_of(layer: int, tensor: int) -> int:
    """The decision whether a tensor joins in at a layer."""
    return op_of(layer) + 1 + tensor


def reductions(halved_behind: Sequence[int]) -> list[tuple[int, int]]:
    """(layer, tensor) of the reductions that a path may leave out, in the order of the questions.

    The reduction of the last tensor always runs, because the next layer reads it.
    """
    return [(i, j) for i in halved_behind for j in range(i + 1)]


def questions(layers: int, halved_behind: Sequence[int], arch: tf.Tensor) -> tf.Tensor:
    """[..., decisions] int32 -> [..., decisions + reductions]: 1 if a later layer reads it."""
    is_read = []
    for i, j in reductions(halved_behind):
        bits = [arch[..., skip_of(later, j)] for later in range(i + 1, layers)]
        is_read.append(tf.reduce_max(tf.stack(bits, axis=-1), axis=-1))
    return tf.concat([arch, tf.stack(is_read, axis=-1)], axis=-1) if is_read else arch


@dataclasses.dataclass(frozen=True)
class _Plan:
    """The numbers that the network is written from."""

    layers: int
    operations: tuple[str, ...]
    halved_behind: tuple[int, ...]
    late_binding: bool

    @functools.cached_property
    def question_of(self) -> dict[tuple[int, int], int]:
        """The question about each reduction that a path may leave out, by (layer, tensor)."""
        pairs = reductions(self.halved_behind)
        return {pair: op_of(self.layers) + n for n, pair in enumerate(pairs)}


def _write(plan: _Plan, skeleton: ImageSkeleton, ops: SupernetOps) -> Any:
    filters, stage = skeleton.channels, _Stage(plan, ops, 0)
    stage.add(0, stem(ops, filters))
    for i in range(plan.layers):
        last = stage.last.pop()
        branches = [
            functools.partial(search_operation, ops, last, filters, operation, f"layer{i}")
            for operation in plan.operations
        ]
        x = branches[-1]() if plan.late_binding else ops.choose(op_of(i), branches)
        if i:
            others = [stage.read.pop((j, i)) for j in range(i)]
            x = ops.add_chosen(x, others, [skip_of(i, j) for j in range(i)])
            x = join(ops, [x], filters, skeleton, i)
        stage.add(i + 1, x)
        if i in plan.halved_behind:
            before, stage = stage, _Stage(plan, ops, i + 1)
            for j in range(i + 1):
                halve = functools.partial(reduction, ops, filters=filters, layer=i, tensor=j)
                question = plan.question_of[i, j]
                x = ops.run_if_chosen(question, halve, before.read.pop((j, None)))
                stage.add(j, x, is_last=False)
            stage.add(i + 1, reduction(ops, before.last.pop(), filters, i, i + 1))
    return classifier(ops, stage.last.pop(), skeleton)


class _Stage:
    """The tensors of one size, with a copy for each layer that may read them. Copies are used once.

    Args:
      first: the first layer of the stage.

    Attributes:
      read: the copies, by (tensor, layer), and by (tensor, None) for the reduction that ends the
        stage.
      last: the copy of the last tensor that the next layer reads in any case.
    """

    def __init__(self, plan: _Plan, ops: SupernetOps, first: int):
        self.plan, self.ops, self.first = plan, ops, first
        self.end = min([i for i in plan.halved_behind if i >= first], default=plan.layers - 1)
        self.is_reduced = self.end in plan.halved_behind
        self.read: dict[tuple[int, int | None], tf.Tensor] = {}
        self.last: list[tf.Tensor] = []

    def add(self, j: int, x: tf.Tensor, is_last: bool = True) -> None:
        """Adds tensor j. is_last: whether the next layer reads it in any case."""
        layers = range(max(self.first, j + 1), self.end + 1)
        readers: list[tuple[int, int] | None] = [(skip_of(i, j), 1) for i in layers]
        names: list[int | None] = list(layers)
        if self.is_reduced and j <= self.end:
            names.append(None)
            readers.append((self.plan.question_of[self.end, j], 1))
        copies = self.ops.copies_for_readers(x, [None, *readers] if is_last else readers)
        if is_last:
            self.last.append(copies.pop(0))
        self.read |= {(j, name): copy for name, copy in zip(names, copies, strict=True)}
