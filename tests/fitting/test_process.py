"""nas.fit leaves its caller's process as it was, continues, and keeps what it has."""

import random
import threading

import numpy as np
import pytest

import nas
from nas.core.trial import ConfigError
from nas.engine.store import Store
from nas.fitting import plan
from nas.fitting.process import alone, check_keras, left_as_found

MINUTES = 0.001  # the first network trains for one chunk of steps
X = np.random.default_rng(0).normal(size=(60, 4))
Y = (X[:, 0] > 0).astype(int)


def test_a_fit_leaves_everything_as_it_was():
    import keras
    import tensorflow as tf

    options = tf.config.optimizer.get_experimental_options()
    keras.config.set_dtype_policy("mixed_bfloat16")
    keras.config.set_image_data_format("channels_first")
    keras.config.set_floatx("float64")
    tf.random.set_seed(7)
    tf.random.normal([1])
    inputs = keras.backend.get_uid("input_layer")
    streams = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    during, said = [], []

    def on_trial(trial):
        during.append((random.getstate(), keras.config.dtype_policy().name))

    try:
        found = nas.fit(
            X, Y, minutes=MINUTES, seed=np.int64(3), test=(X[:9], Y[:9]),
            on_trial=on_trial, on_message=said.append,
        )  # fmt: skip
        assert (random.getstate(), np.random.get_state()[1].tolist()) == streams  # noqa: NPY002
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert keras.config.image_data_format() == "channels_first"
        assert keras.config.floatx() == "float64"
        assert tf.config.optimizer.get_experimental_options() == options
        assert keras.backend.get_uid("input_layer") == inputs + 1
        drawn = tf.random.normal([3]).numpy()
        tf.random.set_seed(7)
        tf.random.normal([1])
        np.testing.assert_array_equal(tf.random.normal([3]).numpy(), drawn)
    finally:
        keras.config.set_dtype_policy("float32")
        keras.config.set_image_data_format("channels_last")
        keras.config.set_floatx("float32")
    assert during == [(streams[0], "mixed_bfloat16")] * len(found.trials)
    assert len(said) == 1 and said[0].startswith("60 vectors of 4 numbers (float64), 2 classes")
    assert found.test_accuracy == found.score(X[:9], Y[:9])
    assert found.model.dtype_policy.name == "float32" and found.ended == "time"
    for y, message in (
        (Y[:9].astype(str), "y must be whole numbers as y is, got texts"),
        (Y[:8], r"y must be \[9\]"),
    ):
        with pytest.raises(ConfigError, match=message):
            found.score(X[:9], y)


def test_an_exception_puts_all_back_too():
    import keras

    random.seed(1)
    stream = random.getstate()
    with pytest.raises(KeyError), left_as_found():
        keras.utils.set_random_seed(5)
        keras.config.set_dtype_policy("mixed_bfloat16")
        raise KeyError
    assert random.getstate() == stream and keras.config.dtype_policy().name == "float32"


def test_the_second_of_two_threads_waits_and_says_so():
    said, order = [], []

    def second():
        with alone(said.append):
            order.append("second")

    with alone(said.append), alone(said.append):  # on_trial may call nas.fit
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert said == ["another nas.fit is running in this process; this one waits until it has ended"]


def test_a_fit_that_was_killed_continues_with_what_it_had(tmp_path):
    class Killed(Exception):
        pass

    def on_trial(trial):
        raise Killed

    fit = {"run_dir": tmp_path / "run", "on_message": print}
    with pytest.raises(Killed):
        nas.fit(X, Y, minutes=0.05, on_trial=on_trial, **fit)
    with Store(tmp_path / "run", read_only=True) as store:
        [kept] = store.trials()
    said, seen = [], []
    # The time is long over: the model is made of what was trained.
    found = nas.fit(
        X, Y, minutes=MINUTES, on_trial=seen.append, **fit | {"on_message": said.append}
    )
    assert seen == [] and [trial.arch for trial in found.trials] == [kept.arch]
    assert found.trials[0].seconds == kept.seconds
    assert "has 1 trials of" in said[1]
    for change, message in (
        ({"seed": 1}, "holds a run with seed=0, got seed=1"),
        ({"valid_share": 0.3}, "holds a run with valid_share=0.2, got valid_share=0.3"),
        ({"y": 1 - Y}, "holds a run with data="),
    ):
        with pytest.raises(ConfigError, match=message):
            nas.fit(**{"x": X, "y": Y} | fit | change)
    (tmp_path / "run" / "weights" / "0.npz").unlink()
    with pytest.raises(ConfigError, match="must have the weights of trial 0, which are not there"):
        nas.fit(X, Y, minutes=MINUTES, **fit)


def test_the_plan_goes_on_where_it_was():
    class HillClimbing:
        best, state, load_state = ((1,), 0.9, 1), None, None

        def ask(self, n):
            return [nas.Proposal((2,))] * n

    first = nas.Proposal((0,), epochs=plan.MAX_EPOCHS_OF_BEST)
    longer = nas.Proposal((1,), epochs=plan.MAX_EPOCHS_OF_BEST)
    end = plan.time.monotonic() + 100

    def next_of(*before):
        return plan.Plan(HillClimbing(), 0.0, end, first.arch, before).ask(1)[0]

    assert next_of() == first
    assert next_of(first).arch == longer.arch and next_of(first).epochs == longer.epochs
    assert next_of(first, longer) == nas.Proposal((2,))


def test_an_interrupted_fit_gives_the_best_so_far_if_asked():
    def on_trial(trial):
        raise KeyboardInterrupt("stopped by SIGTERM")

    said = []
    found = nas.fit(
        X, Y, minutes=0.05, on_trial=on_trial, on_message=said.append, keep_when_interrupted=True
    )
    assert found.ended == "interrupted" and len(found.trials) == 1 and found.seconds < 40
    assert said[-1] == "stopped by SIGTERM: the best model so far is made"
    with pytest.raises(KeyboardInterrupt):
        nas.fit(X, Y, minutes=MINUTES, on_trial=on_trial)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"seed": 2**32}, r"seed must be a whole number from 0 to 2\^32 - 1, got 4294967296"),
        ({"seed": -1}, "seed must be .* got -1"),
        ({"seed": 1.0}, "seed must be .* got 1.0"),
        ({"seed": True}, "seed must be .* got True"),
        ({"minutes": float("inf")}, "minutes must be above 0, got inf"),
        ({"minutes": float("nan")}, "minutes must be above 0, got nan"),
        ({"minutes": "5"}, "minutes must be above 0, got 5"),
        ({"on_trial": None}, "on_trial must be a function, got None"),
        ({"valid_share": 1}, r"valid_share must be in \(0, 1\), got 1"),
        ({"valid_share": "0.2"}, "valid_share must be in"),
    ],
)
def test_a_setting_is_refused_before_anything_is_trained(settings, message):
    with pytest.raises(ConfigError, match=message):
        nas.fit(X, Y, **settings)


def test_keras_must_compute_with_tensorflow(monkeypatch):
    import keras

    check_keras()
    monkeypatch.setattr(keras.backend, "backend", lambda: "jax")
    with pytest.raises(ConfigError, match="Keras' backend must be tensorflow, got jax; set KERAS"):
        nas.fit(X, Y)
