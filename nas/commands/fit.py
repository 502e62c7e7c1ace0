"""`nas fit`: finds the best model for arrays, images or a table within a time limit."""

import argparse
import contextlib
import json
import math
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from nas.core.trial import ConfigError, Trial
from nas.fitting import files as fit_files
from nas.fitting.labels import TASKS
from nas.fitting.tables import MISSING, TableSettings

INTERRUPTED = 130  # the exit status


def main(argv: list[str]) -> int:
    args = _parser().parse_args(argv)
    _check_target(args.to)
    table, size = _settings_of_files(args)
    from nas.fitting.fit import check_settings, fit

    check_settings(args.minutes, args.seed)
    arrays = fit_files.read(args.data, table=table, image_size=size)
    _say(f"read {arrays.read_as}")
    try:
        fitted = fit(
            arrays.x,
            arrays.y,
            minutes=args.minutes,
            task=args.task,
            validation=arrays.valid,
            test=arrays.test,
            seed=args.seed,
            run_dir=args.run_dir,
            keep_when_interrupted=True,
            on_trial=_say_trial,
            on_message=_say,
        )
    except KeyboardInterrupt as error:
        kept = f"what was finished is in {args.run_dir}" if args.run_dir else "nothing is written"
        print(f"nas: {str(error) or 'interrupted'}; no model was made, {kept}", file=sys.stderr)
        return INTERRUPTED
    to = _save(fitted.model, args.to)
    score = "accuracy" if len(fitted.labels) else "R^2"
    report: dict[str, Any] = {
        "score": score,
        "valid_accuracy": _json(fitted.valid_accuracy),
        "labels": [v.decode() if isinstance(v, bytes) else v for v in fitted.labels.tolist()],
        "features": list(arrays.features),
        "seconds": fitted.seconds,
        "ended": fitted.ended,
        "history": {name: [_json(v) for v in values] for name, values in fitted.history.items()},
    }
    line = f"validation {score} {fitted.valid_accuracy:.4f}"
    if fitted.test_accuracy is not None:
        report["test_accuracy"] = _json(fitted.test_accuracy)
        line += f", test {score} {fitted.test_accuracy:.4f}"
    to.with_suffix(".json").write_text(
        json.dumps(report, indent=2, allow_nan=False) + "\n", encoding="utf-8"
    )
    _say(f"{line}, {fitted.seconds:.0f} s")
    _say(f"{to}, {to.with_suffix('.json')}")
    if fitted.ended != "interrupted":
        return 0
    print(f"nas: interrupted; {to} is the best model so far", file=sys.stderr)
    return INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nas fit",
        description="Searches for a network for your data until the time is over. Ctrl-C ends the "
        "search before; the best model so far is written.",
        epilog="DATA: an .npz of x and y, or of x_train and y_train; a folder of images with a "
        "folder for each class; or a .csv with a line of names. x: images or vectors. If there are "
        "x_test and y_test, or a test/ beside a train/, the model is tested on them once, at the "
        "end. x_valid and y_valid, if they are there, choose the model. What was read as what is "
        "printed first; data that could be read in several ways are refused.",
    )
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help=".npz, .csv or a folder of images")
    add("--task", choices=TASKS, default="auto", help="default auto: regression if y has fractions")
    add("--minutes", type=float, default=10, help="of wall time; default 10")
    add("--seed", type=int, default=0)
    add("--to", type=Path, default=Path("fitted.keras"), help="the model; default fitted.keras")
    add(
        "--run-dir",
        type=Path,
        metavar="FOLDER",
        help="keeps what is trained; the same command continues there after it was killed",
    )
    add("--image-size", type=int, help="pixels of a folder's images; default 32")
    table = parser.add_argument_group("how a .csv is read")
    add = table.add_argument
    add("--target", help="the column to predict; default the last")
    add("--texts", metavar="A,B", help="columns of texts, even if their values are numbers")
    add("--leave-out", metavar="A,B", help="columns that are not read")
    add("--missing", metavar="A,B", help=f"texts that are gaps; default {','.join(MISSING)}")
    add("--delimiter", help="between columns; default ,")
    add("--decimal", help="the decimal point; default .")
    add("--header", choices=("auto", "yes", "no"), help="whether the first line has names")
    return parser


