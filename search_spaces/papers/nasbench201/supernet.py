"""The supernet of NAS-Bench-201 (Dong & Yang, ICLR 2020, arXiv:2001.00326, section 4).

Each edge of each cell holds both of its convolutions. A convolution that carries nothing (see
space.py) does not run, so a path computes the same as the network that is built for it.

In the form `search` (cell.py), the normalizations of the cells always take the moments of the
batch, as the official code's do (track_running_stats=0). Otherwise they are those of the built
network.

Departures: the official convolutions of the form `search` have a bias, which the normalization
behind them cancels.
"""

import functools

import tensorflow as tf

from nas.core.skeleton import ImageSkeleton
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.papers.nasbench201.cell import (
    AVG_POOL,
    EDGES,
    KERNELS,
    NONE,
    OPERATIONS,
    OUTPUT,
    SEARCH,
    SKIP,
    conv,
    write_network,
)
from nas.search_spaces.supernet.ops import SupernetOps
from nas.search_spaces.supernet.supernet import Supernet


def supernet(space: ImageSpace, skeleton: ImageSkeleton) -> Supernet:
    """The supernet of a space whose decisions are the edges of the cell, in the order of EDGES."""
    shares = skeleton.form == SEARCH
    normalization = {"affine": False, "tracked": False} if shares else {}
    write_cell = functools.partial(_cell, normalization)
    write = functools.partial(write_network, skeleton=skeleton, write_cell=write_cell)
    return Supernet(space, skeleton, write, effective)


def effective(arch: tf.Tensor) -> tf.Tensor:
    """[..., edges] int32 -> the same, with `none` on edges that carry nothing (`live_edges`)."""
    e01, e02, e12, e03, e13, e23 = tf.unstack(arch != NONE, axis=-1)
    fed1 = e01
    fed2 = e02 | (e12 & fed1)
    used2 = e23
    used1 = e13 | (e12 & used2)
    carries = [e01 & used1, e02 & used2, e12 & fed1 & used2, e03, e13 & fed1, e23 & fed2]
    return tf.where(tf.stack(carries, axis=-1), arch, NONE)


def _cell(
    normalization: dict[str, bool], ops: SupernetOps, x: tf.Tensor, channels: int, name: str
) -> tf.Tensor:
    """x [batch, height, width, channels] -> the same shape."""
    nodes = [x]
    for node in range(1, OUTPUT + 1):
        terms = []
        for edge, (a, b) in enumerate(EDGES):
            if b == node:
                branches = [
                    lambda k=k, a=a, b=b: _operation(
                        ops, nodes[a], channels, k, f"{name}_edge{a}{b}", normalization
                    )
                    for k in range(len(OPERATIONS))
                ]
                terms.append(ops.choose(edge, branches))
        nodes.append(ops.add(terms))
    return nodes[OUTPUT]


def _operation(
    ops: SupernetOps,
    x: tf.Tensor,
    channels: int,
    choice: int,
    name: str,
    normalization: dict[str, bool],
) -> tf.Tensor:
    if choice == SKIP:
        return x
    if choice == AVG_POOL:
        return ops.avg_pool(x, 3, strides=1)
    if choice in KERNELS:
        return conv(ops, ops.relu(x), channels, choice, name, **normalization)
    return ops.zeros(x)
