"""summary.json of a run folder: the results of a search or a retraining, in numbers."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.core.files import write_atomically
from nas.core.json_values import dumped, read_json
from nas.core.space import Space
from nas.core.trial import ConfigError, Trial
from nas.engine.search import best

SUMMARY = "summary.json"

# The mean of a test metric -> the values of all seeds. The first one that is there is reported.
SEVERAL = {
    "test_bits_per_character": "test_bits_per_character_by_seed",
    "test_perplexity": "test_perplexities",
    "test_accuracy": "test_accuracies",
}


SCORES = ("valid_accuracy", "valid_perplexity")  # by shared weights
# What readers of a retraining's results rely on; the rest differs between images and texts.
RETRAINED = {
    "parameters": int,
    "seeds": [int],
    "history": ([{str: [(float, None)]}], {str: [(float, None)]}),
    **{f"{key}?": (float, [float], None) for key in SEVERAL},
    **{f"{key}_sd?": (float, None) for key in SEVERAL},
    **{f"{key}?": ([float], None) for key in SEVERAL.values()},
    "test_losses?": ([(float, None)], None),
    "valid_perplexities?": ([(float, None)], None),
    "test_perplexity_floor?": (float, None),
}
SHAPE = {
    "space?": str,
    "controller?": str,
    "dataset?": str,
    "trials?": int,
    "failed?": int,
    "seconds?": (float, None),
    "wall_seconds?": (float, None),
    "stopped?": (str, None),
    "arch?": [int],
    "best?": ({"trial": int, "arch?": [int], "reward?": float, "metrics?": {str: Any}}, None),
    "retrained?": (RETRAINED, None),
    "random?": ({"architectures": int, str: Any}, None),
    "ranking?": ({"against": str, "architectures": int, "kendall_tau": (float, None)}, None),
    "shared_weights?": ({str: Any}, None),
}


def read_summary(run_dir: Path) -> dict[str, Any]:
    """summary.json of a run folder; empty if the run has not ended yet.

    Raises ConfigError if the file is damaged.
    """
    path = Path(run_dir) / SUMMARY
    if not path.is_file():
        return {}
    advice = "delete it and continue the run to write it again"
    summary = read_json(path, SHAPE, advice)
    retrained, random = summary.get("retrained"), summary.get("random")
    if retrained and not any(isinstance(retrained.get(key), float | list) for key in SEVERAL):
        raise ConfigError(f"{path} is damaged (retrained has no test result); {advice}")
    if random and not any(isinstance(random.get(name, ""), float | None) for name in SCORES):
        raise ConfigError(f"{path} is damaged (random has no score); {advice}")
    return summary


def read_seed(folder: Path | None, seed: int, needed: Sequence[str]) -> dict[str, Any] | None:
    """The result that a retraining has kept of one seed; None if it has kept none.

    needed: the values that the history must have of every epoch or of the last.

    Raises ConfigError if the file is damaged.
    """
    path = None if folder is None else folder / f"seed{seed}.json"
    if path is None or not path.is_file():
        return None
    shape = {"parameters": int, "history": {str: [(float, None)]}}
    advice = "delete it to train this seed again"
    result = read_json(path, shape, advice)
    if missing := [name for name in needed if not result["history"].get(name)]:
        raise ConfigError(f"{path} is damaged (it has no {missing[0]}); {advice}")
    history = {
        name: [math.nan if value is None else value for value in values]
        for name, values in result["history"].items()
    }
    return result | {"history": history}


def write_seed(folder: Path | None, seed: int, result: Mapping[str, Any]) -> None:
    """Keeps the result of one seed, unless there is no folder."""
    if folder is not None:
        write_atomically(folder / f"seed{seed}.json", dumped(result) + "\n")


def summarize(
    trials: list[Trial], space: Space, choices: Mapping[str, str], seed: int
) -> dict[str, Any]:
    """The part of summary.json that describes the search itself."""
    top = best(trials)
    return {
        "space": choices["space"],
        "controller": choices["controller"],
        "dataset": choices.get("dataset", ""),
        "seed": seed,
        "trials": len(trials),
        "failed": sum(trial.reward is None for trial in trials),
        "seconds": sum(trial.seconds for trial in trials),
        "best": None
        if top is None
        else {
            "trial": top.id,
            "arch": list(top.arch),
            "decoded": {name: _plain(value) for name, value in space.decode(top.arch).items()},
            "reward": top.reward,
            "metrics": top.metrics,
        },
        "retrained": None,
    }


def _plain(value: Any) -> Any:
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def write_summary(run_dir: Path, summary: dict[str, Any]) -> None:
    write_atomically(run_dir / SUMMARY, dumped(summary, indent=2) + "\n")


def tested(result: Mapping[str, Any]) -> tuple[str, str]:
    """The name of the tested metric, such as "accuracy", and the key of its mean.

    result: what `retrain` returns.
    """
    key = next(key for key in SEVERAL if key in result)
    return key.removeprefix("test_").replace("_", " "), key
