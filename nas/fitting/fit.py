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
import hashlib
import logging
import math
import operator
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.core.tensorflow_log import is_not_of_retracing
from nas.core.trial import ConfigError, Trial
from nas.engine.executors import SerialExecutor
from nas.engine.search import TooManyFailures, search
from nas.engine.store import Store
from nas.fitting.arrays import ArrayData, prepare
from nas.fitting.labels import as_classes, check_same_kind, column
from nas.fitting.parts import make_climb, make_space
from nas.fitting.plan import SHORTEST, Plan, reward
from nas.fitting.process import alone, check_keras, left_as_found
from nas.fitting.training import SEARCH_SHARE, TimedTraining
from nas.run.folder import open_folder

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
    test_accuracy: of the model on the test examples; None without any.
    trials: all of them, each with its history in its metrics.
    ended: by what the search has ended: "time", "interrupted", or "failures" one after the other.
    For regression every accuracy is the coefficient of determination, R^2.
    """

    model: Any
    history: Mapping[str, Sequence[float]]
    valid_accuracy: float
    trials: Sequence[Trial]
    labels: np.ndarray  # [classes], as in y; [0] for regression
    seconds: float  # in all
    test_accuracy: float | None = None
    ended: str = "time"

    def predict(self, x) -> np.ndarray:
        """Labels or numbers as in y. [n]"""
        outputs = self.model.predict(np.asarray(x), verbose=0)
        return self.labels[np.argmax(outputs, axis=-1)] if len(self.labels) else outputs[:, 0]

    def score(self, x, y) -> float:
        """The share of correct labels, or R^2 for regression. y: [n] or [n, 1].

        Raises ConfigError if y is of another length or kind than the labels.
        """
        y, predicted = column(y, len(x)), self.predict(x)
        if len(self.labels):
            check_same_kind(self.labels, y, "y")
            return float(np.mean(predicted == as_classes(y)))
        return float(1 - np.mean((predicted - y) ** 2, dtype=np.float64) / np.var(y))


def fit(
    x,
    y,
    *,
    minutes: float = 10,
    task: str = "auto",
    valid_share: float = 0.2,
    validation: tuple[Any, Any] | None = None,
    test: tuple[Any, Any] | None = None,
    seed: int = 0,
    run_dir: str | Path | None = None,
    keep_when_interrupted: bool = False,
    on_trial: Callable[[Trial], None] = lambda trial: None,
    on_message: Callable[[str], None] = print,
) -> Fitted:
    """Searches for `minutes` and returns the best model and its history.

    All settings and data are checked before anything is trained. The process is left as it was:
    random streams, Keras' and TensorFlow's settings. A second call in another thread waits.

    Args:
      x: images [n, height, width] or [n, height, width, channels], or vectors [n, features].
      y: one value for each, [n] or [n, 1]: classes, which are whole numbers or texts, or numbers.
      task: classification, regression or auto: regression if y has fractions.
      minutes: of wall time, kept to within a few seconds.
      valid_share: the share of the examples that judge the models and train none.
      validation: (x, y) that judge the models instead; all other examples train.
      test: (x, y) on which the model is scored once, at the end.
      seed: a whole number in [0, 2^32).
      run_dir: a folder that keeps what is trained. A fit that was killed continues there when it is
        called again; the minutes are those of all parts together. None: nothing is kept.
      keep_when_interrupted: Ctrl-C ends the search, and the best model so far is returned;
        otherwise, or if there is none, KeyboardInterrupt is raised.
      on_trial: called with each finished trial.
      on_message: called with one line on what was read and as what, and with others to note.

    Raises ConfigError for any other x, y or setting, and for numbers that are missing.
    """
    check_settings(minutes, seed, on_trial, on_message)
    with alone(on_message):
        start = time.monotonic()
        check_keras()
        data = prepare(x, y, valid_share=valid_share, task=task, validation=validation, test=test)
        on_message(data.read_as)
        seed = operator.index(seed)
        settings = {"task": task, "valid_share": float(valid_share), "seed": seed}
        with (
            _without_retracing_warnings(),
            _opened(run_dir, settings | {"minutes": float(minutes)}, data) as store,
        ):
            run = _Run(data, seed, start, 60 * float(minutes), store, on_message)
            run.search(on_trial, keep_when_interrupted)
            return run.fitted()


def check_settings(
    minutes: Any,
    seed: Any,
    on_trial: Any = print,
    on_message: Any = print,
) -> None:
    """Raises ConfigError for a setting of `fit` that is not what it must be."""
    is_number = isinstance(minutes, int | float | np.number) and not isinstance(minutes, bool)
    if not is_number or not minutes > 0 or not math.isfinite(minutes):
        raise ConfigError(f"minutes must be above 0, got {minutes}")
    try:
        number = -1 if isinstance(seed, bool | np.bool_) else operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number < 2**32:
        raise ConfigError(f"seed must be a whole number from 0 to 2^32 - 1, got {seed!r}")
    for name, function in (("on_trial", on_trial), ("on_message", on_message)):
        if not callable(function):
            raise ConfigError(f"{name} must be a function, got {function!r}")


class _Run:
    """One fit: its search, and the model of what that has found.

    Args:
      start: when it was called, in seconds of time.monotonic().
      seconds: that it may take, those of earlier parts in the same folder included.
    """

    def __init__(
        self,
        data: ArrayData,
        seed: int,
        start: float,
        seconds: float,
        store: Store,
        tell: Callable[[str], None],
    ):
        self.data, self.store, self.tell = data, store, tell
        self.trials = sorted(store.trials(), key=lambda trial: trial.id)
        self.called, self.start = start, start - sum(trial.seconds for trial in self.trials)
        self.end = self.start + seconds - RESERVE
        self.ended = "time"
        space = make_space(data)
        linear = (0,) * len(space.decisions) if data.is_vectors else None  # no layer is filled
        pending = store.pending()
        self.plan = Plan(
            make_climb(space, seed),
            self.start + SEARCH_SHARE * (self.end - self.start),
            self.end,
            linear,
            [*(trial.proposal for trial in self.trials), *pending.values()],
        )
        folder = store.path.parent
        self.evaluate = TimedTraining(space, data, seed, folder, self.start, self.end)
        if self.trials:
            tell(
                f"{folder} has {len(self.trials)} trials of {start - self.start:.0f} s, which count"
            )

    def search(self, on_trial: Callable[[Trial], None], keep_when_interrupted: bool) -> None:
        """Trains until the end; the store then has all trials."""
        if self._trained() and time.monotonic() + SHORTEST > self.end:
            return
        try:
            self.trials = search(
                self.plan,
                self.evaluate,
                functools.partial(reward, self.data),
                self.store,
                SerialExecutor(),
                max_trials=10**6,
                on_trial=on_trial,
            )
            return
        except TooManyFailures as error:
            self.ended = "failures"
            self.trials = self.store.trials()
            self.tell(f"the search has stopped: {error}")
        except KeyboardInterrupt as error:
            self.ended = "interrupted"
            self.trials = self.store.trials()
            if not keep_when_interrupted or not self._trained():
                raise
            self.tell(f"{str(error) or 'interrupted'}: the best model so far is made")

    def fitted(self) -> Fitted:
        """The model of the best trials and its scores. Raises ConfigError if all have failed."""
        data = self.data
        trained = self._trained()
        if not trained:
            raise ConfigError(f"no network could be trained: {self.trials[-1].reason}")
        ranked = sorted(trained, key=lambda trial: (trial.reward, -trial.id), reverse=True)
        top = ranked[: ENSEMBLE_SIZE if data.is_vectors else 1]
        fitted = Fitted(
            model=self.evaluate.model(top),
            history=top[0].metrics["history"],
            valid_accuracy=top[0].metrics["valid_accuracy"],
            trials=self.trials,
            labels=data.labels,
            seconds=0.0,
            ended=self.ended,
        )
        valid, test = fitted.valid_accuracy, None
        with left_as_found():
            if len(top) > 1:
                valid = fitted.score(*data.validation())
            if data.test is not None:
                test = fitted.score(*data.test)
        seconds = time.monotonic() - self.called
        return dataclasses.replace(
            fitted, valid_accuracy=valid, test_accuracy=test, seconds=seconds
        )

    def _trained(self) -> list[Trial]:
        return [trial for trial in self.trials if trial.reward is not None]


@contextlib.contextmanager
def _opened(
    run_dir: str | Path | None, settings: dict[str, Any], data: ArrayData
) -> Iterator[Store]:
    """The store of a fit, in the run folder or in one that is deleted.

    Raises ConfigError if the folder is in use, cannot be written, or holds another fit.
    """
    with contextlib.ExitStack() as stack:
        if run_dir is None:
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="nas_fit_"))
            store = Store(folder)
        else:
            config = {"name": "nas.fit", **settings, "data": _digest(data)}
            store = open_folder(Path(run_dir), config, Store, free={"minutes"})
        yield stack.enter_context(store)


def _digest(data: ArrayData) -> str:
    """16 hex digits that identify what trains and validates."""
    hashed = hashlib.blake2b(digest_size=8)
    parts = (data.train_images, data.train_labels, data.valid_images, data.valid_labels)
    for array in (*parts, data.labels):
        hashed.update(f"{array.dtype.str} {array.shape}".encode())
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()


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
