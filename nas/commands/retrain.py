"""`nas retrain RUN`: a found or named architecture at full size, several seeds, test once each."""

import time
from collections.abc import Collection
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf

from nas.commands.language_defaults import for_retrain, is_language
from nas.core.files import make_folder, write_atomically
from nas.core.trial import Arch, ConfigError
from nas.engine.search import best
from nas.engine.store import Store
from nas.evaluators import compatibility as kinds
from nas.run import folder as runs
from nas.run.config import (
    FREE_TO_CHANGE,
    conf_files,
    make,
    refuse_foreign_targets,
    refuse_other_config,
    resolved,
)
from nas.run.summary import write_summary


def main(argv: list[str]) -> int:
    from nas.commands.hydra_app import run

    # A first word without "=" is the run folder, as in `nas report RUN`.
    if argv and not argv[0].startswith("-") and "=" not in argv[0]:
        argv = [f"run='{argv[0]}'", *argv[1:]]
    return run(task, "retrain", for_retrain([_quoted(arg) for arg in argv]))


def _quoted(arg: str) -> str:
    """genotype=3,0,1 as Hydra wants it; unquoted commas would be a sweep."""
    key, equals, value = arg.partition("=")
    if key != "genotype" or not equals or value[:1] in ("'", '"', "["):
        return arg
    return f"{key}='{value}'"


def task(config: DictConfig) -> float:
    """Trains and tests; writes summary.json and the model of the first seed.

    Returns the test accuracy or, of a language model, the test perplexity.
    """
    from nas.evaluators.retrain import retrain
    from nas.run.console import Console
    from nas.run.loggers import Loggers, RunInfo

    cell = config.get("cell")
    if sum(chosen is not None for chosen in (config.run, config.genotype, cell)) != 1:
        raise ConfigError(
            "retrain needs either a run folder (`nas retrain RUN`) or genotype=... "
            "or, of a language model, cell=NAME"
        )
    if not isinstance(config.seeds, ListConfig) or not config.seeds:
        raise ConfigError(f"seeds must list at least one seed, got {config.seeds}; set seeds=[0]")
    config = _with_space_of_name(_with_run(config))
    space = _OfCell(config) if cell is not None else make(config.space, "space")
    arch = () if cell is not None else _arch(config, space)
    recipe = make(config.recipe, "recipe")
    extra = [make(config.logger, "logger")] if config.logger else []
    data = make(config.dataset, "dataset")()
    skeleton = make(config.skeleton, "skeleton")
    kinds.check(space, data, skeleton, recipe, "retraining")
    folder = Path(config.run_dir or Path(config.run or "runs") / "retrain" / _now())
    _open(folder, config)
    info = RunInfo(
        run_dir=folder,
        job_type="retrain",
        experiment=Path(config.run).name if config.run else _name(space),
        space=_name(space),
        controller="",
        dataset=data.name,
        seed=config.seeds[0],
        config=resolved(config),
    )
    with Loggers([Console(), *extra], info) as loggers:
        loggers.retraining(
            f"retraining {list(arch) or 'it'}, {recipe.epochs} epochs, seeds {config.seeds}",
            recipe.epochs * len(config.seeds),
        )
        result = retrain(
            space,
            arch,
            data,
            skeleton,
            recipe,
            seeds=list(config.seeds),
            folder=folder,
            on_epoch=loggers.epoch,
        )
        summary = {"arch": list(arch), "dataset": data.name, "retrained": result}
        if cell is not None:
            summary = {"cell": _name(space)} | summary
        write_summary(folder, summary)
        loggers.finish(summary, space)
    return result["test_perplexity" if space.domain == "language" else "test_accuracy"]


