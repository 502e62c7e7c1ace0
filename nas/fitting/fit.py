"""`nas.fit(x, y, minutes=10)`: arrays in, the best Keras model found in the time out.

    import nas
    found = nas.fit(x, y, minutes=10)
    found.model.predict(x)          # probabilities; found.predict(x) gives labels as in y
    found.model.save("best.keras")

It is the search loop on the growing space, of the classes and files of conf/:

* Train one small network first (tables: a linear one, which many tables need nothing more than).
* Hill-climb: train a larger child of the best. Children of images start from its weights.
* Each training has the same share of the time, less if examples are few; the first one of images,
  which inherits nothing, has several shares.
* At half time, train the best for longer; the time that is then left is for more children.
* Tables never inherit weights: chosen over and over by a few validation rows, they come to fit
  these. For the same reason a larger network must be better by more than luck, and the model is the
  mean of the ENSEMBLE_SIZE best.
* Two runs are equal only if their machines are equally fast.
"""

import contextlib
import dataclasses
import functools
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from nas.core.tensorflow_log import is_not_of_retracing
from nas.core.trial import ConfigError, Trial
from nas.engine.executors import SerialExecutor
from nas.engine.search import search
from nas.engine.store import Store
from nas.fitting.arrays import prepare
from nas.fitting.parts import make_climb, make_space
from nas.fitting.plan import Plan, reward
from nas.fitting.training import SEARCH_SHARE, TimedTraining

ENSEMBLE_SIZE = 5  # networks, whose mean is the model of vectors: one network's score is part luck
RESERVE = 1.0  # seconds to make the model that is returned


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """What a fit found.

    model: takes x as it was brought, any number of examples, and gives probabilities [n, classes],
    or for regression numbers as in y, [n, 1]. For vectors it is the mean of the best networks.
    history: of the training of the best network: seconds since the fit began, accuracy,
    valid_accuracy, valid_loss, in the order of time; what its ancestors learned came before.
    valid_accuracy: of the model.
    trials: all of them, each with its history in its metrics.
    For regression every accuracy is the coefficient of determination, R^2.
    """

    model: Any
    history: Mapping[str, Sequence[float]]
    valid_accuracy: float
    trials: Sequence[Trial]
    labels: np.ndarray  # [classes], as in y; [0] for regression
    seconds: float  # in all

    def predict(self, x) -> np.ndarray:
        """Labels or numbers as in y. [n]"""
        outputs = self.model.predict(np.asarray(x), verbose=0)
        return self.labels[np.argmax(outputs, axis=-1)] if len(self.labels) else outputs[:, 0]

    def score(self, x, y) -> float:
        """The share of correct labels, or R^2 for regression. y: [n] or [n, 1]."""
        y, predicted = np.asarray(y).reshape(-1), self.predict(x)
        if len(self.labels):
            return float(np.mean(predicted == y))
        return float(1 - np.mean((predicted - y) ** 2) / np.var(y))


def fit(
    x,
    y,
    *,
    minutes: float = 10,
    task: str = "auto",
    valid_share: float = 0.2,
    validation: tuple[Any, Any] | None = None,
    seed: int = 0,
    on_trial=lambda trial: None,
) -> Fitted:
    """Searches for `minutes` and returns the best model and its history.

    Args:
      x: images [n, height, width] or [n, height, width, channels], or vectors [n, features].
      y: one value for each, [n] or [n, 1]: classes, which are whole numbers or texts, or numbers.
      task: classification, regression or auto: regression if y has fractions.
      minutes: of wall time, kept to within a few seconds.
      valid_share: the share of the examples that judge the models and train none.
      validation: (x, y) that judge the models instead; all other examples train.
      on_trial: called with each finished trial.

    Raises ConfigError for any other x, y or setting, and for numbers that are missing.
    """
    start = time.monotonic()
    if not minutes > 0:
        raise ConfigError(f"minutes must be above 0, got {minutes}")
    data = prepare(x, y, valid_share=valid_share, task=task, validation=validation)
    end = start + 60 * minutes - RESERVE
    space = make_space(data)
    climb = make_climb(space, seed)
    linear = (0,) * len(space.decisions) if data.is_vectors else None  # no layer is filled
    with (
        _without_retracing_warnings(),
        tempfile.TemporaryDirectory(prefix="nas_fit_") as folder,
        Store(folder) as store,
    ):
        evaluate = TimedTraining(space, data, seed, folder, start, end)
        trials = search(
            Plan(climb, start + SEARCH_SHARE * (end - start), end, linear),
            evaluate,
            functools.partial(reward, data),
            store,
            SerialExecutor(),
            max_trials=10**6,
            on_trial=on_trial,
        )
        top = _best(trials, ENSEMBLE_SIZE if data.is_vectors else 1)
        model = evaluate.model(top)
    fitted = Fitted(
        model=model,
        history=top[0].metrics["history"],
        valid_accuracy=top[0].metrics["valid_accuracy"],
        trials=trials,
        labels=data.labels,
        seconds=0.0,
    )
    valid_accuracy = fitted.score(*data.validation()) if len(top) > 1 else fitted.valid_accuracy
    seconds = time.monotonic() - start
    return dataclasses.replace(fitted, valid_accuracy=valid_accuracy, seconds=seconds)


def _best(trials: Sequence[Trial], count: int) -> list[Trial]:
    """The trials of the highest rewards, at most `count`. Raises ConfigError if all have failed."""
    trained = [trial for trial in trials if trial.reward is not None]
    if not trained:
        raise ConfigError(f"no network could be trained: {trials[-1].reason}")
    ranked = sorted(trained, key=lambda trial: (trial.reward, -trial.id), reverse=True)
    return ranked[:count]


@contextlib.contextmanager
def _without_retracing_warnings() -> Iterator[None]:
    """Drops TensorFlow's warnings of frequent tracing: here each network is another graph."""
    logger = logging.getLogger("tensorflow")
    if is_not_of_retracing in logger.filters:  # a command drops them to its end
        yield
        return
    logger.addFilter(is_not_of_retracing)
    try:
        yield
    finally:
        logger.removeFilter(is_not_of_retracing)
