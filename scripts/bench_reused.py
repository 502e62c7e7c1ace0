"""What a candidate costs beyond its steps where one graph trains all (nas/reused.py), on digits.

    python scripts/bench_reused.py [CANDIDATES]

Random cells of NAS-Bench-201 with the defaults of `nas search`. Each is trained twice, for E and
for 2 E epochs: what the two have in common, 2 t(E) - t(2 E), is not steps. Seconds of the processor
are counted, which a busy machine changes less than it does the clock's.
"""

import functools
import gc
import statistics
import sys
import time
from pathlib import Path

import numpy as np

import benchmarks.digits
from nas.recipe import Recipe
from nas.reused import TrainWithOneGraph
from nas.skeleton import ImageSkeleton
from nas.trial import Proposal
from search_spaces.nasbench201 import NASBench201

EPOCHS = 2
WARM = 30  # candidates whose memory is that of the first calls


def megabytes() -> float:
    """That this process holds."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096 / 2**20


def main(candidates: int) -> None:
    space, rng = NASBench201(), np.random.default_rng(0)
    evaluate = TrainWithOneGraph(
        space=space,
        dataset=benchmarks.digits.load,
        skeleton=functools.partial(ImageSkeleton, cells=1, channels=8),
        recipe=Recipe(epochs=EPOCHS),
        seed=0,
    )
    start = time.perf_counter()
    evaluate(0, Proposal(space.sample(rng)))
    print(f"first candidate, with the trace: {time.perf_counter() - start:.1f} s of the clock")
    beyond, memory = [], []
    for i in range(candidates):
        arch, seconds = space.sample(rng), []
        for epochs in (EPOCHS, 2 * EPOCHS):
            before = time.process_time()
            evaluate(i, Proposal(arch, epochs=epochs))
            seconds.append(time.process_time() - before)
        beyond.append(2 * seconds[0] - seconds[1])
        gc.collect()
        memory.append(megabytes())
        if i % 50 == 49:
            print(f"{i + 1} candidates, {memory[-1]:.0f} MB", flush=True)
    print(f"beyond the steps: {statistics.median(beyond) * 1000:.0f} ms a candidate (median)")
    slope = (memory[-1] - memory[WARM]) / (2 * (candidates - WARM))
    print(f"memory: {slope:+.4f} MB a training over the last {2 * (candidates - WARM)}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 300)
