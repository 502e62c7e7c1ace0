"""ENAS' recurrent search (Pham et al. 2018, arXiv:1802.03268, section 2.1) at a CPU's scale.

    PTB_DIR=FOLDER python scripts/reproduce/enas_rnn.py   Penn Treebank, under an hour of two cores
    python scripts/reproduce/enas_rnn.py --tiny           the embedded grammar: does it run

The derived cell is compared with random cells, all trained from scratch in the same way.

The search is `nas oneshot experiment=enas_rnn_ptb_released scale=cpu_language`: the authors' second
code with our sizes: 200,000 words, 128 units, 25 epochs, milder dropouts and, as there are fewer
steps, a faster controller. nas.language.loop.fit then trains each cell by the recipe of the
authors' retraining (conf/recipe/enas_lm.yaml), with our sizes, a rate that falls at the end and a
limit on how often a loss that is not finite brings the last epoch back; the last weights are
tested. The same command again does only what is missing.

The script prints the perplexities of every cell, the mean of the random ones and the derived cell's
place.
"""

import nas.onednn  # noqa: F401  it comes before TensorFlow

# isort: split
import argparse
import json
import math
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from nas.core.files import write_atomically
from nas.core.tensorflow_log import silence_tensorflow
from nas.core.trial import Arch, EvaluationError
from nas.run.summary import read_summary

CELLS = 1 << 20  # sets the seed of the random cells apart from the search's
DROPOUTS = {
    "dropout_word": 0.0, "dropout_input": 0.1, "dropout_output": 0.4, "dropout_cell_input": 0.2,
    "dropout_cell_state": 0.1,
}  # fmt: skip
SIZES = {"units": 128, "epochs": 25, "retrain_epochs": 6, "words": 200_000, "trials": 100}
TINY = {"units": 16, "epochs": 2, "retrain_epochs": 1, "words": 4_000, "trials": 5}


def search(args, sizes: dict[str, int], run_dir: Path) -> Arch:
    """The derived cell of the search, continued where it has begun."""
    done = read_summary(run_dir)
    if not done.get("best") or done["stopped"]:
        words = [
            "experiment=enas_rnn_ptb_released", "scale=cpu_language", f"seed={args.seed}",
            f"dataset.train_size={sizes['words']}", f"recipe.epochs={sizes['epochs']}",
            f"skeleton.units={sizes['units']}", f"skeleton.embedding={sizes['units']}",
            *(f"skeleton.{name}={rate}" for name, rate in DROPOUTS.items()),
            "method.reward_batch_size=64", "controller.adam.learning_rate=0.002",
            f"max_trials={sizes['trials']}", f"run_dir={run_dir}",
        ]  # fmt: skip
        if args.tiny:
            words += ["dataset=grammar", "recipe.bptt=10", "recipe.batch_size=20"]
            words += ["recipe.eval_batch_size=10", "valid_images=2000", "method.controller_steps=3"]
        subprocess.run([sys.executable, "-m", "nas", "oneshot", *words], check=True)
        done = read_summary(run_dir)
    return tuple(done["best"]["arch"])


