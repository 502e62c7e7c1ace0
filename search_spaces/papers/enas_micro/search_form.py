"""The form in which an ENAS micro network shares its weights (micro_child.py, _enas_layer).

It differs from the final form in three points. A reduction is a factorized reduction in front of a
cell without strides. Cell inputs that fit get no convolution. The states that no node reads are not
concatenated: a 1x1 convolution brings each of them to the cell's filters, and the results are added
and normalised.

Departures: each kernel is initialised as in He et al. 2015, by its own size; the official code uses
the number of states as the fan-in. If the skeleton drops paths, they are dropped here as well; the
official code has a rate for this, which its search does not read.
"""

import functools
from collections.abc import Callable
from typing import Any

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.search_spaces.cells.network import Place, Rules, auxiliary_head, places, stem
from nas.search_spaces.cells.operations import factorized_reduction, relu_conv_bn
from nas.search_spaces.published.genotypes import INPUTS, Cell


def network(
    ops: Ops,
    rules: Rules,
    parts: tuple[Any, Any],
    skeleton: ImageSkeleton,
    write_cell: Callable[..., Any] | None = None,
) -> Any:
    """Writes the network from the image to the logits, which it returns.

    Args:
      parts: what `write_cell` is called with for a normal cell and for a reduction cell.
      write_cell: called like `cell`, with a part; None: `cell` itself, whose parts are Cells.
    """
    write_cell = write_cell or cell
    normal, reduction = parts
    older = newer = stem(ops, skeleton)
    cells = places(skeleton)
    last_reduction = max(i for i, place in enumerate(cells) if place.is_reduction)
    for i, place in enumerate(cells):
        if place.is_reduction:
            halved = factorized_reduction(ops, newer, place.filters, f"{place.name}_halved")
            older, newer = newer, halved
        part = reduction if place.is_reduction else normal
        rate = skeleton.drop_path * (i + 1) / len(cells)
        x = write_cell(ops, rules, part, older, newer, place, rate)
        older, newer = newer, x
        if i == last_reduction + rules.auxiliary_at and skeleton.auxiliary_weight:
            ops.auxiliary(functools.partial(auxiliary_head, ops, rules, x, skeleton.classes))
    return ops.classifier(
        ops.relu(newer), skeleton.classes, dropout=skeleton.dropout, bias=rules.classifier_bias
    )


def cell(
    ops: Ops, rules: Rules, part: Cell, older: Any, newer: Any, place: Place, drop_path: float
) -> Any:
    """Writes a cell, which returns [batch, height, width, filters], of newer's size.

    older, newer: the outputs of the two cells before, or of the cell and the reduction before.
    """
    name, filters = place.name, place.filters
    states = calibrate(ops, older, newer, filters, name)
    for k, node in enumerate(part.nodes, INPUTS):
        paths = [
            path(ops, rules, operation, states[i], filters, f"{name}_node{k}{side}", drop_path)
            for side, i, operation in zip("ab", node.inputs, node.operations, strict=True)
        ]
        states.append(ops.add(paths))
    leaving = [leave(ops, states[i], filters, f"{name}_leaving{i}") for i in part.concat]
    return ops.batch_norm(ops.add(leaving), name=f"{name}_leaving_bn")


def calibrate(ops: Ops, older: Any, newer: Any, filters: int, name: str) -> list[Any]:
    """Both inputs with `filters` channels and newer's size."""
    if ops.shape(older)[:2] != ops.shape(newer)[:2]:
        older = factorized_reduction(ops, ops.relu(older), filters, f"{name}_older")
    elif ops.shape(older)[2] != filters:
        older = relu_conv_bn(ops, older, filters, f"{name}_older")
    if ops.shape(newer)[2] != filters:
        newer = relu_conv_bn(ops, newer, filters, f"{name}_newer")
    return [older, newer]


def path(
    ops: Ops, rules: Rules, operation: str, x: Any, filters: int, name: str, drop_path: float
) -> Any:
    """The output of an operation; all but the identity can be dropped."""
    x = rules.operations[operation](ops, x, filters, 1, name)
    return x if operation == "identity" else ops.drop_path(x, drop_path)


def leave(ops: Ops, x: Any, filters: int, name: str) -> Any:
    """A state that leaves the cell, brought to `filters` channels."""
    return ops.conv(ops.relu(x), filters, (1, 1), name=f"{name}_conv")
