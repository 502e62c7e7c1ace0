"""Regularized evolution on a table in memory: our trials a second against PyGlove's, one run.

    python scripts/bench_peers.py --pyglove ENVIRONMENT/bin/python [--trials 2000]

PyGlove (`pip install pyglove`) lives in an environment of its own, as its users install it. Both
have the same table of 15,625 made-up rewards (6 decisions of 5 choices), population 100 and samples
of 10. Ours runs twice: in memory, as PyGlove does, and with the store that survives kill -9.
"""

import argparse
import subprocess
import tempfile
import time

import numpy as np

from controllers.evolution import RegularizedEvolution
from nas.executors import SerialExecutor
from nas.search import search
from nas.store import Store, Unsaved
from search_spaces.base import Decision, Space

PYGLOVE = """
import sys, time
import numpy as np
import pyglove as pg
from pyglove.ext import evolution

rewards = np.random.default_rng(0).random(5 ** 6)
space = pg.Dict(**{f"edge{i}": pg.oneof(list(range(5))) for i in range(6)})
algorithm = evolution.regularized_evolution(population_size=100, tournament_size=10, seed=0)
trials = int(sys.argv[1])
start = time.perf_counter()
for example, feedback in pg.sample(space, algorithm, trials):
    index = 0
    for i in range(6):
        index = 5 * index + example[f"edge{i}"]
    feedback(float(rewards[index]))
print(trials / (time.perf_counter() - start))
"""


class Cells(Space):
    decisions = tuple(Decision(f"edge{i}", tuple(range(5))) for i in range(6))


def ours(trials: int, store) -> float:
    """Trials a second."""
    rewards = np.random.default_rng(0).random(5**6)

    def evaluate(trial_id, proposal):
        index = 0
        for choice in proposal.arch:
            index = 5 * index + choice
        return {"accuracy": float(rewards[index]), "seconds": 1.0}

    controller = RegularizedEvolution(Cells(), seed=0, population_size=100, sample_size=10)
    start = time.perf_counter()
    search(
        controller,
        evaluate,
        lambda metrics: metrics["accuracy"],
        store,
        SerialExecutor(),
        max_trials=trials,
    )
    return trials / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pyglove", required=True, help="the python of PyGlove's environment")
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    speeds: dict[str, list[float]] = {"PyGlove": [], "ours": [], "ours, durable": []}
    for _ in range(args.repeats):
        command = [args.pyglove, "-c", PYGLOVE, str(args.trials)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        speeds["PyGlove"].append(float(done.stdout.split()[-1]))
        speeds["ours"].append(ours(args.trials, Unsaved()))
        with tempfile.TemporaryDirectory() as folder, Store(folder) as store:
            speeds["ours, durable"].append(ours(args.trials, store))
    medians = {who: float(np.median(values)) for who, values in speeds.items()}
    for who, speed in medians.items():
        print(f"{who:14} {speed:10.0f} trials a second   {speed / medians['PyGlove']:7.1f}")


if __name__ == "__main__":
    main()
