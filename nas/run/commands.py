"""The commands that continue a run, retrain its best architecture and write its report again."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nas.core.quoting import for_shell, quoted, written
from nas.core.trial import ConfigError
from nas.run.config import refuse_foreign_targets, resolved
from nas.run.folder import chosen
from nas.run.saved_config import COMMAND, NOTES

# The command line sets these anew, or they follow from other settings.
_NAMED_ANEW = ("run_dir", "max_trials")


def continuing(config: Mapping[str, Any], folder: Path) -> str:
    """The command that continues the run.

    config: the run's, with plain values.
    """
    command = config.get(COMMAND) or _derived(config)
    kept = [word for word in command if word.partition("=")[0].lstrip("+") not in _NAMED_ANEW]
    trials = config.get("max_trials")
    kept += [f"max_trials={trials}"] if trials else []
    return _joined(*kept, f"run_dir={quoted(str(folder))}")


def retraining(config: Mapping[str, Any], folder: Path) -> str:
    """The command that retrains the run's best architecture from three seeds.

    Raises ConfigError, with the reason, if it could not.
    """
    space = config.get("space")
    if not isinstance(space, Mapping):
        raise ConfigError("no file of conf/ names the space in which this run searched")
    words = ["retrain", str(folder), "seeds=[0,1,2]"]
    for group in ("space", "dataset"):
        part = config.get(group)
        if part is not None:
            refuse_foreign_targets(part, group)  # type: ignore[arg-type]
    if config.get("dataset") is None:
        words.append("dataset=digits")
    return _joined(*words)


def reporting(folder: Path) -> str:
    """The command that writes the run's report again."""
    return _joined("report", str(folder))


def _joined(*words: str) -> str:
    return " ".join(["nas", *map(for_shell, words)])


def _derived(config: Mapping[str, Any]) -> list[str]:
    """The words of a run whose folder does not have them: its choices, and what else differs."""
    from hydra import compose, initialize_config_module
    from hydra.core.global_hydra import GlobalHydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    choices = config.get("choices") or {}
    word = "oneshot" if "method" in config else "search"
    named = chosen({k: v for k, v in choices.items() if k not in ("scale", "experiment")})
    settings = [f"{name}={written(config[name])}" for name in ("seed",) if name in config]
    try:
        if GlobalHydra.instance().is_initialized():
            composed = compose(word, overrides=[*named, *settings])
        else:
            with initialize_config_module("nas.conf", version_base="1.3"):
                composed = compose(word, overrides=[*named, *settings])
        composed.name = None  # its default asks Hydra for the choices of a command that runs
        defaults = resolved(composed)
    except (HydraException, OmegaConfBaseException):
        return [word, *named, *settings]  # choices of a folder that is not known here
    left_out = (*NOTES, *_NAMED_ANEW, "name", "logger", "executor")
    saved = {key: value for key, value in config.items() if key not in left_out}
    return [word, *named, *settings, *_changes(saved, defaults, "")]


def _changes(saved: Mapping[str, Any], defaults: Mapping[str, Any], prefix: str) -> Iterator[str]:
    """The overrides that turn the defaults into the saved values."""
    for key, value in saved.items():
        name = f"{prefix}{key}"
        if key not in defaults:
            yield f"+{name}={written(value)}"
        elif isinstance(value, Mapping) and isinstance(defaults[key], Mapping):
            yield from _changes(value, defaults[key], f"{name}.")
        elif value != defaults[key]:
            yield f"{name}={written(value)}"
