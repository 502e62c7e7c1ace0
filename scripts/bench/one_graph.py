"""Measures what a candidate costs beyond its training steps if one graph trains all, on digits.

    python scripts/bench/one_graph.py [CANDIDATES]

The candidates are random NAS-Bench-201 cells with the defaults of `nas search`, trained by
nas/evaluators/one_graph.py. Fifty are trained twice, for E and for 2 E epochs: 2 t(E) - t(2 E) is
the time that does not depend on the number of steps. The script counts CPU seconds, because a busy
machine changes them less than wall time. Then it trains CANDIDATES for one epoch on few images and
watches the memory of the process.
"""

import nas.onednn  # noqa: F401  it comes before TensorFlow

# isort: split
import argparse
import functools
import gc
import statistics
import time
from pathlib import Path

import numpy as np

import nas.benchmarks.images.digits
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import Proposal
from nas.evaluators.one_graph import TrainWithOneGraph
from nas.search_spaces.papers.nasbench201.space import NASBench201
from nas.training.recipe import Recipe

EPOCHS, TIMED = 2, 50
FEW = 128  # images
WARM = 30  # candidates before memory is measured: first calls allocate


def megabytes() -> float:
    """Resident memory of this process, MB."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * 4096 / 2**20


def evaluator(space: NASBench201, epochs: int, train_size: int | None) -> TrainWithOneGraph:
    return TrainWithOneGraph(
        space=space,
        dataset=functools.partial(nas.benchmarks.images.digits.load, train_size=train_size),
        skeleton=functools.partial(ImageSkeleton, cells=1, channels=8),
        recipe=Recipe(epochs=epochs),
        seed=0,
    )


def beyond_the_steps(space: NASBench201, rng: np.random.Generator) -> float:
    """Median CPU seconds of a candidate that are not training steps."""
    evaluate = evaluator(space, EPOCHS, None)
    start = time.perf_counter()
    evaluate(0, Proposal(space.sample(rng)))
    print(f"first candidate, with the trace: {time.perf_counter() - start:.1f} s")
    beyond = []
    for i in range(TIMED):
        arch, seconds = space.sample(rng), []
        for epochs in (EPOCHS, 2 * EPOCHS):
            before = time.process_time()
            evaluate(i, Proposal(arch, epochs=epochs))
            seconds.append(time.process_time() - before)
        beyond.append(2 * seconds[0] - seconds[1])
    return statistics.median(beyond)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("candidates", nargs="?", type=int, default=300, metavar="CANDIDATES")
    candidates = parser.parse_args().candidates
    space, rng = NASBench201(), np.random.default_rng(0)
    seconds = beyond_the_steps(space, rng)
    print(f"beyond the steps: {seconds * 1000:.0f} ms a candidate (median of {TIMED})", flush=True)
    evaluate, memory = evaluator(space, 1, FEW), []
    for i in range(candidates):
        evaluate(i, Proposal(space.sample(rng)))
        gc.collect()
        memory.append(megabytes())
        if i % 200 == 199:
            print(f"{i + 1} candidates, {memory[-1]:.0f} MB", flush=True)
    slope = (memory[-1] - memory[WARM]) / (candidates - 1 - WARM)
    print(f"memory: {slope:+.4f} MB a candidate over the last {candidates - 1 - WARM}")


if __name__ == "__main__":
    main()
