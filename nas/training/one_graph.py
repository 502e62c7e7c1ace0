"""Trains one architecture after another with one graph: a space's supernet, traced once.

The architecture enters as a tensor. A training fills in the first weights of its path, zeroes the
others, the optimiser's slots and the moving averages, and is one call: all epochs, each with its
scores. It computes what nas/training/loop.py computes with the network that is built for the architecture,
from the same first weights, batches and augmentation.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf

from nas.core.capabilities import supernet_space
from nas.core.trial import Arch
from nas.data.images import ImageData
from nas.training import devices
from nas.training.augment import augment
from nas.training.loop import uses_xla
from nas.training.objective import cross_entropy
from nas.training.optimizer import Optimizer
from nas.training.recipe import Recipe, learning_rates

if TYPE_CHECKING:
    from nas.core.skeleton import ImageSkeleton

SCORES = ("loss", "accuracy")


class OneGraphTraining:
    """A supernet's graph and the images that architectures are trained on.

    Args:
      recipe: of all trainings, but for their epochs.
      parts: what is scored after each epoch: "valid", or "valid" and "test" for a table.
    """

    def __init__(
        self,
        space,
        skeleton: "ImageSkeleton",
        data: ImageData,
        recipe: Recipe,
        parts: Sequence[str] = ("valid",),
    ):
        devices.prepare()
        keras.config.set_dtype_policy("float32")
        self.recipe, self.parts = recipe, tuple(parts)
        self.net = supernet_space(space).supernet(skeleton).flat()
        self.vectors = [tf.Variable(tf.zeros([size])) for size in self.net.sizes.values()]
        self.optimizer = Optimizer(recipe, self.vectors)
        held = {part: _held(data, part) for part in ("train", *parts)}
        self.images = {part: images for part, (images, _) in held.items()}
        self.labels = {part: labels for part, (_, labels) in held.items()}
        self.mean, self.std = tf.constant(data.mean), tf.constant(data.std)
        self.count = len(data.train_images)
        self.steps = -(-self.count // recipe.batch_size)
        self.graph: Any = tf.function(
            self._train,
            autograph=False,
            jit_compile=uses_xla(recipe),
            input_signature=[
                tf.TensorSpec([len(space.decisions)], tf.int32),
                *[tf.TensorSpec([size]) for size in self.net.sizes.values()],
                tf.TensorSpec([None, self.steps, recipe.batch_size], tf.int32),
                tf.TensorSpec([None, self.steps]),
                tf.TensorSpec([], tf.int32),
            ],
        )

    def fit(self, arch: Arch, *, seed: int, epochs: int | None = None) -> dict[str, np.ndarray]:
        """Trains the architecture from weights drawn from `seed`.

        Returns: loss, accuracy, and PART_loss and PART_accuracy of each part, [epochs] float32.
        """
        recipe = self.recipe.replace(epochs=epochs or self.recipe.epochs)
        rng = np.random.default_rng(seed)
        size = self.steps * recipe.batch_size
        order = np.stack(
            [np.resize(rng.permutation(self.count), size) for _ in range(recipe.epochs)]
        )
        rows = self.graph(
            np.array(arch, np.int32),
            *self.net.first_values(arch, seed),
            order.reshape(recipe.epochs, self.steps, -1).astype(np.int32),
            learning_rates(recipe, self.steps).reshape(recipe.epochs, -1),
            np.int32(seed),
        ).numpy()
        names = [*SCORES, *(f"{part}_{score}" for part in self.parts for score in SCORES)]
        return dict(zip(names, rows.T, strict=True))

    def _train(self, arch, kernels, others, order, rates, seed) -> tf.Tensor:
        """[epochs, scores] float32; order: [epochs, steps, batch]; rates: [epochs, steps]."""
        for variable, value in zip(self.vectors, (kernels, others), strict=True):
            variable.assign(value)
        for slots in self.optimizer.slots:
            for slot in slots:
                slot.assign(tf.zeros_like(slot))
        self.net.reset_averages()
        epochs = tf.shape(order)[0]

        def epoch(e, rows):
            def body(i, loss, accuracy):
                number = e * self.steps + i
                one = self._step(arch, order[e, i], rates[e, i], number, seed)
                return i + 1, loss + one[0], accuracy + one[1]

            _, loss, accuracy = _loop(self.steps, body, 0.0, 0.0)
            row = [loss / self.steps, accuracy / self.steps]
            for part in self.parts:
                row += self._scores(arch, part)
            return e + 1, rows.write(e, tf.stack(row))

        width = len(SCORES) * (1 + len(self.parts))
        rows = tf.TensorArray(tf.float32, size=epochs, element_shape=[width])
        return _loop(epochs, epoch, rows)[1].stack()

    def _step(self, arch, index, rate, number, seed) -> tuple[tf.Tensor, tf.Tensor]:
        recipe = self.recipe
        x = self._normal(tf.gather(self.images["train"], index))
        y = tf.gather(self.labels["train"], index)
        x = augment(x, recipe, tf.stack([seed, number]))
        vectors = [vector.read_value() for vector in self.vectors]
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            self.net.take(*vectors)
            logits = self.net.logits(x, arch, training=True)
            loss = tf.reduce_mean(cross_entropy(y, logits, recipe.label_smoothing))
        gradients = tape.gradient(loss, vectors)
        if recipe.weight_decay:
            gradients[0] += recipe.weight_decay * vectors[0]  # kernels alone
        if recipe.clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, recipe.clip_norm)
        self.optimizer.apply(gradients, rate, number)
        return loss, tf.reduce_mean(_hits(logits, y))

    def _scores(self, arch, part: str) -> list[tf.Tensor]:
        """Loss and accuracy over every image of the part, each counted once."""
        count = len(self.labels[part])
        size = min(self.recipe.eval_batch_size, count)
        batches = -(-count // size)
        index = np.resize(np.arange(count), batches * size).reshape(batches, size)
        weight = (np.arange(batches * size) < count).astype(np.float32).reshape(batches, size)
        self.net.take(*[vector.read_value() for vector in self.vectors])

        def body(i, loss, hits):
            batch, w = tf.constant(index)[i], tf.constant(weight)[i]
            y = tf.gather(self.labels[part], batch)
            x = self._normal(tf.gather(self.images[part], batch))
            logits = self.net.logits(x, arch, training=False)
            loss += tf.reduce_sum(w * cross_entropy(y, logits, 0.0))
            return i + 1, loss, hits + tf.reduce_sum(w * _hits(logits, y))

        _, loss, hits = body(0, 0.0, 0.0) if batches == 1 else _loop(batches, body, 0.0, 0.0)
        return [loss / count, hits / count]

    def _normal(self, images: tf.Tensor) -> tf.Tensor:
        return (tf.cast(images, tf.float32) / 255.0 - self.mean) / self.std


def _held(data: ImageData, part: str) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.constant(getattr(data, f"{part}_images")), tf.constant(
        getattr(data, f"{part}_labels")
    )


def _hits(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.equal(tf.argmax(logits, -1, tf.int32), labels), tf.float32)


def _loop(count, body, *start):
    """body(i, *values) for i in 0 ... count - 1, one after the other."""
    return tf.while_loop(lambda i, *_: i < count, body, (0, *start), parallel_iterations=1)
