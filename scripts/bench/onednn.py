"""Measures training with oneDNN's CPU kernels against TensorFlow's own, side by side in one run.

    python scripts/bench/onednn.py [--rounds 3] [--only nasnet lstm ...]

Two processes take turns. One sets TF_ENABLE_ONEDNN_OPTS=1, as nas does; the other sets 0, which is
TensorFlow's default on a CPU without AVX-512 VNNI or better. Each trains one random architecture of
several image spaces (32x32 images, batches of 64, one cell a stage, 8 channels) and Zaremba et
al.'s small LSTM, with one thread. The script prints the median CPU seconds of a few steps on both
sides, and their ratio.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

CONF = Path(__file__).parents[2] / "conf" / "space"
NAMES = ("zoph2017", "nasbench201", "enas_macro", "darts", "nasnet", "amoebanet", "lstm")
STEPS, BATCH = 5, 64
WAYS = ("1", "0")


def image_steps(name: str):
    """A function that trains an architecture of that space for STEPS steps."""
    import hydra
    import numpy as np
    import tensorflow as tf
    from epoch import random_images
    from omegaconf import OmegaConf

    from nas.core.skeleton import ImageSkeleton
    from nas.training import devices
    from nas.training import loop as image
    from nas.training.recipe import Recipe

    devices.prepare()
    space = hydra.utils.instantiate(OmegaConf.load(CONF / f"{name}.yaml"))
    data, recipe = random_images((32, 32, 3), STEPS * BATCH), Recipe(epochs=1, batch_size=BATCH)
    skeleton = ImageSkeleton(
        image_shape=data.image_shape, classes=10, cells=1, channels=8, width=0.25
    )
    arch = space.sample(np.random.default_rng(0))
    network = image.build_for_search(space, arch, skeleton, recipe, 0)
    train = image.EpochLoop(network, data, recipe, 0).run
    order = tf.reshape(tf.range(STEPS * BATCH), [STEPS, BATCH])
    return lambda: train(order, tf.fill([STEPS], 0.01), 0)


def language_steps():
    """A function that trains the small LSTM on 20 batches of 20 steps."""
    import numpy as np
    from language import SIZES, WORDS, ours

    units, steps = SIZES["small"]
    tokens = np.random.default_rng(0).integers(0, WORDS, 20 * (20 * steps + 1)).astype(np.int32)
    return ours(tokens, units, steps)


def work() -> None:
    """Prints processor seconds of a turn at a name, for every name that it reads."""
    runs = {}
    for line in sys.stdin:
        name = line.strip()
        if name not in runs:
            runs[name] = language_steps() if name == "lstm" else image_steps(name)
            runs[name]()  # traces
        began = time.process_time()
        runs[name]()
        print(time.process_time() - began, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.work:
        work()
        return
    one = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS"), "1")
    workers = {
        way: subprocess.Popen(
            [sys.executable, __file__, "--work"],
            env=os.environ | one | {"TF_ENABLE_ONEDNN_OPTS": way, "TF_CPP_MIN_LOG_LEVEL": "3"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for way in WAYS
    }  # fmt: skip
    print(f"{'':12} {'oneDNN s':>9} {'without s':>10} {'ratio':>6}")
    for name in args.only:
        seconds: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(args.rounds):
            for way, worker in workers.items():
                worker.stdin.write(name + "\n")
                worker.stdin.flush()
                seconds[way].append(float(worker.stdout.readline()))
        with_it, without = (statistics.median(seconds[way]) for way in WAYS)
        print(f"{name:12} {with_it:9.2f} {without:10.2f} {with_it / without:6.2f}", flush=True)
    for worker in workers.values():
        worker.stdin.close()
        worker.wait()


if __name__ == "__main__":
    main()
