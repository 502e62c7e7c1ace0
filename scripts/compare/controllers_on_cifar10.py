"""Compares random search, regularized evolution and PPO on NASNet's cells and real CIFAR-10.

    python scripts/compare/controllers_on_cifar10.py       about twenty minutes of one core
    python scripts/compare/controllers_on_cifar10.py --dataset digits --trials 4 --epochs 1
                                                           a few minutes: does it run

The budget is a CPU's. Each controller searches once from each seed with the same number of
candidates; the best of each search is retrained from scratch on train + validation and tested once.
All of it is `nas search`, one process after another with one TensorFlow thread. The script prints
mean and standard deviation over the seeds, of the best validation accuracy and of the test accuracy
after retraining. Cells of 3 nodes (the paper: 5), evolution's population and PPO's batch are cut to
the budget: with the papers' values, a search this short would be random sampling.

Needs CIFAR-10 (`nas data prepare cifar10`). The same command again does only what is missing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
)
CONTROLLERS: dict[str, list[str]] = {
    "random": [],
    "regularized_evolution": ["controller.population_size=4", "controller.sample_size=2"],
    "ppo": ["controller.batch_size=4"],
}
RECIPE = ["batch_size=32", "learning_rate=0.05"]
CROPS = ["pad_crop=4", "flip=true"]


def command(controller: str, seed: int, args: argparse.Namespace) -> list[str]:
    words = [
        *(f"controller={controller}", *CONTROLLERS[controller], f"seed={seed}"),
        *("space=nasnet", "space.nodes=3", "reward=accuracy", "executor=serial"),
        *("skeleton.channels=4", "retrain.skeleton.cells=1", "retrain.skeleton.channels=4"),
        *(f"recipe.{word}" for word in RECIPE),
        *(f"retrain.recipe.{word}" for word in RECIPE),
        f"recipe.epochs={args.epochs}",
        f"retrain.recipe.epochs={args.retrain_epochs}",
        f"max_trials={args.trials}",
        f"run_dir={folder(controller, seed, args)}",
    ]
    if args.dataset == "cifar10":
        words += ["dataset=cifar10", "dataset.train_size=2000", "dataset.valid_size=1000"]
        words += ["recipe=cifar", *(f"retrain.recipe.{word}" for word in CROPS)]
    return [sys.executable, "-m", "nas", "search", *words]


def folder(controller: str, seed: int, args: argparse.Namespace) -> Path:
    return args.out / f"{controller}_{seed}"


def mean_sd(values: list[float]) -> str:
    spread = f" +- {100 * statistics.stdev(values):.2f}" if len(values) > 1 else ""
    return f"{100 * statistics.fmean(values):.2f}{spread} (n = {len(values)})"


def show(args: argparse.Namespace) -> None:
    for controller in CONTROLLERS:
        places = [folder(controller, seed, args) / "summary.json" for seed in range(args.seeds)]
        runs = [json.loads(place.read_text()) for place in places if place.exists()]
        runs = [run for run in runs if run["retrained"]]
        if runs:
            valid = mean_sd([run["best"]["metrics"]["valid_accuracy"] for run in runs])
            test = mean_sd([run["retrained"]["test_accuracy"] for run in runs])
            parameters = statistics.fmean(run["retrained"]["parameters"] for run in runs)
            candidates = sum(run["trials"] for run in runs)
            failed = sum(run["failed"] for run in runs)
            print(
                f"{controller:22} validation {valid:26} test {test:26} "
                f"parameters {parameters:,.0f}, {candidates} candidates, {failed} failed"
            )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=("cifar10", "digits"), default="cifar10")
    parser.add_argument("--trials", type=int, default=12, help="candidates of each search")
    parser.add_argument("--epochs", type=int, default=1, help="of each candidate")
    parser.add_argument("--retrain-epochs", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=3, help="so many, from 0")
    parser.add_argument("--out", type=Path, default=Path("runs/compare_on_cifar10"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    for seed in range(args.seeds):
        for controller in CONTROLLERS:
            print(f"{controller}, seed {seed}", flush=True)
            words = command(controller, seed, args)
            done = subprocess.run(words, env=os.environ | ONE_THREAD, check=False)
            if done.returncode:
                return done.returncode
    show(args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
