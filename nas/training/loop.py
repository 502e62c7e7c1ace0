"""The training loop for images: one epoch is one call of one graph.

The images lie on the device as one uint8 tensor. A loop inside the graph gathers a batch by index,
normalises and augments it, takes the step and adds up the metrics; numbers leave the device once an
epoch. The last batch of an epoch is a whole one that wraps round to the epoch's first images.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nas.core.trial import NAN, OOM, TIMEOUT, Arch, EvaluationError
from nas.data.images import ImageData
from nas.training import devices
from nas.training.augment import augment
from nas.training.objective import objective
from nas.training.optimizer import Optimizer
from nas.training.recipe import Recipe, learning_rates

LESS = 1e-4  # of a validation loss: what is lower (Auto-Keras' code, version 0.3.7)

History = dict[str, list[float]]


def fit(
    model: Any,
    data: ImageData,
    recipe: Recipe,
    *,
    seed: int,
    train_on: str = "train",
    evaluate_on: str | None = "valid",
    max_seconds: float | None = None,
    patience: int | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> History:
    """Trains `model`, which takes normalised images and gives logits, in place.

    Args:
      model: of `build`, or of `build_for_search`, whose first epoch begins sooner.
      seed: of the order of images and of the augmentation; equal seeds give equal histories.
      train_on: "train" or "train+valid".
      evaluate_on: "valid": after every epoch; "test": once, after the last; None: never.
      max_seconds: checked after every epoch.
      patience: of evaluate_on "valid", so many epochs in a row whose valid_loss is not lower by
        LESS than the lowest end the training.

    Returns: loss, accuracy and seconds of every epoch, and valid_loss and valid_accuracy of every
      epoch, or test_loss and test_accuracy of the last.

    Raises EvaluationError: NAN, TIMEOUT or OOM.
    """
    try:
        return _fit(
            model, data, recipe, seed, train_on, evaluate_on, max_seconds, patience, on_epoch
        )
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise EvaluationError(OOM, " ".join(str(error).split())[:300] or "no memory") from error


def _fit(
    model, data, recipe, seed, train_on, evaluate_on, max_seconds, patience, on_epoch
) -> History:
    devices.prepare()
    images, labels = data.train_images, data.train_labels
    if train_on == "train+valid":
        images = np.concatenate([images, data.valid_images])
        labels = np.concatenate([labels, data.valid_labels])
    rng = np.random.default_rng(seed)
    steps = -(-len(images) // recipe.batch_size)
    rates = learning_rates(recipe, steps).reshape(recipe.epochs, steps)
    train = make_epoch(model, images, labels, data, recipe, seed)
    valid = (
        make_evaluate(model, data.valid_images, data.valid_labels, data, recipe)
        if evaluate_on == "valid"
        else None
    )
    history: History = {"loss": [], "accuracy": [], "seconds": []}
    start = time.perf_counter()
    for epoch in range(recipe.epochs):
        began = time.perf_counter()
        order = rng.permutation(len(images))
        order = np.resize(order, steps * recipe.batch_size).reshape(steps, -1)
        loss, accuracy = train(tf.constant(order, tf.int32), tf.constant(rates[epoch]), epoch)
        values = {"loss": loss, "accuracy": accuracy, "seconds": time.perf_counter() - began}
        if not np.isfinite(loss):
            raise EvaluationError(NAN, f"the loss is {loss} after epoch {epoch + 1}")
        if valid is not None:
            values["valid_loss"], values["valid_accuracy"] = valid()
        if evaluate_on == "test" and epoch == recipe.epochs - 1:
            test = make_evaluate(model, data.test_images, data.test_labels, data, recipe)
            values["test_loss"], values["test_accuracy"] = test()
        for name, value in values.items():
            history.setdefault(name, []).append(float(value))
        if on_epoch is not None:
            on_epoch(epoch, values)
        if patience is not None and _waited(history["valid_loss"]) >= patience:
            break
        taken = time.perf_counter() - start
        if max_seconds is not None and taken > max_seconds and epoch < recipe.epochs - 1:
            raise EvaluationError(
                TIMEOUT, f"{epoch + 1} of {recipe.epochs} epochs took {taken:.0f} s"
            )
    return history


def _waited(losses: list[float]) -> int:
    """Epochs since the lowest loss, of which a lower one is lower by more than LESS."""
    lowest, since = math.inf, 0
    for loss in losses:
        if loss < lowest - LESS:
            lowest, since = loss, 0
        else:
            since += 1
    return since


def build(space, arch: Arch, skeleton, recipe: Recipe, seed: int) -> keras.Model:
    """The network with weights drawn from `seed`, in the recipe's precision."""
    keras.config.set_dtype_policy("mixed_bfloat16" if recipe.mixed_precision else "float32")
    keras.utils.set_random_seed(seed)
    with devices.strategy(recipe).scope():
        return space.build(arch, skeleton)


