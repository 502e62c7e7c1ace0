"""Trains one recurrent language model, tests it once, and can be stopped and started again.

    python scripts/train_language.py                                    a grammar, in seconds
    python scripts/train_language.py recipe=zaremba_small dataset=ptb   Zaremba et al. 2014
    python scripts/train_language.py recipe=zaremba_small dataset=ptb cell=nascell seed=1
    python scripts/train_language.py run_dir=runs/mine                  the same again continues it

A recipe brings the skeleton of its name; skeleton=NAME chooses another. The run folder gets
config.yaml, checkpoint.npz after every epoch, log.jsonl with a line for every epoch and one for the
test, and summary.json.
"""

import json
import sys
from pathlib import Path

from nas.quiet import hush


def train(config) -> None:
    from omegaconf import OmegaConf

    from nas import language
    from nas.config import make, refuse_other_config, resolved
    from nas.run import write
    from search_spaces.language_model import LanguageModel

    folder = Path(config.run_dir)
    folder.mkdir(parents=True, exist_ok=True)
    settings = resolved(config)
    if (folder / "config.yaml").exists():
        refuse_other_config(folder / "config.yaml", settings)
    write(folder / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(settings)))
    data = make(config.dataset, "dataset")()
    skeleton = make(config.skeleton, "skeleton")(vocabulary=data.vocabulary)
    cell, recipe = make(config.cell, "cell"), make(config.recipe, "recipe")
    model = language.build(lambda: LanguageModel(cell, skeleton), config.seed)
    log = folder / "log.jsonl"

    def say(line: dict) -> None:
        print(json.dumps(line), flush=True)
        with log.open("a") as file:
            file.write(json.dumps(line) + "\n")

    history = language.fit(
        model,
        data,
        recipe,
        seed=config.seed,
        test=True,
        checkpoint=folder / "checkpoint.npz",
        on_epoch=lambda epoch, values: say(
            {"epoch": epoch + 1, "learning_rate": recipe.rate(epoch)} | values
        ),
    )
    summary = {
        "parameters": model.count_params(),
        "test_perplexity": history["test_perplexity"][-1],
        "valid_perplexity": history["valid_perplexity"][-1],
        "train_perplexity": history["train_perplexity"][-1],
        "epochs": len(history["valid_perplexity"]),
        "seconds": sum(history["seconds"]),
        "seed": config.seed,
    }
    if data.entropy:
        summary["test_entropy"] = data.entropy["test"]
    say(summary)
    write(folder / "summary.json", json.dumps(summary, indent=2) + "\n")


def main(args: list[str]) -> int:
    hush()
    from nas import hydra_main
    from nas.trial import ConfigError

    try:
        return hydra_main.run(train, "train_language", args)
    except ConfigError as error:
        print(f"train_language: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