class _OfCell:
    """In place of a space: the language model of a cell by name, which has no decisions."""

    domain = "language"

    def __init__(self, config: DictConfig):
        from hydra.core.hydra_config import HydraConfig

        self.name = str(HydraConfig.get().runtime.choices["cell"])
        self.maker, self.model = make(config.cell, "cell"), make(config.model, "model")
        config.space = None

    def build(self, arch: Arch, skeleton):
        return self.model(self.maker, skeleton)


def _name(space) -> str:
    return space.name if isinstance(space, _OfCell) else type(space).__name__


def _open(folder: Path, config: DictConfig) -> None:
    """Makes the folder. That of a language model goes on, or adds seeds; others must be new."""
    path, settings = folder / runs.CONFIG, resolved(config)
    if path.exists():
        seeds = [*folder.glob("seed*.npz")]
        if not is_language(config.recipe) or not seeds:
            raise ConfigError(
                f"run_dir must be a new folder, got {folder}, which holds a run already"
            )
        refuse_other_config(path, settings, free=FREE_TO_CHANGE | {"seeds"})
    make_folder(folder)
    write_atomically(path, OmegaConf.to_yaml(OmegaConf.create(settings)))


def _with_run(config: DictConfig) -> DictConfig:
    """The run's own space, data set, recipe and skeleton, below what the command line says."""
    from hydra.core.hydra_config import HydraConfig

    if config.run is None:
        return config
    saved = runs.read_run(Path(config.run))
    text = is_language(saved.get("recipe"))
    given = [item.lstrip("+~") for item in HydraConfig.get().overrides.task]
    retraining = saved.get("retrain") or {}
    for name, own in (
        ("space", saved.get("space")),
        ("dataset", saved.get("dataset")),
        # A language model that was not to be retrained has the sizes and the recipe of the search.
        ("recipe", retraining.get("recipe") or (saved.recipe if text else None)),
        ("skeleton", retraining.get("skeleton") or (saved.skeleton if text else None)),
    ):
        if any(item.startswith(f"{name}=") for item in given):
            continue  # the command line chose another
        if own is None and name == "dataset":
            raise ConfigError(f"{config.run} was searched without a dataset; set dataset=NAME")
        if own is None:
            continue  # it was not to be retrained: the defaults of this command
        refuse_foreign_targets(own, name)
        merged = OmegaConf.create(OmegaConf.to_container(own))
        for item in given:
            key, _, _ = item.partition("=")
            if key.startswith(f"{name}."):
                OmegaConf.update(merged, key[len(name) + 1 :], OmegaConf.select(config, key))
        OmegaConf.set_struct(config, False)
        config[name] = merged
    return config


def _with_space_of_name(config: DictConfig) -> DictConfig:
    """A published architecture brings its space along, unless the command line chose one."""
    from hydra import compose
    from hydra.core.hydra_config import HydraConfig
    from hydra.utils import get_object

    given = [item.lstrip("+~") for item in HydraConfig.get().overrides.task]
    chosen = any(item.startswith(("space=", "space.")) for item in given)
    name = str(config.genotype).strip()
    if config.genotype is None or chosen or not name.isidentifier():
        return config
    spaces = {f.name.removesuffix(".yaml"): f for group, f in conf_files() if group == "space"}
    # The space that is called like it first: AmoebaNet's has NASNet-A as well.
    for space in sorted(spaces, key=lambda space: (not name.startswith(space), space)):
        target = OmegaConf.create(spaces[space].read_text()).get("_target_")
        known = getattr(get_object(target), "published", ()) if target else None
        if isinstance(known, Collection) and name not in known:
            continue  # what an instance or a file of defaults alone knows is asked below
        node = compose("retrain", overrides=[f"space={space}"]).space
        if name in getattr(make(node, "space"), "published", {}):
            OmegaConf.set_struct(config, False)
            config.space = node
            break
    return config


def _arch(config: DictConfig, space) -> Arch:
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
    config.trial = top.id  # what is continued is the same, though the run may have gone on
    return top.arch


def _now() -> str:
    return time.strftime("%Y-%m-%d_%H-%M-%S")
