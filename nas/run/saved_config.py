"""config.yaml of a run folder: how it is written, read, and compared with today's settings.

Somebody else may have written the file. It holds plain values: nothing in it is resolved, runs
code or grows while it is read.
"""

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Set
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas.core.files import printable, read_text, write_atomically
from nas.core.json_values import misfit
from nas.core.setting_kinds import shown
from nas.core.trial import ConfigError
from nas.run.config import make
from nas.run.old_configs import modernised

# A run may be continued elsewhere and for longer: these settings may differ. All others decide what
# the run computes, and may not.
FREE_TO_CHANGE = frozenset(
    ("run_dir", "name", "max_trials", "max_seconds", "max_failures", "recycle_after", "logger")
) | {"retrain"}
# Not settings, but what the folder says of itself: the settings of each choice are there as well.
VERSION, COMMAND = "config_version", "command"
NOTES = (VERSION, COMMAND, "choices")
NEWEST = 2  # version 1 had neither `config_version` nor `command`
LARGEST = 10 * 2**20  # bytes of a file
SHAPE = {
    f"{VERSION}?": int,
    f"{COMMAND}?": [str],
    "choices?": ({str: (str, float, bool, None)}, None),
    "retrain?": ({str: Any}, None),
    "executor?": ({str: Any}, None),
}

Defaults = Callable[[], Mapping[str, Any]]


class _Loader(yaml.SafeLoader):
    """Reads floats as OmegaConf does, no dates, and no aliases, which can stand for any size."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has an alias")
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if not tag.endswith((":timestamp", ":merge"))]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def write_config(path: Path, config: Mapping[str, Any], command: list[str]) -> None:
    """Writes a run's configuration, and the words that began the run."""
    kept = {VERSION: NEWEST, **config} | ({COMMAND: command} if command else {})
    text = yaml.dump(
        kept, Dumper=_Dumper, sort_keys=False, allow_unicode=True, default_flow_style=False
    )
    write_atomically(path, text)


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def read_values(path: Path) -> dict[str, Any]:
    """A run's configuration as plain values with today's names (nas/run/old_configs.py).

    Raises ConfigError if the file is damaged, or is of a newer version.
    """
    expected = f"{path} must be the configuration of a run"
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    if size > LARGEST:
        raise ConfigError(f"{expected}, got {size} bytes, which is more than {LARGEST}")
    try:
        values = yaml.load(read_text(path), _Loader)  # a subclass of SafeLoader
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        reason = printable(str(error).splitlines()[0] if str(error) else "it is nested too deeply")
        raise ConfigError(f"{expected}, got: {reason}") from error
    if wrong := misfit(values, SHAPE):
        raise ConfigError(f"{expected}, got: {wrong}")
    if values.get(VERSION, 1) > NEWEST:
        raise ConfigError(
            f"{expected} of version {NEWEST} or older, got {values[VERSION]}; a newer nas wrote it"
        )
    return modernised(values)


def read_config(path: Path) -> DictConfig:
    """A run's configuration as Hydra's, in which every text stands for itself.

    Raises ConfigError if the file is damaged.
    """
    try:
        return OmegaConf.create(_literal(read_values(path)))
    except OmegaConfBaseException as error:
        reason = printable(str(error).splitlines()[0])
        raise ConfigError(f"{path} must be the configuration of a run, got: {reason}") from error


def _literal(value: Any) -> Any:
    """The value with every interpolation escaped: a saved configuration asks for nothing."""
    if isinstance(value, dict):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_literal(item) for item in value]
    if isinstance(value, str):
        return re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + "\\${", value)
    return value


def refuse_other_config(
    path: Path,
    config: dict[str, Any],
    *,
    free: Set[str] = FREE_TO_CHANGE,
    defaults: Defaults = dict,
) -> None:
    """Raises ConfigError if the run folder's config.yaml is another one, naming the setting.

    A setting that did not exist when the run was begun counts as being at its default.

    Args:
      free: settings that may differ.
      defaults: today's configuration without the settings of the command line.
    """
    for name, before, now in differences(read_values(path), config, free=free, defaults=defaults):
        raise ConfigError(
            f"run_dir={path.parent} holds a run with {name}={shown(before)}, got "
            f"{name}={shown(now)}: continue it with its own settings, or name a new run_dir"
        )


def differences(
    saved: Mapping[str, Any],
    config: Mapping[str, Any],
    *,
    free: Set[str] = FREE_TO_CHANGE,
    defaults: Defaults = dict,
) -> Iterator[tuple[str, Any, Any]]:
    """(dotted name, saved value, today's value) of each setting that may not differ and does."""
    settings = {key: value for key, value in saved.items() if key not in NOTES}
    new = {key: value for key, value in config.items() if key not in NOTES}
    for name, before, now in _differences(settings, new, "", _Defaults(defaults)):
        may_differ = name.split(".")[0] in free or name.startswith("executor.")
        if may_differ and (name != "executor.workers" or "executor" in free):
            continue
        yield name, before, now


class _Defaults:
    """A node of today's configuration at its defaults, composed when it is first asked for."""

    def __init__(self, compose: Defaults):
        self.compose = compose
        self.values: Mapping[str, Any] | None = None

    def has(self, path: str, value: Any) -> bool:
        """Whether the setting of this dotted name is at its default there."""
        if self.values is None:
            self.values = self.compose()
        node: Any = self.values
        for name in path.split("."):
            if not isinstance(node, Mapping) or name not in node:
                return False
            node = node[name]
        return bool(node == value)


def _differences(
    saved: Any, now: Any, name: str, defaults: _Defaults
) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(saved, dict) and isinstance(now, dict):
        for key in [*saved, *(key for key in now if key not in saved)]:
            below = f"{name}.{key}" if name else str(key)
            if key not in saved and _is_at_default(saved, now, key, below, defaults):
                continue
            yield from _differences(saved.get(key), now.get(key), below, defaults)
    elif saved != now:
        yield name, saved, now


def _is_at_default(
    saved: dict[str, Any], now: dict[str, Any], key: str, name: str, defaults: _Defaults
) -> bool:
    """Whether a setting that the saved ones lack has the value it has where nobody sets it.

    That is the default of the target's parameter, else that of the command's configuration. A
    `_target_` that the saved settings lack describes the record in which they lie today.
    """
    from hydra.utils import get_object

    if str(key).startswith("_"):
        return bool(saved)
    if isinstance(now.get("_target_"), str):
        parameter = inspect.signature(get_object(now["_target_"])).parameters.get(key)
        if parameter is not None and parameter.default is not inspect.Parameter.empty:
            return _equals(now[key], parameter.default)
    return defaults.has(name, now[key])


def _equals(setting: Any, value: Any) -> bool:
    """Whether a setting of a yaml file stands for a Python value."""
    if isinstance(setting, list) and isinstance(value, list | tuple):
        return len(setting) == len(value) and all(map(_equals, setting, value))
    if isinstance(setting, dict) and "_target_" in setting:
        return bool(make(OmegaConf.create(setting), "the default") == value)
    return bool(setting == value)
