"""Compares `nas.fit` with AutoKeras and KerasTuner on the same data in the same time.

    python3.11 -m venv PEERS
    PEERS/bin/pip install autokeras==3.0.0 keras-tuner==1.4.8 tensorflow tensorboard 'keras<3.13'
    python scripts/compare/fit.py --peers-python PEERS/bin/python --minutes 3 --seeds 3

Data sets: digits (1,150 + 287 + 360 test images), cifar10 (its first 10,000 training images by
hash, 5,000 validation and 10,000 test images), and two of scikit-learn's tables, breast_cancer
(classes) and diabetes (numbers, standardised for all tools; the score is R^2). Each seed splits a
table differently, a quarter for the test and a fifth of the rest for validation; the images' splits
are fixed. Every tool trains and validates on the same examples. scripts/compare/fit_run.py says how
each tool is run and what the time limit does to it. On the tables a linear model gives the scale;
it is not a peer.

Each run is a process with all cores of the machine, one after another. A run that has not ended
after WALL times its minutes is killed. Rows are kept in OUT/results.jsonl, and a run that has a row
is not repeated, so the same command continues where it was stopped. The script prints the test
score of the model with the best validation score; the seconds at which each tool first had a model
with given validation scores; and the seconds that nas.fit takes to the validation score at which
the better peer ended, beside the peer's. Seconds are medians over the seeds, and "never" counts as
infinitely many.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np

TOOLS = ("nas", "autokeras", "keras_tuner", "linear")
PEERS = TOOLS[1:3]
TABLES = ("breast_cancer", "diabetes")
GOALS = {  # validation scores
    "digits": (0.9, 0.95, 0.98),
    "cifar10": (0.4, 0.5, 0.6),
    "breast_cancer": (0.9, 0.95),
    "diabetes": (0.3, 0.4),
}
WALL, WALL_EXTRA = 1.5, 600.0  # of a run's time, and seconds for imports and the test
RUN = Path(__file__).with_name("fit_run.py")


def arrays(dataset: str, seed: int) -> dict[str, np.ndarray]:
    """x_, y_ of train, valid and test. The seed splits tables."""
    if dataset not in TABLES:
        data = images(dataset)
        parts = {
            part: (getattr(data, f"{part}_images"), getattr(data, f"{part}_labels"))
            for part in ("train", "valid", "test")
        }
    else:
        parts = table(dataset, seed)
    return {f"{axis}_{part}": parts[part][i] for part in parts for i, axis in enumerate("xy")}


def images(dataset: str):
    if dataset == "digits":
        from nas.benchmarks.images.digits import load

        return load()
    from nas.benchmarks.images.tfds_images import load

    return load(name=dataset, valid_size=5000, train_size=10_000)


def table(dataset: str, seed: int) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    from sklearn import datasets

    x, y = getattr(datasets, f"load_{dataset}")(return_X_y=True)
    x, numbers = x.astype(np.float32), dataset == "diabetes"
    order = np.random.default_rng(seed).permutation(len(x))
    test, rest = np.split(order, [len(x) // 4])
    valid, train = np.split(rest, [len(rest) // 5])
    y = ((y - y[train].mean()) / y[train].std()).astype(np.float32) if numbers else y.astype("i4")
    return {
        "train": (x[train], y[train]),
        "valid": (x[valid], y[valid]),
        "test": (x[test], y[test]),
    }


def run(tool: str, dataset: str, seed: int, args: argparse.Namespace) -> dict:
    """One row. A run that fails says so in `error`."""
    data, to = args.out / "data.npz", args.out / "row.json"
    np.savez(data, **arrays(dataset, seed))  # type: ignore[arg-type]
    to.unlink(missing_ok=True)
    python = args.peers_python if tool in PEERS else sys.executable
    log = args.out / f"{tool}_{dataset}_{seed}.log"
    words = [python, RUN, tool, data, "--seconds", 60 * args.minutes, "--seed", seed, "--to", to]
    wall, error = 60 * args.minutes * WALL + WALL_EXTRA, ""
    environment = {"TF_CPP_MIN_LOG_LEVEL": "2"} | os.environ
    with log.open("w") as file:
        try:
            subprocess.run(
                [str(word) for word in words],
                stdout=file, stderr=file, env=environment, timeout=wall, check=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            error = f"killed after {wall:.0f} s"
        except subprocess.CalledProcessError as failed:
            lines = log.read_text().strip().splitlines()
            error = lines[-1][:300] if lines else f"exit {failed.returncode}"
    row = {"error": error} if error else json.loads(to.read_text())
    key = {"tool": tool, "dataset": dataset, "seed": seed, "minutes": args.minutes}
    return key | row


def first(curve: list[list[float]], goal: float) -> float:
    """Seconds until a curve is at `goal`; infinite where it never is."""
    return next((seconds for seconds, value in curve if value >= goal), math.inf)


def goals(rows: list[dict]) -> list[tuple[str, float, float]]:
    """Of each seed: the better peer, its seconds to its last score, and those of nas.fit to it."""
    pairs = []
    for seed in sorted({row["seed"] for row in rows}):
        curves = {row["tool"]: row["curve"] for row in rows if row["seed"] == seed}
        if "nas" in curves and any(peer in curves for peer in PEERS):
            ends = {p: (curves[p][-1][1], -curves[p][-1][0]) for p in PEERS if p in curves}
            peer = max(ends, key=lambda p: ends[p])  # of equals the faster
            goal, seconds = ends[peer][0], -ends[peer][1]
            pairs.append((peer, seconds, first(curves["nas"], goal - 1e-6)))
    return pairs


def text(seconds: float) -> str:
    return f"{seconds:.1f} s" if math.isfinite(seconds) else "never"


def show(rows: list[dict]) -> None:
    bars = []
    for dataset in GOALS:
        here = [row for row in rows if row["dataset"] == dataset]
        if not here:
            continue
        print(f"\n{dataset}")
        good = [row for row in here if not row["error"]]
        means = {}
        for tool in TOOLS:
            mine = [row for row in good if row["tool"] == tool]
            if mine:
                tests = [row["test"] for row in mine]
                means[tool] = statistics.fmean(tests)
                spread = f" +- {statistics.stdev(tests):.4f}" if len(tests) > 1 else ""
                valid = statistics.fmean(row["valid"] for row in mine)
                passed = ", ".join(
                    f"{goal:g}: {text(statistics.median(first(r['curve'], goal) for r in mine))}"
                    for goal in GOALS[dataset]
                )
                trials = statistics.fmean(row["trials"] for row in mine)
                print(
                    f"  {tool:12} test {means[tool]:.4f}{spread} (n = {len(tests)}), validation "
                    f"{valid:.4f} at the end; {passed}; {trials:.0f} trials"
                )
            for row in here:
                if row["tool"] == tool and row["error"]:
                    print(f"  {tool:12} seed {row['seed']}: {row['error']}")
        peers = [means[tool] for tool in PEERS if tool in means]
        reached = goals(good)
        if "nas" in means and peers and reached:
            theirs = statistics.median(seconds for _, seconds, _ in reached)
            ours = statistics.median(seconds for _, _, seconds in reached)
            names = ", ".join(peer for peer, _, _ in reached)
            print(f"  to the better peer's end ({names}): nas {text(ours)}, peer {text(theirs)}")
            bars.append((dataset, means["nas"] - max(peers), ours / max(theirs, 1e-9)))
    print("\nat or above the better peer; at most half its seconds to where it ended")
    for dataset, ahead, ratio in bars:
        marks = ["holds" if holds else "fails" for holds in (ahead >= 0, ratio <= 0.5)]
        print(f"  {dataset:14} {marks[0]} ({ahead:+.4f})   {marks[1]} ({ratio:.2f})")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="of each run; default 10")
    parser.add_argument("--seeds", type=int, default=3, help="so many, from 0; default 3")
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=TOOLS)
    parser.add_argument("--datasets", nargs="+", choices=GOALS, default=tuple(GOALS))
    parser.add_argument("--peers-python", help="the python of the peers' environment")
    parser.add_argument("--out", type=Path, default=Path("runs/compare_fit"))
    args = parser.parse_args()
    if not args.peers_python and set(args.tools) & set(PEERS):
        parser.error("--peers-python must be the python of an environment with the peers")
    args.out.mkdir(parents=True, exist_ok=True)
    results = args.out / "results.jsonl"
    results.touch()
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    done = {(row["tool"], row["dataset"], row["seed"], row["minutes"]) for row in rows}
    for seed in range(args.seeds):
        for dataset in args.datasets:
            for tool in args.tools:
                known = (tool, dataset, seed, args.minutes) in done
                if known or (tool == "linear" and dataset not in TABLES):
                    continue
                row = {"error": ""} | run(tool, dataset, seed, args)
                with results.open("a") as file:
                    file.write(json.dumps(row) + "\n")
                rows.append(row)
                print(f"{tool}, {dataset}, seed {seed}: {row['error'] or row['test']}", flush=True)
    show([row for row in rows if row["minutes"] == args.minutes])


if __name__ == "__main__":
    main()
