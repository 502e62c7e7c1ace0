"""Measures long searches: milliseconds a trial as a search grows, and what its store costs.

    python scripts/bench/scale.py [--trials 100000] [--controllers random ...] [--cpu]

The script searches a space of 12 decisions with 5 choices each, whose rewards cost nothing, with
the durable store. It prints, for each controller, the milliseconds of a trial in the thousand
trials that end at 1,000, 10,000 and 100,000, the part of them that the controller's own `ask` and
`tell` take, the size of the store, and the seconds until it is open and the controller has its
state back.
"""

import argparse
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import nas
from nas.core.trial import Proposal, Trial
from nas.engine.executors import SerialExecutor
from nas.engine.search import search
from nas.engine.store import Store
from nas.experiment.search import _controller

CHEAP = (
    *("random", "regularized_evolution", "tournament", "local_search", "q_learning"),
    *("reinforce_softmax", "one_plus_lambda", "genetic"),
)
WINDOW = 1000


class Wide(nas.Space):
    decisions = tuple(nas.Decision(f"d{i}", tuple(range(5))) for i in range(12))


class Timed:
    """A controller whose `ask` and `tell` are timed: `own` holds the seconds so far."""

    def __init__(self, controller: Any):
        self.controller, self.own = controller, 0.0
        self.state, self.load_state = controller.state, controller.load_state

    def ask(self, n: int) -> list[Proposal]:
        begun = time.perf_counter()
        proposals = self.controller.ask(n)
        self.own += time.perf_counter() - begun
        return proposals

    def tell(self, trials: Sequence[Trial]) -> None:
        begun = time.perf_counter()
        self.controller.tell(trials)
        self.own += time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=100_000)
    parser.add_argument("--controllers", nargs="+", default=CHEAP)
    parser.add_argument(
        "--cpu",
        action="store_true",
        help="CPU seconds, which others on the machine do not lengthen",
    )
    args = parser.parse_args()
    if args.cpu:
        time.perf_counter = time.monotonic = time.process_time  # nas reads these clocks too
    ends = [end for end in (1_000, 10_000, 100_000) if end <= args.trials]
    print("controller".ljust(24), *(f"at {end:,}: ms (own)".rjust(24) for end in ends), end="")
    print("store".rjust(10), "reopened".rjust(10))
    for name in args.controllers:
        measure(name, args.trials, ends)


def measure(name: str, max_trials: int, ends: list[int]) -> None:
    values = np.random.default_rng(0).normal(size=(12, 5)).tolist()
    controller = Timed(_controller(name, Wide(), 0, max_trials))
    moments, own = [], []

    def evaluate(trial_id: int, proposal: Proposal) -> dict[str, float]:
        moments.append(time.perf_counter())
        own.append(controller.own)
        reward = sum(row[choice] for row, choice in zip(values, proposal.arch, strict=True))
        return {"reward": reward, "seconds": 1.0}

    with tempfile.TemporaryDirectory() as folder:
        with Store(folder) as store:
            search(
                controller, evaluate, lambda metrics: metrics["reward"], store, SerialExecutor(),
                max_trials=max_trials,
            )  # fmt: skip
        size = sum(path.stat().st_size for path in Path(folder).iterdir())
        begun = time.perf_counter()
        with Store(folder) as store:
            again = _controller(name, Wide(), 0, max_trials)
            again.load_state(store.controller_state()["controller"])
            count = len(store.trials())
        reopened = time.perf_counter() - begun
    print(name.ljust(24), end=" ")
    for end in ends:
        if end > count:
            print("-".rjust(24), end=" ")
            continue
        first, last = end - WINDOW, min(end, len(moments) - 1)
        trial = 1000 * (moments[last] - moments[first]) / (last - first)
        part = 1000 * (own[last] - own[first]) / (last - first)
        print(f"{trial:.3f} ({part:.3f})".rjust(24), end=" ")
    print(f"{size / 1e6:.1f} MB".rjust(10), f"{reopened:.2f} s".rjust(10), flush=True)


if __name__ == "__main__":
    main()
