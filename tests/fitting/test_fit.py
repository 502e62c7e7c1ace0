"""nas.fit: arrays in, the best model found in the time out."""

import json
import math
import subprocess
import sys
import time

import numpy as np
import pytest
from sklearn.datasets import load_digits

import nas
from nas.commands import fit as fit_command
from nas.core.trial import ConfigError, EvaluationError, Proposal, Trial
from nas.fitting import files as fit_files
from nas.fitting import parts, plan, training
from nas.fitting.arrays import prepare
from nas.training import deadline as timed

SECONDS = 14


@pytest.fixture(scope="module")
def digits():
    bunch = load_digits()
    order = np.random.default_rng(0).permutation(len(bunch.target))
    return bunch.images[order].astype(np.float32), bunch.target[order]


@pytest.fixture(scope="module")
def found(digits):
    import tensorflow  # noqa: F401  its import is not what is measured

    x, y = digits
    start = time.monotonic()
    seen = []
    fitted = nas.fit(x[:1400], y[:1400], minutes=SECONDS / 60, on_trial=seen.append)
    return fitted, time.monotonic() - start, seen


def test_it_keeps_the_time_and_knows_the_digits(found, digits):
    fitted, seconds, _ = found
    x, y = digits
    assert seconds < SECONDS + 10  # others may keep the machine busy
    assert fitted.seconds <= seconds
    assert np.mean(fitted.predict(x[1400:]) == y[1400:]) > 0.6  # chance: 0.1


def test_the_model_takes_what_it_was_given_and_can_be_saved(found, digits, tmp_path):
    import keras

    fitted, x = found[0], digits[0]
    probabilities = fitted.model.predict(x[:5], verbose=0)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    fitted.model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    np.testing.assert_allclose(again.predict(x[:5], verbose=0), probabilities, atol=1e-6)


def test_its_history_and_trials_say_what_happened(found):
    fitted, _, seen = found
    assert list(fitted.trials) == seen and seen  # on a busy machine just one
    history = fitted.history
    assert max(history["valid_accuracy"]) == fitted.valid_accuracy
    assert fitted.valid_accuracy == max(trial.metrics["valid_accuracy"] for trial in seen)
    assert history["seconds"] == sorted(history["seconds"])
    assert history["seconds"][-1] <= fitted.seconds
    starts = [trial.metrics["history"]["seconds"][0] for trial in seen]
    assert starts == sorted(starts)  # all are counted from the same moment
    assert {len(values) for values in history.values()} == {len(history["seconds"])}
    children = [trial.metrics["parent"] for trial in seen[1:]]
    assert None not in children


def test_importing_nas_imports_no_tensorflow():
    code = "import sys, nas; nas.fit; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    with pytest.raises(AttributeError, match="module nas has no attribute unknown"):
        nas.unknown  # noqa: B018


# Data.


def vectors(n=200, features=5):
    rng = np.random.default_rng(0)
    x = rng.normal(3, [1, 10, 100, 1, 0], (n, features))
    return x, np.where(x[:, 0] > 3, "yes", "no")


