"""Compares published recurrent cells at equal numbers of parameters, trained by one recipe.

    PTB_DIR=FOLDER python scripts/compare/cells.py --epochs 3 --out runs/cells
    python scripts/compare/cells.py --dataset grammar --epochs 1 --units 24 --cells lstm nascell
                                                                    seconds: does it run

Zaremba et al.'s small LSTM (2014: two layers of 200 units, 4,651,600 parameters) sets the size; the
others have as many units as bring them within 1 % of it. All are trained like that LSTM, by SGD
with gradients clipped to 5 and no dropout. Of its 13 epochs, the first 4 have the full rate, which
is halved at each later one; a shorter training has the same share of full epochs. A cell that is
done is not trained again, and a training that was killed continues. Validation chooses nothing; the
test text is read once a cell.
"""

import nas.onednn  # noqa: F401  it comes before TensorFlow

# isort: split
import argparse
import json
import sys
from importlib import resources
from pathlib import Path

from omegaconf import OmegaConf

from nas.core.language_skeleton import LanguageSkeleton
from nas.core.tensorflow_log import silence_tensorflow
from nas.language.recipe import LanguageRecipe
from nas.run.config import make

silence_tensorflow()

CELLS = ("lstm", "nascell", "enas_lm", "darts_v2")
TOLERANCE = 0.01  # of the number of parameters


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=13)
    parser.add_argument("--cells", nargs="+", default=CELLS, help="names of conf/cell/")
    parser.add_argument("--units", type=int, default=200, help="of the LSTM that sets the size")
    parser.add_argument("--dataset", choices=("ptb", "grammar"), default="ptb")
    parser.add_argument("--train-size", type=int, help="training tokens to keep; all by default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/compare_cells"))
    args = parser.parse_args(argv)
    settings = {} if args.train_size is None else {"train_size": args.train_size}
    data = make(_conf("dataset", args.dataset), "dataset")(**settings)
    recipe = shortened(make(_conf("recipe", "zaremba_small"), "recipe"), args.epochs)
    base = make(_conf("skeleton", "zaremba_small"), "skeleton")

    def skeleton(units: int, **vocabulary) -> LanguageSkeleton:
        return base(units=units, embedding=units, **vocabulary)

    sizes = {name: Parameters(name, skeleton, data.vocabulary) for name in {"lstm", *args.cells}}
    target = sizes["lstm"](args.units)
    rows = []
    for name in args.cells:
        units = sizes[name].nearest(target)
        parameters = sizes[name](units)
        if abs(parameters / target - 1) > TOLERANCE:
            raise SystemExit(f"{name} must have about {target:,} parameters, got {parameters:,}")
        rows.append((name, units, train(name, units, data, skeleton, recipe, args)))
    show(rows)
    return 0


class Parameters:
    """The trainable weights of a model by its units: a polynomial of degree 2, of three models."""

    def __init__(self, name: str, skeleton, vocabulary: int):
        maker = make(_conf("cell", name), "cell")
        skeletons = (skeleton(n, vocabulary=vocabulary) for n in (1, 2, 3))
        self.at = [_model(maker, each).count_params() for each in skeletons]

    def __call__(self, units: int) -> int:
        first, second, third = self.at
        n = units - 1
        return first + n * (second - first) + n * (n - 1) // 2 * (third - 2 * second + first)

    def nearest(self, target: int) -> int:
        """The units whose number of weights is nearest to `target`."""
        units = 1
        while self(units) < target:
            units += 1
        return min(max(units - 1, 1), units, key=lambda n: abs(self(n) - target))


def shortened(recipe: LanguageRecipe, epochs: int) -> LanguageRecipe:
    """The same share of the epochs has the full rate, one at least."""
    full = max(1, round(epochs * recipe.decay_after / recipe.epochs))
    return recipe.replace(epochs=epochs, decay_after=full)


def train(name: str, units: int, data, skeleton, recipe: LanguageRecipe, args) -> dict:
    """The result of nas.language.retrain from one seed; each size has a folder."""
    from nas.language.retrain import retrain_language

    whole = args.train_size or "all"
    folder = args.out / f"{name}_{units}_{args.dataset}_{whole}_{recipe.epochs}_epochs"
    folder.mkdir(parents=True, exist_ok=True)
    maker = make(_conf("cell", name), "cell")

    def say(seed: int, epoch: int, values: dict[str, float]) -> None:
        print(json.dumps({"cell": name, "units": units, "epoch": epoch + 1} | values), flush=True)

    return retrain_language(
        lambda sized: _model(maker, sized),
        data,
        lambda **vocabulary: skeleton(units, **vocabulary),
        recipe,
        seeds=[args.seed],
        folder=folder,
        on_epoch=say,
    )


def show(rows) -> None:
    print(
        f"\n{'cell':10} {'units':>5} {'parameters':>10} {'valid. ppl':>10} {'test ppl':>9} {'s':>6}"
    )
    for name, units, result in rows:
        print(
            f"{name:10} {units:5} {result['parameters']:10,} "
            f"{result['valid_perplexities'][0]:10.2f} "
            f"{result['test_perplexity']:9.2f} {result['seconds']:6.0f}"
        )


def _model(maker, skeleton: LanguageSkeleton):
    from nas.search_spaces.recurrent.language_model import LanguageModel

    return LanguageModel(maker, skeleton)


def _conf(group: str, name: str):
    text = (resources.files("nas.conf") / group / f"{name}.yaml").read_text()
    return OmegaConf.create(text)


if __name__ == "__main__":
    sys.exit(main())
