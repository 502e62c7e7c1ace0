"""Hydra's main function with our exit statuses: overrides, sweeps and launchers work as ever."""

import os
import sys
from collections.abc import Callable
from importlib import resources

from nas.config import one_line
from nas.trial import ConfigError


def run(task: Callable, config_name: str, args: list[str]) -> int:
    """Runs `task(config)`, or a sweep of them, with the overrides in `args`.

    Raises ConfigError for an override that names nothing, with the nearest names.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come here and are told in one line
    sys.argv = [f"nas {config_name}", *args]
    failed: list[Exception] = []

    try:
        hydra.main(config_path="pkg://conf", config_name=config_name, version_base="1.3")(task)()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error, names(config_name))) from error
    except PermissionError as error:
        raise ConfigError(
            f"run_dir must be a folder one can write to, got {error.filename}"
        ) from error
    return 2 if failed else 0


def names(config_name: str) -> list[str]:
    """Every setting and group of a configuration, dotted, for suggestions."""
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import DictConfig

    GlobalHydra.instance().clear()
    with initialize_config_module("conf", version_base="1.3"):
        config = compose(config_name)

    def below(node: DictConfig, prefix: str):
        for key in map(str, node):
            yield f"{prefix}{key}"
            value = node._get_node(key)
            if isinstance(value, DictConfig) and not value._is_none():
                yield from below(value, f"{prefix}{key}.")

    folder = resources.files("conf")
    choices = [
        f"{group.name}={file.name.removesuffix('.yaml')}"
        for group in folder.iterdir()
        if group.is_dir()
        for file in group.iterdir()
        if file.name.endswith(".yaml")
    ]
    return [*below(config, ""), *choices]
