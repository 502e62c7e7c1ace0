"""summary.json of a run folder: the results of a search or a retraining, in numbers."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nas.core.files import write_atomically
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


def read_summary(run_dir: Path) -> dict[str, Any]:
    """summary.json of a run folder; empty if the run has not ended yet.

    Raises ConfigError if the file is damaged.
    """
    path = Path(run_dir) / SUMMARY
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ConfigError(
            f"{path} is damaged ({error}); delete it and continue the run to write it again"
        ) from None


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
    write_atomically(run_dir / SUMMARY, json.dumps(summary, indent=2) + "\n")


def tested(result: Mapping[str, Any]) -> tuple[str, str]:
    """The name of the tested metric, such as "accuracy", and the key of its mean.

    result: what `retrain` returns.
    """
    key = next(key for key in SEVERAL if key in result)
    return key.removeprefix("test_").replace("_", " "), key
