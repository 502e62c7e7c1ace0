"""Kills every command again and again and compares its end with that of an uninterrupted run.

    python scripts/bench/kills.py [--only search] [--share 1.0] [--out runs/kills]

Each scenario runs its command once without interruption, which takes T seconds. Then a chain of
runs begins in a fresh folder: the command is started and killed with SIGKILL at a moment that is
uniform in [0, T], and the same command continues it, up to six times, before it may end. The script
prints, for each scenario, the number of kills, what the folder held at the kills, and the number of
chains that ended as the uninterrupted run did. Scenarios with several workers kill the leader, or
kill or stop one worker; for them it counts the trials that were lost, run twice or left pending.
OUT/kills.csv has one row a kill.
"""

import argparse
import collections
import csv
import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

CHAIN = 6  # kills of one folder at most
DEADLINE = 600  # seconds after which a command counts as hanging
TABLE = ("evaluator=digits201", "space=nasbench201", "retrain=none")
EVOLUTION = (
    "controller=regularized_evolution", "controller.population_size=10", "controller.sample_size=3",
)  # fmt: skip
TINY = ("recipe.batch_size=128", "skeleton.channels=2", "skeleton.cells=1")
LANGUAGE = (
    *("dataset=grammar", "recipe.batch_size=5", "recipe.bptt=20", "skeleton.units=8"),
    *("skeleton.embedding=8", "skeleton.layers=1"),
)


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One command and what is done to it.

    Args:
      command: without `run_dir`.
      kills: how often it is killed.
      result: folder -> what must be equal at the end.
      victim: "leader", or "worker" (SIGKILL) or "stopped worker" (SIGSTOP).
      whole: whether the end equals that of the uninterrupted run.
    """

    name: str
    command: tuple[str, ...]
    kills: int
    result: Callable[[Path], Any]
    victim: str = "leader"
    whole: bool = True


def trials(folder: Path) -> dict[int, Any]:
    """The finished trials by id: architecture and reward."""
    found: dict[int, Any] = {}
    if (folder / "trials.db").exists():
        with sqlite3.connect(f"file:{folder}/trials.db?mode=ro", uri=True) as base:
            try:
                rows = base.execute("SELECT id, proposal, reward, status FROM trials").fetchall()
            except sqlite3.OperationalError:  # the tables are not there yet
                rows = []
        found = {i: (json.loads(text)[0], reward, status) for i, text, reward, status in rows}
    return found


def shared_weights(folder: Path) -> Any:
    epochs = json.loads((folder / "epochs.json").read_text())
    summary = json.loads((folder / "summary.json").read_text())
    return trials(folder), _without_seconds(epochs), summary["best"]


def table(folder: Path) -> Any:
    (path,) = folder.glob("*.npz")
    with np.load(path) as arrays:
        return {k: arrays[k].tolist() for k in arrays.files if k in ("archs", "valid_hits")}


def comparison(folder: Path) -> Any:
    with (folder / "comparison.csv").open() as file:
        return [
            {k: v for k, v in row.items() if "wall" not in k and k != "seconds"}
            for row in csv.DictReader(file)
        ]


def retrained(folder: Path) -> Any:
    return _without_seconds(json.loads((folder / "summary.json").read_text())["retrained"])


def _without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_seconds(v) for k, v in value.items() if "seconds" not in k}
    return [_without_seconds(item) for item in value] if isinstance(value, list) else value


SCENARIOS = (
    Scenario(
        "search, serial, on a table",
        ("search", *TABLE, *EVOLUTION, "executor=serial", "max_trials=4000"),
        40,
        trials,
    ),
    Scenario(
        "search, serial, training",
        ("search", "space=nasbench201", *EVOLUTION, *TINY, "recipe.epochs=1", "executor=serial",
         "retrain=none", "max_trials=12"),
        20,
        trials,
    ),
    *(
        Scenario(
            f"search, {workers} workers, leader killed",
            ("search", *TABLE, *EVOLUTION, f"executor.workers={workers}", "executor=processes",
             "max_trials=3000"),
            20,
            trials,
        )
        for workers in (2, 4)
    ),
    *(
        Scenario(
            f"search, {workers} workers, a worker {what}",
            ("search", "space=nasbench201", *EVOLUTION, *TINY, "recipe.epochs=2",
             f"executor.workers={workers}", "executor=processes", "executor.timeout=20",
             "retrain=none", "max_trials=12"),
            8,
            trials,
            victim,
            False,
        )
        for workers in (2, 4)
        for what, victim in (("killed", "worker"), ("stopped", "stopped worker"))
    ),
    Scenario(
        "oneshot: training, derivation, probe",
        ("oneshot", "space=nasbench201", "method=uniform", *TINY, "recipe.epochs=6",
         "max_trials=20", "random_samples=5", "probe=trained", "probe.size=3",
         "probe.recipe.epochs=1"),
        30,
        shared_weights,
    ),
    Scenario(
        "tabulate",
        ("tabulate", "limit=16", "seeds=[0]", "recipe.epochs=1", "skeleton.channels=2",
         "dataset.train_size=64", "name=killed"),
        24,
        table,
    ),
    Scenario(
        "compare",
        ("compare", "controllers=[random,regularized_evolution,local_search]", "seeds=12",
         "max_trials=300", "executor.workers=2"),
        24,
        comparison,
    ),
    Scenario(
        "retrain, images",
        ("retrain", "genotype=nasbench201_resnet", "seeds=[0,1]", "recipe.epochs=3", *TINY,
         "dataset=digits"),
        15,
        retrained,
    ),
    Scenario(
        "retrain, language",
        ("retrain", "cell=lstm", *LANGUAGE, "seeds=[0,1]", "recipe.epochs=3"),
        20,
        retrained,
    ),
)  # fmt: skip


class Campaign:
    """Runs scenarios; `rows` has what happened at each kill."""

    def __init__(self, out: Path, seed: int):
        self.out, self.rng = out, np.random.default_rng(seed)
        self.rows: list[dict[str, Any]] = []

    def run(self, scenario: Scenario, kills: int) -> None:
        name = "".join(c if c.isalnum() else "_" for c in scenario.name)
        begun = time.monotonic()
        self._until_the_end(scenario, self.out / name / "whole")
        duration = time.monotonic() - begun
        whole = scenario.result(self.out / name / "whole")
        done = chains = equal = repeated = lost = 0
        stored: list[int] = []
        while done < kills:
            folder = self.out / name / f"chain{chains}"
            chains += 1
            before: dict[int, Any] = {}
            for _ in range(CHAIN if scenario.victim == "leader" else 1):
                moment = float(self.rng.uniform(0, duration))
                if not self._kill(scenario, folder, moment):
                    break  # it had ended before the moment came
                done += 1
                after = trials(folder)
                lost += sum(after.get(i) != trial for i, trial in before.items())
                before = after
                stored.append(_held(folder))
                self.rows.append(
                    {"scenario": scenario.name, "chain": chains, "second": round(moment, 2),
                     "of": round(duration, 2), "held": stored[-1]}
                )  # fmt: skip
                if done == kills:
                    break
            self._until_the_end(scenario, folder)
            result = scenario.result(folder)
            if scenario.whole:
                equal += result == whole
            else:
                equal += sorted(result) == sorted(whole) and not _pending(folder)
            lost += sum(trials(folder).get(i) != trial for i, trial in before.items())
            repeated += _repeated(folder)
        held = f"{min(stored)} to {max(stored)}, median {int(np.median(stored))}"
        print(
            f"| {scenario.name} | {duration:.1f} | {done} | {held} | {chains} | {equal} | "
            f"{lost} | {repeated} |",
            flush=True,
        )

    def _kill(self, scenario: Scenario, folder: Path, moment: float) -> bool:
        """Kills the run, or one of its workers, after `moment` seconds. False: it had ended."""
        process = self._start(scenario, folder)
        try:
            process.wait(moment)
            return False
        except subprocess.TimeoutExpired:
            pass
        if scenario.victim == "leader":
            process.kill()
            process.wait()
            return True
        workers = _children(process.pid)
        if workers:
            victim = workers[int(self.rng.integers(len(workers)))]
            kind = signal.SIGKILL if scenario.victim == "worker" else signal.SIGSTOP
            os.kill(victim, kind)
        self._check_end(scenario, process)
        return bool(workers)

    def _until_the_end(self, scenario: Scenario, folder: Path) -> None:
        self._check_end(scenario, self._start(scenario, folder))

    def _start(self, scenario: Scenario, folder: Path) -> subprocess.Popen:
        folder.parent.mkdir(parents=True, exist_ok=True)
        log = folder.with_suffix(".log")
        command = [sys.executable, "-m", "nas", *scenario.command, f"run_dir={folder}"]
        with log.open("ab") as file:
            return subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)

    def _check_end(self, scenario: Scenario, process: subprocess.Popen) -> None:
        status = process.wait(DEADLINE)
        if status != 0:
            raise SystemExit(f"{scenario.name}: {' '.join(process.args)} ended with {status}")  # type: ignore[arg-type]


def _held(folder: Path) -> int:
    """What the folder holds at a kill: trials, or else epochs of shared weights, or files."""
    if count := len(trials(folder)):
        return count
    if (folder / "epochs.json").exists():
        return len(json.loads((folder / "epochs.json").read_text()))
    if (folder / "comparison.db").exists():
        with sqlite3.connect(f"file:{folder}/comparison.db?mode=ro", uri=True) as base:
            names = [name for (name,) in base.execute("SELECT name FROM sqlite_master")]
            counts = [base.execute(f"SELECT count(*) FROM {n}").fetchone()[0] for n in names[:1]]
        return sum(counts)
    return len(list(folder.glob("seed*")))


def _pending(folder: Path) -> int:
    with sqlite3.connect(f"file:{folder}/trials.db?mode=ro", uri=True) as base:
        return base.execute("SELECT count(*) FROM pending").fetchone()[0]


def _repeated(folder: Path) -> int:
    """Ids that have more than one trial."""
    if not (folder / "trials.db").exists():
        return 0
    with sqlite3.connect(f"file:{folder}/trials.db?mode=ro", uri=True) as base:
        ids = [i for (i,) in base.execute("SELECT id FROM trials")]
    return sum(count > 1 for count in collections.Counter(ids).values())


def _children(parent: int) -> list[int]:
    """The processes that `parent` has started and that run Python."""
    text = Path(f"/proc/{parent}/task/{parent}/children").read_text()
    children = [int(word) for word in text.split()]
    return [
        child
        for child in children
        if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()
        or b"forkserver" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="", help="a part of the names of scenarios")
    parser.add_argument("--share", type=float, default=1.0, help="of each scenario's kills")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/kills"))
    args = parser.parse_args()
    print("| command | seconds | kills | held at the kills | chains | equal | lost | twice |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    campaign = Campaign(args.out, args.seed)
    for scenario in SCENARIOS:
        if args.only in scenario.name:
            campaign.run(scenario, max(1, round(args.share * scenario.kills)))
    args.out.mkdir(parents=True, exist_ok=True)
    with (args.out / "kills.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["scenario", "chain", "second", "of", "held"])
        writer.writeheader()
        writer.writerows(campaign.rows)


if __name__ == "__main__":
    main()
