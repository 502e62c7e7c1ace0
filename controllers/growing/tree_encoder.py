"""A bidirectional tree-structured LSTM (Cai et al. 2018, arXiv:1806.02639, section 3.3).

As in the authors' code (PathLevel-EAS, meta_controller/encoder_net.py). From the leaves up, a node
is a Tree-LSTM over its branches (Tai et al. 2015), child-sum if they are averaged and N-ary if they
are concatenated, and an edge is a step of an LSTM. From the root down it is the same, where the
input of a branch is its parent's state and the states of its siblings from below.

All trees lie in one layout, level by level, in which each place has the same number of branches,
most of them absent; so many trees are read at once.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from nas.controllers.policies.lstm_step import State, lstm_step

ABSENT, UNDECIDED = 0, 1  # edges; the first operation is 2
NONE, ADD, CONCAT_COPY, CONCAT_SPLIT = range(4)  # how a node merges its branches


class Tree:
    """A tree that is being made. A place is given by the branches that lead to it from the root.

    Attributes:
      edges: [places], each ABSENT, UNDECIDED or an operation; the root's is UNDECIDED.
      kinds: [places], how the node at each place merges its branches.
    """

    def __init__(self, depth: int, most: int):
        self.most = most
        self.first = np.cumsum([0, *(most**level for level in range(depth + 1))]).tolist()
        self.edges = np.zeros(self.first[-1], np.int32)
        self.kinds = np.zeros(self.first[-1], np.int32)
        self.edges[0] = UNDECIDED

    def index(self, place: Sequence[int]) -> int:
        """Where a place lies in `edges` and `kinds`."""
        within = 0
        for branch in place:
            within = within * self.most + branch
        return self.first[len(place)] + within

    def branch(self, place: tuple[int, ...], edge: int, count: int) -> None:
        """Gives the node at `place` `count` branches, all with the same edge."""
        for i in range(count):
            self.edges[self.index((*place, i))] = edge


class TreeEncoder:
    """Reads trees. Its kernels start orthogonal and its biases at zero.

    Args:
      weight: makes a learned variable with an initial value.
      rng: draws the initial values.
      operations: the number of operations that an edge may be.
      depth: the largest number of edges in a row.
      most: the largest number of branches of a node.
      embedding: size of the vector of an edge, and of a kind of node.
      units: in each direction.
    """

    def __init__(
        self,
        weight: Callable[[np.ndarray], tf.Variable],
        rng: np.random.Generator,
        *,
        operations: int,
        depth: int,
        most: int,
        embedding: int,
        units: int,
    ):
        self.depth, self.most, self.units = depth, most, units
        self.first = Tree(depth, most).first

        def drawn(rows: int, *columns: int) -> tf.Variable:
            parts = [_orthogonal(rng, rows, n * units) for n in columns]
            return weight(np.concatenate(parts, 1))

        def input_weights(*columns: int) -> tuple[tf.Variable, tf.Variable]:
            return drawn(embedding, *columns), weight(np.zeros(sum(columns) * units))

        self.edges = weight(rng.uniform(-0.1, 0.1, (operations, embedding)))
        self.kinds = weight(rng.uniform(-0.1, 0.1, (3, embedding)))
        one = units
        # For nodes: i, o and u together, then f; N-ary nodes have an f for each branch.
        self.up_input, self.down_input = input_weights(3, 1), input_weights(3, 1)
        self.up_sum, self.up_child = drawn(one, 3), drawn(one, 1)
        self.up_nary = drawn(2 * one, 3, 1, 1)
        self.down_sum, self.down_sum_parent = drawn(one, 3), drawn(one, 3)
        self.down_child, self.down_child_parent = drawn(2 * one, 1), drawn(2 * one, 1)
        self.down_nary, self.down_nary_parent = drawn(2 * one, 3), drawn(one, 3)
        self.down_nary_f = drawn(3 * one, 1, 1, 1)  # of the branches and of the parent
        self.steps = [(*input_weights(4), drawn(one, 4)) for _ in range(2)]  # of edges, up and down
        whole = tf.TensorSpec([None, self.first[-1]], tf.int32)
        signature = [whole, whole, tf.TensorSpec([None], tf.int32)]
        # The same as a call, faster for many questions in a row. Tracing the gradient too would
        # take seconds.
        self.traced = tf.function(self.__call__, input_signature=signature, autograph=False)

    def __call__(self, edges: np.ndarray, kinds: np.ndarray, places: np.ndarray) -> tf.Tensor:
        """edges, kinds: [trees, places]; places: [trees], an index -> [trees, 2 units]."""
        words = tf.gather(tf.pad(self.edges, [[2, 0], [0, 0]]), edges)
        there = tf.cast(edges > ABSENT, tf.float32)[..., None]
        names = tf.gather(tf.pad(self.kinds, [[1, 0], [0, 0]]), kinds)
        spans = [slice(a, b) for a, b in zip(self.first, self.first[1:], strict=False)]
        up: list[State] = []  # of each level, the deepest first
        for level in range(self.depth, -1, -1):
            at = spans[level]
            if level == self.depth:
                state = (tf.zeros_like(there[:, at]) * tf.zeros(self.units),) * 2
            else:
                state = self._merge(kinds[:, at], names[:, at], self._branches(up[-1]))
            if level:
                h, c = self._step(0, words[:, at], state)
                state = h * there[:, at], c * there[:, at]
            up.append(state)
        down = [(tf.zeros_like(up[-1][0]),) * 2]
        for level in range(self.depth):
            at, below = spans[level], self._branches(up[self.depth - level - 1])
            state = self._divide(kinds[:, at], names[:, at], down[-1], below)
            flat = tf.shape(state[0])[0], self.most ** (level + 1), self.units
            state = tf.reshape(state[0], flat), tf.reshape(state[1], flat)
            down.append(self._step(1, words[:, spans[level + 1]], state))
        both = [tf.concat([h for h, _ in levels], 1) for levels in (up[::-1], down)]
        return tf.gather(tf.concat(both, 2), places, batch_dims=1)

    def _branches(self, state: State) -> State:
        """[trees, places, units] of a level -> [trees, places one level up, branches, units]."""
        count = state[0].shape[1] // self.most
        shape = tf.shape(state[0])[0], count, self.most, self.units
        return tf.reshape(state[0], shape), tf.reshape(state[1], shape)

    def _step(self, direction: int, x: tf.Tensor, state: State) -> State:
        kernel, bias, recurrent = self.steps[direction]
        shape = tf.shape(state[0])
        flat = tf.reshape(state[0], [-1, self.units]), tf.reshape(state[1], [-1, self.units])
        x = tf.reshape(x, [-1, x.shape[-1]])
        h, c = lstm_step(x, flat, tf.concat([kernel, recurrent], 0), bias)
        return tf.reshape(h, shape), tf.reshape(c, shape)

    def _merge(self, kinds: tf.Tensor, names: tf.Tensor, branches: State) -> State:
        """The states of nodes, [trees, places, units], from those of their branches."""
        h, c = branches
        x, forget = self._named(names, self.up_input)
        summed = x + _times(tf.reduce_sum(h, 2), self.up_sum)
        kept = tf.reduce_sum(tf.sigmoid(forget[:, :, None] + _times(h, self.up_child)) * c, 2)
        joined = _times(_joined(h), self.up_nary)
        of_two = forget[:, :, None] + _divided(joined[..., 3 * self.units :], 2)
        nary = tf.reduce_sum(tf.sigmoid(of_two) * c[:, :, :2], 2)
        is_add = (kinds == ADD)[..., None]
        merged = _cell(
            tf.where(is_add, summed, x + joined[..., : 3 * self.units]),
            tf.where(is_add, kept, nary),
        )
        is_none = (kinds == NONE)[..., None]
        return tf.where(is_none, h[:, :, 0], merged[0]), tf.where(is_none, c[:, :, 0], merged[1])

    def _divide(self, kinds: tf.Tensor, names: tf.Tensor, above: State, branches: State) -> State:
        """The states that nodes hand down to their branches: [trees, places, branches, units].

        Each branch reads the states of its siblings from below; its own counts as zero.
        """
        units = self.units
        others = (1 - tf.eye(self.most))[None, None, :, :, None]
        h, c = (state[:, :, None] * others for state in branches)
        up, up_c = (state[:, :, None] for state in above)
        x, forget = (part[:, :, None] for part in self._named(names, self.down_input))
        total, joined = tf.reduce_sum(h, 3), _joined(h)
        summed = x + _times(total, self.down_sum) + _times(up, self.down_sum_parent)
        of_each = forget[..., None, :] + _times(h, self.down_child[units:])
        of_each += _times(up, self.down_child[:units])[..., None, :]
        last = forget + _times(up, self.down_child_parent[:units])
        last += _times(total, self.down_child_parent[units:])
        kept = tf.reduce_sum(tf.sigmoid(of_each) * c, 3) + tf.sigmoid(last) * up_c
        of_three = _times(up, self.down_nary_f[:units]) + _times(joined, self.down_nary_f[units:])
        of_three = tf.sigmoid(forget[..., None, :] + _divided(of_three, 3))
        nary = tf.reduce_sum(of_three[..., :2, :] * c[..., :2, :], 3) + of_three[..., 2, :] * up_c
        is_add = (kinds == ADD)[:, :, None, None]
        divided = _cell(
            tf.where(
                is_add,
                summed,
                x + _times(joined, self.down_nary) + _times(up, self.down_nary_parent),
            ),
            tf.where(is_add, kept, nary),
        )
        is_none = (kinds == NONE)[:, :, None, None]
        return tf.where(is_none, up, divided[0]), tf.where(is_none, up_c, divided[1])

    def _named(
        self, names: tf.Tensor, weights: tuple[tf.Variable, tf.Variable]
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The input's part of i, o and u, and of f. names: [trees, places, embedding]."""
        x = _times(names, weights[0]) + weights[1]
        return x[..., : 3 * self.units], x[..., 3 * self.units :]


