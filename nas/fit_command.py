"""`nas fit`: the best model for the arrays of an .npz file, found within a time limit."""

import argparse
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from nas.trial import ConfigError, Trial


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="nas fit",
        description="Searches for a network for your arrays until the time is over.",
        epilog="DATA.npz has the arrays x and y, or x_train and y_train; with x_test and y_test "
        "the model is tested once, at the end. x: images or vectors; y: classes.",
    )
    parser.add_argument("data", type=Path, metavar="DATA.npz")
    parser.add_argument("--minutes", type=float, default=10, help="of wall time; default 10")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--to", type=Path, default=Path("fitted.keras"), help="the model; default fitted.keras"
    )
    args = parser.parse_args(argv)
    if args.to.suffix != ".keras" or args.to.exists():
        raise ConfigError(f"--to must be a new file NAME.keras, got {args.to}")
    if not args.to.absolute().parent.is_dir():
        raise ConfigError(f"--to must be in a folder that exists, got {args.to}")
    arrays = _read(args.data)
    from nas.fitting import fit

    names = ("x_train", "y_train") if "x_train" in arrays else ("x", "y")
    x, y = (arrays[name] for name in names)
    found = fit(x, y, minutes=args.minutes, seed=args.seed, on_trial=_told)
    found.model.save(args.to)
    report: dict[str, Any] = {
        "valid_accuracy": found.valid_accuracy,
        "labels": found.labels.tolist(),
        "seconds": found.seconds,
        "history": {name: [_json(v) for v in values] for name, values in found.history.items()},
    }
    if "x_test" in arrays:
        right = found.predict(arrays["x_test"]) == arrays["y_test"].reshape(-1)
        report["test_accuracy"] = float(np.mean(right))
    args.to.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n")
    tested = f", test accuracy {report['test_accuracy']:.4f}" if "x_test" in arrays else ""
    print(f"validation accuracy {found.valid_accuracy:.4f}{tested}, {found.seconds:.0f} s")
    print(f"{args.to}, {args.to.with_suffix('.json')}")
    return 0


def _told(trial: Trial) -> None:
    accuracy = f"validation accuracy {trial.reward:.4f}" if trial.reward is not None else ""
    print(f"trial {trial.id:3}  {trial.status:8} {trial.seconds:6.1f} s  {accuracy}", flush=True)


def _json(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _read(path: Path) -> dict[str, np.ndarray]:
    """The arrays of the file. Raises ConfigError where it is not what it must be."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        raise ConfigError(f"DATA must be an .npz file that exists, got {path}")
    with np.load(path, allow_pickle=False) as file:
        for names in (("x_train", "y_train"), ("x", "y")):
            if set(names) <= set(file.files):
                tests = ("x_test", "y_test")
                wanted = names + (tests if set(tests) <= set(file.files) else ())
                break
        else:
            raise ConfigError(
                f"DATA must have the arrays x and y, or x_train and y_train; {path} has "
                f"{', '.join(sorted(file.files)) or 'none'}"
            )
        try:
            return {name: file[name] for name in wanted}
        except ValueError as error:
            raise ConfigError(f"DATA must hold plain arrays: {path}: {error}") from error
