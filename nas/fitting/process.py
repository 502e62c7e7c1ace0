"""Leaves the calling process as it was: random streams, Keras' and TensorFlow's settings.

`nas.fit` is called in the middle of other people's programs. All that computes with TensorFlow runs
inside `left_as_found`; the caller's own code, such as on_trial, runs outside of it.
"""

import contextlib
import copy
import random
import threading
from collections.abc import Callable, Iterator

import numpy as np

from nas.core.trial import ConfigError

_LOCK = threading.RLock()


def check_keras() -> None:
    """Raises ConfigError if Keras or TensorFlow cannot be imported, or Keras computes otherwise."""
    try:
        import keras
        import tensorflow  # noqa: F401
    except (ImportError, ValueError) as error:  # ValueError: a backend that Keras does not know
        text = " ".join(str(error).split())
        raise ConfigError(
            f"nas.fit needs keras with tensorflow, which cannot be imported: {text}"
        ) from error
    if (backend := keras.backend.backend()) != "tensorflow":
        raise ConfigError(
            f"Keras' backend must be tensorflow, got {backend}; set KERAS_BACKEND=tensorflow"
        )


@contextlib.contextmanager
def alone(tell: Callable[[str], None]) -> Iterator[None]:
    """Runs one fit of this process at a time: they would share Keras' settings and the cores."""
    if not _LOCK.acquire(blocking=False):
        tell("another nas.fit is running in this process; this one waits until it has ended")
        _LOCK.acquire()
    try:
        yield
    finally:
        _LOCK.release()


@contextlib.contextmanager
def left_as_found() -> Iterator[None]:
    """Computes in float32 with channels last, whatever the caller has set, and puts all back.

    Keras and TensorFlow let nobody take back a setting that had not been set, so their own records
    are put back (keras.src.backend.common.global_state, tensorflow.python.eager.context).
    """
    import keras
    from keras.src.backend.common import global_state
    from tensorflow.python.eager import context

    streams = random.getstate(), np.random.get_state()  # noqa: NPY002  the caller's
    formats = keras.config.floatx(), keras.config.image_data_format()
    state = vars(global_state.GLOBAL_STATE_TRACKER)
    kept = {
        name: copy.copy(value) if isinstance(value, dict) else value
        for name, value in state.items()
    }
    options = context.context()._optimizer_experimental_options
    kept_options = dict(options)
    try:
        keras.config.set_floatx("float32")
        keras.config.set_image_data_format("channels_last")
        keras.config.set_dtype_policy("float32")
        yield
    finally:
        random.setstate(streams[0])
        np.random.set_state(streams[1])  # noqa: NPY002
        keras.config.set_floatx(formats[0])
        keras.config.set_image_data_format(formats[1])
        state.clear()
        state.update(kept)
        options.clear()
        context.context().set_optimizer_experimental_options(kept_options)
