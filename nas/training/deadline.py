"""Training for so many seconds: the learning rate follows the clock and not the steps.

A training that is told when to end cannot know how many steps it has. It goes in small chunks, each
one call of the image loop's graph, and looks at the clock between two; the cosine is that of the
share of the time which has passed.
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

CHUNK = 8  # steps between two looks at the clock; of images larger than SMALL one
SMALL = 40 * 40  # pixels
LOOKS = 0.1  # of the time, that validations may take; at most one an epoch


def train_until(
    model,
    data: ImageData,
    recipe: Recipe,
    end: float,
    *,
    seed: int,
    seconds: float = math.inf,
    epochs: float = math.inf,
    patience: float = math.inf,
) -> tuple[dict[str, list[float]], Weights]:
    """Trains until `end` of time.monotonic(), one chunk at least, validation included.

    seconds, epochs: at most so many, of the training itself: to trace its graphs may take longer.
    patience: looks at the validation part, the last so many of which may be no better than before.

    Returns: seconds, accuracy (of the training since the last entry, NaN in the first), and
    valid_accuracy and valid_loss, before the first step and at every look; and the weights at the
    best of them (`best_look`). Raises EvaluationError: NAN.
    """
    from nas.training.weights import take

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
    number, hits, longest = 0, [], 0.0
    while True:
        now = time.monotonic()
        share = max((now - start) / max(end - start, 1e-9), number / chunks)
        rates = np.full(batches.steps, recipe.learning_rate * _cosine(share), np.float32)
        loss, accuracy = train(batches.next(), rates, number)
        if not math.isfinite(loss):
            raise EvaluationError(NAN, f"the loss is {loss} after {number + 1} chunks")
        hits.append(accuracy)
        longest = max(longest, time.monotonic() - now)
        number += 1
        over = time.monotonic() + longest + look_seconds > end or number >= chunks
        waited = time.monotonic() - looked > look_seconds / LOOKS
        if over or (len(hits) >= batches.chunks and waited):
            look_seconds = _look(validate, history, began, float(np.mean(hits)))
            looked, hits = time.monotonic(), []
            since = len(history["seconds"]) - 1 - best_look(history)
            if not since:
                kept = take(model)
            over = over or since >= patience
        if over:
            return history, kept


def best_look(history: dict[str, list[float]]) -> int:
    """The entry of the best valid_accuracy; of equals the one of the lowest loss, the first."""
    looks = zip(history["valid_accuracy"], history["valid_loss"], strict=True)
    return max(enumerate(looks), key=lambda look: (look[1][0], -look[1][1], -look[0]))[0]


class _Batches:
    """Chunks of shuffled indices, [steps, batch], epoch after epoch."""

    def __init__(self, data: ImageData, recipe: Recipe, seed: int):
        height, width, _ = data.image_shape
        self.steps = CHUNK if height * width <= SMALL else 1
        self.batch = recipe.batch_size
        self.count = len(data.train_images)
        self.chunks = max(1, self.count // (self.steps * self.batch))  # of an epoch
        self.rng = np.random.default_rng(seed)
        self.order = np.empty(0, np.int32)

    def next(self) -> np.ndarray:
        wanted = self.steps * self.batch
        while len(self.order) < wanted:
            self.order = np.append(self.order, self.rng.permutation(self.count).astype(np.int32))
        chunk, self.order = self.order[:wanted], self.order[wanted:]
        return chunk.reshape(self.steps, self.batch)


def _cosine(share: float) -> float:
    return 0.5 * (1 + math.cos(math.pi * min(max(share, 0.0), 1.0)))


def _look(validate: Any, history: dict[str, list[float]], began: float, accuracy: float) -> float:
    """Adds one entry to the history. Returns the seconds that it took."""
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