def test_vectors_are_images_of_a_pixel_standardised_by_feature():
    x, y = vectors()
    data = prepare(x, y, valid_share=0.25)
    assert data.image_shape == (1, 1, 5)
    assert (len(data.train_labels), len(data.valid_labels)) == (150, 50)
    assert data.labels.tolist() == ["no", "yes"] and data.class_names == ("no", "yes")
    standard = (data.train_images / 255 - data.mean) / data.std
    np.testing.assert_allclose(standard[..., :4].mean((0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(standard[..., :4].std((0, 1, 2)), 1, atol=1e-4)
    assert np.isfinite(standard).all()
    truth = {row.astype(np.float32).tobytes(): label for row, label in zip(x, y, strict=True)}
    for row, label in zip(data.valid_images, data.valid_labels, strict=True):
        assert truth[row.tobytes()] == data.labels[label]


def test_vectors_are_learned():
    x, y = vectors(600, 5)
    fitted = nas.fit(x[:500], y[:500], minutes=8 / 60)
    assert fitted.model.input_shape == (None, 5)
    assert {trial.metrics["parent"] for trial in fitted.trials} == {None}  # none inherits
    assert np.mean(fitted.predict(x[500:]) == y[500:]) > 0.7  # chance: 0.5
    valid = prepare(x[:500], y[:500], valid_share=0.2).validation()
    assert fitted.valid_accuracy == fitted.score(*valid)  # of the model, not of a network in it


def test_the_model_of_vectors_is_the_mean_of_the_best_networks(tmp_path):
    x, y = vectors(60)
    for given, task in ((y, "classification"), (x[:, 0] * 7 + 100, "regression")):
        data = prepare(x, given, valid_share=0.5, task=task)
        space = parts.make_space(data)
        folder, now = tmp_path / task, time.monotonic()
        evaluate = training.TimedTraining(space, data, 0, folder, now, now)  # one chunk each
        trials = [
            Trial(i, proposal, evaluate(i, proposal)["valid_accuracy"])
            for i, proposal in enumerate([Proposal(space.start())] * 3)
        ]
        alone = [evaluate.model([trial]).predict(x, verbose=0) for trial in trials]
        assert np.abs(alone[0] - alone[1]).max() > 1e-3
        mean = evaluate.model(trials).predict(x, verbose=0)
        np.testing.assert_allclose(mean, np.mean(alone, axis=0), rtol=1e-5)


@pytest.mark.parametrize(
    "task, score, error",
    [
        ("classification", 0.8, (81 / 102 * 21 / 102 / 100) ** 0.5),
        ("classification", 1.0, (101 / 102 * 1 / 102 / 100) ** 0.5),  # not 0
        ("regression", 0.5, 0.5 * (2 / 100) ** 0.5),
    ],
)
def test_a_larger_network_of_vectors_must_gain_more_than_luck(task, score, error):
    x, y = vectors(200)
    data = prepare(x, y if task == "classification" else x[:, 0], valid_share=0.5, task=task)
    metrics = {"valid_accuracy": score, "valid_loss": 0.5, "parameters": 1024}
    reward = plan.reward(data, metrics)
    assert reward == pytest.approx(score - 0.5e-5 - 10 * plan.SIZE_PENALTY * error)
    twice = plan.reward(data, metrics | {"parameters": 2048})
    assert reward - twice == pytest.approx(plan.SIZE_PENALTY * error)


def test_the_size_of_networks_of_images_is_not_paid_for(digits):
    data = prepare(*digits, valid_share=0.2)
    metrics = {"valid_accuracy": 0.9, "valid_loss": 3.0, "parameters": 10**6}
    assert plan.reward(data, metrics) == pytest.approx(0.9 - 1e-5)


def test_the_first_training_of_images_has_several_shares(digits, tmp_path):
    x, y = digits
    images, rows = (prepare(part, y, valid_share=0.2) for part in (x, x.reshape(len(x), -1)))
    for data, shares in ((images, training.FIRST_TRAINING_SHARES), (rows, 1)):
        space = parts.make_space(data)
        train = training.TimedTraining(space, data, 0, tmp_path, start=0.0, end=1600.0)
        assert train.share == 100.0
        assert train._seconds(train.recipe, inherits=False) == 100.0 * shares
        assert train._seconds(train.recipe, inherits=True) == 100.0
        assert (
            train._seconds(train.recipe.replace(epochs=plan.MAX_EPOCHS_OF_BEST), inherits=True)
            == np.inf
        )


def test_numbers_are_learned_and_come_back_in_their_units():
    x, _ = vectors(600)
    y = 1000 + 50 * (x[:, 0] - 3) + 2 * x[:, 1]
    fitted = nas.fit(x[:500], y[:500], minutes=8 / 60)
    assert fitted.model.output_shape == (None, 1) and len(fitted.labels) == 0
    predicted = fitted.predict(x[500:])
    r2 = 1 - np.mean((predicted - y[500:]) ** 2) / np.var(y[500:])
    assert fitted.score(x[500:], y[500:]) == pytest.approx(r2, abs=1e-6)
    assert r2 > 0.5  # a guess of the mean: 0


def test_the_score_of_numbers_is_their_coefficient_of_determination():
    import tensorflow as tf
    from sklearn.metrics import r2_score

    from nas.training.objective import objective

    rng = np.random.default_rng(0)
    labels, predicted = rng.normal(size=(2, 50)).astype(np.float32)
    score = objective(labels).score(labels, tf.constant(predicted[:, None]))
    assert np.mean(score) == pytest.approx(r2_score(labels, predicted), abs=1e-5)


def test_bytes_stay_bytes_and_channels_may_be_left_out():
    images = np.zeros((20, 6, 6), np.uint8)
    images[:] = np.arange(20)[:, None, None]
    data = prepare(images, np.arange(20)[:, None] % 2, valid_share=0.2)
    assert data.image_shape == (6, 6, 1) and data.train_images.dtype == np.uint8
    assert not data.is_vectors


def test_a_given_validation_part_is_taken_as_it_is():
    x, y = vectors(60)
    data = prepare(x[:40], y[:40], valid_share=0.2, validation=(x[40:], y[40:, None]))
    np.testing.assert_array_equal(data.train_images[:, 0, 0], x[:40].astype(np.float32))
    np.testing.assert_array_equal(data.valid_images[:, 0, 0], x[40:].astype(np.float32))
    np.testing.assert_array_equal(data.labels[data.valid_labels], y[40:])
    np.testing.assert_allclose(data.mean, x[:40].mean(0) / 255, rtol=1e-5)  # of training alone
    numbers = prepare(x[:40], x[:40, 1], valid_share=0.2, validation=(x[40:], x[40:, 1]))
    assert numbers.centre == pytest.approx(x[:40, 1].mean())
    assert len(numbers.valid_labels) == 20


def test_wrong_validation_parts_are_refused():
    x, y = vectors(60)
    for validation, message in (
        (x, r"validation must be \(x, y\), got ndarray"),
        (5, r"validation must be \(x, y\), got int"),
        ((x[:9, :4], y[:9]), r"validation's x must be .* such as x has, \[60, 5\], got \[9, 4\]"),
        ((x[:0], y[:0]), r"validation's x must be examples such as x has, .* got \[0, 5\]"),
        ((x[:9], y), r"validation's y must be \[9\], one value per example, got \[60\]"),
    ):
        with pytest.raises(ConfigError, match=message):
            nas.fit(x, y, validation=validation)


@pytest.mark.parametrize(
    "x, y, message",
    [
        (np.zeros(5), np.zeros(5), r"x must be \[n, features\], .* got \[5\]"),
        (np.zeros((4, 2)), [0, 1, 0], r"y must be \[4\], one value per example, got \[3\]"),
        (np.zeros((4, 2)), [0, 0, 0, 0], r"y must have at least 2 classes, got \[0\]"),
        (
            np.zeros((4, 2)),
            [0, 1, np.nan, 1],
            "y must have no missing values, got some, such as nan",
        ),
        (np.zeros((4, 2)), np.array([0, 1, np.nan, 1]), "y must be finite numbers, got 1 that"),
        (
            np.zeros((40, 2)),
            list(range(40)),
            "task must be given, classification or regression: y has 40 different whole numbers",
        ),
        (np.full((4, 2), np.nan), [0, 1, 0, 1], "x must be finite numbers"),
        (np.full((4, 2), "a"), [0, 1, 0, 1], "x must be numbers, got <U1"),
        (np.zeros((2, 2)), [0, 1], "x must have enough examples to split, got 2"),
    ],
)
def test_wrong_arrays_are_refused(x, y, message):
    with pytest.raises(ConfigError, match=message):
        nas.fit(x, y, minutes=1)


def test_wrong_settings_are_refused():
    x, y = vectors()
    with pytest.raises(ConfigError, match="minutes must be above 0, got 0"):
        nas.fit(x, y, minutes=0)
    with pytest.raises(
        ConfigError, match=r"whole numbers or texts, for task=classification, got 0.5"
    ):
        nas.fit(x, [0.5] * 200, task="classification")
    with pytest.raises(ConfigError, match="y must be numbers for task=regression, got <U3"):
        nas.fit(x, y, task="regression")
    with pytest.raises(ConfigError, match="task must be one of auto, classification, regression"):
        nas.fit(x, y, task="ranking")
    with pytest.raises(ConfigError, match="y must have different numbers, got 0.5 alone"):
        nas.fit(x, [0.5] * 200)
    with pytest.raises(ConfigError, match=r"valid_share must be in \(0, 1\), got 1"):
        nas.fit(x, y, valid_share=1)


def test_networks_and_augmentation_are_of_the_size_of_the_examples():
    def data(*shape):
        x = np.random.default_rng(0).integers(0, 256, (20, *shape)).astype(np.uint8)
        return prepare(x, np.arange(20) % 2, valid_share=0.2)

    assert parts.make_space(data(8, 8, 1)).pool_after == (4,)
    assert parts.make_space(data(32, 32, 3)).pool_after == (4, 8, 12)
    assert parts.make_space(data(7)).pool_after == ()
    rows = parts.make_space(data(7))
    assert [slot.filters for i in range(8) if (slot := rows.slot(rows.start(), i))] == [64]
    digit, photo, row = (parts.make_recipe(data(*s)) for s in ((8, 8, 1), (32, 32, 3), (7,)))
    assert (digit.flip, photo.flip, row.flip) == (False, True, False)
    assert (digit.pad_crop, photo.pad_crop, row.pad_crop) == (1, 4, 0)
    assert row.optimizer == "adam"


# The clock.


def test_a_training_that_has_no_time_takes_one_chunk_and_one_that_fails_says_so():
    x, y = vectors()
    data = prepare(x, y, valid_share=0.2)
    recipe = parts.make_recipe(data)
    space = parts.make_space(data)
    from nas.core.skeleton import ImageSkeleton
    from nas.training import loop as image

    skeleton = ImageSkeleton(image_shape=data.image_shape, classes=2)
    model = image.build(space, space.start(), skeleton, recipe, 0)
    history, weights = timed.train_until(model, data, recipe, time.monotonic(), seed=0)
    assert len(history["seconds"]) == 2 and np.isnan(history["accuracy"][0])
    assert set(weights) >= {"slot0_conv/kernel", "logits/bias"}
    few, _ = timed.train_until(model, data, recipe, time.monotonic() + 100, seed=0, epochs=3)
    assert 2 <= len(few["seconds"]) <= 4  # before, and at most once an epoch
    still = recipe.replace(learning_rate=1e-12)  # nothing is ever better than the start
    end = time.monotonic() + 100
    stopped, _ = timed.train_until(model, data, still, end, seed=0, epochs=300, patience=4)
    assert len(stopped["seconds"]) - 1 - timed.best_look(stopped) == 4
    broken = recipe.replace(learning_rate=1e30, optimizer="sgd")
    with pytest.raises(EvaluationError, match="the loss is"):
        timed.train_until(model, data, broken, time.monotonic() + 100, seed=0)


def test_the_best_look_is_of_the_best_accuracy_then_of_the_lowest_loss():
    history = {"valid_accuracy": [0.5, 0.75, 0.75, 0.75, 0.6], "valid_loss": [1, 3, 2, 2, 0.1]}
    assert timed.best_look(history) == 2


def test_half_way_the_best_is_trained_for_longer_and_the_search_goes_on(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(plan.time, "monotonic", lambda: now[0])

    class HillClimbing:
        best = None
        tell = state = load_state = None

        def ask(self, n):
            return [Proposal((0,), parent=7)] * n

    planned = plan.Plan(HillClimbing(), best_again=50.0, end=100.0)
    now[0] = 60.0  # nothing has been trained yet: the first comes before all else
    assert planned.ask(1) == [Proposal((0,), parent=7)]
    planned.climb.best = ((1,), 0.9, 3)
    assert planned.ask(1) == [Proposal((1,), parent=3, epochs=plan.MAX_EPOCHS_OF_BEST)]
    assert planned.ask(1) == [Proposal((0,), parent=7)]
    now[0] = 99.0
    assert planned.ask(1) == []


def test_the_linear_network_comes_first_and_nothing_grows_from_it():
    class HillClimbing:
        best = None
        state = load_state = None
        trials: list = []

        def tell(self, trials):
            self.trials += trials

        def ask(self, n):
            return [Proposal((1,))] * n

    planned = plan.Plan(HillClimbing(), best_again=math.inf, end=math.inf, first=(0,))
    assert planned.ask(1) == [Proposal((0,), epochs=plan.MAX_EPOCHS_OF_BEST)]
    assert planned.ask(1) == [Proposal((1,))]
    trials = [Trial(0, Proposal((0,)), 0.9), Trial(1, Proposal((1,)), 0.8)]
    planned.tell(trials)
    assert planned.climb.trials == trials[1:]


def test_the_linear_network_leaves_the_others_their_time(monkeypatch):
    given, train = [], timed.train_until

    def train_until(*args, seconds, **settings):
        given.append(seconds)
        return train(*args, seconds=seconds, **settings)

    monkeypatch.setattr(timed, "train_until", train_until)
    nas.fit(*vectors(300), minutes=0.05)
    assert given[0] == plan.SHORTEST


# The command.


def test_the_command_writes_the_model_and_what_it_is_worth(tmp_path, capsys):
    x, y = vectors(300)
    file, to = tmp_path / "data.npz", tmp_path / "mine.keras"
    parts = {"train": slice(200), "valid": slice(200, 250), "test": slice(250, 300)}
    arrays = {f"x_{part}": x[at] for part, at in parts.items()}
    np.savez(file, **arrays, **{f"y_{part}": y[at] for part, at in parts.items()})
    read = fit_files.read(file)
    np.testing.assert_array_equal(read.valid[0], x[200:250])
    np.testing.assert_array_equal(read.test[1], y[250:])
    assert fit_command.main([str(file), "--minutes", "0.05", "--to", str(to)]) == 0
    said = capsys.readouterr().out
    report = json.loads(to.with_suffix(".json").read_text())
    assert f"test accuracy {report['test_accuracy']:.4f}" in said and "trial   0  ok" in said
    assert report["labels"] == ["no", "yes"] and report["history"]["accuracy"][0] is None
    assert to.is_file()
    with pytest.raises(ConfigError, match="--to must be a new file NAME.keras, got"):
        fit_command.main([str(file), "--to", str(to)])


def test_files_that_are_no_data_are_refused(tmp_path):
    text, odd, pickled = (tmp_path / name for name in ("a.txt", "b.npz", "c.npz"))
    text.write_text("x")
    np.savez(odd, z=np.zeros(3))
    np.savez(pickled, x=np.array([{}, {}], dtype=object), y=np.zeros(2))
    to = ["--to", str(tmp_path / "m.keras")]
    for path in (text, tmp_path / "gone.npz"):
        with pytest.raises(ConfigError, match="DATA must be an .npz file, a folder or a .csv file"):
            fit_command.main([str(path), *to])
    with pytest.raises(ConfigError, match="x and y, or x_train and y_train; .* has z"):
        fit_command.main([str(odd), *to])
    with pytest.raises(ConfigError, match="DATA must hold plain arrays"):
        fit_command.main([str(pickled), *to])
    with pytest.raises(ConfigError, match="in a folder that exists"):
        fit_command.main([str(odd), "--to", str(tmp_path / "no" / "m.keras")])
