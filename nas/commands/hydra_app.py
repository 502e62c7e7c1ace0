"""Runs a command's task with Hydra: its overrides, sweeps and launchers, and our exit statuses."""

import functools
import os
import sys
from collections.abc import Callable

from nas.core.trial import ConfigError
from nas.run.config import one_line
from nas.run.setting_names import names

LONGEST_NAME = 255  # bytes, of a file or folder on the usual file systems


def run(task: Callable, config_name: str, args: list[str]) -> int:
    """Runs `task(config)`, or a sweep of them, with the overrides in `args`.

    Returns 0. Raises ConfigError if an override names nothing, with the nearest names, and the
    ConfigError of a single run's task.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra raises its errors here, where they become one line
    is_completing = any(arg in ("-sc", "--shell-completion") for arg in args)
    is_sweep = any(arg in ("-m", "--multirun") for arg in args)
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
            return task(config)
        except ConfigError as error:
            errors.append(error)

    # The launcher of a sweep reports its runs' errors, perhaps from another process.
    decorate = hydra.main(config_path="pkg://nas.conf", config_name=config_name, version_base="1.3")
    try:
        decorate(task if is_sweep else task_keeping_its_error)()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error, names(config_name))) from error
    except OSError as error:
        if has_begun or is_sweep:
            raise
        raise ConfigError(
            f"run_dir must be a folder one can write to, got {error.filename}: {error.strerror}"
        ) from error
    except ValueError as error:  # options that exclude each other
        if has_begun or is_sweep:
            raise
        raise ConfigError(str(error)) from error
    if errors:
        raise errors[0]
    return 0


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
