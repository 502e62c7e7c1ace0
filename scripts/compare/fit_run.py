"""Runs one tool on one data set from one seed, in its own process, for scripts/compare/fit.py.

    python scripts/compare/fit_run.py TOOL DATA.npz --seconds 600 --seed 0 --to ROW.json

TOOL: nas or linear in our environment; autokeras or keras_tuner in the peers'. DATA.npz: x_, y_ of
train, valid and test; y: class numbers from 0 (int32), or numbers (float32, standardised).

All three search on the same training part. The model with the best validation score (accuracy, or
R^2 of numbers) at the end of any epoch is kept, and tested once after the time is over. For
vectors, nas.fit's model is its own, the mean of its five best networks, while its curve is that of
single networks. The clock starts when data and libraries are loaded. Peers run as their
documentation shows:

  autokeras: ImageClassifier, StructuredDataClassifier or StructuredDataRegressor with its defaults:
      at most 1,000 epochs a trial, patience 10; max_trials so large that the time ends it.
  keras_tuner: Hyperband over a hypermodel, which its users write. For images: the blocks of its
      CIFAR-10 example (two convolutions with normalization, then a pooling; global pooling, dense,
      dropout), with fewer filters and blocks, as two cores train them, and augmentation as a
      choice. For tables: the dense layers of its guide behind a Normalization. At most 30 epochs a
      trial, patience 5, Hyperband again and again. Its shipped HyperResNet and HyperXception are
      too large for 2 cores and for 8x8 images.

  linear (tables only): no search; scikit-learn's ridge or logistic regression, with its penalty
      chosen by cross-validation in the training part, shows what a table needs without one.

What the time limit does to a peer: its training stops after the batch in which the time is over,
and is then validated, so that it may still be the peer's best. If that takes more than GRACE of the
time, it is not waited for. A trial that the time cuts short counts with what its epochs have
reached.
"""

import argparse
import importlib.metadata
import json
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

GRACE = 0.1  # of the time: to validate a training that was cut short
EPOCHS, PATIENCE = 30, 5  # KerasTuner's, of a trial
MANY = 10**6  # trials, or rounds of Hyperband: the time ends the search


class Over(BaseException):
    """The time is over. No Exception: tuners take those for failed trials and go on."""


def run_nas(data: dict, seconds: float, seed: int) -> dict:
    import nas.onednn  # noqa: F401  as `nas fit` does, before TensorFlow

    # isort: split
    import keras  # noqa: F401  the import is not timed
    import tensorflow  # noqa: F401

    import nas

    x, y = data["x_train"], data["y_train"]
    task = "regression" if y.dtype.kind == "f" else "classification"
    validation = (data["x_valid"], data["y_valid"])
    fitted = nas.fit(x, y, minutes=seconds / 60, task=task, validation=validation, seed=seed)
    looks = [
        look
        for trial in fitted.trials
        if trial.reward is not None
        for look in zip(
            trial.metrics["history"]["seconds"],
            trial.metrics["history"]["valid_accuracy"],
            strict=True,
        )
    ]
    curve: list[tuple[float, float]] = []
    for at, value in sorted(looks):
        if not curve or value > curve[-1][1]:
            curve.append((at, value))
    return {
        "seconds": fitted.seconds,
        "curve": curve,
        "kept": fitted.valid_accuracy,
        "trials": len(fitted.trials),
        "ended": "time",
        **scores(fitted.predict, data),
    }


def run_autokeras(data: dict, seconds: float, seed: int) -> dict:
    import autokeras
    from autokeras.pipeline import load_pipeline

    x, y = data["x_train"], data["y_train"]
    images, numbers = x.ndim > 2, y.dtype.kind == "f"
    kind = (
        autokeras.ImageClassifier
        if images
        else autokeras.StructuredDataRegressor
        if numbers
        else autokeras.StructuredDataClassifier
    )
    with tempfile.TemporaryDirectory() as folder:
        watch = make_watch(data, seconds)
        auto = kind(max_trials=MANY, directory=folder, seed=seed + 1)  # it takes 0 for no seed
        ended = search_until(
            watch,
            lambda: auto.fit(
                x,
                y,
                validation_data=(data["x_valid"], data["y_valid"]),
                callbacks=[watch],
                verbose=0,
            ),
        )
        # What it does to x and to the classes, the same in every trial.
        pipeline = load_pipeline(sorted(map(str, Path(folder).rglob("pipeline")))[0])
    model = watch.best_model()

    def predict(inputs):
        adapted = pipeline.transform_x(auto._adapt(inputs, auto.inputs))
        outputs = pipeline.postprocess(model.predict(adapted, verbose=0))
        return np.asarray(outputs).reshape(-1).astype(y.dtype)

    return watch.row() | {"ended": ended, **scores(predict, data)}


