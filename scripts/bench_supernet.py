"""A step of a supernet for random architectures against the same architectures built statically.

    python scripts/bench_supernet.py                      about ten minutes on 2 cores
    python scripts/bench_supernet.py --space enas_macro --channels 36 --batch 128 --archs 5
    python scripts/bench_supernet.py --clock cpu          on a machine that others use as well

Both do a whole training step (augmentation, loss, gradients, clipping, momentum, weight decay) on
the same batch shape, as many steps a call as --steps, side by side in turn; the time of each is its
fastest call's, as other users of the machine only ever add. The supernet must not be traced again
after its first step. Prints each ratio, their geometric mean and largest, and both first calls,
which trace.
"""

import argparse
import math
import statistics
import time

import keras
import numpy as np

from nas import devices, image
from nas.data import make_image_data
from nas.oneshot_graph import SharedWeights
from nas.recipe import Recipe
from nas.skeleton import ImageSkeleton
from search_spaces.darts import DARTS
from search_spaces.enas_macro import ENASMacro
from search_spaces.enas_micro import ENASMicro
from search_spaces.nasbench201 import NASBench201, to_string


def choices(arch) -> str:
    return " ".join(map(str, arch))


SPACES = {
    "nasbench201": (NASBench201, to_string),
    "enas_macro": (ENASMacro, choices),
    "enas_micro": (ENASMicro, choices),
    "darts": (DARTS, choices),
}
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}


def main() -> None:
    args = arguments()
    make_space, named = SPACES[args.space]
    space, rng = make_space(), np.random.default_rng(args.seed)
    clock = CLOCKS[args.clock]
    count = max(args.batch * args.steps, 20)
    images = rng.integers(0, 256, [count + 20, args.size, args.size, 3], dtype=np.uint8)
    data = make_image_data(
        "random", images, np.arange(len(images)) % 10, class_names=tuple("0123456789"),
        valid_size=10, test_size=10,
    )  # fmt: skip
    recipe = Recipe(
        epochs=100, batch_size=args.batch, weight_decay=5e-4, clip_norm=5.0, pad_crop=4, flip=True
    )
    skeleton = ImageSkeleton(
        image_shape=data.image_shape, classes=10, cells=args.cells, channels=args.channels,
        form="search",
    )  # fmt: skip
    devices.prepare()
    shared = SharedWeights(space, skeleton, data, recipe, seed=0, batch_statistics=True)
    order = np.resize(np.arange(len(data.train_images)), [args.steps, args.batch])
    rates = np.full(args.steps, 0.01, np.float32)
    first = clocked(
        time.perf_counter, lambda: shared.train(order, rates, [space.sample(rng)] * args.steps, 0)
    )
    print(f"supernet: first call {first:.1f} s, of which most is the trace")
    print(f"{'static':>9} {'supernet':>9}  ratio  static trace   architecture (ms a step)")

    ratios = []
    for _ in range(args.archs):
        arch = space.sample(rng)
        model = image.build(space, arch, skeleton, recipe, seed=0)
        epoch = image.make_epoch(model, data.train_images, data.train_labels, data, recipe, seed=0)
        start = clocked(
            time.perf_counter, lambda epoch=epoch: epoch(order.astype(np.int32), rates, 0)
        )
        ways = {
            "static": lambda epoch=epoch: epoch(order.astype(np.int32), rates, 0),
            "supernet": lambda arch=arch: shared.train(order, rates, [arch] * args.steps, 0),
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(args.repeats):
            for way, call in ways.items():
                taken[way].append(clocked(clock, call) / args.steps)
        static, supernet = (1000 * min(taken[way]) for way in ways)
        ratios.append(supernet / static)
        print(
            f"{static:9.1f} {supernet:9.1f}  {ratios[-1]:5.3f}  {start:8.1f} s   {named(arch)}",
            flush=True,
        )
        keras.backend.clear_session()
    traces = shared.epoch_graph.experimental_get_tracing_count()
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    print(f"ratio: geometric mean {mean:.3f}, largest {max(ratios):.3f}; bar 1.15; traces {traces}")


def clocked(clock, call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--space", choices=SPACES, default="nasbench201")
    parser.add_argument("--cells", type=int, default=1, help="of a stage")
    parser.add_argument("--channels", type=int, default=16, help="of the first stage")
    parser.add_argument("--size", type=int, default=32, help="pixels of a side")
    parser.add_argument("--batch", type=int, default=64, help="images")
    parser.add_argument("--steps", type=int, default=3, help="of a call")
    parser.add_argument("--archs", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=7, help="calls of each")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="seconds of all cores: cpu")
    return parser.parse_args()


if __name__ == "__main__":
    main()
