"""The settings of a controller as older versions wrote them, whose digest names a folder."""

from collections.abc import Iterator, Mapping
from typing import Any

from nas.run.old_configs import ADDED_SETTINGS, MOVED_SETTINGS, MOVED_TARGETS


def older_names(config: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The configuration of a part as older versions may have written it, oldest names last.

    It undoes `modernised`: a folder whose name is a digest of its settings is found by it.
    """
    target = config.get("_target_")
    before = [old for old, new in MOVED_TARGETS.items() if new == target]
    flat = dict(config)
    for old, new in MOVED_SETTINGS.get(str(target), {}).items():
        taken = [_taken(flat, place) for place in ([new] if isinstance(new, str) else new)]
        if taken[0] is not None:
            flat[old] = taken[0][0]
    for added, was in ADDED_SETTINGS.get(str(target), {}).items():
        if (value := _taken(flat, added)) is not None and value[0] != was:
            return  # an older version had not this value
    flat = {key: value for key, value in flat.items() if value != {}}
    for name in (str(target), *before):
        for settings in (dict(config), flat):
            if (renamed := settings | {"_target_": name}) != dict(config):
                yield renamed


def _taken(values: dict[str, Any], path: str) -> tuple[Any] | None:
    """Takes the value at a dotted path out of copied values; None if there is none."""
    *groups, name = path.split(".")
    node = values
    for group in groups:
        if not isinstance(node.get(group), dict):
            return None
        node[group] = dict(node[group])
        node = node[group]
    return (node.pop(name),) if name in node else None
