"""Writes the network that repeats a normal and a reduction cell (see cell_space.py).

Departures: the 5x5 pooling of the auxiliary head shrinks to the size of a smaller image. A
combination by concatenation, for which no code was released, doubles the filters of a state;
operations and the cell's output bring them back to their number. A state that leaves the cell
without fitting its size or filters, such as the first cell's raw input, gets a 1x1 convolution or
a factorized reduction (NASNet's and ENAS' official code).
"""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

from nas.core.ops import Ops
from nas.core.skeleton import ImageSkeleton
from nas.search_spaces.cells.operations import Operation, conv_bn, fit
from nas.search_spaces.published.genotypes import CONCAT, INPUTS, Cell

STAGES = 3
STEM_FILTERS = 3  # times the filters of a cell (NASNet's, ENAS' and DARTS' official code)
AUXILIARY_FILTERS = 128, 768  # NASNet's official code, _build_aux_head


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rules:
    """How the networks of the papers differ."""

    operations: Mapping[str, Operation]  # all that can be searched or were published
    newer_first: bool  # whether state 0 is the output of the last cell; otherwise state 1 is
    # (ops, older, newer, filters, name) -> both inputs with `filters` channels and newer's size.
    # For the first cell, older is newer.
    calibrate: Callable[[Ops, Any, Any, int, str], tuple[Any, Any]]
    last_relu: bool  # whether a ReLU stands before the classifier
    classifier_bias: bool
    auxiliary_at: int  # the auxiliary head reads the cell this far behind the second reduction cell
    drop_path_by_depth: bool  # whether the rate grows linearly up to the last cell
    drops_strided_identity: bool  # whether a strided identity counts as a path that can be dropped


@dataclasses.dataclass(frozen=True)
class Place:
    """Where a cell stands in the network."""

    name: str
    is_reduction: bool
    filters: int


def places(skeleton: ImageSkeleton) -> list[Place]:
    """All cells, in order."""
    first, cells = skeleton.channels, []
    if skeleton.stem == "imagenet":
        cells += [
            Place("stem0", True, max(1, first // 4)),
            Place("stem1", True, max(1, first // 2)),
        ]
    for stage in range(STAGES):
        filters = first * 2**stage
        if stage:
            cells.append(Place(f"reduction{stage}", True, filters))
        cells += [Place(f"stage{stage}_cell{i}", False, filters) for i in range(skeleton.cells)]
    return cells


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
    outputs = [stem(ops, skeleton)]
    cells = places(skeleton)
    second_reduction = [place.name for place in cells].index(f"reduction{STAGES - 1}")
    after_reduction = False
    for i, place in enumerate(cells):
        older, newer = outputs[-2:] if len(outputs) > 1 else 2 * outputs
        if after_reduction and skeleton.skip_reduction_input:
            older = outputs[-3]
        part = reduction if place.is_reduction else normal
        depth = (i + 1) / len(cells) if rules.drop_path_by_depth else 1.0
        x = write_cell(ops, rules, part, older, newer, place, skeleton.drop_path * depth)
        outputs = [*outputs[-2:], x]
        after_reduction = place.is_reduction and not place.name.startswith("stem")
        if i == second_reduction + rules.auxiliary_at and skeleton.auxiliary_weight:
            ops.auxiliary(functools.partial(auxiliary_head, ops, rules, x, skeleton.classes))
    x = ops.relu(outputs[-1]) if rules.last_relu else outputs[-1]
    return ops.classifier(x, skeleton.classes, dropout=skeleton.dropout, bias=rules.classifier_bias)


def cell(
    ops: Ops, rules: Rules, part: Cell, older: Any, newer: Any, place: Place, drop_path: float
) -> Any:
    """Writes a cell, which returns [batch, height, width, filters x states that leave].

    Args:
      older, newer: the outputs of the two cells before.
      drop_path: the share of images for which a path is zero, at the end of the training.
    """
    name, filters = place.name, place.filters
    older, newer = rules.calibrate(ops, older, newer, filters, name)
    states = [newer, older] if rules.newer_first else [older, newer]
    for k, node in enumerate(part.nodes, INPUTS):
        paths = []
        for side, i, operation in zip("ab", node.inputs, node.operations, strict=True):
            stride = 2 if place.is_reduction and i < INPUTS else 1
            path = rules.operations[operation](
                ops, states[i], filters, stride, f"{name}_node{k}{side}"
            )
            is_dropped = operation != "identity" or (rules.drops_strided_identity and stride > 1)
            paths.append(ops.drop_path(path, drop_path) if is_dropped else path)
        join = ops.concatenate if node.combination == CONCAT else ops.add
        states.append(join(paths))
    size = ops.shape(states[-1])[:2]
    return ops.concatenate(
        [
            fit(ops, states[i], filters, ops.shape(states[i])[:2] != size, f"{name}_leaving{i}")
            for i in part.concat
        ]
    )


def stem(ops: Ops, skeleton: ImageSkeleton) -> Any:
    """The convolution of the image, which the first cell reads."""
    filters = skeleton.stem_channels or STEM_FILTERS * skeleton.channels
    if skeleton.stem == "imagenet":
        x = ops.conv(
            ops.image(), filters, (3, 3), strides=(2, 2), padding="valid", name="stem_conv"
        )
        return ops.batch_norm(x, name="stem_bn")
    return conv_bn(ops, ops.image(), filters, "stem", kernel=(3, 3))


def auxiliary_head(ops: Ops, rules: Rules, x: Any, classes: int) -> Any:
    """The logits of a classifier inside the network, which only training uses."""
    narrow, wide = AUXILIARY_FILTERS
    x = ops.relu(x)
    x = ops.avg_pool(x, min(5, *ops.shape(x)[:2]), strides=3, padding="valid")
    x = ops.relu(conv_bn(ops, x, narrow, "auxiliary_narrow"))
    x = ops.conv(x, wide, ops.shape(x)[:2], padding="valid", name="auxiliary_wide_conv")
    x = ops.relu(ops.batch_norm(x, name="auxiliary_wide_bn"))
    return ops.classifier(
        x, classes, dropout=0.0, bias=rules.classifier_bias, name="auxiliary_logits"
    )
