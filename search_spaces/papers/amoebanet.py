"""The AmoebaNet space (Real et al. 2019, arXiv:1802.01548, "Search space" and Algorithm 1).

It is NASNet's space with fewer operations, sums as the only combination, and the paper's mutation.
The operations are those of the official code (tensorflow/tpu, amoeba_net), whose full convolutions
have a quarter of the filters. Paths are dropped at the same rate at all depths. AmoebaNet-B and -D
have operations that are not searched by default. The code builds B's "dil_2_separable_5x5_2"
without the dilation; here it has the dilation.

The paper does not say whether a mutated operation may stay the same. Here it always changes.
"""

import dataclasses
from collections.abc import Sequence
from functools import partial

import numpy as np

from nas.core.trial import Arch, ConfigError
from nas.search_spaces.cells.cell_space import CellSpace
from nas.search_spaces.cells.operations import Operation, convolution, max_pool, separable
from nas.search_spaces.papers.nasnet import OPERATIONS as NASNET
from nas.search_spaces.papers.nasnet import NASNet
from nas.search_spaces.published.genotypes import cells

SEARCHED = (
    "identity", "sep_3x3", "sep_5x5", "sep_7x7", "avg_pool_3x3", "max_pool_3x3", "dil_sep_3x3",
    "conv_1x7_7x1",
)  # fmt: skip
OPERATIONS: dict[str, Operation] = {
    **{name: NASNET[name] for name in SEARCHED if name in NASNET},
    "dil_sep_3x3": partial(separable, size=3, dilation=2),
    "dil_sep_5x5": partial(separable, size=5, dilation=2),
    "conv_1x7_7x1": partial(convolution, kernels=((1, 7), (7, 1)), bottleneck=True),
    "conv_3x3": partial(convolution, kernels=((3, 3),), bottleneck=True),
    "conv_1x1": partial(convolution, kernels=((1, 1),)),
    "max_pool_2x2": partial(max_pool, size=2),
}


class AmoebaNet(CellSpace):
    """Two cells of `nodes` nodes. A node adds the results of two operations on two states.

    identity_share: the share of mutations that change nothing. The others change a state that a
      node reads or, equally often, an operation.
    """

    rules = dataclasses.replace(NASNet.rules, operations=OPERATIONS, drop_path_by_depth=False)
    questions = ("input1", "input2", "op1", "op2")
    published = cells("slim")

    def __init__(
        self,
        *,
        nodes: int = 5,
        operations: Sequence[str] = SEARCHED,
        identity_share: float = 0.05,
    ):
        super().__init__(nodes=nodes, operations=operations)
        if not 0 <= identity_share < 1:
            raise ConfigError(
                f"space.identity_share must be in [0, 1), got {identity_share}; "
                "set space.identity_share=0.05"
            )
        self.identity_share = identity_share

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Changes one state or operation of a node, drawn uniformly, or changes nothing."""
        return arch if rng.random() < self.identity_share else super().mutate(arch, rng)
