"""Net2Net (Chen, Goodfellow & Shlens 2016, arXiv:1511.05641) on CIFAR-10, at a CPU's scale.

    python scripts/reproduce/net2net.py --seeds 3        minutes a seed on two cores
    python scripts/reproduce/net2net.py --dataset digits --epochs 2     seconds: does it run

A teacher is trained. Two students, one with twice its filters and one with a layer more in each
stage, start from the teacher's weights, and once more from random weights. The script prints and
plots validation accuracy against the seconds that each student was trained: means over the seeds,
with bands of one standard deviation. The paper's are the two operations and the question of its
figures, how much sooner a student is good. Network, data, numbers of epochs and learning rates are
ours.

Needs CIFAR-10 (`nas data prepare cifar10`). Writes net2net.png and net2net.json.
"""

import nas.onednn  # noqa: F401  it comes before TensorFlow

# isort: split
import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

from nas.benchmarks.images import digits, tfds_images
from nas.core.skeleton import ImageSkeleton
from nas.data.images import normalize
from nas.evaluators.common import release_models
from nas.morphism.inheritance import inherit_weights
from nas.morphism.settings import EAS_NOISE, EXACT, MorphismSettings
from nas.ops import inference as morphism_values
from nas.ops.recorder import describe
from nas.report.style import figure_style, new_figure, save_png
from nas.search_spaces.papers.growing.slots import MorphismSpace
from nas.training import loop as image
from nas.training.recipe import Recipe
from nas.training.weights import give, take

SPACE = MorphismSpace(
    slots=6, kernels=(3,), filters=(0, 16, 32, 64, 128), pool_after=(2, 4), skips=False
)
STAGES = (0, 16), (2, 32), (4, 64)  # slot and filters of the teacher's layers


def architecture(*, times: int = 1, deeper: bool = False):
    """The teacher, or with so many times the filters, or with a second layer in each stage."""
    chosen = {decision.name: decision.choices[0] for decision in SPACE.decisions}
    for slot, filters in STAGES:
        chosen |= {f"slot{slot}/kernel": 3, f"slot{slot}/filters": filters * times}
        chosen[f"slot{slot + 1}/kernel"] = 3 if deeper else 0
    return SPACE.encode(chosen)


class Trainer:
    """Trains architectures on one data set; every curve begins before the first step."""

    def __init__(self, data, recipe: Recipe, seed: int):
        self.data, self.recipe, self.seed = data, recipe, seed
        self.skeleton = ImageSkeleton(image_shape=data.image_shape, classes=data.classes)

    def __call__(self, arch, epochs: int, start=None, rate: float = 1.0):
        """Returns the curve [(seconds, accuracy)] and the weights. start: None is random."""
        recipe = self.recipe.replace(epochs=epochs, learning_rate=self.recipe.learning_rate * rate)
        model = image.build(SPACE, arch, self.skeleton, recipe, self.seed)
        give(model, start or {})
        curve = [(0.0, self.accuracy(model))]
        history = image.fit(model, self.data, recipe, seed=self.seed)
        seconds = np.cumsum(history["seconds"])
        curve += list(zip(seconds.tolist(), history["valid_accuracy"], strict=True))
        weights = take(model)
        release_models()
        return curve, weights

    def accuracy(self, model) -> float:
        return image.make_evaluate(model, self.data, self.recipe, "valid")()[1]

    def student(self, teacher, weights, arch, settings: MorphismSettings):
        """The weights a student starts with, and whether they preserve the teacher's function."""
        images = self.data.train_images[:512].astype(np.float32)
        images = normalize(images, self.data.mean, self.data.std)
        return inherit_weights(
            describe(SPACE, teacher, self.skeleton),
            weights,
            describe(SPACE, arch, self.skeleton),
            np.random.default_rng(self.seed),
            settings=settings,
            moments=lambda network, known, name: morphism_values.moments(
                network, known, images, name
            ),
        )

    def step_zero(self, arch, start) -> float:
        model = image.build(SPACE, arch, self.skeleton, self.recipe, self.seed + 1)
        give(model, start)
        return self.accuracy(model)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--dataset", choices=("cifar10", "digits"), default="cifar10")
    parser.add_argument("--train-size", type=int, default=10_000, help="images, of CIFAR-10")
    parser.add_argument("--epochs", type=int, default=8, help="of the teacher and each student")
    parser.add_argument(
        "--student-rate", type=float, default=1.0, help="of the learning rate of random weights"
    )
    parser.add_argument("--seeds", type=int, default=1, help="so many, from 0; default 1")
    parser.add_argument("--out", type=Path, default=Path("runs/reproduce_net2net"))
    args = parser.parse_args()
    if args.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {args.seeds}")
    if args.dataset == "digits":
        data = digits.load()
    else:
        data = tfds_images.load(name="cifar10", valid_size=5000, train_size=args.train_size)
    crop = {"pad_crop": 4, "flip": True} if args.dataset == "cifar10" else {}
    recipe = Recipe(learning_rate=0.05, weight_decay=5e-4, **crop)
    args.out.mkdir(parents=True, exist_ok=True)
    results = []
    for seed in range(args.seeds):
        results.append(run(Trainer(data, recipe, seed), args.epochs, args.student_rate))
        (args.out / "net2net.json").write_text(json.dumps(results, indent=2) + "\n")
    plot(results, args.out / "net2net.png")
    show(results)
    print(f"\n{args.out / 'net2net.png'}, {args.out / 'net2net.json'}")
    return 0