def build_for_search(space, arch: Arch, skeleton, recipe: Recipe, seed: int) -> Any:
    """The same network, made and traced in a fraction of the time, for `fit` alone.

    Its weights, drawn from `seed` otherwise than `build`'s, go to and fro by name
    (nas/ops/quick_network.py).
    """
    dtype = "bfloat16" if recipe.mixed_precision else "float32"
    with devices.strategy(recipe).scope():
        return space.build_for_search(arch, skeleton, seed=seed, dtype=dtype)


class KerasNetwork:
    """A Keras model as a step trains it, with the attributes of nas/ops/quick_network.py.

    A model with an `in_training` (nas/ops/training.py) trains that: dropped paths, and an
    auxiliary head whose loss is added.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        self.extras: Any = getattr(model, "in_training", None)
        self.auxiliary_weight = self.extras.auxiliary_weight if self.extras else 0.0
        self.trainable_variables = (self.extras or model).trainable_variables
        self.decays = [len(v.shape) > 1 for v in self.trainable_variables]  # kernels

    def heads(self, images: tf.Tensor, *, seed: tf.Tensor, progress: tf.Tensor) -> list[tf.Tensor]:
        """Keras draws from seeds of its own."""
        if not self.extras:
            return [self.model(images, training=True)]
        self.extras.progress.assign(progress)
        return self.extras(images)


def make_epoch(
    model: Any,
    images: np.ndarray,
    labels: np.ndarray,
    data: ImageData,
    recipe: Recipe,
    seed: int,
) -> Callable:
    """Returns epoch(order [steps, batch] int32, rates [steps] float32, epoch) -> loss, accuracy."""
    network = KerasNetwork(model) if isinstance(model, keras.Model) else model
    strategy = devices.strategy(recipe)
    replicas = strategy.num_replicas_in_sync
    all_steps = float(recipe.epochs * -(-len(images) // recipe.batch_size))
    all_images, all_labels = tf.constant(images), tf.constant(labels)
    aim = objective(labels)
    variables = network.trainable_variables
    with strategy.scope():
        optimizer = Optimizer(recipe, variables)
    mean, std = tf.constant(data.mean), tf.constant(data.std)

    def step(batch, rate, number):
        """One device's share of a step. batch: [share] int32."""
        context = tf.distribute.get_replica_context()
        share = number * replicas + context.replica_id_in_sync_group
        with tf.device(all_images.device):  # the data set stays where it is
            x, y = tf.gather(all_images, batch), tf.gather(all_labels, batch)
        x = (tf.cast(x, tf.float32) / 255.0 - mean) / std
        own = tf.stack([seed, share])
        x = augment(x, recipe, own)
        progress = tf.cast(number, tf.float32) / all_steps
        with tf.GradientTape() as tape:
            logits, *auxiliary = network.heads(x, seed=own, progress=progress)
            loss = tf.reduce_mean(aim.loss(y, logits, recipe.label_smoothing))
            for other in auxiliary:
                more = tf.reduce_mean(aim.loss(y, other, recipe.label_smoothing))
                loss += network.auxiliary_weight * more
        gradients = tape.gradient(loss, variables)
        if replicas > 1:
            gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        if recipe.weight_decay:
            gradients = [
                g + recipe.weight_decay * v if decays else g
                for g, v, decays in zip(gradients, variables, network.decays, strict=True)
            ]
        if recipe.clip_norm is not None:
            gradients, _ = tf.clip_by_global_norm(gradients, recipe.clip_norm)
        optimizer.apply(gradients, rate, number)
        return loss, tf.reduce_mean(aim.score(y, logits))

    def on_every_device(batch, rate, number):
        def share():
            mine = tf.distribute.get_replica_context().replica_id_in_sync_group
            return step(tf.reshape(batch, [replicas, -1])[mine], rate, number)

        mean_of_all = tf.distribute.ReduceOp.MEAN
        return [strategy.reduce(mean_of_all, value, axis=None) for value in strategy.run(share)]

    run = step if replicas == 1 else on_every_device

    # Autograph would read every function of every layer: a loop that says what it is needs none.
    @tf.function(jit_compile=uses_xla(recipe), autograph=False)
    def epoch(order, rates, first):
        steps = tf.shape(order)[0]

        def body(i, loss, accuracy):
            one_loss, one_accuracy = run(order[i], rates[i], first * steps + i)
            return i + 1, loss + one_loss, accuracy + one_accuracy

        _, loss, accuracy = tf.while_loop(lambda i, *_: i < steps, body, (0, 0.0, 0.0))
        return loss / tf.cast(steps, tf.float32), accuracy / tf.cast(steps, tf.float32)

    def call(order, rates, number: int) -> tuple[float, float]:
        loss, accuracy = epoch(order, rates, tf.constant(number))
        return float(loss), float(accuracy)

    call.graph = epoch  # type: ignore[attr-defined]  # for the test that it is traced once
    return call


