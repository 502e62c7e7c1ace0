"""Measures regularized evolution on a table: trials a second of nas, PyGlove and NNI, in one run.

    python scripts/bench/peers.py --pyglove PYTHON --nni PYTHON [--trials 1000]

Each PYTHON belongs to its own environment, installed as users of that package do (`pip install
pyglove`; `pip install nni torch pytorch_lightning`). All sides search the same table of 15,625
random rewards (6 decisions of 5 choices), with population 100 and samples of 10. PyGlove and NNI
keep trials in memory; nas runs in memory too, and once more with the store that survives kill -9.
NNI runs its sequential engine without its training service, and a network that has nothing but its
choices.
"""

import argparse
import subprocess
import tempfile
import time

import numpy as np

from nas.controllers.regularized_evolution import RegularizedEvolution
from nas.core.space import Decision, Space
from nas.engine.executors import SerialExecutor
from nas.engine.search import search
from nas.engine.store import Store, Unsaved

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

NNI = """
import logging, sys, time, warnings
warnings.simplefilter("ignore")
import numpy as np
import nni
from nni.nas.evaluator import FunctionalEvaluator
from nni.nas.execution import SequentialExecutionEngine
from nni.nas.nn.pytorch import ModelSpace
from nni.nas.space import RawFormatModelSpace
from nni.nas.strategy import RegularizedEvolution

logging.disable(logging.CRITICAL)
rewards = np.random.default_rng(0).random(5 ** 6)

class Cells(ModelSpace):
    def __init__(self):
        super().__init__()
        for i in range(6):
            self.add_mutable(nni.choice(f"edge{i}", list(range(5))))

    def freeze(self, sample):
        frozen = Cells()
        frozen.edges = [choice for _, choice in sorted(sample.items())]
        return frozen

calls = []

def evaluate(model):
    index = 0
    for choice in model.edges:
        index = 5 * index + choice
    calls.append(index)
    nni.report_final_result(float(rewards[index]))

space = RawFormatModelSpace.from_model(Cells(), FunctionalEvaluator(evaluate))
engine = SequentialExecutionEngine(max_model_count=int(sys.argv[1]))
start = time.perf_counter()
RegularizedEvolution(population_size=100, sample_size=10, dedup=False)(space, engine)
print(len(calls) / (time.perf_counter() - start))
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


def theirs(python: str, code: str, trials: int) -> float:
    """Trials a second, as `code` prints it."""
    command = [python, "-c", code, str(trials)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pyglove", required=True, help="the python of PyGlove's environment")
    parser.add_argument("--nni", required=True, help="the python of NNI's environment")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    speeds: dict[str, list[float]] = {
        "PyGlove": [],
        "NNI": [],
        "ours": [],
        "ours, durable": [],
    }
    for _ in range(args.repeats):
        speeds["PyGlove"].append(theirs(args.pyglove, PYGLOVE, args.trials))
        speeds["NNI"].append(theirs(args.nni, NNI, args.trials))
        speeds["ours"].append(ours(args.trials, Unsaved()))
        with tempfile.TemporaryDirectory() as folder, Store(folder) as store:
            speeds["ours, durable"].append(ours(args.trials, store))
    medians = {who: float(np.median(values)) for who, values in speeds.items()}
    for who, speed in medians.items():
        ratios = "  ".join(f"{speed / medians[peer]:7.1f} x {peer}" for peer in ("PyGlove", "NNI"))
        print(f"{who:14} {speed:8.0f} trials a second  {ratios}")


if __name__ == "__main__":
    main()
