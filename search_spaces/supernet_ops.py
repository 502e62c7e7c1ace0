"""The layers of search_spaces/ops.py run at once on tensors, with choices left to a tensor.

A space writes its supernet in terms of these as it writes a network in terms of KerasOps, but for
`choose`, where an architecture would have said which of several ways is built.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from search_spaces.batch_norm import BatchNormalization
from search_spaces.ops import BN_EPSILON, BN_MOMENTUM, KerasOps, Shape

Path = tuple[tuple[int, int], ...]  # (decision, choice) of each branch that a layer lies in


class SupernetOps(KerasOps):
    """Makes each layer at its first call and runs it from then on.

    A layer inside a branch is named after the branch as well; `paths` has the branches and
    `static_names` the name that the layer has in the network of an architecture.
    """

    def __init__(self, image_shape: Shape):
        super().__init__(image_shape)
        self.reuse = self.made
        self.paths: dict[str, Path] = {}
        self.static_names: dict[str, str] = {}
        self._path: Path = ()
        self.begin(tf.zeros([1, *image_shape]), None)

    def begin(
        self,
        images: tf.Tensor,
        choice: tf.Tensor | None,
        *,
        training: bool = False,
        batch_statistics: bool = False,
        seed: tf.Tensor | None = None,
    ) -> None:
        """What the next pass through the network is for. choice None: all layers are made."""
        self.images, self.choice, self.training = images, choice, training
        self.batch_statistics, self.seed = batch_statistics, seed
        self._draws = 0

    def choose(self, decision: int, branches: Sequence[Callable[[], tf.Tensor]]) -> tf.Tensor:
        """One branch for each choice of the decision, of tensors of one shape.

        An architecture runs the branch it has chosen and no other; gates run all of them and add
        up gate x branch.
        """

        def inside(k: int) -> tf.Tensor:
            before, self._path = self._path, (*self._path, (decision, k))
            try:
                return branches[k]()
            finally:
                self._path = before

        if self.choice is None:
            return [inside(k) for k in range(len(branches))][-1]
        if self.choice.shape.rank == 1:
            ways = [lambda k=k: inside(k) for k in range(len(branches))]
            return tf.switch_case(self.choice[decision], ways)
        outputs = [inside(k) for k in range(len(branches))]
        return tf.add_n(
            [tf.cast(self.choice[decision, k], y.dtype) * y for k, y in enumerate(outputs)]
        )

    def choose_sum(
        self, decisions: Sequence[int], branches: Sequence[Sequence[Callable[[], tf.Tensor]]]
    ) -> tf.Tensor:
        """The sum over decisions of what each has chosen; their last choice is zero.

        The branch of the last choice gives zeros of the sum's shape. A path never adds them up, but
        where the first decision has chosen them.
        """
        if self.choice is None or self.choice.shape.rank == 2:
            return self.add([self.choose(*pair) for pair in zip(decisions, branches, strict=True)])
        total = self.choose(decisions[0], branches[0])
        for decision, ways in zip(decisions[1:], branches[1:], strict=True):
            added = [functools.partial(_plus, total, way) for way in ways[:-1]]
            total = self.choose(decision, [*added, functools.partial(tf.identity, total)])
        return total

    def image(self) -> tf.Tensor:
        return self.images

    def batch_norm(self, x, *, name: str, epsilon: float = BN_EPSILON):
        settings = {"momentum": BN_MOMENTUM, "epsilon": epsilon}
        layer = self._weighted(BatchNormalization, name, settings)
        if self.training or not self.batch_statistics:
            return layer(x, training=self.training)
        normal, _, _ = tf.compat.v1.nn.fused_batch_norm(
            x, layer.gamma.value, layer.beta.value, epsilon=epsilon, is_training=True
        )
        return normal

    def relu(self, x):
        return tf.nn.relu(x)

    def max_pool(self, x, size: int, *, strides: int, padding: str = "same"):
        return _max_pool(x, size, strides, padding.upper())

    def avg_pool(self, x, size: int, *, strides: int, padding: str = "same"):
        return tf.nn.avg_pool2d(x, size, strides, padding.upper())

    def add(self, inputs: Sequence):
        return tf.add_n(list(inputs))

    def zeros(self, x):
        return tf.zeros_like(x)

    def dropout(self, x, rate: float):
        if not (rate and self.training):
            return x
        if self.seed is None:
            raise ValueError("a supernet with dropout must be given a seed [2] int32 in training")
        self._draws += 1
        seed = tf.random.fold_in(self.seed, self._draws)
        return tf.nn.experimental.stateless_dropout(x, rate, seed=seed)

    def _weighted(self, kind, name: str, settings: dict[str, Any]):
        own = name + "".join(f"__{decision}_{k}" for decision, k in self._path)
        own = own.replace("{", "").replace("}", "")  # no sign for a name of a layer
        self.paths[own], self.static_names[own] = self._path, name
        return super()._weighted(kind, own, settings)


def _plus(total: tf.Tensor, way: Callable[[], tf.Tensor]) -> tf.Tensor:
    return total + way()


def _max_pool(x: tf.Tensor, size: int, strides: int, padding: str) -> tf.Tensor:
    """tf.nn.max_pool2d, whose gradient pools anew.

    oneDNN's gradient of a pooling needs the pooling in the same graph function; a branch of
    tf.switch_case has its gradient in another, and would get a kernel many times slower.
    """

    def pool(x):
        return tf.nn.max_pool2d(x, size, strides, padding)

    @tf.custom_gradient
    def pooled(x):
        def gradient(dy):
            with tf.GradientTape() as tape:
                tape.watch(x)
                y = pool(x)
            return tape.gradient(y, x, dy)

        return pool(x), gradient

    return pooled(x)