def train(name: str, arch: Arch, args, sizes: dict[str, int], folder: Path) -> dict:
    """What training the cell alone has come to; from the checkpoint where it was cut."""
    import keras

    from nas.core.language_skeleton import LanguageSkeleton
    from nas.language import loop as language
    from nas.language.recipe import LanguageRecipe

    result = folder / f"{name}.json"
    if result.exists():
        return json.loads(result.read_text())
    folder.mkdir(parents=True, exist_ok=True)
    data, space = text(args, sizes["words"]), recurrent_space()
    skeleton = LanguageSkeleton(
        vocabulary=data.vocabulary, units=sizes["units"], embedding=sizes["units"], layers=1,
        tied=True, softmax_bias=False, init=0.05, init_embedding=0.05, variational=True, **DROPOUTS,
    )  # fmt: skip
    recipe = LanguageRecipe(
        epochs=sizes["retrain_epochs"], batch_size=20, bptt=35, random_bptt=True, max_bptt=55,
        learning_rate=20.0, decay_after=max(1, sizes["retrain_epochs"] - 2), decay=0.5,
        clip_norm=0.25, weight_decay=1.6e-6, clip_decay=True, sum_over_time=False,
        activation_regularization=0.7, dropped_activations=False, rollbacks=10,
        test_batch_size=10,
    )  # fmt: skip
    began = time.perf_counter()
    model = language.build(lambda: space.build(arch, skeleton), args.seed)
    row = {"arch": list(arch), "parameters": space.cost(arch, skeleton).parameters}
    try:
        history = language.fit(
            model, data, recipe, seed=args.seed, test=True, checkpoint=folder / f"{name}.npz",
            on_epoch=lambda epoch, values: print(
                f"{name}: epoch {epoch + 1}, valid. perplexity {values['valid_perplexity']:.2f}, "
                f"{time.perf_counter() - began:.0f} s", flush=True,
            ),
        )  # fmt: skip
    except EvaluationError as error:  # a cell that diverges is a result, the worst
        print(f"{name}: {error}", flush=True)
        history = {"valid_perplexity": [math.inf], "test_perplexity": [math.inf], "seconds": []}
    row |= {
        "valid_perplexity": min(history["valid_perplexity"]),
        "test_perplexity": history["test_perplexity"][-1],
        "seconds": sum(history["seconds"]),
    }
    write_atomically(result, json.dumps(row, indent=1) + "\n")
    keras.backend.clear_session()
    return row


def text(args, words: int):
    from nas.benchmarks.texts import grammar, ptb

    return grammar.load(train_size=words) if args.tiny else ptb.load(train_size=words)


def recurrent_space():
    """That of conf/space/enas_rnn_released.yaml."""
    from hydra import compose, initialize_config_module

    from nas.run.config import make

    with initialize_config_module("nas.conf", version_base="1.3"):
        return make(compose("oneshot", overrides=["space=enas_rnn_released"]).space, "space")


def show(results: dict[str, dict], summary: dict) -> None:
    print(f"\n{'cell':>10} {'valid.':>8} {'test':>8} {'weights':>10} {'seconds':>8}  choices")
    for name, cell in results.items():
        print(
            f"{name:>10} {cell['valid_perplexity']:8.2f} {cell['test_perplexity']:8.2f} "
            f"{cell['parameters']:10,} {cell['seconds']:8.0f}  "
            f"{','.join(map(str, cell['arch']))}"
        )
    derived, *others = (cell["test_perplexity"] for cell in results.values())
    trained = [other for other in others if math.isfinite(other)]
    if len(trained) > 1:
        place = 1 + sum(other < derived for other in others)
        print(
            f"test perplexity: derived {derived:.2f}, {len(trained)} random cells "
            f"{statistics.fmean(trained):.2f} +- {statistics.stdev(trained):.2f} (sd), "
            f"{len(others) - len(trained)} diverged; the derived one is number {place} of "
            f"{1 + len(others)}"
        )
    random = summary["random"]
    print(
        f"with shared weights, validation: derived "
        f"{summary['best']['metrics']['valid_perplexity']:.2f}, {random['architectures']} random "
        f"cells {random['valid_perplexity']:.2f}; policy entropy "
        f"{summary['shared_weights']['policy_entropy']:.3f} of a uniform one; search "
        f"{summary['wall_seconds'] / 60:.1f} minutes"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--random", type=int, default=5, help="random cells trained alone")
    parser.add_argument("--tiny", action="store_true", help="the grammar, 16 units")
    parser.add_argument("--out", type=Path, default=Path("runs/reproduce_enas_rnn"))
    for name, value in SIZES.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"instead of {value}")
    args = parser.parse_args()
    silence_tensorflow()
    chosen = {name: getattr(args, name) for name in SIZES if getattr(args, name) is not None}
    sizes = (TINY if args.tiny else SIZES) | chosen
    cells = {"derived": search(args, sizes, args.out / "search")}
    rng, space = np.random.default_rng([args.seed, CELLS]), recurrent_space()
    cells |= {f"random{i}": space.sample(rng) for i in range(args.random)}
    results = {name: train(name, arch, args, sizes, args.out) for name, arch in cells.items()}
    show(results, read_summary(args.out / "search"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
