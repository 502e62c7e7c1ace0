"""`nas.fit(x, y, minutes=10)`: arrays in, the best Keras model found in the time out.

    import nas
    found = nas.fit(x, y, minutes=10)
    found.model.predict(x)          # probabilities; found.predict(x) gives labels as in y
    found.model.save("best.keras")

The search loop on the growing space, by hill climbing: a small network is trained, then children of
the best, which start from its weights. Each training has the same share of the time; in what is
left the best is trained on. The classes and files of `conf/` are what it is made of. Two runs are
equal only where their machines are equally fast.
"""

import contextlib
import dataclasses
import logging
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from nas.config import make
from nas.evaluators import building
from nas.executors import SerialExecutor, classify
from nas.fit_data import ArrayData, prepare
from nas.inherit import InheritFromParent, give
from nas.quiet import is_not_of_retracing
from nas.search import best, search
from nas.skeleton import ImageSkeleton
from nas.store import Store
from nas.trial import ConfigError, Proposal, Trial

SEARCH = 0.5  # of the time; the rest is the best one's
TRIALS = 8  # that share it, where each has SHORTEST seconds
SHORTEST = 3.0  # seconds of a training: less is mostly the tracing of its graph
RESERVE = 1.0  # seconds to make the model that is returned


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """What was found.

    model: takes x as it was given, any number of examples, and gives probabilities [n, classes], or
    of regression numbers as in y, [n, 1].
    history: of the training that the model comes from: seconds since the fit began, accuracy,
    valid_accuracy, valid_loss, in the order of time; what its ancestors learned came before.
    trials: all of them, each with its history in its metrics.
    Of regression every accuracy is the coefficient of determination, R^2.
    """

    model: Any
    history: Mapping[str, Sequence[float]]
    valid_accuracy: float
    trials: Sequence[Trial]
    labels: np.ndarray  # [classes], as in y; [0] of regression
    seconds: float  # in all

    def predict(self, x) -> np.ndarray:
        """Labels or numbers as in y. [n]"""
        given = self.model.predict(np.asarray(x), verbose=0)
        return self.labels[np.argmax(given, axis=-1)] if len(self.labels) else given[:, 0]

    def score(self, x, y) -> float:
        """The share of right labels, or R^2 of regression. y: [n] or [n, 1]."""
        y, told = np.asarray(y).reshape(-1), self.predict(x)
        if len(self.labels):
            return float(np.mean(told == y))
        return float(1 - np.mean((told - y) ** 2) / np.var(y))


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
    """Searches for `minutes`, starting now, and returns the best model and its history.

    Args:
      x: images [n, height, width] or [n, height, width, channels], or vectors [n, features].
      y: one value for each, [n] or [n, 1]: classes, which are whole numbers or texts, or numbers.
      task: classification, regression or auto: regression where y has fractions.
      minutes: of wall time, kept to within a few seconds.
      valid_share: of the examples, that judge the models and train none.
      validation: (x, y) that do so instead, and all the others train.
      on_trial: called with each finished trial.

    Raises ConfigError for what is none of this, numbers that are missing included.
    """
    start = time.monotonic()
    if not minutes > 0:
        raise ConfigError(f"minutes must be above 0, got {minutes}")
    data = prepare(x, y, valid_share=valid_share, task=task, validation=validation)
    end = start + 60 * minutes - RESERVE
    space = make_space(data)
    controller = _part("controller", "climb", space=space, seed=seed)
    with (
        _untold(),
        tempfile.TemporaryDirectory(prefix="nas_fit_") as folder,
        Store(folder) as store,
    ):
        evaluate = TimedTraining(space, data, seed, folder, start, end)
        trials = search(
            _Until(controller, start + SEARCH * (end - start)),
            evaluate,
            lambda metrics: metrics["valid_accuracy"],
            store,
            SerialExecutor(),
            max_trials=10**6,
            on_trial=on_trial,
        )
        top = best(trials)
        if top is None:
            raise ConfigError(f"no network could be trained: {trials[-1].reason}")
        if time.monotonic() + SHORTEST < end:
            polished = evaluate.polish(len(trials), top)
            on_trial(polished)
            trials = [*trials, polished]
            top = best(trials) or top
        model = evaluate.model(top)
    return Fitted(
        model=model,
        history=top.metrics["history"],
        valid_accuracy=top.metrics["valid_accuracy"],
        trials=trials,
        labels=data.labels,
        seconds=time.monotonic() - start,
    )


def make_space(data: ArrayData):
    """The growing space of a size that fits the examples."""
    if data.is_vectors:
        return _part(
            "space",
            "morphism",
            {
                "slots": 8,
                "kernels": [1],
                "filters": [0, 64, 128, 256],
                "pool_after": [],
                "growing": True,
            },
        )
    height, width, _ = data.image_shape
    poolings = int(np.clip(np.log2(max(min(height, width), 1) / 4), 0, 5))
    pool_after = [4 * (i + 1) for i in range(poolings)]
    slots = 4 * (poolings + 1)
    return _part("space", "morphism", {"slots": slots, "pool_after": pool_after, "growing": True})


