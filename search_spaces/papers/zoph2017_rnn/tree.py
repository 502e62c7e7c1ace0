"""The shape of a tree cell (Zoph & Le 2017), for the space and the cell. Needs no TensorFlow.

The nodes are numbered from the leaves, level by level.
"""

COMBINATIONS = ("add", "elem_mult")
ACTIVATIONS = ("identity", "tanh", "sigmoid", "relu")


def inputs_of(base: int, k: int) -> tuple[int, int]:
    """The two nodes that internal node k merges: the pairs of each level, from left to right."""
    return 2 * (k - base), 2 * (k - base) + 1
