"""Shared weights of image classifiers: trains paths of a supernet and scores architectures.

The images stay on the device. An epoch of training steps is one call of one graph, and so are the
scores of many architectures; neither is traced again for another architecture.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nas.core.capabilities import supernet_space
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError
from nas.data.images import ImageData
from nas.oneshot.interface import epoch_graph
from nas.oneshot.optimizer import GroupedOptimizer
from nas.training import devices
from nas.training.augment import augment
from nas.training.device_data import DeviceData
from nas.training.loop import uses_xla
from nas.training.objective import training_loss
from nas.training.recipe import Recipe, learning_rates

_ORDER = 0  # the random stream of an epoch's order
_DROPOUT = 1 << 20  # separates the seeds of dropout from those of augmentation


class ImageWeights:
    """A supernet, its optimiser and the images it is trained on: a SharedWeights of images.

    Args:
      seed: of the initial weights, augmentation, dropout and dropped paths.
      batch_statistics: scores normalise by each batch's own moments, not by the moving averages.
        It has no effect after `estimate_statistics`.

    Raises ConfigError if the space has no supernet, or the recipe asks for several devices.
    """

    metric = "valid_accuracy"
    measures = 2  # of a step: loss and accuracy
    runs_drawn = True

    def __init__(
        self,
        space: Space,
        skeleton: ImageSkeleton,
        data: ImageData,
        recipe: Recipe,
        *,
        seed: int,
        batch_statistics: bool,
    ):
        if recipe.several_devices:
            raise ConfigError(
                "recipe.several_devices must be false for shared weights, got true; "
                "set recipe.several_devices=false"
            )
        devices.prepare()
        keras.config.set_dtype_policy("mixed_bfloat16" if recipe.mixed_precision else "float32")
        keras.utils.set_random_seed(seed)
        self.space, self.data, self.recipe, self.seed = space, data, recipe, seed
        self.supernet = supernet_space(space).supernet(skeleton)
        self.batch_statistics = batch_statistics
        net = self.supernet
        self._first_averages = [
            (v.value, v.numpy()) for v in net.variables if not v.trainable
        ]  # of normalizations
        self._statistics_order: tf.Tensor | None = None  # [batches, batch]; None: not estimated
        self.optimizer = GroupedOptimizer(
            recipe, list(net.groups.values()), list(net.kernels.values())
        )
        self.steps = -(-len(data.train_images) // recipe.batch_size)  # of an epoch
        self._device_data = DeviceData(data, ("train", "valid"))
        self.jit_compile = uses_xla(recipe)
        self.epoch_graph = epoch_graph(self)
        self.scores_graph = tf.function(
            self._scores,
            autograph=False,
            input_signature=[
                tf.TensorSpec([None, len(space.decisions)], tf.int32),
                tf.TensorSpec([None, None, None], tf.int32),
            ],
        )

    @property
    def tensors(self) -> list[tf.Variable]:
        """What a checkpoint holds: weights, moving averages and the optimiser's slots."""
        return [*(v.value for v in self.supernet.variables), *self.optimizer.slots]

    def measures_by_name(self, measures: Sequence[Any], prefix: str = "") -> dict[str, float]:
        return {f"{prefix}loss": float(measures[0]), f"{prefix}accuracy": float(measures[1])}

    def batch_order(self, epoch: int) -> np.ndarray:
        """Positions of training images, in random order: [steps, batch] int (see `order_of`)."""
        return order_of(self.seed, epoch, len(self.data.train_images), self.recipe.batch_size)

    def learning_rates(self, epoch: int) -> np.ndarray:
        return learning_rates(self.recipe, self.steps).reshape(-1, self.steps)[epoch]

    def first_step(self, epoch: int) -> int:
        return epoch * self.steps

    def valid_order(self, epoch: int, seed: int, order: np.ndarray) -> np.ndarray:
        """Validation images in random order, repeated until each row of `order` has a batch."""
        images = len(self.data.valid_images)
        valid = order_of(seed, epoch, images, min(order.shape[1], images))
        return np.resize(valid, (len(order), valid.shape[1]))

    def initial_state(self) -> tuple:
        """Steps on images pass nothing on."""
        return ()

    def train(
        self, order: np.ndarray, rates: np.ndarray, archs: Sequence[Arch], epoch: int
    ) -> tuple[float, float]:
        """Trains one epoch, each step on its own architecture's path.

        Args:
          order: [steps, batch] int, positions of training images.
          rates: [steps] float32, learning rates.
          archs: one architecture for each step.

        Returns: mean loss and mean accuracy.
        """
        loss, accuracy = self.epoch_graph(
            tf.constant(order, tf.int32),
            tf.constant(rates),
            tf.constant(np.array(archs), tf.int32),
            tf.constant(self.first_step(epoch)),
        )
        return float(loss), float(accuracy)

    def scores(
        self, archs: Sequence[Arch] | np.ndarray, batches: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Accuracy and loss of each path on validation images: [archs] float32 each.

        batches: [archs, batches, batch] int, positions of validation images.
        """
        accuracy, loss = self.scores_graph(
            tf.constant(np.array(archs), tf.int32), tf.constant(batches, tf.int32)
        )
        return accuracy.numpy(), loss.numpy()

    def sample_batches(self, rng: np.random.Generator, archs: int, size: int) -> np.ndarray:
        """One batch of `size` random validation images for each architecture: [archs, 1, size]."""
        return rng.integers(0, len(self.data.valid_images), (archs, 1, size))

    def valid_batches(self, size: int | None, setting: str) -> np.ndarray:
        """The first `size` validation images, all for None, in batches of equal size."""
        count = len(self.data.valid_images)
        if size is not None and not 1 <= size <= count:
            raise ConfigError(
                f"{setting} must be in [1, {count}], the validation images there are, got {size}"
            )
        return even_batches(size or count, self.recipe.eval_batch_size)

    def estimate_statistics(self, batches: int) -> None:
        """Scores clear all moving averages and estimate them on `batches` training batches.

        The batches are those that further epochs would read, in their augmentation, and the same
        for all architectures, so that a score does not depend on what was scored before.
        """
        epochs = -(-batches // self.steps)
        orders = [self.batch_order(self.recipe.epochs + k) for k in range(epochs)]
        self._statistics_order = tf.constant(np.concatenate(orders)[:batches], tf.int32)

    @property
    def clip_ahead(self) -> None:
        """The step ahead is not clipped, as in DARTS' code (cnn/architect.py)."""
        return None

    @property
    def trained(self) -> list[tf.Variable]:
        return [v for group in self.optimizer.variables for v in group]

    def ahead(self, gradients: Sequence[tf.Tensor], rate: tf.Tensor) -> list[tf.Tensor]:
        return self.optimizer.ahead(gradients, rate)

    def check_ahead(self) -> None:
        """Raises ConfigError unless a step can be computed without taking it: SGD only."""
        if self.recipe.optimizer != "sgd":
            raise ConfigError(
                "recipe.optimizer must be sgd where method.order=2 looks a step ahead, got "
                f"{self.recipe.optimizer}; set recipe.optimizer=sgd"
            )

    def step(
        self, row: tf.Tensor, choice: tf.Tensor, rate: tf.Tensor, number: tf.Tensor, state: Any = ()
    ) -> tuple[tuple[tf.Tensor, tf.Tensor], Any]:
        """One training step inside a graph: (loss, accuracy), and the next step's state.

        Args:
          row: [batch] int32, positions of training images.
          choice: an architecture or gates.
          number: [] int32, the step since the start of the training.
        """
        with tf.GradientTape() as tape:
            measures, state = self.loss("train", row, choice, number, state)
            loss = measures[0]
        gradients = tape.gradient(loss, self.optimizer.variables)
        active, rows = self.supernet.active(choice), self.supernet.rows(choice)
        if self.recipe.move_unused:
            active, rows = [True] * len(active), [None] * len(rows)
        self.optimizer.apply(gradients, active, rate, number, rows)
        return measures, state

    def loss(
        self, part: str, row: tf.Tensor, choice: tf.Tensor, number: tf.Tensor, state: Any = ()
    ) -> tuple[tuple[tf.Tensor, tf.Tensor], Any]:
        """(loss, accuracy) in training mode, and the state. Images of "train" are augmented."""
        labels, heads = self._in_training(part, row, choice, number)
        aim = self._device_data.objectives[part]
        loss = training_loss(
            aim, labels, heads, smoothing=self.recipe.label_smoothing,
            auxiliary_weight=self.supernet.skeleton.auxiliary_weight,
        )  # fmt: skip
        return (loss, tf.reduce_mean(aim.score(labels, heads[0]))), state

    def _in_training(self, part, row, choice, number):
        """The labels of a batch, and the logits of each head in training mode."""
        x, labels = self._device_data.batch(part, row)
        seed = tf.stack([self.seed, number])
        if part == "train":
            x = augment(x, self.recipe, seed)
        heads = self.supernet.heads(
            x, choice, training=True, seed=tf.random.fold_in(seed, _DROPOUT),
            progress=tf.cast(number, tf.float32) / (self.recipe.epochs * self.steps),
        )  # fmt: skip
        return labels, heads

    def _estimate(self, arch, order):
        """Sets the moving averages to those of the training batches in `order` alone."""
        for average, value in self._first_averages:
            average.assign(value)
        last = self.recipe.epochs * self.steps

        def one_batch(k):
            self._in_training("train", order[k], arch, last + k)
            return (k + 1,)

        tf.while_loop(lambda k: k < tf.shape(order)[0], one_batch, (0,))

    def _scores(self, archs, batches):
        count, aim = tf.shape(batches)[1], self._device_data.objectives["valid"]
        order = self._statistics_order
        of_batch = self.batch_statistics and order is None

        def one_batch(i, k, accuracy, loss):
            x, labels = self._device_data.batch("valid", batches[i, k])
            logits = self.supernet(x, archs[i], training=False, batch_statistics=of_batch)
            accuracy += tf.reduce_mean(aim.score(labels, logits))
            return i, k + 1, accuracy, loss + tf.reduce_mean(aim.loss(labels, logits, 0.0))

        def one_arch(i):
            if order is not None:
                self._estimate(archs[i], order)
            _, _, accuracy, loss = tf.while_loop(
                lambda i, k, *_: k < count, one_batch, (i, 0, 0.0, 0.0)
            )
            share = 1.0 / tf.cast(count, tf.float32)
            return accuracy * share, loss * share

        return tf.map_fn(
            one_arch,
            tf.range(tf.shape(archs)[0]),
            fn_output_signature=(tf.float32, tf.float32),
            parallel_iterations=1,
        )


def order_of(seed: int, epoch: int, images: int, batch_size: int) -> np.ndarray:
    """An epoch's images in random order: [steps, batch] int.

    The last batch is filled up with the epoch's first images.
    """
    order = np.random.default_rng([seed, epoch, _ORDER]).permutation(images)
    steps = -(-images // batch_size)
    return np.resize(order, steps * batch_size).reshape(steps, batch_size)


def even_batches(count: int, size: int) -> np.ndarray:
    """Positions 0 .. count-1 in batches of one size, at most `size`: [batches, batch] int32.

    A remainder, smaller than the number of batches, is left out.
    """
    batches = -(-count // size)
    each = count // batches
    return np.arange(batches * each, dtype=np.int32).reshape(batches, each)
