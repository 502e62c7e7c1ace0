"""What stands on the command line of a command that Hydra runs: overrides and Hydra's options.

An override is a word such as `seed=1`. Hydra's grammar gives many characters a meaning, so values
that are texts may need quotes of its own, within those of the shell.
"""

import re
import shlex
from collections.abc import Iterable, Sequence
from typing import Any

from nas.core.trial import ConfigError

SWEEP = ("-m", "--multirun")
# Options of Hydra that take the next word, and the words that --info may be given.
TAKING = (
    *("-c", "--cfg", "-p", "--package", "-cp", "--config-path", "-cn", "--config-name"),
    *("-cd", "--config-dir", "--experimental-rerun"),
)
_MAY_TAKE = ("-i", "--info")
_INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
_ALONE = (
    *(*SWEEP, "-h", "--help", "--hydra-help", "--version", "-r", "--run", "--resolve"),
    *("-sc", "--shell-completion"),
)
_PLAIN = re.compile(r"[A-Za-z_./][A-Za-z0-9_./:@%+-]*")
_WORDS = ("null", "true", "false", "nan", "inf")  # which Hydra reads as values


def options_first(args: Sequence[str]) -> list[str]:
    """The options with their words, then the overrides: argparse takes no option in between.

    Raises ConfigError for an option that Hydra does not have.
    """
    options: list[str] = []
    overrides: list[str] = []
    left = list(args)
    while left:
        word = left.pop(0)
        name = word.split("=")[0]
        if not word.startswith("-"):
            overrides.append(word)
        elif name in TAKING:
            if "=" not in word and not left:
                raise ConfigError(f"{word} must be followed by its value")
            options += [word] if "=" in word else [word, left.pop(0)]
        elif name in _MAY_TAKE:
            options += [word, left.pop(0)] if left and left[0] in _INFO else [word]
        elif word in _ALONE:
            options.append(word)
        else:
            raise ConfigError(f"no option {word}; the settings are written NAME=VALUE without -")
    return options + overrides


def check_readable(args: Iterable[str], *, has_own_folder: bool) -> None:
    """Raises ConfigError for the first override that Hydra's grammar cannot read.

    has_own_folder: whether Hydra makes the folder that run_dir names, so that it must name one.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    parser = OverridesParser.create()
    for arg in args:
        if arg.startswith("-"):
            continue
        key, equals, value = arg.partition("=")
        if not key.strip("+~"):
            raise ConfigError(f"a setting must be written NAME=VALUE, got {arg}")
        try:
            parsed = parser.parse_override(arg)
            if has_own_folder and key.lstrip("+") == "run_dir":
                _check_folder(parsed, value)
        except HydraException:
            if not equals and not arg.startswith("~"):
                raise ConfigError(f"a setting must be written NAME=VALUE, got {arg}") from None
            advice = for_shell(f"{key}={quoted(value)}")
            raise ConfigError(
                f"{key or 'a setting'} has a value that cannot be read, got {value}: a text with "
                f"such characters must be in quotes within those of the shell: {advice}"
            ) from None


def _check_folder(parsed: Any, value: str) -> None:
    if parsed.is_sweep_override():
        raise ConfigError(
            "run_dir must be one folder for all runs of a sweep, below which each has its own, got "
            f"{value}"
        )
    if parsed.value() is None and not parsed.is_delete():
        raise ConfigError("run_dir must be the name of a folder, got null; or leave it out")


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
