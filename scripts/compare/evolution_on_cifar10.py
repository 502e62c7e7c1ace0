"""Three evolutionary methods, each beside random search in its space at equal seconds, CIFAR-10.

    python scripts/compare/evolution_on_cifar10.py                         over an hour of one core
    python scripts/compare/evolution_on_cifar10.py --methods genetic_cnn --seeds 0
    python scripts/compare/evolution_on_cifar10.py --seconds 20 --seeds 0  minutes: does it run

The methods are Genetic CNN, CGP-CNN and hierarchical evolution. Their spaces, rules and rates are
those of the experiments; the budget is a CPU's: few images, short trainings, narrow networks,
smaller graphs for CGP-CNN and hierarchical evolution, and populations so small that most of a
search is made by the method's own operations. The script prints
how many generations, or children of tournaments, that were. Every search gets the same seconds of
training; its best candidate is trained anew on train + validation and tested once.

All of it is `nas search`, one process after another with one TensorFlow thread. Needs CIFAR-10
(`nas data prepare cifar10`). The same command again does only what is missing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
)
POPULATION = 8


class Method(NamedTuple):
    """controller: settings of the method's controller. settings: of both searches."""

    controller: list[str]
    settings: list[str]
    steps: Callable[[int], int]  # the number of trials -> how often the method has acted
    unit: str


METHODS = {
    "genetic_cnn": Method(
        [f"controller.population_size={POPULATION}"],
        ["skeleton.width=0.5"],
        lambda trials: trials // POPULATION - 1,
        "generations",
    ),
    "cgp_cnn": Method(
        [],
        ["skeleton.width=0.125"],
        lambda trials: (trials - 1) // 2,
        "generations",
    ),
    "hierarchical": Method(
        [f"controller.population_size={POPULATION}", "controller.sample_size=2"],
        ["skeleton.channels=4"],
        lambda trials: trials - POPULATION,
        "children",
    ),
}
SMALLER_GRAPHS = {  # of both searches; each candidate's graph takes seconds to trace
    "cgp_cnn": ["columns=12", "levels_back=5", "min_active=5", "max_active=20"],
    "hierarchical": ["nodes=[3,4]", "motifs=[3,1]"],
}
SMALL = [
    *("dataset.train_size=1500", "dataset.valid_size=1000", "executor=serial", "max_trials=10000"),
    *("recipe.epochs=2", "retrain.recipe.epochs=6", "retrain.seeds=[0]", "reward.last_epochs=1"),
    *(
        f"{recipe}.{word}"
        for recipe in ("recipe", "retrain.recipe")
        for word in ("batch_size=32", "optimizer=adam", "learning_rate=0.003", "schedule=cosine")
    ),
]


def command(method: str, is_random: bool, seed: int, args: argparse.Namespace) -> list[str]:
    both = METHODS[method].settings
    retrained = [f"retrain.{word}" for word in both]
    controller = ["controller=random"] if is_random else METHODS[method].controller
    if method == "hierarchical":
        retrained.append("retrain.skeleton.cells=1")
    return [
        *(sys.executable, "-m", "nas", "search", f"experiment={method}_cifar10", *controller),
        *(*SMALL, *both, *retrained, f"seed={seed}", f"max_seconds={args.seconds}"),
        *(f"space.{word}" for word in SMALLER_GRAPHS.get(method, [])),
        f"run_dir={folder(method, is_random, seed, args)}",
    ]


def folder(method: str, is_random: bool, seed: int, args: argparse.Namespace) -> Path:
    return args.out / f"{method}_{'random' if is_random else 'evolved'}_{seed}"


def mean_sd(values: list[float]) -> str:
    spread = f" +- {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.2f}{spread} (n = {len(values)})"


def show(args: argparse.Namespace) -> None:
    print(f"\n{args.seconds:.0f} s of training each; accuracies in percent, mean +- sd over seeds")
    for name, method in METHODS.items():
        for is_random in (False, True):
            places = [folder(name, is_random, s, args) / "summary.json" for s in range(100)]
            runs = [json.loads(place.read_text()) for place in places if place.exists()]
            runs = [run for run in runs if run["retrained"]]
            if not runs:
                continue
            valid = mean_sd([run["best"]["metrics"]["valid_accuracy"] for run in runs])
            test = mean_sd([run["retrained"]["test_accuracy"] for run in runs])
            trials = statistics.fmean(run["trials"] for run in runs)
            failed = sum(run["failed"] for run in runs)
            parameters = statistics.fmean(run["best"]["metrics"]["parameters"] for run in runs)
            acted = "" if is_random else f", {method.steps(round(trials))} {method.unit}"
            print(
                f"{name:13}{'random search' if is_random else 'its method':15}"
                f"validation {valid:26} test {test:26} parameters {parameters:9,.0f}  "
                f"{trials:.0f} trials{acted}, {failed} failed"
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--seconds", type=float, default=230, help="of training in each search")
    parser.add_argument("--out", type=Path, default=Path("runs/compare_evolution"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for method in args.methods:
        for seed in args.seeds:
            for is_random in (False, True):
                words = command(method, is_random, seed, args)
                done = subprocess.run(words, env=os.environ | ONE_THREAD, check=False)
                if done.returncode:
                    return done.returncode
    show(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
