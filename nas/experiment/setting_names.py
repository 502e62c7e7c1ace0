"""The names of all settings of a configuration, to suggest one for a misspelled name."""

import re
from collections.abc import Callable

from nas.run.config import conf_files


def names(config_name: str, composing: Callable | None = None) -> dict[str, str]:
    """Dotted name of each setting and group of a configuration -> how to show it.

    A setting that only another choice of its group has is shown with that choice.

    Args:
      composing: Hydra's `compose` if Hydra is already running.
    """
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import DictConfig

    if composing is not None:
        config = composing(config_name)
    else:
        GlobalHydra.instance().clear()
        with initialize_config_module("nas.conf", version_base="1.3"):
            config = compose(config_name)

    def below(node: DictConfig, prefix: str):
        for key in map(str, node):
            yield f"{prefix}{key}"
            value = node._get_node(key)
            if isinstance(value, DictConfig) and not value._is_none():
                yield from below(value, f"{prefix}{key}.")

    shown = {name: name for name in below(config, "")}
    for group, file in conf_files():
        choice = f"{group}={file.name.removesuffix('.yaml')}"
        shown[choice] = choice
        for key in re.findall(r"^(\w+):", file.read_text(encoding="utf-8"), re.MULTILINE):
            if group in config and not key.startswith("_") and key != "defaults":
                shown.setdefault(f"{group}.{key}", f"{group}.{key} (of {choice})")
    return shown
