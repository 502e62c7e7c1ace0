"""The second half of every paper: the chosen architecture, large, is retrained and tested once."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nas.core.trial import Arch, ConfigError, EvaluationError
from nas.evaluators import compatibility
from nas.run.folder import MODEL
from nas.run.summary import read_seed, write_seed


def retrain(
    space,
    arch: Arch,
    data: Any,
    skeleton: Callable[..., Any],
    recipe: Any,
    *,
    seeds: Sequence[int],
    folder: Path | None = None,
    kept: Path | None = None,
    on_epoch: Callable[[int, int, dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Trains on train + validation from each seed; the test part is read once per seed, at the end.

    A recurrent cell becomes a language model; nas/language/retrain.py says what differs.

    Args:
      skeleton: gives the skeleton when called with the data's image_shape and classes.
      folder: where the model of the first seed is saved (whatever its test score); None: nowhere.
      kept: where the result of each seed is kept, so that a retraining of the same settings that
        was killed repeats only the seed that it had begun; None: nowhere. Texts use `folder`.
      on_epoch: called with (seed, epoch, values).

    Returns: parameters, seeds, test_accuracy (mean), test_accuracy_sd, test_accuracies,
      test_losses, seconds (sum over the seeds) and history (of each seed).

    Raises ConfigError if a training fails, or if images and texts are mixed.
    """
    compatibility.check(space, data, skeleton, recipe, "retraining")
    if space.domain == compatibility.LANGUAGE.name:
        from nas.language.retrain import retrain_language

        return retrain_language(
            lambda called: space.build(arch, called),
            data,
            skeleton,
            recipe,
            seeds=seeds,
            folder=folder,
            on_epoch=on_epoch,
        )
    shape = skeleton(image_shape=data.image_shape, classes=data.classes)
    first = seeds[0]
    results = []
    for seed in seeds:
        is_saved = seed != first or folder is None or (folder / MODEL).is_file()
        result = read_seed(kept, seed, ("test_accuracy", "test_loss", "seconds"))
        if result is None or not is_saved:
            model_path = None if folder is None or seed != first else folder / MODEL
            result = _trained(space, arch, data, shape, recipe, seed, model_path, on_epoch)
            write_seed(kept, seed, result)
        results.append(result)
    return _of_images(seeds, results)


def _trained(space, arch, data, shape, recipe, seed, model_path, on_epoch) -> dict[str, Any]:
    """parameters and history of one seed. model_path: where the model is saved; None: nowhere."""
    import keras

    from nas.training.loop import build, fit, servable

    model = build(space, arch, shape, recipe, seed)
    try:
        history = fit(
            model,
            data,
            recipe,
            seed=seed,
            train_on="train+valid",
            evaluate_on="test",
            on_epoch=None if on_epoch is None else _with_seed(on_epoch, seed),
        )
    except EvaluationError as error:
        raise ConfigError(
            f"retraining from seed {seed} ended as {error.status}: {error.reason}; "
            "another recipe may help, say a smaller learning_rate or batch_size"
        ) from error
    parameters = sum(int(v.shape.num_elements()) for v in model.trainable_variables)
    if model_path is not None:
        servable(model, data).save(model_path)
    keras.backend.clear_session()
    return {"parameters": parameters, "history": history}


def _of_images(seeds: Sequence[int], results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What `retrain` returns of images."""
    histories = [result["history"] for result in results]
    accuracies = [history["test_accuracy"][-1] for history in histories]
    return {
        "parameters": results[-1]["parameters"],
        "seeds": list(seeds),
        "test_accuracy": statistics.fmean(accuracies),
        "test_accuracy_sd": statistics.stdev(accuracies) if len(accuracies) > 1 else None,
        "test_accuracies": accuracies,
        "test_losses": [history["test_loss"][-1] for history in histories],
        "seconds": sum(sum(history["seconds"]) for history in histories),
        "history": histories,
    }


def _with_seed(on_epoch, seed: int):
    return lambda epoch, values: on_epoch(seed, epoch, values)
