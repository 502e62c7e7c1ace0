"""`nas export RUN`: best.keras, a SavedModel and a TFLite file, each loaded again and scored.

Each format is loaded by a fresh process and scored on the validation images; only when it answers
as the trained model does is the export said to be done. The test split is not touched.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from nas import run as runs
from nas.config import make
from nas.trial import ConfigError

FORMATS = {"keras": "model.keras", "savedmodel": "saved_model", "tflite": "model.tflite"}
TOLERANCE = 1e-4  # of a probability; formats fuse and reorder float32 arithmetic


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="nas export", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run folder with a retrained best.keras")
    parser.add_argument("--to", type=Path, help="folder to write; default RUN/export")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    args = parser.parse_args(argv)
    model_path = args.run / runs.MODEL
    if not model_path.is_file():
        raise ConfigError(
            f"{args.run} has no {runs.MODEL}: `nas retrain {args.run}` makes one, "
            "in its own folder below it"
        )
    folder = args.to or args.run / "export"
    folder.mkdir(parents=True, exist_ok=True)
    images, labels = _probe(args.run)
    np.savez(folder / "probe.npz", images=images, labels=labels)
    reference = _score(model_path, folder / "probe.npz")
    _write(model_path, folder, args.formats)
    failed = False
    for name in args.formats:
        score = _score(folder / FORMATS[name], folder / "probe.npz")
        gap = float(np.abs(np.array(score["first"]) - np.array(reference["first"])).max())
        same = gap <= TOLERANCE and score["accuracy"] == reference["accuracy"]
        failed |= not same
        print(
            f"{name:11}{folder / FORMATS[name]}  validation accuracy {score['accuracy']:.4f} "
            f"(trained model {reference['accuracy']:.4f}), largest difference {gap:.1e}  "
            f"{'ok' if same else 'DIFFERS'}"
        )
    (folder / "probe.npz").unlink()
    if failed:
        raise ConfigError(f"an exported model answers otherwise than {model_path}: do not use it")
    print("done: every format loads in a fresh process and answers as the trained model")
    return 0


def _probe(run: Path) -> tuple[np.ndarray, np.ndarray]:
    """Validation images as raw float32 pixels [n, height, width, channels], and labels [n]."""
    config = runs.read_run(run)
    data = make(config.dataset, "dataset")()
    return data.valid_images[:1000].astype(np.float32), data.valid_labels[:1000]


def _write(model_path: Path, folder: Path, formats: list[str]) -> None:
    import keras
    import tensorflow as tf

    model = keras.saving.load_model(model_path, safe_mode=True)
    if "keras" in formats:
        shutil.copyfile(model_path, folder / FORMATS["keras"])
    if "savedmodel" in formats:
        model.export(folder / FORMATS["savedmodel"], verbose=False)
    if "tflite" in formats:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        (folder / FORMATS["tflite"]).write_bytes(converter.convert())


def _score(model: Path, probe: Path) -> dict:
    """Scores a model file in a fresh process: accuracy, and its first 64 answers."""
    done = subprocess.run(
        [sys.executable, "-m", "nas.export_check", str(model), str(probe)],
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ConfigError(f"{model} does not load in a fresh process: {last[0]}")
    return json.loads(done.stdout.strip().splitlines()[-1])