def run_keras_tuner(data: dict, seconds: float, seed: int) -> dict:
    import keras
    import keras_tuner

    x, y = data["x_train"], data["y_train"]
    numbers = y.dtype.kind == "f"
    keras.utils.set_random_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        watch = make_watch(data, seconds)
        tuner = keras_tuner.Hyperband(
            make_hypermodel(x, y),
            objective="val_loss" if numbers else "val_accuracy",
            max_epochs=EPOCHS,
            hyperband_iterations=MANY,
            seed=seed + 1,  # it takes 0 for no seed
            directory=folder,
        )
        stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=PATIENCE)
        valid = (data["x_valid"], data["y_valid"])
        ended = search_until(
            watch,
            lambda: tuner.search(x, y, validation_data=valid, callbacks=[stop, watch], verbose=0),
        )
    model = watch.best_model()

    def predict(inputs):
        outputs = model.predict(inputs, verbose=0)
        return outputs[:, 0] if numbers else outputs.argmax(1)

    return watch.row() | {"ended": ended, **scores(predict, data)}


def run_linear(data: dict, seconds: float, seed: int) -> dict:
    from sklearn import linear_model, pipeline, preprocessing

    start, penalties = time.monotonic(), np.logspace(-3, 3, 13)
    model = (
        linear_model.RidgeCV(penalties)
        if data["y_train"].dtype.kind == "f"
        else linear_model.LogisticRegressionCV(Cs=1 / penalties, max_iter=10_000)
    )
    whole = pipeline.make_pipeline(preprocessing.StandardScaler(), model)
    whole.fit(data["x_train"], data["y_train"])
    took, score = time.monotonic() - start, scores(whole.predict, data)
    curve = [(took, score["valid"])]
    end = {"seconds": took, "curve": curve, "kept": score["valid"], "trials": 1}
    return end | {"ended": "the tool", **score}


def make_hypermodel(x: np.ndarray, y: np.ndarray):
    """build(hp) -> a compiled Keras model, for KerasTuner."""
    import keras
    from keras import layers

    numbers = y.dtype.kind == "f"
    classes = 1 if numbers else int(y.max()) + 1

    def images(hp):
        model = keras.Sequential([layers.Input(x.shape[1:]), layers.Rescaling(1 / 255)])
        if hp.Boolean("augment"):
            if x.shape[3] == 3:
                model.add(layers.RandomFlip("horizontal"))
            model.add(layers.RandomTranslation(0.1, 0.1))
        for i in range(hp.Int("blocks", 1, 2 if x.shape[1] < 16 else 4)):
            filters = hp.Int(f"filters_{i}", 16, 128, step=16)
            for _ in range(2):
                model.add(layers.Conv2D(filters, 3, padding="same"))
                model.add(layers.BatchNormalization())
                model.add(layers.ReLU())
            most = hp.Choice(f"pooling_{i}", ["avg", "max"]) == "max"
            model.add(layers.MaxPooling2D(2) if most else layers.AveragePooling2D(2))
        model.add(layers.GlobalAveragePooling2D())
        model.add(layers.Dense(hp.Int("hidden", 30, 100, step=10), activation="relu"))
        model.add(layers.Dropout(hp.Float("dropout", 0, 0.5, step=0.1)))
        return model

    def vectors(hp):
        known = layers.Normalization()
        known.adapt(x)
        model = keras.Sequential([layers.Input(x.shape[1:]), known])
        for i in range(hp.Int("layers", 1, 3)):
            units = hp.Int(f"units_{i}", 32, 512, step=32)
            model.add(layers.Dense(units, activation=hp.Choice("activation", ["relu", "tanh"])))
        if hp.Boolean("dropout"):
            model.add(layers.Dropout(0.25))
        return model

    def build(hp):
        model = images(hp) if x.ndim > 2 else vectors(hp)
        model.add(layers.Dense(classes, activation=None if numbers else "softmax"))
        rate = hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")
        model.compile(
            optimizer=keras.optimizers.Adam(rate),
            loss="mse" if numbers else "sparse_categorical_crossentropy",
            metrics=[] if numbers else ["accuracy"],
        )
        return model

    return build


