"""Words of a command: quotes for Hydra's grammar, which has its own, and for a shell."""

import re
import shlex
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./:@%+-]*")
_WORDS = ("null", "true", "false", "nan", "inf")  # which Hydra reads as values


def for_shell(word: str) -> str:
    """A word of a command as a shell reads it, in double quotes where it has single ones."""
    if "'" in word and not re.search(r'["$`\\!]', word):
        return f'"{word}"'
    return shlex.quote(word)


def quoted(text: str) -> str:
    """A text as Hydra's grammar reads it: as it is, or in quotes.

    >>> quoted("runs/mine"), quoted("a=b"), quoted("7")
    ('runs/mine', "'a=b'", "'7'")
    """
    if _PLAIN.fullmatch(text) and text.lower() not in _WORDS:
        return text
    escaped = re.sub(r"(\\*)'", lambda match: match[1] * 2 + r"\'", text)
    escaped = re.sub(r"(\\+)$", lambda match: match[1] * 2, escaped)
    return "'" + escaped.replace("${", r"\${") + "'"


def written(value: Any) -> str:
    """A value as an override writes it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, dict):
        return "{" + ",".join(f"{quoted(str(k))}:{written(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(written, value)) + "]"
    return quoted(value) if isinstance(value, str) else repr(value)
