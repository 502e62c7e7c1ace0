"""Runs a command's task with Hydra: its overrides, sweeps and launchers, and our exit statuses."""

import functools
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any

import yaml
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigAttributeError,
    ConfigKeyError,
    InterpolationResolutionError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from nas.core.trial import ConfigError
from nas.experiment.overrides import SWEEP, TAKING, check_readable, options_first
from nas.experiment.setting_names import names
from nas.run.config import one_line

LONGEST_NAME = 255  # bytes, of a file or folder on the usual file systems


def run(task: Callable, config_name: str, args: list[str]) -> int:
    """Runs `task(config)`, or a sweep of them, with the overrides in `args`.

    Returns 0. Raises ConfigError if an override names nothing, with the nearest names, or cannot be
    read, and the ConfigError of a task.
    """
    import hydra

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors here, where they become one line
    is_completing = any(arg in ("-sc", "--shell-completion") for arg in args)
    is_sweep = any(arg in SWEEP for arg in args)
    if not is_completing:
        args = options_first(args)
        check_readable(_overrides(args), has_own_folder=config_name != "retrain")
    # Hydra reads its overrides from sys.argv, and from its first word the name of the program: a
    # shell completes that name, and the usage also says the command.
    sys.argv = ["nas" if is_completing else f"nas {config_name}", *args]
    if is_sweep:
        sys.argv += _names_of_folders(args)
    has_begun = False
    errors: list[ConfigError] = []

    @functools.wraps(task)
    def task_keeping_its_error(config):
        nonlocal has_begun
        has_begun = True
        try:
            return _checked(task, config)
        except ConfigError as error:
            errors.append(error)

    # The launcher of a sweep reports its runs' errors, perhaps from another process.
    checked = functools.wraps(task)(functools.partial(_checked, task))
    decorate = hydra.main(config_path="pkg://nas.conf", config_name=config_name, version_base="1.3")
    try:
        decorate(checked if is_sweep else task_keeping_its_error)()
    except ConfigError:
        raise
    except (HydraException, OmegaConfBaseException, yaml.YAMLError) as error:
        raise ConfigError(one_line(error, names(config_name))) from error
    except OSError as error:
        if has_begun or is_sweep:
            raise
        raise ConfigError(
            f"run_dir must be a folder one can write to, got {error.filename}: {error.strerror}"
        ) from error
    except (ValueError, TypeError, AttributeError, AssertionError) as error:
        if has_begun or not _is_of_hydra(error):
            raise
        raise ConfigError(_of_hydra(error, args)) from error
    if errors:
        raise errors[0]
    return 0


def _overrides(args: list[str]) -> list[str]:
    """The overrides among the words: they come after the options and their words."""
    last = max((i for i, arg in enumerate(args) if arg.startswith("-")), default=-1)
    taken = last + 1 if last >= 0 and args[last].split("=")[0] in TAKING else last
    return args[taken + 1 :]


def _checked(task: Callable, config: DictConfig) -> Any:
    """Runs the task, unless it would have the current folder as its run folder unasked."""
    try:
        folder = config.get("run_dir") if not OmegaConf.is_missing(config, "run_dir") else None
        if folder is not None and (isinstance(folder, bool) or not str(folder).strip()):
            raise ConfigError(f"run_dir must be the name of a folder, got {folder!r}")
        return task(config)
    except (ConfigAttributeError, ConfigKeyError) as error:
        raise ConfigError(f"{error.full_key} must not be left out") from error
    except MissingMandatoryValue as error:
        raise ConfigError(f"{error.full_key or 'a setting'} must have a value, got ???") from error
    except InterpolationResolutionError as error:
        name = error.full_key or "a setting"
        raise ConfigError(
            f"{name} refers to a setting or a variable that there is not: "
            f"{' '.join(str(error).splitlines()[0].split())}"
        ) from error


def _is_of_hydra(error: Exception) -> bool:
    """Whether Hydra raised the error itself, and not a task."""
    frames = traceback.extract_tb(error.__traceback__)
    return bool(frames) and f"{os.sep}hydra{os.sep}" in frames[-1].filename


def _of_hydra(error: Exception, args: list[str]) -> str:
    """Words for the errors that Hydra raises as Python's own."""
    text = " ".join(str(error).split())
    if "Config group override must be a string" in text:
        null = [arg for arg in args if arg.partition("=")[2] in ("null", "None")]
        return (
            f"a choice must be the name of a file, got {', '.join(null) or 'null'}; `nas list` has "
            "them, and a sweep leaves no group out"
        )
    if text.startswith("The --"):  # of its options, in plain words
        return text
    return (
        f"the overrides do not go together: {' '.join(args)}; a group's choice is the name of a "
        "file, and a setting of a choice is written GROUP.NAME=VALUE"
    )


def _names_of_folders(args: list[str]) -> list[str]:
    """The override that names the folders of a sweep's runs by the swept settings alone.

    Usually all overrides name them (hydra.sweep.subdir). If these are together longer than a name
    may be, the ones that do not differ between the runs are left out. conf/ cannot express it: a
    run knows its overrides, but not which of them are swept.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    overrides = [arg for arg in args if "=" in arg and not arg.startswith(("-", "hydra"))]
    if len(",".join(overrides).encode()) <= LONGEST_NAME:
        return []
    try:
        parsed = OverridesParser.create().parse_overrides(overrides)
    except OverrideParseException:
        return []  # Hydra reports it
    fixed = [item.key_or_group for item in parsed if not item.is_sweep_override()]
    return [f"hydra.job.config.override_dirname.exclude_keys=[{','.join(fixed)}]"]