def make_watch(data: dict, seconds: float):
    """A Keras callback: the curve, the best model so far, and the end. Its clock starts now."""
    import keras

    variance = float(np.var(data["y_valid"]))
    numbers = data["y_train"].dtype.kind == "f"

    class Watch(keras.callbacks.Callback):
        def __init__(self):
            super().__init__()
            self.start = time.monotonic()
            self.end, self.grace = self.start + seconds, GRACE * seconds
            self.curve: list[tuple[float, float]] = []
            self.best, self.trials = None, 0

        def __deepcopy__(self, memo):
            return self  # tuners copy callbacks for each trial; this one sees them all

        def on_train_begin(self, logs=None):
            self.trials += 1

        def on_train_batch_end(self, batch, logs=None):
            if time.monotonic() > self.end:
                self.model.stop_training = True  # Keras leaves the epoch and validates

        def on_epoch_end(self, epoch, logs=None):
            value = 1 - logs["val_loss"] / variance if numbers else logs["val_accuracy"]
            if not self.curve or value > self.curve[-1][1]:
                self.best = self.model, self.model.get_weights()
                self.curve.append((time.monotonic() - self.start, float(value)))
            if time.monotonic() > self.end:
                signal.setitimer(signal.ITIMER_REAL, 0)  # or it rings while tuners clean up
                raise Over

        def best_model(self):
            if self.best is None:
                raise RuntimeError("no epoch ended within the time")
            model, weights = self.best
            model.set_weights(weights)
            return model

        def row(self):
            kept = self.curve[-1][1]
            row = {"seconds": self.seconds, "curve": self.curve, "kept": kept}
            return row | {"trials": self.trials}

    return Watch()


def search_until(watch, search) -> str:
    """Runs it to the end of the time. Returns what ended it."""

    def over(number, frame):
        raise Over

    signal.signal(signal.SIGALRM, over)
    signal.setitimer(signal.ITIMER_REAL, watch.end - time.monotonic() + watch.grace)
    try:
        search()
        return "the tool"  # it has nothing more to try
    except Over:
        return "time"
    except RuntimeError as error:  # of KerasTuner, after three failed trials in a row
        print(error, file=sys.stderr)
        return str(error).strip().splitlines()[-1][:300]
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        watch.seconds = time.monotonic() - watch.start


def scores(predict, data: dict) -> dict[str, float]:
    """Of the kept model, by its predictions: valid, the one it was kept for, and test."""

    def score(part: str) -> float:
        y, predicted = data[f"y_{part}"], predict(data[f"x_{part}"])
        if y.dtype.kind == "f":
            return float(1 - np.mean((predicted - y) ** 2) / np.var(y))
        return float(np.mean(predicted == y))

    return {"valid": score("valid"), "test": score("test")}


TOOLS = {
    "nas": run_nas,
    "autokeras": run_autokeras,
    "keras_tuner": run_keras_tuner,
    "linear": run_linear,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tool", choices=TOOLS)
    parser.add_argument("data", type=Path)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--to", type=Path, required=True)
    args = parser.parse_args()
    with np.load(args.data) as file:
        data = {name: file[name] for name in file.files}
    row = TOOLS[args.tool](data, args.seconds, args.seed)
    known = ("nas", "autokeras", "keras-tuner", "keras", "tensorflow")
    versions = {d.name: d.version for d in importlib.metadata.distributions() if d.name in known}
    if abs(row["kept"] - row["valid"]) > 2e-3:  # sums in another order
        raise RuntimeError(f"the kept model has {row['valid']}, not {row['kept']}")
    args.to.write_text(json.dumps(row | {"versions": versions}) + "\n")


if __name__ == "__main__":
    main()
