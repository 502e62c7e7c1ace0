"""Hydra's main function with our exit statuses: overrides, sweeps and launchers work as ever."""

import functools
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
    failed: list[ConfigError] = []
    # A single run's error is told by us; a sweep's is its launcher's, perhaps in another process.
    swept = any(arg in ("-m", "--multirun") for arg in args)

    @functools.wraps(task)
    def told(config):
        try:
            return task(config)
        except ConfigError as error:
            failed.append(error)

    try:
        hydra.main(config_path="pkg://conf", config_name=config_name, version_base="1.3")(
            task if swept else told
        )()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error, names(config_name))) from error
    except PermissionError as error:
        raise ConfigError(
            f"run_dir must be a folder one can write to, got {error.filename}"
        ) from error
    if failed:
        raise failed[0]
    return 0


def names(config_name: str, composing: Callable | None = None) -> list[str]:
    """Every setting and group of a configuration, dotted, for suggestions.

    composing: Hydra's `compose`, where Hydra runs already.
    """
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import DictConfig

    if composing is not None:
        config = composing(config_name)
    else:
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
