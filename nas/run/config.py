"""From Hydra's configuration to objects, with errors that say what to change."""

import difflib
import inspect
import re
from collections.abc import Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import yaml
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from nas.core.trial import ConfigError

# Where, when and how long a run runs may differ when it is continued; what it computes may not.
FREE_TO_CHANGE = {
    "run_dir", "max_trials", "max_seconds", "max_failures", "recycle_after", "logger", "retrain",
}  # fmt: skip


def make(node: DictConfig, where: str, **available: Any) -> Any:
    """Instantiates `node`, giving its target those of `available` that its signature names.

    Raises ConfigError for what the target refuses.
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
        # What the file itself says stands: a table's `dataset` is a name, not the data set.
        given = {k: v for k, v in available.items() if k in names and k not in node}
        return hydra.utils.instantiate(node, _convert_="object", **given)
    except InstantiationException as error:
        cause = error.__cause__
        if isinstance(cause, ConfigError):
            raise cause from None
        if isinstance(cause, (ValueError, TypeError)):
            raise ConfigError(f"{where}: {cause}") from error
        raise


def _refuse_unknown(node: DictConfig, where: str, names: Mapping[str, inspect.Parameter]) -> None:
    """Raises ConfigError for settings that the target does not have.

    The command line cannot make one, but an experiment can, where another choice of the group than
    its own stands.
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
    """Plain values, every interpolation resolved."""
    values = OmegaConf.to_container(config, resolve=True)
    if not isinstance(values, dict):
        raise ConfigError("the configuration must be a mapping")
    return {str(key): value for key, value in values.items()}


def read_config(path: Path) -> DictConfig:
    """A configuration from disk. Raises ConfigError where it is damaged."""
    try:
        config = OmegaConf.load(path)
    except (OSError, ValueError, yaml.YAMLError, OmegaConfBaseException) as error:
        said = str(error).splitlines()[0]
        raise ConfigError(f"{path} must be the configuration of a run, got: {said}") from error
    if not isinstance(config, DictConfig):
        raise ConfigError(f"{path} must be the configuration of a run, got {type(config).__name__}")
    return config


def make_saved(node: DictConfig, where: str) -> Any:
    """As `make`, of a run folder's configuration, which somebody else may have written."""
    refuse_foreign_targets(node, where)
    return make(node, where)


def refuse_foreign_targets(node: DictConfig, where: str) -> None:
    """Raises ConfigError unless every _target_ of `node` is one that a file of conf/ names.

    A run folder must not choose what runs here.
    """
    known = known_targets()

    def check(key: Any, value: Any) -> None:
        if key == "_target_" and (not isinstance(value, str) or value not in known):
            raise ConfigError(
                f"the run's {where} must be one that a file of conf/ names, got _target_={value}; "
                "a yaml file there makes it known"
            )
        if isinstance(value, dict):
            for each in value.items():
                check(*each)
        elif isinstance(value, list):
            for each in value:
                check(None, each)
        elif isinstance(value, str) and "${" in value:  # it could become a _target_
            raise ConfigError(f"the run's {where} must hold plain values, got {value}")

    check(None, OmegaConf.to_container(node) if isinstance(node, DictConfig) else node)


def known_targets() -> set[str]:
    """Every _target_ of the files of conf/."""
    texts = (file.read_text() for _, file in conf_files())
    pattern = re.compile(r"^\s*_target_: *(\S+)", re.MULTILINE)
    return {target for text in texts for target in pattern.findall(text)}


def conf_files() -> Iterator[tuple[str, Any]]:
    """(group, file) of every group file of conf/, and of --config-dir where Hydra was given one."""
    for folder in (resources.files("nas.conf"), *_config_dirs()):
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
    path: Path, config: dict[str, Any], *, free: set[str] = FREE_TO_CHANGE
) -> None:
    """Raises ConfigError where the run folder's config.yaml is another one, naming the setting.

    free: settings that may differ.
    """
    saved = OmegaConf.to_container(read_config(path))
    for name, before, now in _differences(saved, config, ""):
        may = name.split(".")[0] in free or name.startswith("executor.")
        if may and (name != "executor.workers" or "executor" in free):
            continue
        raise ConfigError(
            f"run_dir={path.parent} holds a run with {name}={before}, got {name}={now}: "
            "continue it with its own settings, or name a new run_dir"
        )


def _differences(saved: Any, now: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    if isinstance(saved, dict) and isinstance(now, dict):
        for key in [*saved, *(key for key in now if key not in saved)]:
            below = f"{name}.{key}" if name else str(key)
            yield from _differences(saved.get(key), now.get(key), below)
    elif saved != now:
        yield name, saved, now


# How Hydra and OmegaConf name what they did not find, and how we do.
_UNKNOWN = (
    (re.compile(r"Could not find '([^']+)'"), "no {}"),
    (re.compile(r"Could not override '([^'.]+)'"), "no setting or group {}"),
    (re.compile(r"Could not override '([^']+)'"), "no setting {}"),
    (re.compile(r"not in struct\s+full_key: (\S+)"), "no setting {}"),
)


def one_line(error: Exception, names: dict[str, str]) -> str:
    """Hydra's words for a wrong override as one line, with the nearest of `names`.

    names: how to show each (nas.commands.hydra_app.names).
    """
    text = f"{error}\n{error.__cause__ or ''}"
    for pattern, rule in _UNKNOWN:
        found = pattern.search(text)
        if found and "Missing mandatory" not in text:
            wrong = found[1].replace("/", "=", 1)
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
