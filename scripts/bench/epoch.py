"""Measures one epoch of our training loop against `keras.Model.fit`, side by side in one run.

    python scripts/bench/epoch.py [--repeats 5] [--only small|cifar]

There are two networks: a small one (8x8 images, 4 convolutions of 16 channels) and one for CIFAR-10
(32x32 images, a NAS-Bench-201 network, random crops and flips). Both sides train the same layers
with the same optimiser, batches and augmentation; `fit` uses Keras' own batch normalisation. `fit`
is tried with arrays and with a cached tf.data pipeline, each with several `steps_per_execution`;
ours is compared with the fastest of them. First epochs include tracing, on networks that have just
been built. The script prints medians over the repeats, which alternate between the sides.
"""

import nas.onednn  # noqa: F401  it comes before TensorFlow

# isort: split
import argparse
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from nas.core.skeleton import ImageSkeleton
from nas.data.images import ImageData, normalize
from nas.ops.batch_norm import BatchNormalization
from nas.search_spaces.papers.nasbench201.space import NASBench201
from nas.training import loop as image
from nas.training.augment import augment
from nas.training.recipe import Recipe

EPOCHS = 4  # of one training: the first, and the median of the others


def small_network() -> keras.Model:
    inputs = keras.Input((8, 8, 1))
    x = inputs
    for _ in range(4):
        x = keras.layers.Conv2D(16, 3, padding="same", use_bias=False)(x)
        x = keras.layers.ReLU()(BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(inputs, keras.layers.Dense(10)(x))


def cifar_network() -> keras.Model:
    space = NASBench201()
    skeleton = ImageSkeleton(cells=1, channels=16, image_shape=(32, 32, 3), classes=10)
    return space.build(space.parse("3,3,1,2,3,1"), skeleton)


NETWORKS: dict[str, tuple[Callable, tuple, int, Recipe]] = {
    "small": (small_network, (8, 8, 1), 1152, Recipe(epochs=EPOCHS, batch_size=64)),
    "cifar": (
        cifar_network,
        (32, 32, 3),
        1280,
        Recipe(epochs=EPOCHS, batch_size=128, pad_crop=4, flip=True),
    ),
}


def random_images(shape: tuple, count: int) -> ImageData:
    """Speed does not depend on what the images show."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, [count, *shape], dtype=np.uint8)
    labels = rng.integers(0, 10, count).astype(np.int32)
    return ImageData(
        name="random",
        train_images=images,
        train_labels=labels,
        valid_images=images[:8],
        valid_labels=labels[:8],
        test_images=images[:8],
        test_labels=labels[:8],
        mean=np.full(shape[-1], 0.5, np.float32),
        std=np.full(shape[-1], 0.3, np.float32),
        class_names=tuple("0123456789"),
        split="random",
    )


def ours(make: Callable, data: ImageData, recipe: Recipe) -> np.ndarray:
    """Seconds of each epoch."""
    model = make()
    return np.array(image.fit(model, data, recipe, seed=0, evaluate_on=None)["seconds"])


def theirs(make: Callable, data: ImageData, recipe: Recipe, steps: int, piped: bool) -> np.ndarray:
    """Seconds of each epoch of `fit`."""
    # The same layers with Keras' own batch normalisation, which Keras' users have.
    model = keras.models.clone_model(make(), clone_function=_plain)
    model.compile(
        optimizer=keras.optimizers.SGD(recipe.learning_rate, momentum=0.9, nesterov=True),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=steps,
        jit_compile=False,
    )
    if piped or recipe.flip:
        fed = {"x": _pipeline(data, recipe)}
    else:
        x = normalize(data.train_images.astype(np.float32), data.mean, data.std)
        fed = {"x": x.astype(np.float32), "y": data.train_labels, "batch_size": recipe.batch_size}
    clock = _Clock()
    model.fit(**fed, epochs=EPOCHS, verbose=0, callbacks=[clock])
    return np.diff(clock.at)


def _plain(layer: keras.layers.Layer) -> keras.layers.Layer:
    kind = type(layer)
    if kind is BatchNormalization:
        kind = keras.layers.BatchNormalization
    return kind.from_config(layer.get_config())


class _Clock(keras.callbacks.Callback):
    def on_train_begin(self, logs=None):
        self.at = [time.perf_counter()]

    def on_epoch_end(self, epoch, logs=None):
        self.at.append(time.perf_counter())


def _pipeline(data: ImageData, recipe: Recipe) -> tf.data.Dataset:
    """Shuffled, batched, normalised and augmented as in our loop, with tf.data's own tuning."""

    def prepare(number, batch):
        images, labels = batch
        x = normalize(tf.cast(images, tf.float32), data.mean, data.std)
        return augment(x, recipe, tf.stack([0, tf.cast(number, tf.int32)])), labels

    pairs = tf.data.Dataset.from_tensor_slices((data.train_images, data.train_labels)).cache()
    batches = pairs.shuffle(len(data.train_labels)).batch(recipe.batch_size, drop_remainder=True)
    return batches.enumerate().map(prepare, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def compare(name: str, repeats: int) -> None:
    make, shape, count, recipe = NETWORKS[name]
    data, steps = random_images(shape, count), count // recipe.batch_size
    ways: dict[str, Callable[[], np.ndarray]] = {"ours": lambda: ours(make, data, recipe)}
    for per in (1, steps // 2, steps):
        for piped in (False, True) if not recipe.flip else (True,):
            way = f"fit, steps_per_execution={per}, {'tf.data' if piped else 'arrays'}"
            ways[way] = lambda per=per, piped=piped: theirs(make, data, recipe, per, piped)
    seconds: dict[str, list[np.ndarray]] = {way: [] for way in ways}
    ours(make, data, recipe)  # warms TensorFlow up
    for _ in range(repeats):
        for way, run in ways.items():
            seconds[way].append(run())
            keras.backend.clear_session()
    first = {way: float(np.median([run[0] for run in runs])) for way, runs in seconds.items()}
    later = {way: float(np.median([run[1:] for run in runs])) for way, runs in seconds.items()}
    print(f"{name}: {count} images of {shape}, batches of {recipe.batch_size}, {repeats} repeats")
    for way in ways:
        print(f"  {way:40} first epoch {first[way]:6.2f} s   an epoch {later[way]:7.4f} s")
    for what, times in (("an epoch", later), ("first epoch", first)):
        best = min((way for way in ways if way != "ours"), key=lambda way: times[way])
        print(f"  {what}: ours / fastest fit ({best}) = {times['ours'] / times[best]:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=NETWORKS)
    args = parser.parse_args()
    for name in [args.only] if args.only else NETWORKS:
        compare(name, args.repeats)


if __name__ == "__main__":
    main()