def _part(group: str, name: str, changes: Mapping[str, Any] | None = None, **available: Any):
    """What conf/GROUP/NAME.yaml names, with changes."""
    text = (resources.files("conf") / group / f"{name}.yaml").read_text()
    node = OmegaConf.merge(OmegaConf.create(text), dict(changes or {}))
    return make(node, group, **available)  # type: ignore[arg-type]


def make_recipe(data: ArrayData):
    """How everything is trained: augmentation for images that bear it."""
    height, width, channels = data.image_shape
    large = min(height, width) >= 16
    changes: dict[str, Any] = {
        "learning_rate": 0.05,
        "batch_size": 64 if len(data.train_labels) >= 1000 else 16,
        # A digit is not its mirror image; what has colours usually is.
        "flip": large and channels == 3,
        "pad_crop": min(height, width) // 8 if large else int(min(height, width) >= 8),
    }
    if data.is_vectors:
        changes |= {"optimizer": "adam", "learning_rate": 0.002}
    return _part("recipe", "search", changes)


def _head(data: ArrayData):
    """The layer behind the last: None is image.servable's own, probabilities."""
    import keras

    if not data.is_regression:
        return None
    return keras.layers.Rescaling(data.scale, data.centre, dtype="float32")


@contextlib.contextmanager
def _untold() -> Iterator[None]:
    """TensorFlow warns of graphs that are traced often; here each network is another graph."""
    logger = logging.getLogger("tensorflow")
    if is_not_of_retracing in logger.filters:  # a command is quiet to its end
        yield
        return
    logger.addFilter(is_not_of_retracing)
    try:
        yield
    finally:
        logger.removeFilter(is_not_of_retracing)


class _Until:
    """A controller that has nothing more to ask after a moment."""

    def __init__(self, controller, end: float):
        self.controller, self.end = controller, end
        self.tell, self.state = controller.tell, controller.state
        self.load_state = controller.load_state
        self.asked = False

    def ask(self, n: int) -> list[Proposal]:
        if self.asked and time.monotonic() + SHORTEST > self.end:
            return []
        self.asked = True
        return self.controller.ask(n)


class TimedTraining(InheritFromParent):
    """As its parent, each training for a share of the time and never beyond its end."""

    def __init__(self, space, data: ArrayData, seed: int, folder, start: float, end: float):
        super().__init__(
            space=space,
            dataset=lambda: data,
            skeleton=ImageSkeleton,
            recipe=make_recipe(data),
            seed=seed,
            run_dir=folder,
            noise=0.01,  # EAS: copies must not stay equal
            keep=10**6,  # the folder goes when the fit has ended
        )
        self.data, self.start, self.end = data, start, end
        self.share = max(SHORTEST, SEARCH * (end - start) / TRIALS)

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        """The metrics of its parent, of the best moment, and the history; there are no epochs."""
        metrics = super().__call__(trial_id, proposal)
        del metrics["epochs"], metrics["valid_accuracies"]
        return metrics | {"history": self.history}

    def polish(self, trial_id: int, top: Trial) -> Trial:
        """Trains the best until the end."""
        self.share = float("inf")
        proposal = Proposal(top.arch, parent=top.id)
        began = time.monotonic()
        try:
            metrics = self(trial_id, proposal)
        except Exception as error:
            known = classify(error)
            return Trial(trial_id, proposal, None, {}, 0.0, known.status, known.reason)
        seconds = time.monotonic() - began
        return Trial(trial_id, proposal, metrics["valid_accuracy"], metrics, seconds)

    def model(self, trial: Trial):
        """x as it was given -> probabilities [n, classes], or numbers [n, 1], float32."""
        import keras

        from nas import image

        data = self.data
        skeleton = self.skeleton(image_shape=data.image_shape, classes=data.classes)
        _, weights = self.kept.load(trial.id, trial.id)
        inner = image.build(self.space, trial.arch, skeleton, self.recipe, self.seed)
        give(inner, weights)
        served = image.servable(inner, data, _head(data))
        if data.is_vectors:
            raw = keras.Input((data.image_shape[2],))
            pixel = keras.layers.Reshape((1, 1, data.image_shape[2]))(raw)
            return keras.Model(raw, served(pixel))
        return served

    def _grow(self, arch, skeleton, recipe, seed: int, start):
        from nas import image, timed

        with building():
            model = image.build_quick(self.space, arch, skeleton, recipe, seed)
        taken = give(model, start)
        before = time.monotonic() - self.start
        self.history, weights = timed.train_until(
            model, self.data, recipe, self.end, seed=seed, seconds=self.share
        )
        self.history["seconds"] = [before + s for s in self.history["seconds"]]
        # The weights are those of the best moment, so the metrics are too.
        at = int(np.argmax(self.history["valid_accuracy"]))
        return {name: values[at:][:1] for name, values in self.history.items()}, weights, taken
