"""JSON values: what is written is valid, and what is read has the shape that its reader expects.

A shape describes JSON values:

    int, float, str, bool, None   a value of that kind; float stands for any number
    Any                           any value
    (shape, shape)                one of them
    [shape]                       a list of them
    {str: shape}                  a dict with any names
    {"name": shape, "other?": shape}   a dict with the entry `name`, and perhaps `other`
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, SupportsFloat

import numpy as np

from nas.core.files import read_text
from nas.core.trial import ConfigError

WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def plain(value: Any, name: str) -> Any:
    """The value as JSON can hold it: numbers of numpy and TensorFlow become Python's own.

    Raises TypeError, naming it, for a value that JSON cannot hold.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, np.generic | np.ndarray):
        return plain(value.tolist(), name)
    if isinstance(value, Mapping):
        return {str(key): plain(item, f"{name}.{key}") for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, name) for item in value]
    for kind in (str, bool, int, float):  # their subclasses
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, SupportsFloat):
        return float(value)
    raise TypeError(
        f"{name} must be a number, a text, a list or a dict, got {type(value).__name__}"
    )


def finite(value: Any) -> Any:
    """The value with None for every number that JSON cannot hold: NaN and the infinities."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return value


def dumped(value: Any, *, indent: int | None = None) -> str:
    """The value as JSON text, in which null stands for NaN and the infinities."""
    return json.dumps(finite(plain(value, "the value")), indent=indent, allow_nan=False)


def parsed(text: str | bytes, shape: Any) -> Any:
    """The value of a JSON text. Raises ValueError if it is no JSON or not of that shape."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    except TypeError:
        raise ValueError("it is no text") from None
    if wrong := misfit(value, shape):
        raise ValueError(wrong)
    return value


def read_json(path: Path, shape: Any, advice: str) -> Any:
    """The value of a JSON file of that shape.

    advice: what to do about a damaged file.

    Raises ConfigError if the file cannot be read, is no JSON or has another shape.
    """
    text = read_text(path)
    try:
        return parsed(text, shape)
    except ValueError as error:
        raise ConfigError(f"{path} is damaged ({error}); {advice}") from None


def misfit(value: Any, shape: Any, where: str = "") -> str | None:
    """What of the value is not of the shape, in words; None if it fits."""
    if isinstance(shape, tuple):
        wrong = [misfit(value, each, where) for each in shape]
        return None if None in wrong else wrong[0]
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _told(where, "a list", value)
        return _first(misfit(item, shape[0], f"{where}[{i}]") for i, item in enumerate(value))
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return _told(where, "a dict", value)
        names = {key: item for key, item in shape.items() if key is not str}
        rest = [k for k in value if str in shape and not {k, f"{k}?"} & names.keys()]
        return _first(
            [
                *(_misfit_of_entry(value, key, item, where) for key, item in names.items()),
                *(misfit(value[k], shape[str], _below(where, k)) for k in rest),
            ]
        )
    if shape is Any or _is(value, shape):
        return None
    return _told(where, WORDS.get(shape, "null"), value)


def _misfit_of_entry(value: dict[str, Any], key: str, shape: Any, where: str) -> str | None:
    name = key.removesuffix("?")
    if name in value:
        return misfit(value[name], shape, _below(where, name))
    return None if key.endswith("?") else f"{_below(where, name)} is missing"


def _is(value: Any, kind: Any) -> bool:
    if kind is None:
        return value is None
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    return isinstance(value, int | float if kind is float else kind)


def _below(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


def _told(where: str, expected: str, value: Any) -> str:
    kind = "null" if value is None else WORDS.get(type(value), f"a {type(value).__name__}")
    return f"{where or 'it'} must be {expected}, got {kind}"


def _first(wrong: Any) -> str | None:
    return next((each for each in wrong if each is not None), None)
