"""Keras computes with TensorFlow here; another backend is refused before Keras is imported."""

import json
import os
from pathlib import Path

from nas.core.trial import ConfigError


def check_keras_backend() -> None:
    """Raises ConfigError if Keras is told to compute with something else than TensorFlow.

    Keras reads the variable or the file when it is imported, which takes seconds.
    """
    backend = os.environ.get("KERAS_BACKEND")
    home = Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras")
    if not backend and (home / "keras.json").is_file():
        try:
            backend = json.loads((home / "keras.json").read_text(encoding="utf-8")).get("backend")
        except (OSError, ValueError, AttributeError):
            return  # Keras does not read it either
    if backend not in (None, "", "tensorflow"):
        raise ConfigError(
            f"Keras' backend must be tensorflow, got {backend}; set KERAS_BACKEND=tensorflow"
        )
