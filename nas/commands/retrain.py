"""`nas retrain RUN`: trains an architecture at full size from several seeds, tests each once."""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from nas.core.capabilities import PublishedSpace
from nas.core.quoting import quoted, written
from nas.core.setting_kinds import is_whole, shown
from nas.core.trial import Arch, ConfigError
from nas.engine.search import best
from nas.engine.store import Store
from nas.evaluators import compatibility as kinds
from nas.experiment.parts import check_seeds, is_language_recipe
from nas.run import folder as runs
from nas.run.config import conf_files, make, refuse_foreign_targets, resolved
from nas.run.loggers import Loggers, RunInfo
from nas.run.saved_config import FREE_TO_CHANGE, read_values
from nas.run.summary import read_summary, write_summary

OF_THE_RUN = "of_the_run"  # the choice of a group that the run's own configuration makes


def main(argv: list[str]) -> int:
    from nas.commands.hydra_app import run

    # A first word without "=" is the run folder, as in `nas report RUN`; those of sweeps have one.
    first = argv[0] if argv else "-"
    if not first.startswith("-") and ("=" not in first or Path(first).is_dir()):
        argv = [f"run={quoted(first)}", *argv[1:]]
    args = [_quoted(arg) for arg in argv]
    return run(task, "retrain", [*args, *_implied(args)])


def _quoted(arg: str) -> str:
    """genotype=3,0,1 in quotes: to Hydra, unquoted commas are a sweep."""
    key, equals, value = arg.partition("=")
    if key != "genotype" or not equals or value[:1] in ("'", '"', "["):
        return arg
    return f"{key}='{value}'"


def _implied(args: Sequence[str]) -> list[str]:
    """The choices of groups that run= and the genotype= of a published architecture imply.

    A run implies its own space, data set, recipe and skeleton, a published architecture its space.
    What the command line chooses itself stays. Hydra's defaults lists can depend on the choices of
    other groups, but not on the values of settings such as these two.

    Raises ConfigError if the run cannot be read.
    """
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import OverrideParseException

    try:
        parsed = OverridesParser.create().parse_overrides(
            [arg for arg in args if "=" in arg and not arg.startswith("-")]
        )
    except OverrideParseException:
        return []  # Hydra reports it
    chosen = {item.key_or_group: item for item in parsed}
    folders = _config_dirs(args)
    if "run" in chosen:
        if chosen["run"].is_sweep_override():
            raise ConfigError("run must be one run folder; call nas retrain once for each")
        run = chosen["run"].value()
        return [] if run is None else _offer_parts_of(Path(str(run)), set(chosen), folders)
    if "genotype" in chosen and "space" not in chosen:
        space = _space_of(str(chosen["genotype"].value()).strip(), folders)
        return [] if space is None else [f"space={space}"]
    return []


