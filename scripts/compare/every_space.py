"""Trains random architectures of every image space on real CIFAR-10 with the search command.

    python scripts/compare/every_space.py                five of each, about 15 minutes of one core
    python scripts/compare/every_space.py --spaces nasnet darts
    python scripts/compare/every_space.py --dataset digits    seconds a space: does it run

Each space is one `nas search` with the random controller, in its own process, which trains the
candidates one after another with one TensorFlow thread. The script prints for each space how many
candidates failed, the seconds of a candidate (building, tracing, training and validation), its
parameters, the best accuracy, and the peak memory of the process, TensorFlow and data included.

Needs CIFAR-10 (`nas data prepare cifar10`). The same command again does only what is missing. The
exit status is 1 if a candidate failed.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from hydra.utils import get_class
from omegaconf import OmegaConf

from nas.engine.store import Store
from nas.search_spaces.image_space import ImageSpace

CONF = Path(__file__).parents[2] / "conf" / "space"
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
)


def image_spaces() -> list[str]:
    """Names of the spaces in conf/space whose networks see images."""
    targets = {path.stem: OmegaConf.load(path)["_target_"] for path in CONF.glob("*.yaml")}
    return sorted(name for name in targets if issubclass(get_class(targets[name]), ImageSpace))


def command(space: str, args: argparse.Namespace) -> list[str]:
    """The search of one space."""
    words = [
        f"space={space}",
        "controller=random",
        "retrain=none",
        "executor=serial",
        f"max_trials={args.architectures}",
        f"seed={args.seed}",
        f"recipe.epochs={args.epochs}",
        f"run_dir={args.out / space}",
    ]
    if args.dataset == "cifar10":
        size = args.train_size
        images = [f"dataset.train_size={size}", f"dataset.valid_size={size}"]
        words += ["dataset=cifar10", "recipe=cifar", *images]
    return [sys.executable, "-m", "nas", "search", *words]


def train(space: str, args: argparse.Namespace) -> None:
    """Runs the search of one space and keeps its peak memory and CPU seconds beside the run."""
    place = args.out / f"{space}.json"
    if place.exists():
        return
    with open(args.out / f"{space}.txt", "w", encoding="utf-8") as output:
        process = subprocess.Popen(
            command(space, args), env=os.environ | ONE_THREAD, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        print(f"{space}: status {process.returncode}, see {output.name}", flush=True)
        return
    usage_row = {"megabytes": usage.ru_maxrss / 1024, "cpu": usage.ru_utime + usage.ru_stime}
    place.write_text(json.dumps(usage_row) + "\n")


def row(space: str, args: argparse.Namespace) -> tuple[str, int]:
    """A line of the table, and how many candidates failed or are missing."""
    place = args.out / f"{space}.json"
    if not place.exists():
        return f"{space:14} not finished", args.architectures
    process = json.loads(place.read_text())
    with Store(args.out / space, read_only=True) as store:
        trials = store.trials()
    good = [trial for trial in trials if trial.reward is not None]
    failed = len(trials) - len(good)
    if not good:
        return f"{space:14} {len(trials):8} {failed:6}", failed
    seconds = [trial.seconds for trial in good]
    parameters = [trial.metrics["parameters"] for trial in good]
    top = 100 * max(trial.metrics["valid_accuracy"] for trial in good)
    return (
        f"{space:14} {len(trials):8} {failed:6} {statistics.median(seconds):8.1f} "
        f"{max(seconds):8.1f} {process['cpu'] / len(trials):8.1f} {min(parameters):11,} "
        f"{max(parameters):11,} {top:6.1f} {process['megabytes']:7,.0f}"
    ), failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spaces", nargs="+", default=image_spaces(), metavar="SPACE")
    parser.add_argument("--architectures", type=int, default=5, help="per space")
    parser.add_argument("--dataset", choices=("cifar10", "digits"), default="cifar10")
    parser.add_argument(
        "--train-size",
        type=int,
        default=1000,
        help="images to train on, and as many to validate on (CIFAR-10)",
    )
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/train_every_space"))
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    print(
        f"{'space':14} {'trained':>8} {'failed':>6} {'median s':>8} {'max s':>8} {'CPU s':>8} "
        f"{'parameters':>11} {'to':>11} {'best %':>6} {'peak MB':>7}",
        flush=True,
    )
    missing = 0
    for space in args.spaces:
        train(space, args)
        line, failed = row(space, args)
        missing += failed
        print(line, flush=True)
    return int(missing > 0)


if __name__ == "__main__":
    sys.exit(main())
