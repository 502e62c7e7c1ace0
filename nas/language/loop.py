"""The training loop for language models: one epoch is one call of one graph.

Each row of a batch is a stream of its own. Its recurrent state is carried from one sequence to the
next and is zero at the start of an epoch. The graphs are in nas/language/graph.py.
Zaremba et al. 2014 (arXiv:1409.2329), Merity et al. 2018 (arXiv:1708.02182).

Departure: NT-ASGD's average begins with the first step after its start, PyTorch's with the second.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from nas.core.trial import NAN, OOM, TIMEOUT, EvaluationError
from nas.data.text import TextData
from nas.language.checkpoint import Progress, Snapshot
from nas.language.graph import EvaluationLoop, Training
from nas.language.recipe import LanguageRecipe, starts_averaging

History = dict[str, list[float]]


def fit(
    model: keras.Model,
    data: TextData,
    recipe: LanguageRecipe,
    *,
    seed: int,
    test: bool = False,
    checkpoint: Path | None = None,
    max_seconds: float | None = None,
    on_epoch: Callable[[int, dict[str, float]], None] | None = None,
) -> History:
    """Trains `model` in place; it ends with the weights that are tested (see the recipe).

    Args:
      seed: of dropouts and random lengths; equal seeds give equal histories.
      test: whether the test part is evaluated, once, after the last epoch.
      checkpoint: a file that is written after every epoch. If it exists, training goes on from it
        and ends as one that never stopped.
      max_seconds: of training, checked after every epoch.

    Returns: train_perplexity (during training, with its dropouts), valid_perplexity and seconds (of
      the training alone) of every epoch; test_perplexity of the last.

    Raises EvaluationError: NAN, TIMEOUT or OOM.
    """
    try:
        return _fit(model, data, recipe, seed, test, checkpoint, max_seconds, on_epoch)
    except (tf.errors.ResourceExhaustedError, MemoryError) as error:
        raise EvaluationError(OOM, str(error).splitlines()[0][:300]) from error


def _fit(model, data, recipe, seed, test, checkpoint, max_seconds, on_epoch) -> History:
    training = Training(model, data.train, recipe, seed)
    validation = EvaluationLoop(model, data.valid, recipe.eval_batch_size, recipe)
    progress = Progress(now=Snapshot.of(training))
    if checkpoint is not None and checkpoint.exists():
        progress = Progress.load(checkpoint, progress.now)
        progress.now.restore(training)
    while progress.epochs < recipe.epochs:
        number = progress.epochs
        values = _train_and_validate(training, validation, progress)
        if values is None:
            continue
        earlier = progress.history.get("valid_perplexity", [])
        if (
            recipe.nonmonotone
            and int(training.averaged) < 0
            and starts_averaging(earlier, values["valid_perplexity"], recipe.nonmonotone)
        ):
            training.start_averaging()
        progress.add(Snapshot.of(training), values, keep_best=recipe.keep_best)
        if checkpoint is not None:
            progress.save(checkpoint)
        if on_epoch is not None:
            on_epoch(number, values)
        _check_time(progress, recipe, max_seconds)
    chosen = progress.best if recipe.keep_best and progress.best else progress.now
    chosen.restore_tested(training)
    if test:
        loss = EvaluationLoop(model, data.test, recipe.test_batch_size, recipe).run()
        progress.history["test_perplexity"] = [perplexity(loss)]
    return progress.history


def _train_and_validate(
    training: Training, validation: EvaluationLoop, progress: Progress
) -> dict[str, float] | None:
    """The values of one epoch; None if it failed and was rolled back."""
    began = time.perf_counter()
    loss = training.epoch(progress.epochs, progress.rolled_back)
    seconds = time.perf_counter() - began
    now = Snapshot.of(training)
    now.restore_tested(training)
    valid_loss = validation.run()
    now.restore(training)
    for name, value in (("loss", loss), ("validation loss", valid_loss)):
        if not math.isfinite(value):
            _roll_back(progress, training, name, value)
            return None
    return {
        "train_perplexity": perplexity(loss),
        "valid_perplexity": perplexity(valid_loss),
        "seconds": seconds,
    }


def perplexity(loss: float) -> float:
    """exp(loss), at most 1e300. loss: nats per token."""
    return min(math.exp(min(loss, 700.0)), 1e300)


def build(maker: Callable[[], keras.Model], seed: int) -> keras.Model:
    """The model with weights drawn from `seed`."""
    keras.utils.set_random_seed(seed)
    return maker()


def _roll_back(progress: Progress, training: Training, name: str, value: float) -> None:
    """Restores the best weights, or the last ones if the best are not kept; the epoch is repeated
    with other random numbers.

    Raises EvaluationError, NAN, if the recipe's rollbacks are used up.
    """
    limit = training.recipe.rollbacks
    if limit is not None and progress.rolled_back >= limit:
        raise EvaluationError(NAN, f"the {name} is {value} after epoch {progress.epochs + 1}")
    progress.rolled_back += 1
    (progress.best or progress.now).restore(training)


def _check_time(progress: Progress, recipe: LanguageRecipe, max_seconds: float | None) -> None:
    taken = sum(progress.history["seconds"])
    if max_seconds is not None and taken > max_seconds and progress.epochs < recipe.epochs:
        raise EvaluationError(
            TIMEOUT, f"{progress.epochs} of {recipe.epochs} epochs took {taken:.0f} s"
        )
