"""What one-shot methods do to shared weights, each a call of one graph: train paths, score them.

The images lie on the device; an epoch of weight steps is one call, and so are the scores of many
architectures. Neither is traced again for another architecture.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nas.core.capabilities import supernet_space
from nas.core.trial import Arch, ConfigError
from nas.data.images import ImageData
from nas.oneshot.optimizer import GroupedOptimizer
from nas.training import devices
from nas.training.augment import augment
from nas.training.loop import uses_xla
from nas.training.objective import cross_entropy
from nas.training.recipe import Recipe, learning_rates

_ORDER = 0  # the random stream of an epoch's order
_DROPOUT = 1 << 20  # sets the seeds of dropout apart from those of augmentation


class SharedWeights:
    """A supernet, its optimiser and the images it learns from.

    Args:
      seed: of the first weights and of augmentation, dropout and dropped paths.
      batch_statistics: scores normalise by each batch's own moments.

    Raises ConfigError where the space has no supernet.
    """

    metric = "valid_accuracy"
    measures = 2  # of a step: loss and accuracy

    def __init__(
        self, space, skeleton, data: ImageData, recipe: Recipe, *, seed: int, batch_statistics: bool
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
        self.optimizer = GroupedOptimizer(
            recipe, list(net.groups.values()), list(net.kernels.values())
        )
        self.steps = -(-len(data.train_images) // recipe.batch_size)  # of an epoch
        self._parts = {
            part: tuple(
                tf.constant(getattr(data, f"{part}_{what}")) for what in ("images", "labels")
            )
            for part in ("train", "valid")
        }
        self._mean, self._std = tf.constant(data.mean), tf.constant(data.std)
        decisions = len(space.decisions)
        self.jit_compile = uses_xla(recipe)
        self.epoch_graph = make_epoch(self)
        self.scores_graph = tf.function(
            self._scores,
            autograph=False,
            input_signature=[
                tf.TensorSpec([None, decisions], tf.int32),
                tf.TensorSpec([None, None, None], tf.int32),
            ],
        )

    @property
    def tensors(self) -> list[tf.Variable]:
        """What a checkpoint holds: weights, moving averages and the optimiser's slots."""
        return [*(v.value for v in self.supernet.variables), *self.optimizer.slots]

    def named(self, measures: Sequence[Any], prefix: str = "") -> dict[str, float]:
        return {f"{prefix}loss": float(measures[0]), f"{prefix}accuracy": float(measures[1])}

    def order(self, epoch: int) -> np.ndarray:
        """The epoch's images in random order: [steps, batch] int. The last batch wraps round."""
        return order_of(self.seed, epoch, len(self.data.train_images), self.recipe.batch_size)

    def rates(self, epoch: int) -> np.ndarray:
        """[steps] float32."""
        return learning_rates(self.recipe, self.steps).reshape(-1, self.steps)[epoch]

    def first(self, epoch: int) -> int:
        """The number of the epoch's first step since the start of the training."""
        return epoch * self.steps

    def valid_order(self, epoch: int, seed: int, order: np.ndarray) -> np.ndarray:
        """Validation images in random order, again and again, beside those of `order`."""
        images = len(self.data.valid_images)
        found = order_of(seed, epoch, images, min(order.shape[1], images))
        return np.resize(found, (len(order), found.shape[1]))

    def carry(self) -> tuple:
        """Nothing goes from one step to the next."""
        return ()

    def train(
        self, order: np.ndarray, rates: np.ndarray, archs: Sequence[Arch], epoch: int
    ) -> tuple[float, float]:
        """A step for each row of `order`, on the path of its architecture.

        Args:
          order: [steps, batch] int, positions of training images.
          rates: [steps] float32, learning rates.
          archs: [steps], one each.

        Returns: mean loss and mean accuracy.
        """
        loss, accuracy = self.epoch_graph(
            tf.constant(order, tf.int32),
            tf.constant(rates),
            tf.constant(np.array(archs), tf.int32),
            tf.constant(self.first(epoch)),
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

    def draw(self, rng: np.random.Generator, archs: int, size: int) -> np.ndarray:
        """A batch of `size` validation images for each of so many architectures."""
        return rng.integers(0, len(self.data.valid_images), (archs, 1, size))

    def valid_batches(self, size: int | None, setting: str) -> np.ndarray:
        """The first `size` validation images, None for all, in batches of one size."""
        found = len(self.data.valid_images)
        if size is not None and not 1 <= size <= found:
            raise ConfigError(
                f"{setting} must be in [1, {found}], the validation images there are, got {size}"
            )
        return even_batches(size or found, self.recipe.eval_batch_size)

    def check_ahead(self) -> None:
        """Raises ConfigError where no method can look a step ahead."""
        if self.recipe.optimizer != "sgd":
            raise ConfigError(
                "recipe.optimizer must be sgd where method.order=2 looks a step ahead, got "
                f"{self.recipe.optimizer}; set recipe.optimizer=sgd"
            )

    def batch(self, part: str, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Normalised images and labels of "train" or "valid" at `index` [batch] int32."""
        images, labels = self._parts[part]
        with tf.device(images.device):
            x, y = tf.gather(images, index), tf.gather(labels, index)
        return (tf.cast(x, tf.float32) / 255.0 - self._mean) / self._std, y

    def step(
        self, index: tf.Tensor, choice: tf.Tensor, rate: tf.Tensor, number: tf.Tensor, carry=()
    ) -> tuple[tuple[tf.Tensor, tf.Tensor], tuple]:
        """One step of the weights inside a graph: (loss, accuracy), and what it leaves.

        Args:
          index: [batch] int32, positions of training images.
          choice: an architecture or gates.
          number: [] int32, the step since the start of the training.
        """
        with tf.GradientTape() as tape:
            measures, carry = self.loss("train", index, choice, number, carry)
            loss = measures[0]
        gradients = tape.gradient(loss, self.optimizer.variables)
        used, rows = self.supernet.active(choice), self.supernet.rows(choice)
        self.optimizer.apply(gradients, used, rate, number, rows)
        return measures, carry

    def loss(
        self, part: str, index: tf.Tensor, choice: tf.Tensor, number: tf.Tensor, carry=()
    ) -> tuple[tuple[tf.Tensor, tf.Tensor], tuple]:
        """(Loss, accuracy) in training, of images of "train", augmented, or "valid", not; carry."""
        x, y = self.batch(part, index)
        seed = tf.stack([self.seed, number])
        if part == "train":
            x = augment(x, self.recipe, seed)
        logits, *auxiliary = self.supernet.heads(
            x, choice, training=True, seed=tf.random.fold_in(seed, _DROPOUT),
            progress=tf.cast(number, tf.float32) / (self.recipe.epochs * self.steps),
        )  # fmt: skip
        loss = tf.reduce_mean(cross_entropy(y, logits, self.recipe.label_smoothing))
        for other in auxiliary:
            more = tf.reduce_mean(cross_entropy(y, other, self.recipe.label_smoothing))
            loss += self.supernet.skeleton.auxiliary_weight * more
        return (loss, tf.reduce_mean(_hits(y, logits))), carry

    def _scores(self, archs, batches):
        count = tf.shape(batches)[1]

        def one_batch(i, k, accuracy, loss):
            x, y = self.batch("valid", batches[i, k])
            logits = self.supernet(
                x, archs[i], training=False, batch_statistics=self.batch_statistics
            )
            accuracy += tf.reduce_mean(_hits(y, logits))
            return i, k + 1, accuracy, loss + tf.reduce_mean(cross_entropy(y, logits, 0.0))

        def one_arch(i):
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


def make_epoch(shared):
    """The graph of an epoch of weight steps: order, rates, archs, first -> mean measures.

    shared: SharedWeights, or of another kind of data with the same interface.
    """

    def epoch(order, rates, archs, first):
        steps = tf.shape(order)[0]

        def body(i, carry, *sums):
            more, carry = shared.step(order[i], archs[i], rates[i], first + i, carry)
            return i + 1, carry, *(a + b for a, b in zip(sums, more, strict=True))

        start = (0, shared.carry(), *[0.0] * shared.measures)
        _, _, *sums = tf.while_loop(lambda i, *_: i < steps, body, start)
        return [total / tf.cast(steps, tf.float32) for total in sums]

    return tf.function(epoch, autograph=False, jit_compile=shared.jit_compile)


def _hits(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.equal(tf.argmax(logits, -1, tf.int32), labels), tf.float32)


def order_of(seed: int, epoch: int, images: int, batch_size: int) -> np.ndarray:
    """The epoch's images in random order: [steps, batch] int. The last batch wraps round."""
    order = np.random.default_rng([seed, epoch, _ORDER]).permutation(images)
    steps = -(-images // batch_size)
    return np.resize(order, steps * batch_size).reshape(steps, batch_size)


def even_batches(count: int, size: int) -> np.ndarray:
    """Positions 0 .. count-1 in batches of one size, at most `size`: [batches, batch] int32.

    A remainder smaller than the number of batches is left out.
    """
    batches = -(-count // size)
    each = count // batches
    return np.arange(batches * each, dtype=np.int32).reshape(batches, each)