def _cell(x: tf.Tensor, kept: tf.Tensor) -> State:
    """(h, c) of a node. x: [..., 3 units], i, o and u; kept: the part of c that stays."""
    i, o, u = tf.split(x, 3, -1)
    c = tf.sigmoid(i) * tf.tanh(u) + kept
    return tf.sigmoid(o) * tf.tanh(c), c


def _times(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """x: [..., rows] -> [..., columns], as one product of matrices.

    `x @ kernel` would be a batched product. For x of shape [n, 1, m, rows] that gives wrong numbers
    and writes past its end, with oneDNN on a CPU that has AMX (TensorFlow 2.21).
    """
    return tf.tensordot(x, kernel, 1)


def _joined(h: tf.Tensor) -> tf.Tensor:
    """The states of the first two branches, concatenated: [..., 2 units]."""
    return tf.concat([h[..., 0, :], h[..., 1, :]], -1)


def _divided(x: tf.Tensor, count: int) -> tf.Tensor:
    """[..., count * units] -> [..., count, units]."""
    return tf.stack(tf.split(x, count, -1), -2)


def _orthogonal(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Orthonormal rows or columns, whichever are fewer (Saxe et al. 2014)."""
    q, r = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    q *= np.sign(np.diag(r))
    return q if rows >= columns else q.T