def make_evaluate(
    model: Any, images: np.ndarray, labels: np.ndarray, data: ImageData, recipe: Recipe
) -> Callable[[], tuple[float, float]]:
    """Returns evaluate() -> loss, accuracy over every image, each counted once."""
    count, size = len(images), min(recipe.eval_batch_size, len(images))
    batches = -(-count // size)
    index = np.resize(np.arange(count), batches * size).reshape(batches, size)
    weight = (np.arange(batches * size) < count).astype(np.float32).reshape(batches, size)
    all_images, all_labels = tf.constant(images), tf.constant(labels)
    mean, std = tf.constant(data.mean), tf.constant(data.std)
    aim = objective(labels)

    def body(i, loss, score):
        batch, w = tf.constant(index)[i], tf.constant(weight)[i]
        x = (tf.cast(tf.gather(all_images, batch), tf.float32) / 255.0 - mean) / std
        y = tf.gather(all_labels, batch)
        logits = model(x)
        loss += tf.reduce_sum(w * aim.loss(y, logits, 0.0))
        return i + 1, loss, score + tf.reduce_sum(w * aim.score(y, logits))

    @tf.function(jit_compile=uses_xla(recipe), autograph=False)
    def run():
        _, loss, score = tf.while_loop(lambda i, *_: i < batches, body, (0, 0.0, 0.0))
        return loss / count, score / count

    def call() -> tuple[float, float]:
        loss, accuracy = run()
        return float(loss), float(accuracy)

    return call


def servable(model: keras.Model, data: ImageData, head: Any = None) -> keras.Model:
    """raw pixels [batch, height, width, channels] float32 in 0..255 -> probabilities.

    head: another layer behind the logits.
    """
    raw = keras.Input(data.image_shape)
    variance = np.square(data.std * 255.0)
    x = keras.layers.Normalization(mean=(data.mean * 255.0).tolist(), variance=variance.tolist())(
        raw
    )
    head = head or keras.layers.Softmax(dtype="float32")
    return keras.Model(raw, head(model(x)))


def uses_xla(recipe: Recipe) -> bool:
    """Whether graphs are compiled: as the recipe says, or wherever there is a GPU."""
    if recipe.xla == "auto":
        return bool(tf.config.list_physical_devices("GPU"))
    return bool(recipe.xla)
