"""Retrains published cells, and random ones of NASNet's space, alike on the full CIFAR-10.

    python scripts/reproduce/published_cells.py                       about 20 minutes of one core
    python scripts/reproduce/published_cells.py --networks nasnet_a random_0 --epochs 4
    python scripts/reproduce/published_cells.py --dataset digits --epochs 1        does it run

NASNet-A, AmoebaNet-A, DARTS-V2, ENAS micro and three random cells of NASNet's space stand in one
small skeleton (one normal cell a stage, 4 channels). One recipe trains them on train + validation
and they are tested once, as `nas retrain` does. The papers train some 20 cells for hundreds of
epochs; one or two passes over the data say little about such cells, and we claim no more.

Needs CIFAR-10 (`nas data prepare cifar10`). A network that is finished is not trained again.
"""

import nas.onednn  # noqa: F401  it comes before TensorFlow

# isort: split
import argparse
import functools
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from nas.benchmarks.images import digits, tfds_images
from nas.core.skeleton import ImageSkeleton
from nas.evaluators.retrain import retrain
from nas.search_spaces.papers.amoebanet import AmoebaNet
from nas.search_spaces.papers.darts.space import DARTS
from nas.search_spaces.papers.enas_micro.space import ENASMicro
from nas.search_spaces.papers.nasnet import NASNet
from nas.training.recipe import Recipe

PUBLISHED = {
    "nasnet_a": NASNet,
    "amoebanet_a": AmoebaNet,
    "darts_v2": DARTS,
    "enas_micro": ENASMicro,
}
RANDOM = ("random_0", "random_1", "random_2")  # of NASNet's space, by their seeds


def network(name: str):
    """The space and the architecture of a name."""
    if name in PUBLISHED:
        space = PUBLISHED[name]()
        return space, space.parse(name)
    space = NASNet()
    return space, space.sample(np.random.default_rng(int(name.removeprefix("random_"))))


def train(name: str, data, recipe: Recipe, args: argparse.Namespace) -> dict:
    space, arch = network(name)
    small = functools.partial(ImageSkeleton, cells=args.cells, channels=args.channels)
    skeleton = small(image_shape=data.image_shape, classes=data.classes)
    began, cpu = time.perf_counter(), time.process_time()

    def on_epoch(seed: int, epoch: int, values: dict) -> None:
        print(
            f"{name}: epoch {epoch + 1} of {recipe.epochs}, {time.perf_counter() - began:.0f} s, "
            f"training accuracy {values['accuracy']:.4f}",
            flush=True,
        )

    result = retrain(space, arch, data, small, recipe, seeds=[args.seed], on_epoch=on_epoch)
    return {
        "arch": list(arch),
        "parameters": result["parameters"],
        "flops": space.cost(arch, skeleton).flops,
        "test_accuracy": result["test_accuracy"],
        "train_accuracy": result["history"][0]["accuracy"][-1],
        "seconds": time.perf_counter() - began,
        "cpu_seconds": time.process_time() - cpu,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    names = (*PUBLISHED, *RANDOM)
    parser.add_argument("--networks", nargs="+", choices=names, default=names)
    parser.add_argument("--dataset", choices=("cifar10", "digits"), default="cifar10")
    parser.add_argument("--cells", type=int, default=1, help="normal cells a stage")
    parser.add_argument("--channels", type=int, default=4, help="of the first stage")
    parser.add_argument("--epochs", type=int, default=1, help="over the 50,000 images")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--learning-rate", type=float, default=0.1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/retrain_published_cells"))
    args = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ.setdefault(name, "1")  # TensorFlow is not imported yet
    crop = {"pad_crop": 4, "flip": True} if args.dataset == "cifar10" else {}
    recipe = Recipe(
        epochs=args.epochs,
        batch_size=args.batch_size,
        learning_rate=args.learning_rate,
        weight_decay=5e-4,
        **crop,
    )
    args.out.mkdir(parents=True, exist_ok=True)
    data = None
    for name in args.networks:
        place = args.out / f"{name}.json"
        if not place.exists():
            if data is None:
                data = digits.load() if args.dataset == "digits" else cifar10()
            place.write_text(json.dumps(train(name, data, recipe, args), indent=2) + "\n")
    show(args.out, args.networks)
    return 0


def cifar10():
    return tfds_images.load(name="cifar10", valid_size=5000)


def show(out: Path, networks) -> None:
    print(
        f"\n{'network':12} {'parameters':>10} {'MFLOPs':>7} {'test %':>7} {'train %':>8} "
        f"{'CPU s':>6} {'s':>6}"
    )
    for name in networks:
        result = json.loads((out / f"{name}.json").read_text())
        print(
            f"{name:12} {result['parameters']:10,} {result['flops'] / 1e6:7.1f} "
            f"{100 * result['test_accuracy']:7.2f} {100 * result['train_accuracy']:8.2f} "
            f"{result['cpu_seconds']:6.0f} {result['seconds']:6.0f}"
        )


if __name__ == "__main__":
    sys.exit(main())
