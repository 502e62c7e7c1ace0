"""Makes objects from Hydra's configuration, with errors that say which setting to change."""

import difflib
import inspect
import logging
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from nas.core.files import UTF8, printable
from nas.core.setting_kinds import check_kinds
from nas.core.trial import ConfigError


def make(node: DictConfig, where: str, **available: Any) -> Any:
    """Makes the object that `node` describes: calls its `_target_` with the node's settings.

    Args:
      where: the setting that holds the node, for messages.
      available: further arguments; the target gets those that its signature names.

    Raises ConfigError if the target cannot be imported or refuses its settings.
    """
    import hydra
    from hydra.errors import InstantiationException

    if isinstance(node, dict):
        node = OmegaConf.create(node)
    if not isinstance(node, DictConfig) or "_target_" not in node:
        group = where.split(".")[0].split()[0]
        got = "" if node is None else f", got {printable(node)}"
        raise ConfigError(
            f"{where} must be chosen{got}: set {where}=NAME; `nas list {group}` has them"
        )
    target = _target(node, where)
    try:
        names = inspect.signature(target).parameters
        _refuse_unknown(node, where, names)
        _check_all_kinds(node, where)
        # A setting of the node wins: a table's `dataset` is a name, not the data set.
        arguments = {k: v for k, v in available.items() if k in names and k not in node}
        return hydra.utils.instantiate(node, _convert_="object", **arguments)
    except InstantiationException as error:
        cause = error.__cause__ or error
        if isinstance(cause, ConfigError):
            raise cause from None
        raise ConfigError(f"{where}: {_in_words(cause)}") from error
    except SystemExit as error:
        raise ConfigError(f"{where} ended by itself with status {error.code}") from error


def _target(node: DictConfig, where: str) -> Any:
    """What the node names. Raises ConfigError if it cannot be imported and called."""
    from hydra.utils import get_object

    name = node["_target_"]
    if not isinstance(name, str) or not _DOTTED.fullmatch(name):
        raise ConfigError(
            f"{where}._target_ must be a name such as package.module.Class, got {name}"
        )
    log = logging.getLogger("hydra.utils")  # which prints what is told here
    log.disabled = True
    try:
        target = get_object(name)
    except (ImportError, ValueError, TypeError, AttributeError) as error:
        raise ConfigError(
            f"{where}._target_ must be a name that can be imported, got {name}"
        ) from error
    finally:
        log.disabled = False
    if not callable(target):
        raise ConfigError(f"{where}._target_ must name a class or a function, got {name}")
    return target


def _check_all_kinds(node: DictConfig, where: str) -> None:
    """Raises ConfigError for a setting of the node, or of a record in it, of a wrong kind."""
    for name in map(str, node):
        below = node._get_node(name)
        if isinstance(below, DictConfig) and not below._is_none() and "_target_" in below:
            _check_all_kinds(below, f"{where}.{name}")
    values = OmegaConf.to_container(node, resolve=True)
    target = _target(node, where)
    check_kinds(cast(dict[str, Any], values), where, target, inspect.signature(target).parameters)


def _in_words(cause: BaseException) -> str:
    """Why a target was not made. A message of Python's own about its code is none for a user."""
    if isinstance(cause, ModuleNotFoundError):
        return f"it needs the package {cause.name}, which is not installed"
    if isinstance(cause, OSError) and cause.strerror:
        return f"cannot read {cause.filename}: {cause.strerror}"
    if isinstance(cause, MemoryError):
        return "it does not fit into the memory"
    if type(cause) is ValueError and not _PYTHONS_OWN.search(str(cause)):
        return printable(cause)
    return "it cannot be made with these settings; nas -v COMMAND ... shows where"


_DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
# What `int`, `float` and tuples say of a value.
_PYTHONS_OWN = re.compile(r"^(invalid literal|could not convert|not enough values|too many values)")


def _refuse_unknown(node: DictConfig, where: str, names: Mapping[str, inspect.Parameter]) -> None:
    """Raises ConfigError if the node has settings that its target does not have.

    The command line cannot add one, but an experiment can: its settings are meant for the choice of
    the group that the experiment makes, and the command line may have made another.
    """
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in names.values()):
        return
    unknown = [str(key) for key in node if not str(key).startswith("_") and key not in names]
    if unknown:
        group = where.split()[0]
        raise ConfigError(
            f"{where} must have settings of {node['_target_']}, got {', '.join(unknown)}, which an "
            "experiment means for another; leave them out with "
            + " ".join(f"'~{group}.{name}'" for name in unknown)
        )


