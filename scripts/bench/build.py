"""Building, tracing and the first step of a child against a plain Keras model and its `fit`.

    python scripts/bench/build.py                        about ten minutes on 2 cores
    python scripts/bench/build.py --spaces darts zoph2017 --archs 5

Of each image space, random architectures: a network of 12 cells (4 a stage) where the space has
cells, of as many layers as the space says where not. Both sides make the same layers of the same
sizes and train one batch of the same images, side by side in turn. The other is a functional model
of Keras' own layers, compiled with its SGD, in two ways: as it is, and with TensorFlow's graph
rewriting left out, which ours leaves out too (nas/training/devices.py) and Keras' users do not know of.
Printed for each space: medians over the architectures of the seconds of ours and of `fit` at its
fastest, and of the ratios of these and of ours to `fit` as it is. Ends with status 1 where the
first of the ratios is above 0.5.
"""

import nas.onednn  # noqa: F401  it comes before TensorFlow

# isort: split
import argparse
import dataclasses
import statistics
import sys
import time

import hydra
import keras
import numpy as np
import tensorflow as tf
from bench_epoch import made_up
from omegaconf import OmegaConf
from train_every_space import CONF, image_spaces

from nas.core.ops import BN_EPSILON, BN_MOMENTUM
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Space
from nas.core.trial import Arch
from nas.data.images import ImageData
from nas.ops.keras import KerasOps
from nas.search_spaces.papers.nasbench201.space import NASBench201
from nas.training import loop as image
from nas.training.recipe import Recipe

BAR = 0.5
WAYS = ("ours", "fit", "fit, no rewriting")


class PlainOps(KerasOps):
    """Stock layers alone: the normalization is Keras' too."""

    def batch_norm(self, x, *, name: str, epsilon: float = BN_EPSILON):
        return self.layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=epsilon, name=name)(x)


def seconds(
    way: str, space: Space, arch: Arch, skeleton: ImageSkeleton, data: ImageData, recipe: Recipe
) -> float:
    """From nothing to the end of the first step."""
    rewriting = {"disable_meta_optimizer": way != "fit"}  # ours says so itself
    tf.config.optimizer.set_experimental_options(rewriting)
    keras.backend.clear_session()
    x = ((data.train_images / np.float32(255) - data.mean) / data.std).astype(np.float32)
    start = time.perf_counter()
    if way == "ours":
        network = image.build_for_search(space, arch, skeleton, recipe, 0)
        image.fit(network, data, recipe, seed=0, evaluate_on=None)
    else:
        ops = PlainOps(skeleton.image_shape)
        model = ops.model(space.network(ops, arch, skeleton))
        model.compile(
            optimizer=keras.optimizers.SGD(recipe.learning_rate, momentum=0.9, nesterov=True),
            loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
            jit_compile=False,
        )
        model.fit(x, data.train_labels, batch_size=recipe.batch_size, epochs=1, verbose=0)
    return time.perf_counter() - start


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spaces", nargs="+", default=image_spaces(), metavar="SPACE")
    parser.add_argument("--archs", type=int, default=3, help="of each space")
    parser.add_argument("--cells", type=int, default=4, help="of a stage")
    parser.add_argument("--size", type=int, default=8, help="pixels of a side")
    parser.add_argument("--batch", type=int, default=16, help="images")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    shape = (args.size, args.size, 3)
    data, recipe = made_up(shape, args.batch), Recipe(epochs=1, batch_size=args.batch)
    # Few channels: what is measured does not depend on them, what a step takes does.
    skeleton = ImageSkeleton(
        image_shape=shape, classes=10, cells=args.cells, channels=4, width=0.25
    )
    for way in WAYS:  # warms TensorFlow up
        small = dataclasses.replace(skeleton, cells=1)
        seconds(way, NASBench201(), (3,) * 6, small, data, recipe)
    above = []
    print(
        f"{'space':14} {'ours s':>7} {'fit s':>7} {'ratio':>6} {'to fit as it is':>16}", flush=True
    )
    for name in args.spaces:
        space = hydra.utils.instantiate(OmegaConf.load(CONF / f"{name}.yaml"))
        rng = np.random.default_rng(args.seed)
        rows = []
        for _ in range(args.archs):
            arch = space.sample(rng)
            rows.append([seconds(way, space, arch, skeleton, data, recipe) for way in WAYS])
        ours = statistics.median(r[0] for r in rows)
        theirs = statistics.median(min(r[1:]) for r in rows)
        ratio = statistics.median(r[0] / min(r[1:]) for r in rows)
        as_it_is = statistics.median(r[0] / r[1] for r in rows)
        print(f"{name:14} {ours:7.2f} {theirs:7.2f} {ratio:6.2f} {as_it_is:16.2f}", flush=True)
        if ratio > BAR:
            above.append(name)
    print(f"bar {BAR}: " + (f"above it {', '.join(above)}" if above else "held by every space"))
    return int(bool(above))


if __name__ == "__main__":
    sys.exit(main())
