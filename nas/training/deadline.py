"""Trains until a deadline: the learning rate follows the clock instead of the number of steps.

A training with a time limit cannot know how many steps it will take. It runs in small chunks of
steps, each one call of the image loop's graph, and looks at the clock after each chunk. The
learning rate is a cosine of the share of the time that has passed.
"""

import math
import time
from typing import Any

import numpy as np

from nas.core.trial import NAN, EvaluationError
from nas.data.images import ImageData
from nas.ops.description import Weights
from nas.training import devices
from nas.training import loop as image
from nas.training.recipe import Recipe
from nas.training.weights import take

CHUNK = 8  # steps between two looks at the clock; 1 for images larger than SMALL
SMALL = 40 * 40  # pixels
VALIDATION_SHARE = 0.1  # of the time; there is at most one validation an epoch


def train_until(
    model: Any,
    data: ImageData,
    recipe: Recipe,
    end: float,
    *,
    seed: int,
    seconds: float = math.inf,
    epochs: float = math.inf,
    patience: float = math.inf,
) -> tuple[dict[str, list[float]], Weights]:
    """Trains until the clock reads `end`, validations included, but at least one chunk.

    Args:
      model: from nas.training.loop's `build` or `build_for_search`.
      end: a time of time.monotonic().
      seconds, epochs: further limits on the training itself, without the tracing of its graphs.
      patience: training ends after this many validations in a row without a better one.

    Returns: the history, with an entry before the first step and one at every validation: seconds;
      accuracy, of training since the last entry (NaN in the first); valid_accuracy and valid_loss.
      And the weights at the best validation (`best_look`).

    Raises EvaluationError: NAN.
    """
    devices.prepare()
    began = time.monotonic()
    validate = image.make_evaluate(model, data, recipe, "valid")
    history: dict[str, list[float]] = {}
    validate()  # traces
    look_seconds = _look(validate, history, began, math.nan)
    kept = take(model)
    batches = _Batches(data, recipe, seed)
    train = image.EpochLoop(model, data, recipe, seed).run
    train(batches.next(), np.zeros(batches.steps, np.float32), 0)  # traces; no weight moves
    start = looked = time.monotonic()
    end = min(end, start + seconds)
    chunks = epochs * batches.chunks
    number, accuracies, longest = 0, [], 0.0
    while True:
        now = time.monotonic()
        share = max((now - start) / max(end - start, 1e-9), number / chunks)
        rates = np.full(batches.steps, recipe.learning_rate * _cosine(share), np.float32)
        loss, accuracy = train(batches.next(), rates, number)
        if not math.isfinite(loss):
            raise EvaluationError(NAN, f"the loss is {loss} after {number + 1} chunks")
        accuracies.append(accuracy)
        longest = max(longest, time.monotonic() - now)
        number += 1
        over = time.monotonic() + longest + look_seconds > end or number >= chunks
        waited = time.monotonic() - looked > look_seconds / VALIDATION_SHARE
        if over or (len(accuracies) >= batches.chunks and waited):
            look_seconds = _look(validate, history, began, float(np.mean(accuracies)))
            looked, accuracies = time.monotonic(), []
            since = len(history["seconds"]) - 1 - best_look(history)
            if not since:
                kept = take(model)
            over = over or since >= patience
        if over:
            return history, kept


def best_look(history: dict[str, list[float]]) -> int:
    """The index of the best valid_accuracy. Ties go to the lower valid_loss, then to the first."""
    looks = zip(history["valid_accuracy"], history["valid_loss"], strict=True)
    return max(enumerate(looks), key=lambda look: (look[1][0], -look[1][1], -look[0]))[0]


class _Batches:
    """Shuffled positions of images in chunks [steps, batch], epoch after epoch."""

    def __init__(self, data: ImageData, recipe: Recipe, seed: int):
        height, width, _ = data.image_shape
        self.steps = CHUNK if height * width <= SMALL else 1
        self.batch = recipe.batch_size
        self.count = len(data.train_images)
        self.chunks = max(1, self.count // (self.steps * self.batch))  # in an epoch
        self.rng = np.random.default_rng(seed)
        self.order = np.empty(0, np.int32)

    def next(self) -> np.ndarray:
        size = self.steps * self.batch
        while len(self.order) < size:
            self.order = np.append(self.order, self.rng.permutation(self.count).astype(np.int32))
        chunk, self.order = self.order[:size], self.order[size:]
        return chunk.reshape(self.steps, self.batch)


def _cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0)))


def _look(validate: Any, history: dict[str, list[float]], began: float, accuracy: float) -> float:
    """Validates and adds an entry to the history. Returns the seconds that this took."""
    start = time.monotonic()
    loss, valid = validate()
    now = time.monotonic()
    values = {
        "seconds": now - began,
        "accuracy": accuracy,
        "valid_accuracy": valid,
        "valid_loss": loss,
    }
    for name, value in values.items():
        history.setdefault(name, []).append(value)
    return now - start
