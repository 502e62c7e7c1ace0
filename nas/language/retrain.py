"""Retrains the language model of a searched or named cell from several seeds, each tested once.

It is trained on the train part alone. As in the papers, validation scores every epoch and, if the
recipe says so, chooses the weights that are tested. In its folder each seed leaves a checkpoint
after every epoch and its result at the end. So a training that was killed goes on, and a seed that
is done is neither trained nor tested again.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nas.core.trial import ConfigError, EvaluationError
from nas.data.text import TextData
from nas.language.recipe import LanguageRecipe
from nas.run.summary import read_seed, write_seed


def retrain_language(
    build: Callable[[Any], Any],
    data: TextData,
    skeleton: Callable[..., Any],
    recipe: LanguageRecipe,
    *,
    seeds: Sequence[int],
    folder: Path | None = None,
    on_epoch: Callable[[int, int, dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Trains from each seed; the test part is read once per seed, at the end.

    Args:
      build: makes the model of a skeleton.
      skeleton: gives the skeleton when called with the text's vocabulary.
      folder: where checkpoints and results of the seeds are written; None: nowhere.
      on_epoch: called with (seed, epoch, values).

    Returns: parameters, seeds, test_perplexity (mean), test_perplexity_sd, test_perplexities,
      valid_perplexities, seconds (sum over the seeds) and history (of each seed); for characters
      also test_bits_per_character (mean), its _sd and _by_seed; test_perplexity_floor if the text's
      entropy is known.

    Raises ConfigError if a training fails.
    """
    sized = skeleton(vocabulary=data.vocabulary)
    results = [_trained(build, data, sized, recipe, seed, folder, on_epoch) for seed in seeds]
    histories = [each["history"] for each in results]
    perplexities = [history["test_perplexity"][-1] for history in histories]
    result = {"parameters": results[0]["parameters"], "seeds": list(seeds)}
    result |= _mean_and_sd("perplexity", perplexities) | {"test_perplexities": perplexities}
    if data.level == "character":
        bits = [math.log2(perplexity) for perplexity in perplexities]
        result |= _mean_and_sd("bits_per_character", bits) | {
            "test_bits_per_character_by_seed": bits
        }
    if data.entropy:
        result["test_perplexity_floor"] = math.exp(data.entropy["test"])
    return result | {
        "valid_perplexities": [history["valid_perplexity"][-1] for history in histories],
        "seconds": sum(sum(history["seconds"]) for history in histories),
        "history": histories,
    }


def _mean_and_sd(name: str, values: list[float]) -> dict[str, Any]:
    """test_NAME, the mean over the seeds, and test_NAME_sd, None for a single seed."""
    deviation = statistics.stdev(values) if len(values) > 1 else None
    return {f"test_{name}": statistics.fmean(values), f"test_{name}_sd": deviation}


def _trained(build, data, skeleton, recipe, seed: int, folder, on_epoch) -> dict[str, Any]:
    """parameters and history of one seed, read from its file in the folder if that exists."""
    import keras

    from nas.language import loop as language

    kept = read_seed(folder, seed, ("test_perplexity", "valid_perplexity", "seconds"))
    if kept is not None:
        return kept
    model = language.build(lambda: build(skeleton), seed)
    try:
        history = language.fit(
            model,
            data,
            recipe,
            seed=seed,
            test=True,
            checkpoint=None if folder is None else folder / f"seed{seed}.npz",
            on_epoch=None if on_epoch is None else lambda *values: on_epoch(seed, *values),
        )
    except EvaluationError as error:
        raise ConfigError(
            f"retraining from seed {seed} ended as {error.status}: {error.reason}; "
            "another recipe may help, say a smaller learning_rate or batch_size"
        ) from error
    result = {"parameters": model.count_params(), "history": history}
    write_seed(folder, seed, result)
    keras.backend.clear_session()
    return result
