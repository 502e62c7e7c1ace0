"""`nas.fit(x, y, minutes=10)`: arrays in, the best Keras model found in the time out.

    import nas
    found = nas.fit(x, y, minutes=10)
    found.model.predict(x)          # probabilities; found.predict(x) gives labels as in y
    found.model.save("best.keras")

The search loop on the growing space, by hill climbing: a small network is trained, then children of
the best, which start from its weights; those of vectors start afresh, as weights that are chosen
over and over by a table's few validation examples come to fit these. For the same reason a larger
network of vectors must be better by more than luck, a linear one is trained first, which many
tables need nothing more than, and the model is the mean of the FEW best.
Each training has the same share of the time, or fewer seconds where examples are few; the first of
images, which inherits nothing, has several shares. Half-way the best is trained for longer; the
time that this leaves is for more children. The classes and files of `conf/` are what it is made of.
Two runs are equal only where their machines are equally fast.
"""

import contextlib
import dataclasses
import functools
import logging
import math
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import resources
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from nas.core.skeleton import ImageSkeleton
from nas.core.tensorflow_log import is_not_of_retracing
from nas.core.trial import Arch, ConfigError, Proposal, Trial
from nas.engine.executors import SerialExecutor
from nas.engine.search import search
from nas.engine.store import Store
from nas.evaluators.inherit import InheritFromParent
from nas.evaluators.scratch import building
from nas.fitting.arrays import ArrayData, prepare
from nas.run.config import make
from nas.training.weights import give

SEARCH = 0.5  # of the time; then the best is trained on
TRIALS = 8  # that share it, where each has SHORTEST seconds
SHORTEST = 3.0  # seconds of a training: less is mostly the tracing of its graph
FIRST = 3  # shares of the first training of images
EPOCHS, LONG = 60, 300  # at most, of a training and of the best one's: more learn nothing new
PATIENCE = 20  # looks at vectors' validation without a better one, until a training ends
FEW = 5  # networks, whose mean is the model of vectors: one's score is luck in part
DROPOUT = 0.3  # before the last layer, of vectors, of which there are often few
TIE = 1e-5  # of the loss, taken off the reward: it tells equal accuracies apart
CAUTION = 0.2  # standard errors of the score, which twice the parameters must gain, of vectors
RESERVE = 1.0  # seconds to make the model that is returned


