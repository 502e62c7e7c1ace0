"""What a file of conf/ says once Hydra has put it together."""

import functools
import inspect
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.utils import get_object
from omegaconf import OmegaConf


def names(group: str) -> list[str]:
    return sorted(f.stem for f in Path(str(resources.files("nas.conf"))).glob(f"{group}/*.yaml"))


@functools.cache
def composed(group: str, name: str) -> dict[str, Any]:
    """The settings of `nas search GROUP=NAME`, interpolations resolved."""
    with initialize_config_module("nas.conf", version_base="1.3"):
        config = compose("search", overrides=[f"{group}={name}"])
    settings = OmegaConf.to_container(config[group], resolve=True)
    assert isinstance(settings, dict)
    return {str(key): value for key, value in settings.items()}


def is_node(value: Any) -> bool:
    return isinstance(value, dict) and "_target_" in value


def nested(node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every node with a _target_ that lies within a node, with its dotted name."""
    for key, value in node.items():
        if is_node(value):
            yield key, value
            yield from ((f"{key}.{name}", inner) for name, inner in nested(value))


def parameters(target: str) -> dict[str, inspect.Parameter]:
    """Those of the class or function of that name, without *args and **kwargs."""
    named = inspect.signature(get_object(target)).parameters
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return {name: p for name, p in named.items() if p.kind not in kinds}


def replaced(settings: dict[str, Any], values: dict[str, Any]) -> dict[str, Any]:
    """The settings with those of `values` that they have, also in nested nodes."""
    return {
        key: replaced(value, values) if isinstance(value, dict) else values.get(key, value)
        for key, value in settings.items()
    }


def chosen(command: str, *overrides: str) -> dict[str, str]:
    """Group -> choice, of a command with these overrides."""
    with initialize_config_module("nas.conf", version_base="1.3"):
        config = compose(command, overrides=list(overrides), return_hydra_config=True)
    return dict(config.hydra.runtime.choices)
