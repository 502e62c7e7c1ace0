"""Measures what the engine adds to a trial: controller and store, and a real but tiny candidate.

    python scripts/bench/overhead.py [--table-trials 10000] [--candidates 100] [--cpu]

The script prints milliseconds a trial of regularized evolution with an evaluator as fast as a
table, at the start and at the end of a long search with the durable store. Then it prints the
seconds that a real candidate on the digits costs beyond its training steps.
"""

import nas.onednn  # noqa: F401  it comes before TensorFlow

# isort: split
import argparse
import tempfile
import time
from pathlib import Path

import numpy as np

from nas.controllers.regularized_evolution import RegularizedEvolution
from nas.engine.executors import SerialExecutor
from nas.engine.search import search
from nas.engine.store import Store
from nas.evaluators.common import LoadedOnce
from nas.search_spaces.papers.nasbench201.space import NASBench201


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--table-trials", type=int, default=10_000)
    parser.add_argument("--candidates", type=int, default=100)
    parser.add_argument(
        "--cpu",
        action="store_true",
        help="CPU seconds, which others on the machine do not lengthen",
    )
    args = parser.parse_args()
    if args.cpu:
        time.perf_counter = time.process_time  # nas reads this clock too
    table(args.table_trials)
    if args.candidates:
        candidates(args.candidates)


def table(trials: int) -> None:
    rewards = np.random.default_rng(0).random(5**6)

    def evaluate(trial_id, proposal):
        index = 0
        for choice in proposal.arch:
            index = 5 * index + choice
        return {"valid_accuracy": float(rewards[index]), "seconds": 1.0}

    moments = [time.perf_counter()]
    with tempfile.TemporaryDirectory() as folder, Store(folder) as store:
        search(
            RegularizedEvolution(NASBench201(), seed=0),
            evaluate,
            lambda metrics: metrics["valid_accuracy"],
            store,
            SerialExecutor(),
            max_trials=trials,
            on_trial=lambda trial: moments.append(time.perf_counter()),
        )
    each = 1000 * np.diff(moments)  # milliseconds
    last = len(each) - 100
    print(f"controller + durable store, {trials} trials: {each.mean():.3f} ms a trial")
    print(f"  trials 100-200: {np.median(each[100:200]):.3f} ms (median)")
    print(f"  last 100:       {np.median(each[last:]):.3f} ms (median)")
    print(f"  ratio last / first: {np.median(each[last:]) / np.median(each[100:200]):.2f}")


def candidates(count: int) -> None:
    """The candidates of `nas search` with its defaults, four epochs each."""
    import nas.benchmarks.images.digits
    from nas.core.skeleton import ImageSkeleton
    from nas.core.trial import Proposal
    from nas.evaluators.scratch import TrainFromScratch
    from nas.search_spaces.papers.zoph2017 import ZophConv
    from nas.training import loop as image
    from nas.training.recipe import Recipe

    space, fit, trainings = ZophConv(), image.fit, []

    def timed_fit(*args, **kwargs):
        start = time.perf_counter()
        history = fit(*args, **kwargs)
        trainings.append((time.perf_counter() - start, history["seconds"]))
        return history

    image.fit = timed_fit
    evaluate = TrainFromScratch(
        space=space,
        dataset=LoadedOnce(nas.benchmarks.images.digits.load),
        skeleton=lambda **data: ImageSkeleton(width=0.25, **data),
        recipe=Recipe(epochs=4, batch_size=64, weight_decay=5e-4, pad_crop=1),
        seed=0,
    )
    rng = np.random.default_rng(0)
    evaluate(0, Proposal(space.sample(rng)))  # loads the data, warms TensorFlow up
    beyond_steps, beyond_fit, memory = [], [], [resident()]
    for i in range(count):
        start = time.perf_counter()
        evaluate(i, Proposal(space.sample(rng)))
        taken = time.perf_counter() - start
        training, epochs = trainings[-1]
        # The first epoch traces; what its steps took is what the later epochs took.
        beyond_steps.append(taken - len(epochs) * float(np.median(epochs[1:])))
        beyond_fit.append(taken - training)
        memory.append(resident())
    print(f"a real tiny candidate, seconds on average over {count} (median):")
    for what, seconds in (
        ("beyond its training steps (building, tracing, validating)", beyond_steps),
        ("beyond its training, tracing included there", beyond_fit),
    ):
        print(f"  {what}: {np.mean(seconds):.3f} ({np.median(seconds):.3f})")
    print(f"  growth of the process: {(memory[-1] - memory[0]) / count:.2f} MB a candidate")


def resident() -> float:
    """Megabytes of this process in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


if __name__ == "__main__":
    main()
