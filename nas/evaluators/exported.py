"""Loads exported models in a fresh process and scores each.

`nas export` runs it as `python -m nas.evaluators.exported PROBE.npz MODEL...`. It prints a line
of JSON for each model as soon as that one is scored: a missing line names the model that failed.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np


def predict(path: Path, images: np.ndarray) -> np.ndarray:
    """Probabilities [n, classes] for raw images [n, height, width, channels] float32 in 0..255."""
    import tensorflow as tf

    if path.suffix == ".keras":
        import keras

        model = keras.saving.load_model(path, safe_mode=True)
        return np.asarray(model.predict(images, verbose=0))
    if path.suffix == ".tflite":
        interpreter = tf.lite.Interpreter(str(path))
        slot = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(slot, images.shape)
        interpreter.allocate_tensors()
        interpreter.set_tensor(slot, images)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    loaded = tf.saved_model.load(path)  # the name keeps its variables alive
    return np.asarray(loaded.serve(images))


def score(probabilities: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    """Accuracy of probabilities [n, classes] for labels [n], and the first 64 rows."""
    accuracy = float(np.mean(probabilities.argmax(-1) == labels))
    return {"accuracy": accuracy, "first": probabilities[:64].tolist()}


def main() -> None:
    probe, *models = map(Path, sys.argv[1:])
    with np.load(probe, allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    for model in models:
        print(json.dumps(score(predict(model, images), labels)), flush=True)


if __name__ == "__main__":
    main()
