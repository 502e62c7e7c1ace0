"""The training loop for images: one epoch is one call of one graph.

The images stay on the device as one uint8 tensor. A loop inside the graph gathers a batch by index,
normalises and augments it, takes the training step and sums the metrics, which leave the device
once an epoch. The last batch of an epoch is filled up with the epoch's first images.
"""

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nas.core.capabilities import HasTrainingForm, buildable_space
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Space
from nas.core.trial import NAN, OOM, TIMEOUT, Arch, EvaluationError
from nas.data.images import ImageData
from nas.ops.description import Weights
from nas.training import devices
from nas.training.augment import augment
from nas.training.device_data import DeviceData
from nas.training.objective import training_loss
from nas.training.optimizer import Optimizer
from nas.training.recipe import Recipe, learning_rates
from nas.training.weights import give, take

# A validation loss is lower only if it is lower by this much (Auto-Keras' code, version 0.3.7).
LOSS_TOLERANCE = 1e-4

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
    keep_best: bool = False,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> History:
    """Trains `model`, which maps normalised images to logits, in place.

        model = build(space, arch, skeleton, recipe, seed=0)
        history = fit(model, data, recipe, seed=0)
        print(history["valid_accuracy"][-1])

    Args:
      model: from `build`, or from `build_for_search`, whose first epoch starts sooner.
      seed: of the order of the images and of the augmentation; equal seeds give equal histories.
      train_on: "train" or "train+valid".
      evaluate_on: "valid": after every epoch; "test": once, after the last; None: never.
      max_seconds: time limit, checked after every epoch.
      patience: needs evaluate_on="valid". Training ends after this many epochs in a row whose
        valid_loss is not lower than the lowest before by more than LOSS_TOLERANCE.
      keep_best: a training that `patience` ends leaves the weights of its lowest valid_loss.

    Returns: loss, accuracy and seconds of every epoch; valid_loss and valid_accuracy of every
      epoch, or test_loss and test_accuracy of the last.

    Raises EvaluationError: NAN, TIMEOUT or OOM.
    """
    with _out_of_memory_reported():
        return _fit(
            model, data, recipe, seed, train_on, evaluate_on, max_seconds, patience, keep_best,
            on_epoch,
        )  # fmt: skip


@contextlib.contextmanager
def _out_of_memory_reported() -> Iterator[None]:
    try:
        yield
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise EvaluationError(OOM, " ".join(str(error).split())[:300] or "no memory") from error


def _fit(
    model: Any,
    data: ImageData,
    recipe: Recipe,
    seed: int,
    train_on: str,
    evaluate_on: str | None,
    max_seconds: float | None,
    patience: int | None,
    keep_best: bool,
    on_epoch: Callable[[int, dict[str, float]], None] | None,
) -> History:
    devices.prepare()
    loop = EpochLoop(model, data, recipe, seed, part=train_on)
    rng = np.random.default_rng(seed)
    rates = learning_rates(recipe, loop.steps).reshape(recipe.epochs, loop.steps)
    validate = make_evaluate(model, data, recipe, "valid") if evaluate_on == "valid" else None
    history: History = {"loss": [], "accuracy": [], "seconds": []}
    best: Weights = {}
    start = time.perf_counter()
    for epoch in range(recipe.epochs):
        epoch_start = time.perf_counter()
        positions = np.resize(rng.permutation(loop.count), loop.steps * recipe.batch_size)
        order = positions.reshape(loop.steps, recipe.batch_size)
        loss, accuracy = loop.run(tf.constant(order, tf.int32), tf.constant(rates[epoch]), epoch)
        values = {
            "loss": loss, "accuracy": accuracy, "seconds": time.perf_counter() - epoch_start
        }  # fmt: skip
        if not np.isfinite(loss):
            raise EvaluationError(NAN, f"the loss is {loss} after epoch {epoch + 1}")
        if validate is not None:
            values["valid_loss"], values["valid_accuracy"] = validate()
        if evaluate_on == "test" and epoch == recipe.epochs - 1:
            test = make_evaluate(model, data, recipe, "test")
            values["test_loss"], values["test_accuracy"] = test()
        for name, value in values.items():
            history.setdefault(name, []).append(float(value))
        if on_epoch is not None:
            on_epoch(epoch, values)
        waited = _waited(history["valid_loss"]) if patience is not None else 0
        if patience is not None and waited >= patience:
            if keep_best:
                give(model, best)
            break
        if keep_best and patience is not None and not waited:
            best = take(model)
        seconds = time.perf_counter() - start
        if max_seconds is not None and seconds > max_seconds and epoch < recipe.epochs - 1:
            raise EvaluationError(
                TIMEOUT, f"{epoch + 1} of {recipe.epochs} epochs took {seconds:.0f} s"
            )
    return history