def resolved(config: DictConfig) -> dict[str, Any]:
    """The configuration as plain values, with every interpolation resolved."""
    values = OmegaConf.to_container(config, resolve=True)
    if not isinstance(values, dict):
        raise ConfigError("the configuration must be a mapping")
    return {str(key): value for key, value in values.items()}


def make_saved(node: DictConfig, where: str) -> Any:
    """Makes an object from a run folder's configuration, which somebody else may have written.

    Raises ConfigError as `make` does, and if the node names code that no file of conf/ names.
    """
    refuse_foreign_targets(node, where)
    return make(node, where)


def refuse_foreign_targets(node: DictConfig, where: str, *folders: Path) -> None:
    """Raises ConfigError unless every `_target_` of `node` is one that a file of conf/ names.

    Whoever writes a run folder must not choose which code runs here. What `read_run` returns has
    today's names, so a run of an older version is not refused for its names.

    folders: further configuration folders that may name a target.
    """
    known = known_targets(*folders)

    def check(key: Any, value: Any) -> None:
        if key == "_target_" and (not isinstance(value, str) or value not in known):
            raise ConfigError(
                f"the run's {where} must be one that a file of conf/ names, got _target_={value}; "
                "a yaml file there makes it known"
            )
        if isinstance(value, dict):
            for item in value.items():
                check(*item)
        elif isinstance(value, list):
            for item in value:
                check(None, item)
        elif isinstance(value, str) and "${" in value:  # it could become a _target_
            raise ConfigError(f"the run's {where} must hold plain values, got {value}")

    check(None, OmegaConf.to_container(node) if isinstance(node, DictConfig) else node)


def known_targets(*folders: Path) -> set[str]:
    """Every `_target_` of the files of conf/."""
    texts = (file.read_text(encoding=UTF8) for _, file in conf_files(*folders))
    pattern = re.compile(r"^\s*_target_: *(\S+)", re.MULTILINE)
    return {target for text in texts for target in pattern.findall(text)}


def conf_files(*folders: Path) -> Iterator[tuple[str, Any]]:
    """(group, file) of every group file of conf/, of Hydra's --config-dir and of `folders`."""
    for folder in (resources.files("nas.conf"), *_config_dirs(), *folders):
        for group in folder.iterdir():
            if group.is_dir():
                for file in sorted(group.iterdir(), key=lambda file: file.name):
                    if file.name.endswith(".yaml"):
                        yield group.name, file


def _config_dirs() -> list[Path]:
    from hydra.core.hydra_config import HydraConfig

    if not HydraConfig.initialized():
        return []
    sources = HydraConfig.get().runtime.config_sources
    return [Path(source.path) for source in sources if source.schema == "file" and source.path]


# Hydra's and OmegaConf's messages about names that they do not find -> ours.
_UNKNOWN = (
    (re.compile(r"Could not find '([^']+)'"), "no {}"),
    (re.compile(r"Could not override '([^'.]+)'"), "no setting or group {}"),
    (re.compile(r"Could not override '([^']+)'"), "no setting {}"),
    (re.compile(r"not in struct\s+full_key: (\S+)"), "no setting {}"),
)

_WHERE = ("full_key:", "object_type=", "reference_type=")  # lines of OmegaConf's messages


def one_line(error: Exception, names: dict[str, str]) -> str:
    """Hydra's message about a wrong override as one line, with the nearest names.

    names: all settings, and how to show each (nas.experiment.setting_names.names).
    """
    text = f"{error}\n{error.__cause__ or ''}"
    for pattern, rule in _UNKNOWN:
        match = pattern.search(text)
        if match and "Missing mandatory" not in text:
            wrong = match[1].replace("/", "=", 1)
            near = _nearest(wrong, names)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            return f"{rule.format(wrong)}{hint}. `nas list` and --cfg job show all"
    lines = [line.strip() for line in str(error).splitlines()]
    kept = [line for line in lines if line and not line.startswith(_WHERE)]
    where = [line.removeprefix(_WHERE[0]).strip() for line in lines if line.startswith(_WHERE[0])]
    return printable(": ".join([*where[:1], " ".join(kept)]))


def _nearest(wrong: str, names: dict[str, str]) -> list[str]:
    near = difflib.get_close_matches(wrong, names, n=3, cutoff=0.6)
    if near:
        return [names[name] for name in near]
    last = {name.rsplit(".", 1)[-1]: name for name in names}  # the right name in another group
    return [
        names[last[word]] for word in difflib.get_close_matches(wrong.rsplit(".", 1)[-1], last, n=3)
    ]
