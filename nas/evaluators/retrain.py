"""The second half of every paper: the chosen architecture, large, is retrained and tested once."""

import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from nas.core.trial import Arch, ConfigError, EvaluationError
from nas.evaluators import compatibility
from nas.run.folder import MODEL


def retrain(
    space,
    arch: Arch,
    data: Any,
    skeleton: Callable[..., Any],
    recipe: Any,
    *,
    seeds: Sequence[int],
    folder: Path | None = None,
    on_epoch: Callable[[int, int, dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Trains on train + validation from each seed; the test part is read once per seed, at the end.

    A recurrent cell becomes a language model; nas/language/retrain.py says what differs.

    Args:
      skeleton: gives the skeleton when called with the data's image_shape and classes.
      folder: where the model of the first seed is saved (whatever its test score); None: nowhere.
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
    return _retrain_images(space, arch, data, skeleton, recipe, seeds, folder, on_epoch)


def _retrain_images(space, arch, data, skeleton, recipe, seeds, folder, on_epoch) -> dict[str, Any]:
    import keras

    from nas.training.loop import build, fit, servable

    shape = skeleton(image_shape=data.image_shape, classes=data.classes)
    histories = []
    for seed in seeds:
        model = build(space, arch, shape, recipe, seed)
        parameters = sum(int(v.shape.num_elements()) for v in model.trainable_variables)
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
        histories.append(history)
        if folder is not None and seed == seeds[0]:
            servable(model, data).save(folder / MODEL)
        keras.backend.clear_session()
    accuracies = [history["test_accuracy"][-1] for history in histories]
    return {
        "parameters": parameters,
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