def _waited(losses: list[float]) -> int:
    """Epochs since the lowest loss. A loss counts as lower if it is by more than LOSS_TOLERANCE."""
    lowest, since = math.inf, 0
    for loss in losses:
        if loss < lowest - LOSS_TOLERANCE:
            lowest, since = loss, 0
        else:
            since += 1
    return since


def build(
    space: Space, arch: Arch, skeleton: ImageSkeleton, recipe: Recipe, seed: int
) -> keras.Model:
    """The architecture's Keras model, in the recipe's precision, with weights drawn from `seed`."""
    keras.config.set_dtype_policy("mixed_bfloat16" if recipe.mixed_precision else "float32")
    keras.utils.set_random_seed(seed)
    with devices.strategy(recipe).scope():
        return buildable_space(space).build(arch, skeleton)


def build_for_search(
    space: Space, arch: Arch, skeleton: ImageSkeleton, recipe: Recipe, seed: int
) -> Any:
    """The same network as a QuickNetwork, for `fit` only: it is built and traced much faster.

    Its initial weights are drawn from `seed` as well, but are not those of `build`. They can be
    exported to that model and imported from it by name (nas/ops/quick_network.py).
    """
    dtype = "bfloat16" if recipe.mixed_precision else "float32"
    with devices.strategy(recipe).scope():
        return buildable_space(space).build_for_search(arch, skeleton, seed=seed, dtype=dtype)


class KerasNetwork:
    """A Keras model behind the interface of QuickNetwork (nas/ops/quick_network.py).

    If the model has an `in_training` (nas/ops/training.py), that is trained: it drops paths and has
    an auxiliary head, whose loss is added.
    """

    def __init__(self, model: keras.Model):
        self.model = model
        has_form = isinstance(model, HasTrainingForm)
        self.extras: Any = model.in_training if has_form else None
        self.auxiliary_weight = self.extras.auxiliary_weight if self.extras else 0.0
        self.trainable_variables = (self.extras or model).trainable_variables
        self.decays = [len(v.shape) > 1 for v in self.trainable_variables]  # kernels

    def heads(self, images: tf.Tensor, *, seed: tf.Tensor, progress: tf.Tensor) -> list[tf.Tensor]:
        """As QuickNetwork.heads, but `seed` has no effect: Keras' layers draw from their own."""
        if not self.extras:
            return [self.model(images, training=True)]
        self.extras.progress.assign(progress)
        return self.extras(images)


