"""`nas compare`: compares controllers over several seeds on one benchmark, with statistics."""

import contextlib

from omegaconf import DictConfig

from nas.commands.hydra_app import run
from nas.comparison import report
from nas.comparison.results import Results
from nas.comparison.runner import ComparisonRunner, controllers_of, seed_list, settings_of
from nas.core.trial import ConfigError
from nas.engine.executors import completed
from nas.run import folder
from nas.run.config import make
from nas.run.console import Bar


def main(argv: list[str]) -> int:
    return run(task, "compare", argv)


def task(config: DictConfig) -> None:
    """Runs the searches that are missing, then reports all of them."""
    called = folder.of_hydra()
    run_dir = called.run_dir
    with folder.not_left_empty(run_dir):
        controllers, seeds = controllers_of(config), seed_list(config)
        settings = {label: settings_of(node) for label, node in controllers.items()}
        logger = make(config.logger, "logger") if config.logger else None
        runner = ComparisonRunner(config, controllers, run_dir)
        runner.check()
        executor = make(config.executor, "executor")
        results = Results(run_dir, runner.config | {"run_dir": str(run_dir)}, called)
    with contextlib.closing(results):
        todo = [
            (label, seed)
            for seed in seeds  # seeds outermost: a stopped comparison has complete seeds
            for label in controllers
            if not results.has(label, settings[label], seed)
        ]
        total = len(seeds) * len(controllers)
        if len(todo) < total:
            print(f"{total - len(todo)} of {total} searches were done before")
        with executor, contextlib.closing(Bar(every=10)) as bar:
            bar.begin(total, total - len(todo))
            for (label, seed), future in completed(
                executor, runner.run_one, (((label, seed), (label, seed)) for label, seed in todo)
            ):
                results.add(label, settings[label], seed, future.result())
                bar.step(label)
        runs = {
            label: [results.get(label, settings[label], seed) for seed in seeds]
            for label in controllers
        }
    found = [run for of_controller in runs.values() for run in of_controller]
    if all(run.best is None for run in found):
        reason = found[0].stopped or f"all {len(found[0].rewards)} of the first search have failed"
        raise ConfigError(f"no search has a trial that succeeded: {reason}")
    report.write(run_dir, runner.config, runs, runner.best_possible())
    if logger is not None:
        report.log(logger, run_dir, runner.config, runs)
    print(report.text(runs))
    print(f"{run_dir}/{report.PAGE}")
