"""Refuses settings whose kind is not that of the parameter, or that are too large to try.

A target's annotations say what each of its settings must be. Only numbers, texts, true or false and
lists of them are checked; what else a parameter may be is the target's to say.
"""

import collections.abc
import dataclasses
import inspect
import math
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from nas.core.trial import ConfigError

WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}
LISTS = (list, tuple, collections.abc.Sequence)
# What a network is made of, step by step: so many are refused before anything is made of them.
COUNTS = ("layers", "nodes", "rows", "columns", "depth", "cells", "levels_back", "block_layers")
LARGEST_COUNT, LARGEST = 1000, 2**31 - 1
LARGEST_IN = {"space": 10**6, "skeleton": 10**6, "controller": 10**7, "recipe": 10**7}


def check_kinds(
    node: Mapping[str, Any], where: str, target: Callable, names: Mapping[str, inspect.Parameter]
) -> None:
    """Raises ConfigError for a setting of another kind than its parameter, or a huge one.

    Args:
      node: the settings, resolved.
      where: the setting that holds the node, for messages.
      names: the target's parameters.
    """
    if not isinstance(node.get("_partial_", False), bool):
        raise ConfigError(
            f"{where}._partial_ must be true or false, got {shown(node['_partial_'])}"
        )
    hints = _hints(target)
    for name, value in node.items():
        hint = hints.get(name)
        if name in names and hint is not None and value != "???" and not _fits(value, hint):
            raise ConfigError(f"{where}.{name} must be {_words(hint)}, got {shown(value)}")
        if not str(name).startswith(("max_", "seed")):
            _check_size(value, f"{where}.{name}", str(name))


def shown(value: Any) -> str:
    """A setting as a yaml file writes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {shown(item)}" for key, item in value.items()) + "}"
    if isinstance(value, collections.abc.Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(shown, value)) + "]"
    return str(value)


def is_whole(value: Any, least: int | None = None, most: int | None = None) -> bool:
    """Whether a setting is a whole number within the limits. true is none."""
    return (
        isinstance(value, int)
        and not isinstance(value, bool)
        and (least is None or value >= least)
        and (most is None or value <= most)
    )


def is_number(value: Any) -> bool:
    """Whether a setting is a finite number. true is none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _hints(target: Callable) -> dict[str, Any]:
    try:
        return typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (NameError, TypeError, AttributeError):  # annotations that exist for type checkers only
        return {}


def _fits(value: Any, hint: Any) -> bool:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if hint is type(None):
        return value is None
    if hint is bool:
        return isinstance(value, bool)
    if hint is int:
        return is_whole(value)
    if hint is float:  # without end is a limit
        return is_number(value) or value in (math.inf, -math.inf)
    if hint is str:
        return isinstance(value, str | int | float) and not isinstance(value, bool)
    if origin in LISTS:
        if not isinstance(value, list):
            return isinstance(value, dict)
        same = [part for part in parts if part is not Ellipsis]
        return len(same) != 1 or all(_fits(item, same[0]) for item in value)
    if dataclasses.is_dataclass(hint):
        return isinstance(value, dict)
    return True


def _words(hint: Any) -> str:
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        named = [_words(part) for part in parts]
        return " or ".join(dict.fromkeys(named))
    if hint is type(None):
        return "null"
    if origin in LISTS:
        of = {int: " of whole numbers", float: " of numbers", str: " of texts"}
        return f"a list{of.get(parts[0], '') if parts else ''}"
    return WORDS.get(hint, "settings of its own")


def _check_size(value: Any, where: str, name: str) -> None:
    for number in value if isinstance(value, list) else [value]:
        largest = LARGEST_IN.get(where.split(".")[0].split()[0], LARGEST)
        largest = LARGEST_COUNT if name in COUNTS else largest
        if is_whole(number) and abs(number) > largest:
            raise ConfigError(f"{where} must be at most {largest}, got {number}")