def run(train: Trainer, epochs: int, student_rate: float) -> dict:
    start = time.perf_counter()
    teacher = architecture()
    curve, weights = train(teacher, epochs)
    result = {"curves": {"teacher": curve}, "step_zero": {}, "preserved": {}}
    for name, arch in (
        ("wider", architecture(times=2)),
        ("deeper", architecture(deeper=True)),
    ):
        exact, preserved = train.student(teacher, weights, arch, EXACT)
        result["step_zero"][name] = train.step_zero(arch, exact)
        result["preserved"][name] = preserved
        noisy, _ = train.student(teacher, weights, arch, EAS_NOISE)
        result["curves"][name], _ = train(arch, epochs, noisy, student_rate)
        result["curves"][f"{name}, random start"], _ = train(arch, epochs)
        print(f"seed {train.seed}, {name}: {time.perf_counter() - start:.0f} s", flush=True)
    result["seconds"] = time.perf_counter() - start
    return result


def show(results: list[dict]) -> None:
    """results: one a seed. Prints means; the seconds past the teacher are of seeds that passed."""
    teachers = [one["curves"]["teacher"] for one in results]
    print(f"\nteacher: validation accuracy {mean_sd([curve[-1][1] for curve in teachers])}")
    for name in results[0]["step_zero"]:
        kept = all(one["preserved"][name] for one in results)
        same = max(
            abs(one["step_zero"][name] - curve[-1][1])
            for one, curve in zip(results, teachers, strict=True)
        )
        print(
            f"{name}: step 0 without noise {mean_sd([one['step_zero'][name] for one in results])}, "
            f"at most {same:.4f} from the teacher; function preserved: {kept}"
        )
    print(
        f"\n{'':24}{'step 0':>18}{'epoch 1':>18}{'last':>18}{'seconds':>9}  past the teacher after"
    )
    for name in results[0]["curves"]:
        if name == "teacher":
            continue
        curves = np.array([one["curves"][name] for one in results])  # [seeds, epochs + 1, 2]
        past = [
            next((s for s, accuracy in curve[1:] if accuracy > teacher[-1][1]), None)
            for curve, teacher in zip(curves, teachers, strict=True)
        ]
        seconds = [s for s in past if s is not None]
        after = f"{np.mean(seconds):.0f} s" if seconds else "never"
        print(
            f"{name:24}{mean_sd(curves[:, 0, 1]):>18}{mean_sd(curves[:, 1, 1]):>18}"
            f"{mean_sd(curves[:, -1, 1]):>18}{curves[:, -1, 0].mean():9.0f}  {after}"
            f" ({len(seconds)} of {len(past)})"
        )
    print(f"\n{sum(one['seconds'] for one in results):.0f} s in all, {len(results)} seeds")


def mean_sd(values) -> str:
    spread = f" +- {np.std(values, ddof=1):.4f}" if len(values) > 1 else ""
    return f"{np.mean(values):.4f}{spread}"


def plot(results: list[dict], path: Path) -> None:
    teacher = np.mean([one["curves"]["teacher"][-1][1] for one in results])
    with figure_style():
        figure = new_figure(9, 3.6)
        left = None
        for place, name in enumerate(("wider", "deeper"), 1):
            axes = figure.add_subplot(1, 2, place, sharey=left)
            left = left or axes
            for label, line in ((name, "-o"), (f"{name}, random start", "--s")):
                curves = np.array([one["curves"][label] for one in results])
                seconds, mean = curves.mean(0).T
                spread = curves[:, :, 1].std(0, ddof=1) if len(results) > 1 else np.zeros_like(mean)
                axes.plot(seconds, mean, line, label=label, markersize=4)
                axes.fill_between(seconds, mean - spread, mean + spread, alpha=0.2)
            axes.axhline(teacher, color="grey", linestyle=":", label="teacher, trained")
            axes.set_xlabel("training, seconds")
            axes.set_ylabel("validation accuracy")
            axes.legend()
        save_png(figure, path)


if __name__ == "__main__":
    sys.exit(main())
