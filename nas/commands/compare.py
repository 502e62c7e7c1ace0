"""`nas compare`: controllers x seeds on one benchmark, with statistics."""

import contextlib
from pathlib import Path

from omegaconf import DictConfig

from nas.commands.hydra_app import run
from nas.comparison import report as comparison
from nas.comparison.runner import Contest, Results, _played, contestants, seed_list, settings_of
from nas.run.config import make
from nas.run.console import Bar


def main(argv: list[str]) -> int:
    return run(task, "compare", argv)


def task(config: DictConfig) -> None:
    """The whole comparison: what is missing is run, then everything is reported."""
    from hydra.core.hydra_config import HydraConfig

    run_dir = Path(HydraConfig.get().runtime.output_dir)
    controllers, seeds = contestants(config), seed_list(config)
    logger = make(config.logger, "logger") if config.logger else None
    play = Contest(config, controllers, run_dir)
    play.check()
    results = Results(run_dir, play.config | {"run_dir": str(run_dir)})
    with contextlib.closing(results):
        todo = [
            (label, seed)
            for seed in seeds  # seeds outermost: a comparison that is stopped has whole seeds
            for label in controllers
            if not results.has(label, settings_of(controllers[label]), seed)
        ]
        total = len(seeds) * len(controllers)
        if len(todo) < total:
            print(f"{total - len(todo)} of {total} searches were done before")
        with (
            make(config.executor, "executor") as executor,
            contextlib.closing(Bar(every=10)) as bar,
        ):
            bar.begin(total, total - len(todo))
            for label, seed, result in _played(play, todo, executor):
                results.add(label, settings_of(controllers[label]), seed, result)
                bar.step(label)
        found = {
            label: [results.get(label, settings_of(node), seed) for seed in seeds]
            for label, node in controllers.items()
        }
    comparison.write(run_dir, play.config, found, play.best_possible())
    if logger is not None:
        comparison.log(logger, run_dir, play.config, found)
    print(comparison.text(found))
    print(f"{run_dir}/{comparison.PAGE}")
