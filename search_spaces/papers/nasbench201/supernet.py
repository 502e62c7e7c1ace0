"""The supernet of NAS-Bench-201 (Dong & Yang, ICLR 2020, arXiv:2001.00326, section 4).

Each edge of each cell holds both its convolutions. A convolution that carries nothing (see
nasbench201.py) is not run either, so that a path equals the network that is built for it.

Departures: normalizations have a scale and an offset, as they have in the built network; the
official code takes both away while weights are shared.
"""

from typing import TYPE_CHECKING

import tensorflow as tf

from nas.search_spaces.papers.nasbench201.space import (
    AVG_POOL,
    EDGES,
    KERNELS,
    NONE,
    OPERATIONS,
    OUTPUT,
    SKIP,
    NASBench201,
    conv,
    frame,
)
from nas.search_spaces.supernet.ops import SupernetOps
from nas.search_spaces.supernet.supernet import Supernet

if TYPE_CHECKING:
    from nas.core.skeleton import ImageSkeleton


def supernet(space: NASBench201, skeleton: "ImageSkeleton") -> Supernet:
    return Supernet(space, skeleton, lambda ops: frame(ops, skeleton, _cell), effective)


def effective(arch: tf.Tensor) -> tf.Tensor:
    """[..., edges] int32 -> the same, with `none` on edges that carry nothing (`live_edges`)."""
    e01, e02, e12, e03, e13, e23 = tf.unstack(arch != NONE, axis=-1)
    fed1 = e01
    fed2 = e02 | (e12 & fed1)
    used2 = e23
    used1 = e13 | (e12 & used2)
    carries = [e01 & used1, e02 & used2, e12 & fed1 & used2, e03, e13 & fed1, e23 & fed2]
    return tf.where(tf.stack(carries, axis=-1), arch, NONE)


def _cell(ops: SupernetOps, x: tf.Tensor, channels: int, name: str) -> tf.Tensor:
    """x [batch, height, width, channels] -> the same shape."""
    nodes = [x]
    for node in range(1, OUTPUT + 1):
        terms = []
        for edge, (a, b) in enumerate(EDGES):
            if b == node:
                ways = [
                    lambda k=k, a=a, b=b: _operation(
                        ops, nodes[a], channels, k, f"{name}_edge{a}{b}"
                    )
                    for k in range(len(OPERATIONS))
                ]
                terms.append(ops.choose(edge, ways))
        nodes.append(ops.add(terms))
    return nodes[OUTPUT]


def _operation(ops: SupernetOps, x: tf.Tensor, channels: int, choice: int, name: str) -> tf.Tensor:
    if choice == SKIP:
        return x
    if choice == AVG_POOL:
        return ops.avg_pool(x, 3, strides=1)
    if choice in KERNELS:
        return conv(ops, ops.relu(x), channels, choice, name)
    return ops.zeros(x)