def _settings_of_files(args: argparse.Namespace) -> tuple[TableSettings | None, int]:
    """How a table is read, and the size of images. Raises ConfigError if DATA is neither."""
    given = {
        name: getattr(args, name)
        for name in ("target", "texts", "leave_out", "missing", "delimiter", "decimal", "header")
        if getattr(args, name) is not None
    }
    is_table = args.data.suffix.lower() in (".csv", ".tsv")
    if given and not is_table:
        option = next(iter(given)).replace("_", "-")
        raise ConfigError(f"--{option} must be left out unless DATA is a .csv, got {args.data}")
    if args.image_size is not None and not args.data.is_dir():
        raise ConfigError(f"--image-size must be left out unless DATA is a folder, got {args.data}")
    if args.data.suffix.lower() == ".tsv":
        given.setdefault("delimiter", "\t")
    for name in ("texts", "leave_out", "missing"):
        if name in given:
            given[name] = [text.strip() for text in given[name].split(",")]
    if "missing" in given:
        given["missing"] = [text.lower() for text in given["missing"]]
    size = 32 if args.image_size is None else args.image_size
    return (TableSettings(**given) if is_table else None), size


def _check_target(to: Path) -> None:
    """Raises ConfigError unless the model and its report can be written, and are new files."""
    if to.suffix != ".keras":
        raise ConfigError(f"--to must be a new file NAME.keras, got {to}")
    for path in (to, to.with_suffix(".json")):
        if os.path.lexists(path):
            raise ConfigError(f"--to must be a new file NAME.keras, got {to}: {path} is there")
    folder = to.absolute().parent
    if not folder.is_dir():
        raise ConfigError(f"--to must be in a folder that exists, got {to}")
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{to.name}."):
            pass
    except OSError as error:
        raise ConfigError(
            f"--to must be a file that can be written, got {to}: {error.strerror}"
        ) from error


def _save(model: Any, to: Path) -> Path:
    """Writes the model, never over a file, and returns where it is.

    If something is there by now, the name gets a number; if the folder cannot be written any more,
    the model goes to the folder of temporary files.
    """
    try:
        with tempfile.TemporaryDirectory(dir=to.absolute().parent, prefix=".nas_fit_") as folder:
            part = Path(folder) / "model.keras"
            model.save(part)
            return _moved(part, to)
    except OSError as error:
        rescued = Path(tempfile.mkdtemp(prefix="nas_fitted_")) / to.name
        model.save(rescued)
        print(f"nas: {to} cannot be written ({error}): see {rescued}", file=sys.stderr)
        return rescued


def _moved(part: Path, to: Path) -> Path:
    """Moves a file to a name that nothing has."""
    number, free = 1, to
    while True:
        if not os.path.lexists(free.with_suffix(".json")):
            with contextlib.suppress(FileExistsError):
                _link(part, free)
                return free
        number += 1
        free = to.with_stem(f"{to.stem}-{number}")


def _link(part: Path, to: Path) -> None:
    """Gives a file another name. Raises FileExistsError if something has that name."""
    try:
        os.link(part, to)  # unlike a rename, it overwrites nothing
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(to):
            raise FileExistsError(to) from None
        part.rename(to)


def _say(text: str) -> None:
    """Prints a line; a pipe that has been closed does not end the fit."""
    try:
        print(text, flush=True)
    except UnicodeEncodeError:
        print(text.encode("ascii", "backslashreplace").decode(), flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  to the end of the process


def _say_trial(trial: Trial) -> None:
    score = f"validation {trial.reward:.4f}" if trial.reward is not None else trial.reason
    _say(f"trial {trial.id:3}  {trial.status:8} {trial.seconds:6.1f} s  {score}")


def _json(value: float | None) -> float | None:
    """The value, or None for one that JSON cannot hold."""
    return value if value is not None and math.isfinite(value) else None
