"""SupernetOps: the ops that a supernet is written with, where a tensor chooses between branches.

It has the methods of KerasOps, which here run at once on tensors, and methods that choose at run
time: `choose`, `choose_sum`, `select`, `add_chosen`, `run_if_chosen` and `in_rows`. A space calls
these where the network of one architecture would contain only what that architecture has chosen.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from nas.core.ops import BN_EPSILON, Pair, Shape
from nas.ops import pixels
from nas.ops.batch_norm import BatchNormalization
from nas.ops.keras import KerasOps, norm_settings
from nas.search_spaces.supernet import conditional_reads
from nas.search_spaces.supernet.rows import Rows

Path = tuple[tuple[int, int], ...]  # (question, answer) of each branch that contains a layer


class SupernetOps(KerasOps):
    """Creates each layer at its first call and runs it from then on.

    The name of a layer inside branches also names these branches.

    Attributes:
      paths: the branches that contain each layer, by its name.
      static_names: the name that each layer has in the network of an architecture.
    """

    def __init__(self, image_shape: Shape):
        super().__init__(image_shape)
        self.reuse = self.made
        self.paths: dict[str, Path] = {}
        self.static_names: dict[str, str] = {}
        self.of_auxiliary_head: set[str] = set()  # names of layers
        self._path: Path = ()
        self._rows: Rows | None = None
        self.begin(tf.zeros([1, *image_shape]), None)

    def begin(
        self,
        images: tf.Tensor,
        choice: tf.Tensor | None,
        *,
        training: bool = False,
        batch_statistics: bool = False,
        seed: tf.Tensor | None = None,
        progress: tf.Tensor | None = None,
    ) -> None:
        """Starts a pass through the network; call it before the network is written.

        Args:
          images: [batch, height, width, channels].
          choice: [questions] int32, gates [questions, choices] float32, or None, for the pass that
            creates all layers.

        The other arguments are those of a Supernet's call.
        """
        self.images, self.training = images, training
        self.choice: Any = choice
        self.batch_statistics, self.seed, self.progress = batch_statistics, seed, progress
        self.auxiliary_logits: list[tf.Tensor] = []
        self._draws = 0

    @property
    def is_path(self) -> bool:
        """Whether an architecture is chosen, so that what it has not chosen does not run."""
        return self.choice is not None and self.choice.shape.rank == 1

    def choose(self, decision: int, branches: Sequence[Callable[[], tf.Tensor]]) -> tf.Tensor:
        """The output of the chosen branch.

        branches: one for each choice of the decision; their outputs must have one shape. An
        architecture runs only the branch it has chosen; gates run all branches and add up
        gate x output.
        """
        named = [functools.partial(self._inside, decision, k, b) for k, b in enumerate(branches)]
        if self.choice is None:
            return [branch() for branch in named][-1]
        if self.is_path:
            return tf.switch_case(self.choice[decision], named)
        return tf.add_n([self._gated(decision, k, branch()) for k, branch in enumerate(named)])

    def choose_sum(
        self, decisions: Sequence[int], branches: Sequence[Sequence[Callable[[], tf.Tensor]]]
    ) -> tf.Tensor:
        """The sum over decisions of the output of each chosen branch; the last choice is zero.

        The branch of the last choice must return zeros of the sum's shape. A path does not add
        them, except those that the first decision has chosen.
        """
        if not self.is_path:
            return self.add([self.choose(*pair) for pair in zip(decisions, branches, strict=True)])
        total = self.choose(decisions[0], branches[0])
        for decision, alternatives in zip(decisions[1:], branches[1:], strict=True):
            added = [functools.partial(_plus, total, branch) for branch in alternatives[:-1]]
            total = self.choose(decision, [*added, functools.partial(tf.identity, total)])
        return total

    def copies_for_readers(
        self, x: tf.Tensor, readers: Sequence[tuple[int, int] | None]
    ) -> list[tf.Tensor]:
        """One copy of x for each reader.

        readers: the (question, answer) at which each reads x; None: it reads x at any answer.
        """
        if not self.is_path:
            return [x] * len(readers)
        chosen = [r is None or tf.equal(self.choice[r[0]], r[1]) for r in readers]
        return conditional_reads.copies_for_readers(x, chosen)

    def add_chosen(
        self, x: tf.Tensor, others: Sequence[tf.Tensor], questions: Sequence[int]
    ) -> tf.Tensor:
        """The sum of x and of each of the others whose question is answered by 1.

        The others come from `copies_for_readers` or `run_if_chosen`, for that answer.
        """
        if self.is_path:
            bits = [tf.equal(self.choice[q], 1) for q in questions]
            return conditional_reads.add_chosen(x, others, bits)
        if self.choice is not None:
            others = [self._gated(q, 1, y) for q, y in zip(questions, others, strict=True)]
        return tf.add_n([x, *others])

    def select(self, decision: int, among: Sequence[tf.Tensor]) -> tf.Tensor:
        """The tensor that the decision has chosen; each comes from `copies_for_readers`, for its
        choice."""
        if self.is_path:
            return conditional_reads.select(self.choice[decision], among)
        if self.choice is None:
            return among[0]
        return tf.add_n([self._gated(decision, k, x) for k, x in enumerate(among)])

    def run_if_chosen(
        self, question: int, branch: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor
    ) -> tf.Tensor:
        """branch(x) if the question is answered by 1; nothing may read it at another answer.

        x comes from `copies_for_readers`, for that answer. Gates do not answer such questions, and
        run every branch.
        """
        inside = functools.partial(self._inside, question, 1, branch)
        if self.is_path:
            return conditional_reads.run_if_chosen(tf.equal(self.choice[question], 1), inside, x)
        return inside(x)

    def in_rows(
        self, name: str, decision: int, count: int, branch: Callable[[], tf.Tensor]
    ) -> tf.Tensor:
        """The output of the branch, whose layers have separate weights for each choice.

        name: of the layers' common rows. decision: its answer is the row. count: rows.
        """
        unique_name = self._unique_name(name)
        if self.choice is None:
            self._rows = Rows(decision, count)
            y = branch()
            if self._rows.layers:  # empty if the branch has no weights
                self._rows.pack()
                self.made[unique_name] = self._rows
            self._rows = None
            return y
        self._rows = self.made.get(unique_name)
        if self._rows is None:
            return branch()
        self._rows.begin(self.choice)
        y = branch()
        self._rows.end()
        self._rows = None
        return y

    def image(self) -> tf.Tensor:
        return self.images

    def every(self, x: tf.Tensor, strides: Pair):
        return pixels.every(x, strides)

    def shift(self, x: tf.Tensor):
        return pixels.shifted(x)

    def batch_norm(
        self,
        x: tf.Tensor,
        *,
        name: str,
        epsilon: float = BN_EPSILON,
        affine: bool = True,
        tracked: bool = True,
    ):
        """tracked: outside of training, moving averages normalise, unless the pass has
        batch_statistics; otherwise each batch's own moments always do."""
        layer = self._weighted(BatchNormalization, name, norm_settings(epsilon, affine))
        if self.training or (tracked and not self.batch_statistics):
            return layer(x, training=self.training)
        if not affine:
            scale, offset = tf.ones(x.shape[-1:]), tf.zeros(x.shape[-1:])
        elif self._rows:
            scale, offset = self._rows.read[name][1]
        else:
            scale, offset = layer.gamma.value, layer.beta.value
        normal, _, _ = tf.compat.v1.nn.fused_batch_norm(
            x, scale, offset, epsilon=epsilon, is_training=True
        )
        return normal

    def relu(self, x: tf.Tensor):
        return tf.nn.relu(x)

    def max_pool(self, x: tf.Tensor, size: int, *, strides: int, padding: str = "same"):
        return _max_pool(x, size, strides, padding.upper())

    def avg_pool(self, x: tf.Tensor, size: int, *, strides: int, padding: str = "same"):
        return tf.nn.avg_pool2d(x, size, strides, padding.upper())

    def add(self, inputs: Sequence):
        return tf.add_n(list(inputs))

    def zeros(self, x: tf.Tensor):
        return tf.zeros_like(x)

    def dropout(self, x: tf.Tensor, rate: float):
        if not (rate and self.training):
            return x
        return tf.nn.experimental.stateless_dropout(x, rate, seed=self._drawn("dropout"))

    def drop_path(self, x: tf.Tensor, rate: float):
        if not (rate and self.training):
            return x
        if self.progress is None:
            raise ValueError("a supernet that drops paths must be given the progress in training")
        keep = 1.0 - rate * self.progress
        shape = [tf.shape(x)[0], 1, 1, 1]
        draws = tf.random.stateless_uniform(shape, self._drawn("dropped paths"))
        return x * tf.cast(tf.floor(keep + draws) / keep, x.dtype)

    def auxiliary(self, head: Callable[[], Any]) -> None:
        if self.choice is None:
            before = set(self.made)
            head()
            self.of_auxiliary_head |= set(self.made) - before
        elif self.training:
            self.auxiliary_logits.append(head())

    def _inside(self, question: int, answer: int, branch: Callable, *inputs) -> tf.Tensor:
        before, self._path = self._path, (*self._path, (question, answer))
        try:
            return branch(*inputs)
        finally:
            self._path = before

    def _gated(self, question: int, answer: int, x: tf.Tensor) -> tf.Tensor:
        return tf.cast(self.choice[question, answer], x.dtype) * x

    def _drawn(self, what: str) -> tf.Tensor:
        """The seed of the next draw of a pass: [2] int32."""
        if self.seed is None:
            raise ValueError(f"a supernet with {what} must be given a seed [2] int32 in training")
        self._draws += 1
        return tf.random.fold_in(self.seed, self._draws)

    def _weighted(self, kind, name: str, settings: dict[str, Any]):
        if self._rows is not None:
            return self._rows.layer(kind, name, settings)
        return super()._weighted(kind, self._unique_name(name), settings)

    def _unique_name(self, name: str) -> str:
        """The name of a layer in the branch that is being written."""
        unique_name = name + "".join(f"__{question}_{k}" for question, k in self._path)
        unique_name = unique_name.replace("{", "").replace("}", "")  # not allowed in layer names
        self.paths[unique_name], self.static_names[unique_name] = self._path, name
        return unique_name


def _plus(total: tf.Tensor, branch: Callable[[], tf.Tensor]) -> tf.Tensor:
    return total + branch()


def _max_pool(x: tf.Tensor, size: int, strides: int, padding: str) -> tf.Tensor:
    """tf.nn.max_pool2d, whose gradient computes the pooling a second time.

    oneDNN's gradient of a pooling needs the pooling in the same graph function. A branch of
    tf.switch_case has its gradient in another function, and would get a kernel that is many times
    slower.
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
