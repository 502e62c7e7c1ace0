"""Hydra's main function with our exit statuses: overrides, sweeps and launchers work as ever."""

import contextlib
import functools
import os
import sys
from collections.abc import Callable, Iterator

from nas.core.trial import ConfigError
from nas.run.config import one_line
from nas.run.setting_names import names

LONGEST_NAME = 255  # bytes, of a file or folder on the usual file systems


def run(task: Callable, config_name: str, args: list[str]) -> int:
    """Runs `task(config)`, or a sweep of them, with the overrides in `args`.

    Raises ConfigError for an override that names nothing, with the nearest names.
    """
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come here and are told in one line
    completing = any(arg in ("-sc", "--shell-completion") for arg in args)
    # A shell completes the program's name; its usage says the command as well.
    sys.argv = ["nas" if completing else f"nas {config_name}", *args]
    entered = False
    failed: list[ConfigError] = []
    # A single run's error is told by us; a sweep's is its launcher's, perhaps in another process.
    swept = any(arg in ("-m", "--multirun") for arg in args)
    if swept:
        sys.argv += [*_short_names(args), *_one_folder(args)]

    @functools.wraps(task)
    def told(config):
        nonlocal entered
        entered = True
        try:
            return task(config)
        except ConfigError as error:
            failed.append(error)

    try:
        with _composed_once(args):
            hydra.main(config_path="pkg://nas.conf", config_name=config_name, version_base="1.3")(
                task if swept else told
            )()
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(one_line(error, names(config_name))) from error
    except OSError as error:
        if entered or swept:
            raise
        raise ConfigError(
            f"run_dir must be a folder one can write to, got {error.filename}: {error.strerror}"
        ) from error
    except ValueError as error:  # options that exclude each other
        if entered or swept:
            raise
        raise ConfigError(str(error)) from error
    if failed:
        raise failed[0]
    return 0


@contextlib.contextmanager
def _composed_once(args: list[str]) -> Iterator[None]:
    """Hydra composes everything a first time to read hydra.mode alone, which -m decides here."""
    from hydra._internal.hydra import Hydra

    if any("hydra.mode" in arg for arg in args):
        yield
        return
    get_mode = Hydra.get_mode
    Hydra.get_mode = lambda *args, **settings: None  # type: ignore[method-assign]
    try:
        yield
    finally:
        Hydra.get_mode = get_mode  # type: ignore[method-assign]


def _short_names(args: list[str]) -> list[str]:
    """The folders of a sweep's runs are named by the overrides; by the swept ones, where all of
    them are longer than a name may be. Returns the override that says so.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    told = [arg for arg in args if "=" in arg and not arg.startswith(("-", "hydra"))]
    if len(",".join(told).encode()) <= LONGEST_NAME:
        return []
    try:
        parsed = OverridesParser.create().parse_overrides(told)
    except OverrideParseException:
        return []  # Hydra itself will tell
    fixed = [item.key_or_group for item in parsed if not item.is_sweep_override()]
    return [f"hydra.job.config.override_dirname.exclude_keys=[{','.join(fixed)}]"]


def _one_folder(args: list[str]) -> list[str]:
    """A sweep has one folder, of its runs' folders; without run_dir=FOLDER each run would name its
    own after what it chose. Returns the override that says so.
    """
    if any(arg.startswith(("run_dir=", "hydra.sweep.dir=")) for arg in args):
        return []
    return ["hydra.sweep.dir=runs/sweep/${now:%Y-%m-%d_%H-%M-%S}"]
