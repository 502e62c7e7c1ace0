"""What a file of conf/ says once Hydra has put it together."""

import functools
from importlib import resources
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
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


def chosen(command: str, *overrides: str) -> dict[str, str]:
    """Group -> choice, of a command with these overrides."""
    with initialize_config_module("nas.conf", version_base="1.3"):
        config = compose(command, overrides=list(overrides), return_hydra_config=True)
    return dict(config.hydra.runtime.choices)
