"""A search to be killed from outside: python tests/helpers/killable_search.py RUN_DIR WORKERS."""

import sys
import time
from pathlib import Path

from nas.controllers.regularized_evolution import RegularizedEvolution
from nas.core.space import Decision, Space
from nas.engine.executors import ProcessExecutor, SerialExecutor
from nas.engine.search import search
from nas.engine.store import Store

TRIALS = 60


class Bits(Space):
    decisions = tuple(Decision(f"bit{i}", (0, 1)) for i in range(16))


def evaluate(trial_id, proposal):
    """Half of the time inside a trial, half between them; leaves one line per finished call."""
    time.sleep(0.01)
    with open(Path(sys.argv[1]).parent / "calls.txt", "a") as calls:
        calls.write(f"{trial_id}\n")
    return {"score": sum(proposal.arch) / 16, "seconds": 1.0}


def score(metrics):
    return metrics["score"]


def main():
    run_dir, workers = Path(sys.argv[1]), int(sys.argv[2])
    controller = RegularizedEvolution(Bits(), seed=0, population_size=8, sample_size=4)
    executor = SerialExecutor() if workers == 1 else ProcessExecutor(workers=workers)
    with Store(run_dir) as store, executor:
        print("ready", flush=True)
        search(controller, evaluate, score, store, executor, max_trials=TRIALS)


if __name__ == "__main__":
    main()
