"""Makes objects from Hydra's configuration, with errors that say which setting to change."""

import difflib
import inspect
import re
from collections.abc import Iterator, Mapping, Set
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas.core.trial import ConfigError
from nas.run.old_configs import modernised

# A run may be continued elsewhere and for longer: these settings may differ. All others decide what
# the run computes, and may not.
FREE_TO_CHANGE = frozenset(
    ("run_dir", "max_trials", "max_seconds", "max_failures", "recycle_after", "logger", "retrain")
)


def make(node: DictConfig, where: str, **available: Any) -> Any:
    """Makes the object that `node` describes: calls its `_target_` with the node's settings.

    Args:
      where: the setting that holds the node, for messages.
      available: further arguments; the target gets those that its signature names.

    Raises ConfigError if the target cannot be imported or refuses its settings.
    """
    import hydra
    from hydra.errors import InstantiationException
    from hydra.utils import get_object

    if node is None or "_target_" not in node:
        raise ConfigError(f"{where} must be chosen: set {where}=NAME; `nas list {where}` has them")
    try:
        target = get_object(node["_target_"])
    except (ImportError, ValueError) as error:
        raise ConfigError(
            f"{where}._target_ must be a name that can be imported: {' '.join(str(error).split())}"
        ) from error
    try:
        names = inspect.signature(target).parameters
        _refuse_unknown(node, where, names)
        # A setting of the node wins: a table's `dataset` is a name, not the data set.
        arguments = {k: v for k, v in available.items() if k in names and k not in node}
        return hydra.utils.instantiate(node, _convert_="object", **arguments)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ConfigError):
            raise cause from None
        if isinstance(cause, (ValueError, TypeError)):
            raise ConfigError(f"{where}: {cause}") from error
        raise


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


def read_config(path: Path) -> DictConfig:
    """Reads a run's configuration and gives it today's names (nas/run/old_configs.py).

    Raises ConfigError if the file is damaged.
    """
    try:
        config = OmegaConf.load(path)
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"{path} must be the configuration of a run, got: {reason}") from error
    if not isinstance(config, DictConfig):
        raise ConfigError(f"{path} must be the configuration of a run, got {type(config).__name__}")
    return OmegaConf.create(modernised(OmegaConf.to_container(config)))


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
    texts = (file.read_text() for _, file in conf_files(*folders))
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


def refuse_other_config(
    path: Path, config: dict[str, Any], *, free: Set[str] = FREE_TO_CHANGE
) -> None:
    """Raises ConfigError if the run folder's config.yaml is another one, naming the setting.

    A setting that did not exist when the run was begun counts as being at its default.

    Args:
      free: settings that may differ.
    """
    saved = OmegaConf.to_container(read_config(path))
    for name, before, now in _differences(saved, config, ""):
        may_differ = name.split(".")[0] in free or name.startswith("executor.")
        if may_differ and (name != "executor.workers" or "executor" in free):
            continue
        raise ConfigError(
            f"run_dir={path.parent} holds a run with {name}={before}, got {name}={now}: "
            "continue it with its own settings, or name a new run_dir"
        )


def _differences(saved: Any, now: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    """(dotted name, saved value, today's value) of each setting that differs."""
    if isinstance(saved, dict) and isinstance(now, dict):
        for key in [*saved, *(key for key in now if key not in saved)]:
            if saved and key not in saved and _is_at_default(now, key):
                continue
            below = f"{name}.{key}" if name else str(key)
            yield from _differences(saved.get(key), now.get(key), below)
    elif saved != now:
        yield name, saved, now


def _is_at_default(node: dict[str, Any], key: str) -> bool:
    """Whether a setting has the value that its target gives it by default.

    A `_target_` that the saved settings lack describes the record in which they lie today.
    """
    from hydra.utils import get_object

    if key.startswith("_"):
        return True
    if not isinstance(node.get("_target_"), str):
        return False
    parameter = inspect.signature(get_object(node["_target_"])).parameters.get(key)
    if parameter is None or parameter.default is inspect.Parameter.empty:
        return False
    return _equals(node[key], parameter.default)


def _equals(setting: Any, value: Any) -> bool:
    """Whether a setting of a yaml file stands for a Python value."""
    if isinstance(setting, list) and isinstance(value, list | tuple):
        return len(setting) == len(value) and all(map(_equals, setting, value))
    if isinstance(setting, dict) and "_target_" in setting:
        return bool(make(OmegaConf.create(setting), "the default") == value)
    return bool(setting == value)


# Hydra's and OmegaConf's messages about names that they do not find -> ours.
_UNKNOWN = (
    (re.compile(r"Could not find '([^']+)'"), "no {}"),
    (re.compile(r"Could not override '([^'.]+)'"), "no setting or group {}"),
    (re.compile(r"Could not override '([^']+)'"), "no setting {}"),
    (re.compile(r"not in struct\s+full_key: (\S+)"), "no setting {}"),
)


def one_line(error: Exception, names: dict[str, str]) -> str:
    """Hydra's message about a wrong override as one line, with the nearest names.

    names: all settings, and how to show each (nas.run.setting_names.names).
    """
    text = f"{error}\n{error.__cause__ or ''}"
    for pattern, rule in _UNKNOWN:
        match = pattern.search(text)
        if match and "Missing mandatory" not in text:
            wrong = match[1].replace("/", "=", 1)
            near = _nearest(wrong, names)
            hint = f"; nearest: {', '.join(near)}" if near else ""
            return f"{rule.format(wrong)}{hint}. `nas list` and --cfg job show all"
    return " ".join(line.strip() for line in str(error).splitlines() if line.strip())


def _nearest(wrong: str, names: dict[str, str]) -> list[str]:
    near = difflib.get_close_matches(wrong, names, n=3, cutoff=0.6)
    if near:
        return [names[name] for name in near]
    last = {name.rsplit(".", 1)[-1]: name for name in names}  # the right name in another group
    return [
        names[last[word]] for word in difflib.get_close_matches(wrong.rsplit(".", 1)[-1], last, n=3)
    ]
