"""`nas fit`: finds the best model for arrays, images or a table within a time limit."""

import argparse
import json
import math
from pathlib import Path
from typing import Any

from nas.core.trial import ConfigError, Trial
from nas.fitting import files as fit_files
from nas.fitting.arrays import TASKS


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="nas fit",
        description="Searches for a network for your data until the time is over.",
        epilog="DATA: an .npz of x and y, or of x_train and y_train; a folder of images with a "
        "folder for each class; or a .csv with a line of names. x: images or vectors. If there are "
        "x_test and y_test, or a test/ beside a train/, the model is tested on them once, at the "
        "end. x_valid and y_valid, if they are there, choose the model.",
    )
    parser.add_argument("data", type=Path, metavar="DATA", help=".npz, .csv or a folder of images")
    parser.add_argument(
        "--task", choices=TASKS, default="auto", help="default auto: regression if y has fractions"
    )
    parser.add_argument("--target", help="the column of a .csv to predict; default the last")
    parser.add_argument(
        "--image-size",
        type=int,
        default=32,
        help="pixels of a folder's images; default 32",
    )
    parser.add_argument("--minutes", type=float, default=10, help="of wall time; default 10")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--to",
        type=Path,
        default=Path("fitted.keras"),
        help="the model; default fitted.keras",
    )
    args = parser.parse_args(argv)
    if args.to.suffix != ".keras" or args.to.exists():
        raise ConfigError(f"--to must be a new file NAME.keras, got {args.to}")
    if not args.to.absolute().parent.is_dir():
        raise ConfigError(f"--to must be in a folder that exists, got {args.to}")
    arrays = fit_files.read(args.data, target=args.target, image_size=args.image_size)
    from nas.fitting.fit import fit

    fitted = fit(
        arrays.x,
        arrays.y,
        minutes=args.minutes,
        task=args.task,
        validation=arrays.valid,
        seed=args.seed,
        on_trial=_print_trial,
    )
    score = "accuracy" if len(fitted.labels) else "R^2"
    fitted.model.save(args.to)
    report: dict[str, Any] = {
        "score": score,
        "valid_accuracy": fitted.valid_accuracy,
        "labels": fitted.labels.tolist(),
        "features": list(arrays.features),
        "seconds": fitted.seconds,
        "history": {name: [_json(v) for v in values] for name, values in fitted.history.items()},
    }
    line = f"validation {score} {fitted.valid_accuracy:.4f}"
    if arrays.test is not None:
        report["test_accuracy"] = fitted.score(*arrays.test)
        line += f", test {score} {report['test_accuracy']:.4f}"
    args.to.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    print(f"{line}, {fitted.seconds:.0f} s")
    print(f"{args.to}, {args.to.with_suffix('.json')}")
    return 0


def _print_trial(trial: Trial) -> None:
    score = f"validation {trial.reward:.4f}" if trial.reward is not None else ""
    print(f"trial {trial.id:3}  {trial.status:8} {trial.seconds:6.1f} s  {score}", flush=True)


def _json(value: float) -> float | None:
    """The value, or None for one that JSON cannot hold."""
    return value if math.isfinite(value) else None