@dataclasses.dataclass(frozen=True, kw_only=True)
class Fitted:
    """What was found.

    model: takes x as it was given, any number of examples, and gives probabilities [n, classes], or
    of regression numbers as in y, [n, 1]. Of vectors it is the mean of the best networks.
    history: of the best network's training: seconds since the fit began, accuracy, valid_accuracy,
    valid_loss, in the order of time; what its ancestors learned came before.
    valid_accuracy: of the model.
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
    linear = (0,) * len(space.decisions) if data.is_vectors else None  # no layer is filled
    with (
        _untold(),
        tempfile.TemporaryDirectory(prefix="nas_fit_") as folder,
        Store(folder) as store,
    ):
        evaluate = TimedTraining(space, data, seed, folder, start, end)
        trials = search(
            _Plan(controller, start + SEARCH * (end - start), end, linear),
            evaluate,
            functools.partial(_reward, data),
            store,
            SerialExecutor(),
            max_trials=10**6,
            on_trial=on_trial,
        )
        trained = [trial for trial in trials if trial.reward is not None]
        if not trained:
            raise ConfigError(f"no network could be trained: {trials[-1].reason}")
        ranked = sorted(trained, key=lambda trial: (trial.reward, -trial.id), reverse=True)
        top = ranked[: FEW if data.is_vectors else 1]
        model = evaluate.model(top)
    fitted = Fitted(
        model=model,
        history=top[0].metrics["history"],
        valid_accuracy=top[0].metrics["valid_accuracy"],
        trials=trials,
        labels=data.labels,
        seconds=0.0,
    )
    of_all = fitted.score(*data.validation()) if len(top) > 1 else fitted.valid_accuracy
    return dataclasses.replace(fitted, valid_accuracy=of_all, seconds=time.monotonic() - start)


def _reward(data: ArrayData, metrics: Mapping[str, Any]) -> float:
    """The score; of vectors less for size, as far as the score is uncertain.

    The best of many networks on few examples was lucky, and there are more large ones than small
    ones. In the manner of the one-standard-error rule (Breiman et al. 1984).
    """
    score = metrics["valid_accuracy"]
    reward = score - TIE * min(metrics["valid_loss"], 1.0)
    if not data.is_vectors:
        return reward
    count = len(data.valid_labels)
    if data.is_regression:  # of normal errors
        error = (1 - score) * math.sqrt(2 / count)
    else:
        share = (count * score + 1) / (count + 2)  # Laplace's: never without error
        error = math.sqrt(share * (1 - share) / count)
    return reward - CAUTION * error * math.log2(metrics["parameters"])


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
                "start_filters": [[64]],
            },
        )
    height, width, _ = data.image_shape
    poolings = int(np.clip(np.log2(max(min(height, width), 1) / 4), 0, 5))
    pool_after = [4 * (i + 1) for i in range(poolings)]
    slots = 4 * (poolings + 1)
    return _part("space", "morphism", {"slots": slots, "pool_after": pool_after, "growing": True})


def _part(group: str, name: str, changes: Mapping[str, Any] | None = None, **available: Any):
    """What conf/GROUP/NAME.yaml names, with changes."""
    text = (resources.files("nas.conf") / group / f"{name}.yaml").read_text()
    node = OmegaConf.merge(OmegaConf.create(text), dict(changes or {}))
    return make(node, group, **available)  # type: ignore[arg-type]


def make_recipe(data: ArrayData):
    """How everything is trained: augmentation for images that bear it."""
    height, width, channels = data.image_shape
    large = min(height, width) >= 16
    changes: dict[str, Any] = {
        "epochs": EPOCHS,
        "learning_rate": 0.05,
        "batch_size": 64 if len(data.train_labels) >= 1000 else 32,
        # A digit is not its mirror image; what has colours usually is.
        "flip": large and channels == 3,
        "pad_crop": min(height, width) // 8 if large else int(min(height, width) >= 8),
    }
    if data.is_vectors:
        changes |= {"optimizer": "adam", "learning_rate": 0.005}
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


class _Plan:
    """Hill climbing until `long`, then its best once more, for longer, then climbing to the end.

    first: an architecture that is trained before all others, and that nothing grows from.
    """

    def __init__(self, climb, long: float, end: float, first: Arch | None = None):
        self.climb, self.end, self.first = climb, end, first
        self.state, self.load_state = climb.state, climb.load_state
        self.long, self.asked = long, False

    def tell(self, trials: Sequence[Trial]) -> None:
        self.climb.tell([trial for trial in trials if trial.arch != self.first])

    def ask(self, n: int) -> list[Proposal]:
        soon = time.monotonic() + SHORTEST
        if self.asked and soon > self.end:
            return []
        if self.first and not self.asked:
            self.asked = True
            return [Proposal(self.first, epochs=LONG)]
        self.asked = True
        if soon > self.long and self.climb.best:
            self.long = math.inf
            arch, _, trial = self.climb.best
            return [Proposal(arch, parent=trial, epochs=LONG)]
        return self.climb.ask(n)


class TimedTraining(InheritFromParent):
    """As its parent, each training for a share of the time and never beyond its end.

    A proposal with epochs may have all of the time that is left.
    """

    def __init__(self, space, data: ArrayData, seed: int, folder, start: float, end: float):
        super().__init__(
            space=space,
            dataset=lambda: data,
            skeleton=functools.partial(ImageSkeleton, dropout=DROPOUT if data.is_vectors else 0.0),
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

    def model(self, trials: Sequence[Trial]):
        """x as it was given -> probabilities [n, classes], or numbers [n, 1], float32: the mean."""
        import keras

        served = [self._served(trial) for trial in trials]
        if not self.data.is_vectors:
            return served[0]
        features = self.data.image_shape[2]
        raw = keras.Input((features,))
        pixel = keras.layers.Reshape((1, 1, features))(raw)
        told = [one(pixel) for one in served]
        return keras.Model(raw, keras.layers.Average()(told) if len(told) > 1 else told[0])

    def _served(self, trial: Trial):
        """One trial's network, of images [n, height, width, channels]."""
        from nas.training import loop as image

        data = self.data
        skeleton = self.skeleton(image_shape=data.image_shape, classes=data.classes)
        _, weights = self.kept.load(trial.id, trial.id)
        inner = image.build(self.space, trial.arch, skeleton, self.recipe, self.seed)
        give(inner, weights)
        return image.servable(inner, data, _head(data))

    def _start(self, trial_id: int, proposal: Proposal, skeleton, seed: int):
        if self.data.is_vectors:
            return {}, {"parent": None, "preserved": False}
        return super()._start(trial_id, proposal, skeleton, seed)

    def _grow(self, arch, skeleton, recipe, seed: int, start):
        from nas.training import deadline as timed
        from nas.training import loop as image

        linear = not any(arch)
        if linear:  # the features would be dropped
            skeleton = dataclasses.replace(skeleton, dropout=0.0)
        with building():
            model = image.build_for_search(self.space, arch, skeleton, recipe, seed)
        taken = give(model, start)
        before = time.monotonic() - self.start
        self.history, weights = timed.train_until(
            model,
            self.data,
            recipe,
            self.end,
            seed=seed,
            # However many its epochs, a linear network leaves the others their time.
            seconds=self.share if linear else self._seconds(recipe, inherits=bool(start)),
            epochs=recipe.epochs,
            patience=PATIENCE if self.data.is_vectors else math.inf,
        )
        self.history["seconds"] = [before + s for s in self.history["seconds"]]
        # The weights are those of the best moment, so the metrics are too.
        at = timed.best_look(self.history)
        return {name: values[at:][:1] for name, values in self.history.items()}, weights, taken

    def _seconds(self, recipe, inherits: bool) -> float:
        if recipe.epochs != EPOCHS:
            return math.inf
        return self.share * (1 if inherits or self.data.is_vectors else FIRST)
