"""MetaQNN (Baker et al. 2017, arXiv:1611.02167): accuracy as epsilon falls, on the digits.

    python scripts/reproduce/metaqnn.py                  about half an hour of one core
    python scripts/reproduce/metaqnn.py --models 30 --seeds 1         a minute: does it run

Q-learning runs with a tenth of the paper's schedule: 150 architectures at epsilon 1, then 10 or 15
at each of 0.9 to 0.1. The script prints and plots the mean validation accuracy of the architectures
of each epsilon, which rises in the paper. The controller, the layers and the rules are the paper's.
Ours are the data (8x8 digits in place of CIFAR-10), five layers at most instead of 18, a quarter of
the filters, four epochs instead of 20 and batches of 32.

All of it is `nas search`, in a process with one TensorFlow thread. The same command again does only
what is missing. Writes metaqnn.png.
"""

import argparse
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

from nas.controllers.q_learning import QLearning
from nas.core.trial import Trial
from nas.engine.store import Store
from nas.report.style import BLUE, MUTED, figure_style, new_figure, save_png
from nas.search_spaces.papers.metaqnn import MetaQNN

SPACE = {"image_size": 8, "layers": 5}
RECIPE = {"epochs": 4, "batch_size": 32, "optimizer": "adam", "learning_rate": 0.003}
RECIPE |= {"schedule": "cosine", "weight_decay": 0.0}
WINDOW = 20  # architectures of the rolling mean
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
)


def search(seed: int, models: int, run_dir: Path) -> list[Trial]:
    """One search, continued where it has begun; its trials in the order of their ids."""
    words = [
        *("space=metaqnn", "controller=q_learning", "reward=accuracy", "dataset=digits"),
        *(f"space.{name}={value}" for name, value in SPACE.items()),
        *(f"recipe.{name}={value}" for name, value in RECIPE.items()),
        *("skeleton.width=0.25", "retrain=none", "executor=serial", f"seed={seed}"),
        *(f"controller.models={models}", f"max_trials={models}", f"run_dir={run_dir}"),
    ]
    command = [sys.executable, "-m", "nas", "search", *words]
    subprocess.run(command, env=os.environ | ONE_THREAD, check=True)
    with Store(run_dir, read_only=True) as store:
        return sorted(store.trials(), key=lambda trial: trial.id)


def epsilons(trials: list[Trial], models: int) -> list[float]:
    """What each architecture was chosen with: the schedule counts the unique ones before it."""
    space = MetaQNN(**SPACE)
    schedule, known, values = QLearning(space, seed=0, models=models), set(), []
    for trial in trials:
        values.append(schedule.epsilon(len(known)))
        known.add(space.key(trial.arch))
    return values


def by_epsilon(searches: list[list[Trial]], models: int) -> dict[float, list[float]]:
    """Accuracies of the trained candidates of all searches, by falling epsilon."""
    groups: dict[float, list[float]] = {}
    for trials in searches:
        for epsilon, trial in zip(epsilons(trials, models), trials, strict=True):
            if trial.reward is not None:
                groups.setdefault(epsilon, []).append(trial.reward)
    return groups


def show(groups: dict[float, list[float]]) -> None:
    print(f"\n{'epsilon':>7} {'n':>5} {'mean':>7} {'sd':>7} {'of the mean':>12}")
    for epsilon, values in groups.items():
        spread = statistics.stdev(values) if len(values) > 1 else math.nan
        print(
            f"{epsilon:7.1f} {len(values):5} {100 * statistics.fmean(values):7.2f} "
            f"{100 * spread:7.2f} {100 * spread / math.sqrt(len(values)):12.2f}"
        )


def plot(searches: list[list[Trial]], groups: dict[float, list[float]], path: Path) -> None:
    with figure_style():
        figure = new_figure(9, 3.4)
        left = figure.add_subplot(1, 2, 1)
        for seed, trials in enumerate(searches):
            rewards = [trial.reward for trial in trials if trial.reward is not None]
            width = min(WINDOW, len(rewards))
            rolling = np.convolve(rewards, np.ones(width) / width, "valid")
            left.plot(np.arange(width, len(rewards) + 1), rolling, label=f"seed {seed}")
        left.set_xlabel(f"architectures trained (mean of the last {WINDOW})")
        left.set_ylabel("validation accuracy")
        left.legend()
        right = figure.add_subplot(1, 2, 2, sharey=left)
        means = [statistics.fmean(values) for values in groups.values()]
        errors = [
            np.std(v, ddof=1) / math.sqrt(len(v)) if len(v) > 1 else 0 for v in groups.values()
        ]
        places = np.arange(len(groups))
        right.errorbar(
            places, means, yerr=errors, fmt="o", color=BLUE, ecolor=MUTED, capsize=3,
            label="mean and its standard error",
        )  # fmt: skip
        right.set_xticks(places, [f"{epsilon:g}" for epsilon in groups])
        right.set_xlabel("epsilon")
        right.legend(loc="lower right")
        save_png(figure, path)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=int, default=270, help="architectures of each search")
    parser.add_argument("--seeds", type=int, default=2, help="so many searches, from seed 0")
    parser.add_argument("--out", type=Path, default=Path("runs/reproduce_metaqnn"))
    args = parser.parse_args()
    searches = [search(seed, args.models, args.out / f"seed_{seed}") for seed in range(args.seeds)]
    groups = by_epsilon(searches, args.models)
    show(groups)
    plot(searches, groups, args.out / "metaqnn.png")
    print(f"\n{args.out / 'metaqnn.png'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
