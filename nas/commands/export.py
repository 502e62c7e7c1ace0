"""`nas export RUN`: writes the model as .keras, SavedModel and TFLite and checks each file.

A fresh process loads each file and scores it on the validation images. The export has succeeded
only if every format predicts as the trained model does. The test split is not touched.
"""

import argparse
import contextlib
import io
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nas.core.trial import ConfigError
from nas.evaluators.exported import score
from nas.experiment.parts import is_language_recipe
from nas.run import folder as runs
from nas.run.config import make_saved

FORMATS = {"keras": "model.keras", "savedmodel": "saved_model", "tflite": "model.tflite"}
TOLERANCE = 1e-4  # of a probability: formats fuse and reorder float32 operations


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="nas export", description=__doc__.splitlines()[0])
    parser.add_argument("run", type=Path, help="a run folder with a retrained best.keras")
    parser.add_argument("--to", type=Path, help="folder to write; default RUN/export")
    parser.add_argument("--formats", nargs="+", choices=FORMATS, default=list(FORMATS))
    args = parser.parse_args(argv)
    model_path = args.run / runs.MODEL
    if is_language_recipe(runs.read_run(args.run).get("recipe")):
        raise ConfigError(f"nas export writes image classifiers, got language models in {args.run}")
    if not model_path.is_file():
        raise ConfigError(
            f"{args.run} has no {runs.MODEL}: `nas retrain {args.run}` makes one, "
            "in its own folder below it"
        )
    folder = args.to or args.run / "export"
    images, labels = _probe(args.run)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{folder} cannot be made: {error.strerror}; --to FOLDER names another place"
        ) from error
    model = _load(model_path)
    reference = score(model.predict(images, verbose=0), labels)
    _write(model, model_path, folder, args.formats)
    probe = folder / "probe.npz"
    np.savez(probe, images=images, labels=labels)
    try:
        scores = _scores([folder / FORMATS[name] for name in args.formats], probe)
    finally:
        probe.unlink()
    same = [
        _compare(name, folder / FORMATS[name], scored, reference)
        for name, scored in zip(args.formats, scores, strict=True)
    ]
    if not all(same):
        raise ConfigError(f"an exported model answers otherwise than {model_path}: do not use it")
    print("done: every format loads in a fresh process and answers as the trained model")
    return 0


def _compare(name: str, path: Path, scored: dict, reference: dict) -> bool:
    """Prints how one format scores. Returns whether it predicts as the trained model does."""
    gap = float(np.abs(np.array(scored["first"]) - np.array(reference["first"])).max())
    same = gap <= TOLERANCE and scored["accuracy"] == reference["accuracy"]
    print(
        f"{name:11}{path}  validation accuracy {scored['accuracy']:.4f} "
        f"(trained model {reference['accuracy']:.4f}), largest difference {gap:.1e}  "
        f"{'ok' if same else 'DIFFERS'}"
    )
    return same


def _probe(run: Path) -> tuple[np.ndarray, np.ndarray]:
    """At most 1,000 validation images, float32 [n, height, width, channels], and labels [n]."""
    config = runs.read_run(run)
    data = make_saved(config.dataset, "dataset")()
    return data.valid_images[:1000].astype(np.float32), data.valid_labels[:1000]


def _load(model_path: Path):
    import keras

    try:
        return keras.saving.load_model(model_path, safe_mode=True)
    except Exception as error:  # a damaged file can raise anything
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{model_path} cannot be loaded: {reason}") from error


def _write(model, model_path: Path, folder: Path, formats: list[str]) -> None:
    import tensorflow as tf

    if "keras" in formats:
        shutil.copyfile(model_path, folder / FORMATS["keras"])
    if "savedmodel" in formats:
        model.export(folder / FORMATS["savedmodel"], verbose=False)
    if "tflite" in formats:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        with contextlib.redirect_stdout(io.StringIO()):  # the converter prints every variable
            converted = converter.convert()
        (folder / FORMATS["tflite"]).write_bytes(converted)


def _scores(models: Sequence[Path], probe: Path) -> list[dict]:
    """Scores model files in one fresh process, as nas.evaluators.exported.score.

    Raises ConfigError for the first that does not load there.
    """
    done = subprocess.run(
        [sys.executable, "-m", "nas.evaluators.exported", str(probe), *map(str, models)],
        capture_output=True,
        encoding="utf-8",
        errors="replace",
    )
    scores = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or len(scores) != len(models):
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise ConfigError(f"{models[len(scores)]} does not load in a fresh process: {last[0]}")
    return scores
