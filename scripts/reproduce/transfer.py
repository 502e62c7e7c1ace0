"""Transfers a controller from other data sets of NAS-Bench-201 to CIFAR-10.

Its rival is the same controller from random weights (Wong et al. 2018, arXiv:1803.02780):

    NASBENCH201_NPZ=table.npz python scripts/reproduce/transfer.py --seeds 20
    ... --others cifar100 imagenet16_120      if the table has both

The script prints the best 12-epoch validation accuracy on CIFAR-10 after given numbers of trials,
mean and standard deviation over seeds, and the number of seeds at which the transferred controller
is ahead.
"""

import argparse
import time

import numpy as np

from nas.benchmarks.tables.nasbench201 import NASBench201Table
from nas.benchmarks.tables.nasbench201_tasks import NASBench201Tasks
from nas.controllers.transfer import Transfer
from nas.engine.executors import SerialExecutor
from nas.engine.search import search
from nas.engine.store import Unsaved
from nas.search_spaces.papers.nasbench201.space import NASBench201


def best_so_far(controller, evaluate, trials: int) -> np.ndarray:
    """[trials], in per cent."""
    done = search(
        controller,
        evaluate,
        lambda metrics: metrics["valid_accuracy"],
        Unsaved(),
        Batches(),
        max_trials=trials,
    )
    return 100 * np.maximum.accumulate([trial.reward for trial in done])


class Batches(SerialExecutor):
    """In this process, but asks for some at a time: a batch costs hardly more than one."""

    workers = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--before", type=int, default=200, help="trials on those")
    parser.add_argument("--others", nargs="+", default=["cifar100"], help="learnt before")
    parser.add_argument("--trials", type=int, default=100, help="on CIFAR-10")
    options = parser.parse_args()
    space, start = NASBench201(), time.perf_counter()
    others, cifar10 = NASBench201Tasks(space, datasets=options.others), NASBench201Table(space)
    curves: dict[str, list[np.ndarray]] = {"random weights": [], "transferred": []}
    for seed in range(options.seeds):
        learnt = Transfer(space, seed=seed, tasks=len(options.others))
        best_so_far(learnt, others, options.before)
        for name, curve in curves.items():
            controller = Transfer(space, seed=1000 + seed)
            if name == "transferred":
                controller.take_over(learnt.state())
            curve.append(best_so_far(controller, cifar10, options.trials))
    print(f"{'trials':>6}  " + "  ".join(f"{name:>16}" for name in curves) + "  seeds ahead")
    for count in (1, 5, 10, 20, 50, 100, 200):
        if count <= options.trials:
            at = {name: np.array(curve)[:, count - 1] for name, curve in curves.items()}
            columns = [f"{v.mean():>9.2f} ± {v.std(ddof=1):4.2f}" for v in at.values()]
            ahead = int((at["transferred"] > at["random weights"]).sum())
            print(f"{count:>6}  " + "  ".join(columns) + f"  {ahead} of {options.seeds}")
    print(f"{time.perf_counter() - start:.0f} seconds")


if __name__ == "__main__":
    main()
