"""Measures a step of a supernet against the same random architectures built statically.

    python scripts/bench/supernet.py                      about ten minutes on 2 cores
    python scripts/bench/supernet.py --space enas_macro --channels 36 --batch 128 --archs 5

Both sides do a whole training step (augmentation, loss, gradients, clipping, momentum, weight
decay) on the same batch shape, --steps steps a call, in turns. The time of a side is that of its
fastest call, because other users of the machine only ever add time: by wall time, and by the CPU
time of all cores, which others disturb less. The supernet must not be traced again after its first
step. The script prints each ratio, their geometric mean and largest, and the first call of both
sides, which traces.
"""

import nas.onednn  # noqa: F401  it comes before TensorFlow

# isort: split
import argparse
import math
import statistics
import time
from typing import NamedTuple

import keras
import numpy as np

from nas.core.skeleton import ImageSkeleton
from nas.data.images import make_image_data
from nas.oneshot.image_weights import ImageWeights
from nas.search_spaces.papers.darts.space import DARTS
from nas.search_spaces.papers.enas_macro.space import ENASMacro
from nas.search_spaces.papers.enas_micro.space import ENASMicro
from nas.search_spaces.papers.nasbench201.space import NASBench201, to_string
from nas.training import devices
from nas.training import loop as image
from nas.training.recipe import Recipe


def choices(arch) -> str:
    return " ".join(map(str, arch))


SPACES = {
    "nasbench201": (NASBench201, to_string),
    "enas_macro": (ENASMacro, choices),
    "enas_micro": (ENASMicro, choices),
    "darts": (DARTS, choices),
}
CLOCKS = time.perf_counter, time.process_time  # the wall's, and all cores'


class Times(NamedTuple):
    wall: float
    cores: float


def main() -> None:
    args = arguments()
    make_space, named = SPACES[args.space]
    space, rng = make_space(), np.random.default_rng(args.seed)
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
    shared = ImageWeights(space, skeleton, data, recipe, seed=0, batch_statistics=True)
    order = np.resize(np.arange(len(data.train_images)), [args.steps, args.batch])
    rates = np.full(args.steps, 0.01, np.float32)
    first = clocked(lambda: shared.train(order, rates, [space.sample(rng)] * args.steps, 0)).wall
    print(f"supernet: first call {first:.1f} s, of which most is the trace")
    one = f"{'static':>9} {'supernet':>9}  ratio"
    print(f"{'wall, ms a step':^26}  {'all cores, ms a step':^26}\n{one} {one}  static trace")

    ratios: list[list[float]] = []
    for _ in range(args.archs):
        arch = space.sample(rng)
        model = image.build(space, arch, skeleton, recipe, seed=0)
        epoch = image.EpochLoop(model, data, recipe, seed=0).run
        start = clocked(lambda epoch=epoch: epoch(order.astype(np.int32), rates, 0)).wall
        ways = {
            "static": lambda epoch=epoch: epoch(order.astype(np.int32), rates, 0),
            "supernet": lambda arch=arch: shared.train(order, rates, [arch] * args.steps, 0),
        }
        taken: dict[str, list[Times]] = {way: [] for way in ways}
        for _ in range(args.repeats):
            for way, call in ways.items():
                taken[way].append(clocked(call))
        # [static, supernet] by each clock, ms a step
        best = [[1000 / args.steps * min(t[k] for t in taken[way]) for way in ways] for k in (0, 1)]
        ratios.append([supernet / static for static, supernet in best])
        said = " ".join(f"{a:9.1f} {b:9.1f}  {b / a:5.3f}" for a, b in best)
        print(f"{said}  {start:8.1f} s    {named(arch)}", flush=True)
        keras.backend.clear_session()
    for clock, of_clock in zip(("wall", "all cores"), zip(*ratios, strict=True), strict=True):
        mean = math.exp(statistics.fmean(map(math.log, of_clock)))
        print(f"ratio, {clock}: geometric mean {mean:.3f}, largest {max(of_clock):.3f}; bar 1.15")
    print(f"traces of the supernet: {shared.epoch_graph.experimental_get_tracing_count()}")


def clocked(call) -> Times:
    starts = [clock() for clock in CLOCKS]
    call()
    return Times(*(clock() - start for clock, start in zip(CLOCKS, starts, strict=True)))


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
    return parser.parse_args()


if __name__ == "__main__":
    main()
