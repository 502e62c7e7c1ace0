"""Trains one architecture after another with one graph: a space's supernet, traced once.

The architecture is an input of the graph. One call is one whole training: it sets the initial
weights of the architecture's path, zeroes all other weights, the optimiser's slots and the moving
averages, trains all epochs and scores the network after each. The result equals that of
nas/training/loop.py with the network built for this architecture alone, from the same initial
weights, batches and augmentation.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nas.core.capabilities import flat_supernet_space
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Space
from nas.core.trial import Arch
from nas.data.images import ImageData
from nas.training import devices
from nas.training.augment import augment
from nas.training.device_data import DeviceData
from nas.training.loop import uses_xla
from nas.training.objective import training_loss
from nas.training.optimizer import Optimizer
from nas.training.recipe import Recipe, learning_rates

SCORES = ("loss", "accuracy")


class OneGraphTraining:
    """A supernet's graph and the images on which it trains architectures.

        training = OneGraphTraining(space, skeleton, data, recipe)
        history = training.fit(arch, seed=0)
        print(history["valid_accuracy"][-1])

    Args:
      recipe: of all trainings; `fit` may change the number of epochs.
      parts: what is scored after each epoch: "valid", or "valid" and "test" for a table.

    Raises ConfigError if the space has no supernet, or the skeleton allows none.
    """

    def __init__(
        self,
        space: Space,
        skeleton: ImageSkeleton,
        data: ImageData,
        recipe: Recipe,
        parts: Sequence[str] = ("valid",),
    ):
        devices.prepare()
        keras.config.set_dtype_policy("float32")
        self.recipe, self.parts = recipe, tuple(parts)
        self.net = flat_supernet_space(space).flat_supernet(skeleton)
        self.vectors = [tf.Variable(tf.zeros([size])) for size in self.net.sizes.values()]
        self.optimizer = Optimizer(recipe, self.vectors)
        self.data = DeviceData(data, ("train", *parts))
        self.count = self.data.counts["train"]
        self.steps = -(-self.count // recipe.batch_size)  # of an epoch
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
        """Trains the architecture from initial weights drawn from `seed`.

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
        """The graph of one training.

        Args:
          arch: [decisions] int32.
          kernels, others: the initial weights, two vectors.
          order: [epochs, steps, batch] int32, positions of training images.
          rates: [epochs, steps] float32, learning rates.

        Returns: [epochs, scores] float32.
        """
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
        """Loss and accuracy of one step's batch. index: [batch] int32; number: [] int32."""
        x, labels = self.data.batch("train", index)
        x = augment(x, self.recipe, tf.stack([seed, number]))
        aim = self.data.objectives["train"]
        vectors = [vector.read_value() for vector in self.vectors]
        with tf.GradientTape() as tape:
            tape.watch(vectors)
            self.net.take(*vectors)
            logits = self.net.logits(x, arch, training=True)
            loss = training_loss(
                aim, labels, [logits], smoothing=self.recipe.label_smoothing, auxiliary_weight=0.0
            )
        gradients = tape.gradient(loss, vectors)
        decays = [True, False]  # kernels decay, other weights do not
        self.optimizer.descend(gradients, rate, number, values=vectors, decays=decays)
        return loss, tf.reduce_mean(aim.score(labels, logits))

    def _scores(self, arch, part: str) -> list[tf.Tensor]:
        """Mean loss and accuracy over every image of the part, each counted once."""
        self.net.take(*[vector.read_value() for vector in self.vectors])
        batches, body = self.data.evaluation(
            part,
            self.recipe.eval_batch_size,
            lambda images: self.net.logits(images, arch, training=False),
        )
        _, loss, score = body(0, 0.0, 0.0) if batches == 1 else _loop(batches, body, 0.0, 0.0)
        count = self.data.counts[part]
        return [loss / count, score / count]


def _loop(count, body, *start):
    """body(i, *values) for i in 0 ... count - 1, one after the other."""
    return tf.while_loop(lambda i, *_: i < count, body, (0, *start), parallel_iterations=1)