def _config_dirs(args: Sequence[str]) -> list[Path]:
    """The folder that Hydra's --config-dir names, if it is there."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", type=Path)
    folder = parser.parse_known_args(list(args))[0].config_dir
    return [folder] if folder is not None and folder.is_dir() else []


def _offer_parts_of(run: Path, chosen: set[str], folders: Sequence[Path]) -> list[str]:
    """Makes the run's own parts a choice of their groups; returns the overrides that choose them.

    chosen: what the command line chooses itself.

    Raises ConfigError if `run` is no run folder, if it names code that no file of conf/ names, or
    if it has no data set and none is chosen.
    """
    from hydra.core.config_store import ConfigStore

    saved = runs.read_run(run)
    is_text = is_language_recipe(saved.get("recipe"))
    retraining = saved.get("retrain") or {}
    # A language model that was not to be retrained has the recipe and the sizes of the search.
    of_search = saved if is_text else {}
    parts = {
        "space": saved.get("space"),
        "dataset": saved.get("dataset"),
        "recipe": _whole(retraining.get("recipe")) or of_search.get("recipe"),
        "skeleton": _whole(retraining.get("skeleton")) or of_search.get("skeleton"),
    }
    if not isinstance(parts["space"], DictConfig):
        raise ConfigError(f"{run} was searched in a space that no file of conf/ names")
    if parts["dataset"] is None and "dataset" not in chosen:
        raise ConfigError(f"{run} was searched without a dataset; set dataset=NAME")
    overrides = []
    for group in parts:
        if group in chosen:
            continue
        part = parts[group]
        if part is None:  # the command's default, with what a scale has set of it
            rest = retraining.get(group) or {} if group in ("recipe", "skeleton") else {}
            overrides += [
                f"{group}.{name}={written(value)}"
                for name, value in rest.items()
                if f"{group}.{name}" not in chosen
            ]
            continue
        refuse_foreign_targets(part, group, *folders)
        plain: Any = OmegaConf.to_container(part)
        ConfigStore.instance().store(group=group, name=OF_THE_RUN, node=plain)
        overrides.append(f"{group}={OF_THE_RUN}")
    return overrides


def _whole(part: Any) -> Any:
    """The part of a configuration, unless no file was chosen for it and it has single settings."""
    return part if isinstance(part, DictConfig) and "_target_" in part else None


def _space_of(name: str, folders: Sequence[Path]) -> str | None:
    """The file of conf/space whose space has a published architecture of this name."""
    if not name.isidentifier():
        return None
    files = {f.name.removesuffix(".yaml"): f for g, f in conf_files(*folders) if g == "space"}
    # A space whose name begins the architecture's comes first: AmoebaNet's has NASNet-A as well.
    for choice in sorted(files, key=lambda choice: (not name.startswith(choice), choice)):
        node = OmegaConf.create(files[choice].read_text(encoding="utf-8"))
        if isinstance(node, DictConfig) and "_target_" in node:
            space = make(node, "space")
            if isinstance(space, PublishedSpace) and name in space.published:
                return choice
    return None


def task(config: DictConfig) -> float:
    """Trains and tests; writes summary.json and the model of the first seed.

    Returns the mean test accuracy, or the mean test perplexity of a language model. Raises
    ConfigError if a setting is wrong or a training fails.
    """
    from nas.evaluators.retrain import retrain
    from nas.run.console import Console

    _check(config)
    cell = _OfCell(config) if config.get("cell") is not None else None
    space = make(config.space, "space") if cell is None else cell
    arch = _arch(config, space) if cell is None else ()
    name = type(space).__name__ if cell is None else cell.name
    recipe = make(config.recipe, "recipe")
    further = [make(config.logger, "logger")] if config.logger else []
    data = make(config.dataset, "dataset")()
    skeleton = make(config.skeleton, "skeleton")
    kinds.check(space, data, skeleton, recipe, "retraining")
    seeds = list(config.seeds)
    folder = Path(config.run_dir or Path(config.run or "runs") / "retrain" / _time())
    info = RunInfo(
        run_dir=folder,
        job_type="retrain",
        experiment=Path(config.run).name if config.run else name,
        space=name,
        controller="",
        dataset=data.name,
        seed=seeds[0],
        config=resolved(config),
    )
    with _open(folder, config), Loggers([Console(), *further], info) as loggers:
        if data.read_as:
            loggers.message(f"read {data.read_as}")
        loggers.retraining(
            f"retraining {list(arch) or 'it'}, {recipe.epochs} epochs, seeds {seeds}",
            recipe.epochs * len(seeds),
        )
        result = retrain(
            space,
            arch,
            data,
            skeleton,
            recipe,
            seeds=seeds,
            folder=folder,
            kept=folder,
            on_epoch=loggers.epoch,
        )
        summary: dict[str, Any] = {} if cell is None else {"cell": name}
        summary |= {"arch": list(arch), "dataset": data.name, "retrained": result}
        write_summary(folder, summary)
        loggers.finish(summary, space)
    return result["test_perplexity" if space.domain == "language" else "test_accuracy"]


def _check(config: DictConfig) -> None:
    """Raises ConfigError unless one architecture is named, and at least one seed."""
    from hydra.core.hydra_config import HydraConfig

    named = (config.run, config.genotype, config.get("cell"))
    if sum(value is not None for value in named) != 1:
        raise ConfigError(
            "retrain needs either a run folder (`nas retrain RUN`) or genotype=... "
            "or, of a language model, cell=NAME"
        )
    overrides = [item.lstrip("+") for item in HydraConfig.get().overrides.task]
    if config.run is not None and not any(item.startswith("run=") for item in overrides):
        raise ConfigError(f"run must be named on the command line: nas retrain {config.run}")
    check_seeds(config.seeds)
    if config.trial is not None and not is_whole(config.trial, 0):
        raise ConfigError(f"trial must be the id of a trial of the run, got {shown(config.trial)}")


class _OfCell:
    """The language model of a cell by name, in place of a space: it has no decisions."""

    domain = "language"

    def __init__(self, config: DictConfig):
        from hydra.core.hydra_config import HydraConfig

        self.name = str(HydraConfig.get().runtime.choices["cell"])
        self.maker, self.model = make(config.cell, "cell"), make(config.model, "model")
        config.space = None

    def build(self, arch: Arch, skeleton: Any) -> Any:
        return self.model(self.maker, skeleton)


def _open(folder: Path, config: DictConfig) -> runs.FolderLock:
    """Opens the folder of the results. A retraining of the same settings goes on there, and may
    have more seeds."""
    path, seeds = folder / runs.CONFIG, list(config.seeds)
    if path.exists():
        if "genotype" not in read_values(path):
            raise ConfigError(
                f"run_dir must be a new folder, got {folder}, which holds a run already"
            )
        done = (read_summary(folder).get("retrained") or {}).get("seeds", [])
        if not set(done) <= set(seeds):
            raise ConfigError(
                f"run_dir={folder} holds a retraining from seeds {done}, got seeds={seeds}: name "
                "these and perhaps more, or a new run_dir"
            )
    return runs.open_folder(
        folder,
        resolved(config),
        runs.FolderLock,
        free=FREE_TO_CHANGE | {"seeds", "seed"},
        keep_config=False,
        called=runs.of_hydra(),
    )


def _arch(config: DictConfig, space: Any) -> Arch:
    """The architecture that genotype= writes, or that of the run's trial."""
    if config.run is None:
        return space.parse(str(config.genotype))
    with Store(config.run, read_only=True) as store:
        trials = store.trials()
    if config.trial is not None:
        chosen = [trial for trial in trials if trial.id == config.trial]
        if not chosen:
            raise ConfigError(f"trial must be one of the run's {len(trials)}, got {config.trial}")
        return chosen[0].arch
    top = best(trials)
    if top is None:
        raise ConfigError(f"{config.run} has no trial that succeeded: nothing to retrain")
    # Saved with the results: they can be continued although the run has found a better one since.
    config.trial = top.id
    return top.arch


def _time() -> str:
    return time.strftime("%Y-%m-%d_%H-%M-%S")