class EpochLoop:
    """Trains a network, one epoch a call. The loop that uses it (`fit` has the full one):

        loop = EpochLoop(network, data, recipe, seed)
        for epoch in range(recipe.epochs):
            order = rng.permutation(loop.count)[: loop.steps * recipe.batch_size]
            loss, accuracy = loop.run(order.reshape(loop.steps, -1), rates[epoch], epoch)

    Args:
      network: a Keras model, or a QuickNetwork.
      seed: of augmentation, dropout and dropped paths.
      part: what it is trained on, "train" or "train+valid".

    count: images of the part. steps: of an epoch over all of them. graph: the tf.function of an
    epoch, which is traced once for calls of equal shapes.
    """

    def __init__(
        self, network: Any, data: ImageData, recipe: Recipe, seed: int, part: str = "train"
    ):
        is_keras = isinstance(network, keras.Model)
        self.network = KerasNetwork(network) if is_keras else network
        self.recipe, self.seed, self.part = recipe, seed, part
        self.data = DeviceData(data, [part])
        self.count = self.data.counts[part]
        self.steps = -(-self.count // recipe.batch_size)
        self._strategy = devices.strategy(recipe)
        self._replicas = self._strategy.num_replicas_in_sync
        with self._strategy.scope():
            self.optimizer = Optimizer(recipe, self.network.trainable_variables)
        # Autograph would read the source of every layer; tf.while_loop makes it unnecessary.
        self.graph = tf.function(self._epoch, autograph=False, jit_compile=uses_xla(recipe))

    def run(self, order: Any, rates: Any, epoch: int) -> tuple[float, float]:
        """Trains one epoch. Returns the means of its steps' losses and accuracies.

        Args:
          order: [steps, batch] int32, positions of images.
          rates: [steps] float32, learning rates.
          epoch: counted from 0; equal `order` and `epoch` augment alike.
        """
        loss, accuracy = self.graph(order, rates, tf.constant(epoch))
        return float(loss), float(accuracy)

    def step(
        self, batch: tf.Tensor, rate: tf.Tensor, number: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """One device's share of a training step, inside the graph: its loss and accuracy.

        Args:
          batch: [share] int32, positions of images.
          number: [] int32, the step since the start of the training.
        """
        recipe, network, replicas = self.recipe, self.network, self._replicas
        context = tf.distribute.get_replica_context()
        share = number * replicas + context.replica_id_in_sync_group
        x, labels = self.data.batch(self.part, batch)
        seed = tf.stack([self.seed, share])
        x = augment(x, recipe, seed)
        progress = tf.cast(number, tf.float32) / float(recipe.epochs * self.steps)
        aim, variables = self.data.objectives[self.part], network.trainable_variables
        with tf.GradientTape() as tape:
            heads = network.heads(x, seed=seed, progress=progress)
            loss = training_loss(
                aim, labels, heads,
                smoothing=recipe.label_smoothing, auxiliary_weight=network.auxiliary_weight,
            )  # fmt: skip
        gradients = tape.gradient(loss, variables)
        if replicas > 1:
            gradients = context.all_reduce(tf.distribute.ReduceOp.MEAN, gradients)
        self.optimizer.descend(gradients, rate, number, values=variables, decays=network.decays)
        return loss, tf.reduce_mean(aim.score(labels, heads[0]))

    def _step_on_all_devices(self, batch, rate, number) -> list[tf.Tensor]:
        def share():
            replica = tf.distribute.get_replica_context().replica_id_in_sync_group
            return self.step(tf.reshape(batch, [self._replicas, -1])[replica], rate, number)

        mean = tf.distribute.ReduceOp.MEAN
        return [
            self._strategy.reduce(mean, value, axis=None) for value in self._strategy.run(share)
        ]

    def _epoch(self, order, rates, epoch):
        steps = tf.shape(order)[0]
        step = self.step if self._replicas == 1 else self._step_on_all_devices

        def body(i, loss, accuracy):
            step_loss, step_accuracy = step(order[i], rates[i], epoch * steps + i)
            return i + 1, loss + step_loss, accuracy + step_accuracy

        _, loss, accuracy = tf.while_loop(lambda i, *_: i < steps, body, (0, 0.0, 0.0))
        return loss / tf.cast(steps, tf.float32), accuracy / tf.cast(steps, tf.float32)


def make_evaluate(
    model: Any, data: ImageData, recipe: Recipe, part: str
) -> Callable[[], tuple[float, float]]:
    """Returns evaluate() -> mean loss and accuracy over the part, each image counted once."""
    device_data = DeviceData(data, [part])
    count = device_data.counts[part]
    batches, body = device_data.evaluation(part, recipe.eval_batch_size, model)

    @tf.function(jit_compile=uses_xla(recipe), autograph=False)
    def run():
        _, loss, score = tf.while_loop(lambda i, *_: i < batches, body, (0, 0.0, 0.0))
        return loss / count, score / count

    def evaluate() -> tuple[float, float]:
        loss, accuracy = run()
        return float(loss), float(accuracy)

    return evaluate


def servable(model: keras.Model, data: ImageData, head: Any = None) -> keras.Model:
    """The model with its preprocessing: raw pixels in, probabilities out.

    The input is [batch, height, width, channels] float32 in 0..255.

    head: a layer to put behind the logits in place of a softmax.
    """
    raw = keras.Input(data.image_shape)
    variance = np.square(data.std * 255.0)
    x = keras.layers.Normalization(mean=(data.mean * 255.0).tolist(), variance=variance.tolist())(
        raw
    )
    head = head or keras.layers.Softmax(dtype="float32")
    return keras.Model(raw, head(model(x)))


def uses_xla(recipe: Recipe) -> bool:
    """Whether graphs are compiled with XLA: as the recipe says; "auto" means if there is a GPU."""
    if recipe.xla == "auto":
        return bool(tf.config.list_physical_devices("GPU"))
    return bool(recipe.xla)
