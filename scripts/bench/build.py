"""Measures building, tracing and the first step of a network against plain Keras and its `fit`.

    python scripts/bench/build.py                        about ten minutes on 2 cores
    python scripts/bench/build.py --spaces darts zoph2017 --archs 5

The script draws random architectures of each image space. A space of cells gets a network of 12
cells (4 a stage); any other space gets as many layers as it defines. Both sides build the same
layers of the same sizes and train one batch of the same images, in turn. The other side is a
functional model of Keras' own layers, compiled with Keras' SGD. It runs in two ways: as it is, and
without TensorFlow's graph rewriting, which this project switches off too (nas/training/devices.py)
and which Keras' users rarely know about.

The script prints, for each space, the median seconds of both sides (`fit` in its faster way), the
median of their ratios, and the median ratio to `fit` as it is. It exits with status 1 if the first
ratio of any space is above 0.5.
"""

import nas.onednn  # noqa: F401  it comes before TensorFlow

# isort: split
import argparse
import dataclasses
import statistics
import sys
import time
from pathlib import Path

import hydra
import keras
import numpy as np
import tensorflow as tf
from epoch import random_images
from hydra.utils import get_class
from omegaconf import OmegaConf

from nas.core.ops import BN_EPSILON, BN_MOMENTUM
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Space
from nas.core.trial import Arch
from nas.data.images import ImageData
from nas.ops.keras import KerasOps
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.papers.nasbench201.space import NASBench201
from nas.training import loop as image
from nas.training.recipe import Recipe

BAR = 0.5  # largest ratio that is accepted
CONF = Path(__file__).parents[2] / "conf" / "space"
WAYS = ("ours", "fit", "fit, no rewriting")


def image_spaces() -> list[str]:
    """Names of the spaces in conf/space whose networks see images."""
    targets = {path.stem: OmegaConf.load(path)["_target_"] for path in CONF.glob("*.yaml")}
    return sorted(name for name in targets if issubclass(get_class(targets[name]), ImageSpace))


class PlainOps(KerasOps):
    """KerasOps with Keras' own batch normalization in place of the project's."""

    def batch_norm(self, x, *, name: str, epsilon: float = BN_EPSILON):
        return self.layers.BatchNormalization(momentum=BN_MOMENTUM, epsilon=epsilon, name=name)(x)


def seconds(
    way: str, space: Space, arch: Arch, skeleton: ImageSkeleton, data: ImageData, recipe: Recipe
) -> float:
    """Wall seconds from an empty Keras session to the end of the first step."""
    rewriting = {"disable_meta_optimizer": way != "fit"}  # our loop sets it itself
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
    data, recipe = random_images(shape, args.batch), Recipe(epochs=1, batch_size=args.batch)
    # Few channels: building and tracing do not depend on them, the time of a step does.
    skeleton = ImageSkeleton(
        image_shape=shape, classes=10, cells=args.cells, channels=4, width=0.25
    )
    for way in WAYS:  # the first calls initialise TensorFlow
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
