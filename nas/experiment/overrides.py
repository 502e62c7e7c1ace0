"""What stands on the command line of a command that Hydra runs: overrides and Hydra's options.

An override is a word such as `seed=1`. What Hydra's parser refuses is told in our words.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from nas.core.quoting import for_shell, quoted
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
