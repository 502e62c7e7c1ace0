"""`nas tabulate`: trains every architecture of a small space and writes a table of them."""

import contextlib

from omegaconf import DictConfig

from nas.commands.hydra_app import run
from nas.run import folder
from nas.run.config import make, resolved
from nas.run.console import Bar
from nas.tables.table_file import about, write_table
from nas.tables.tabulate import Plan, trained


def main(argv: list[str]) -> int:
    return run(task, "tabulate", argv)


def task(config: DictConfig) -> None:
    """Runs the trainings that are missing, then writes the table."""
    called = folder.of_hydra()
    run_dir = called.run_dir
    settings = resolved(config) | {"run_dir": str(run_dir)}
    with folder.not_left_empty(run_dir):
        plan = Plan(config)
        executor = make(config.executor, "executor")
        store = folder.open_run(run_dir, settings, called)
    with store, executor, contextlib.closing(Bar(every=30)) as bar:
        done = {trial.id for trial in store.trials()}
        bar.begin(plan.count, len(done))
        for trial in trained(plan, [i for i in range(plan.count) if i not in done], executor):
            store.save(trials=[trial])
            bar.step(f"seed {trial.proposal.notes['seed']}")
        trials = {trial.id: trial for trial in store.trials()}
    path = run_dir / f"{config.name}.npz"
    write_table(path, plan.table(trials), about(plan.data, settings))
    print(path)
