"""Records what searches do, so that two versions of the code can be compared bit for bit.

    python scripts/compare/record_searches.py record OUT.json      a quarter of an hour of one core
    python scripts/compare/record_searches.py record OLD.json --checkout FOLDER   another version
    python scripts/compare/record_searches.py diff OLD.json NEW.json

Recorded are the trials (architecture, reward, status) of every experiment at scale=smoke, of every
controller on the embedded table digits-201 (30 trials, seeds 0 and 1) and of `nas search seed=0`,
with the test accuracy or perplexity after retraining, and the scores of shared weights. Every
search is a process of its own with one TensorFlow thread, in which trainings repeat exactly. So two
recordings from one machine differ only if the code does. `diff` exits with status 1 if they do.
"""

import argparse
import concurrent.futures
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

CONTROLLERS_ON_A_TABLE = ["space=nasbench201", "evaluator=digits201"]
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1"
)
SECONDS_FIELDS = ("seconds", "wall_seconds")  # differ from run to run


def commands(checkout: Path) -> dict[str, list[str]]:
    """Name -> the words after `nas` of each search to record."""
    searches = {"make search": ["search", "seed=0"]}
    for file in sorted((checkout / "conf" / "controller").glob("*.yaml")):
        for seed in (0, 1):
            searches[f"digits201 {file.stem} seed {seed}"] = [
                *("search", f"controller={file.stem}", *CONTROLLERS_ON_A_TABLE),
                *("retrain=none", "max_trials=30", f"seed={seed}", "executor=serial"),
            ]
    for file in sorted((checkout / "conf" / "experiment").glob("*.yaml")):
        text, chosen = file.read_text(), f"experiment={file.stem}"
        if "override /cell:" in text:
            words = ["retrain", chosen, "scale=smoke_language", "seeds=[0]"]
        elif "override /method:" in text:
            scale = "smoke_language" if "_rnn_" in file.stem else "smoke"
            words = ["oneshot", chosen, f"scale={scale}"]
        else:
            words = ["search", chosen, "scale=smoke", "executor=serial"]
        searches[f"experiment {file.stem}"] = words
    return searches


def record_one(checkout: Path, words: list[str]) -> dict[str, Any]:
    """Runs one search in a temporary folder and reads what it left there."""
    module = "nas" if (checkout / "nas" / "__main__.py").is_file() else "nas.cli"  # older code
    with tempfile.TemporaryDirectory() as folder:
        run_dir = Path(folder) / "run"
        process = subprocess.run(
            [sys.executable, "-m", module, *words, f"run_dir={run_dir}"],
            cwd=checkout,
            env=os.environ | ONE_THREAD | {"PYTHONPATH": str(checkout)},
            capture_output=True,
            text=True,
        )
        record: dict[str, Any] = {"status": process.returncode}
        if process.returncode:
            record["error"] = process.stderr.strip().splitlines()[-1:]
        record["trials"] = read_trials(run_dir / "trials.db")
        for name in ("summary", "epochs"):
            path = run_dir / f"{name}.json"
            if path.is_file():
                record[name] = without_seconds(json.loads(path.read_text()))
        return record


def read_trials(path: Path) -> list[Any]:
    """[id, architecture, reward, status] of each trial, in the order of their ids."""
    if not path.is_file():
        return []
    with sqlite3.connect(path) as database:
        rows = database.execute("SELECT id, proposal, reward, status FROM trials ORDER BY id")
        return [[i, json.loads(text)[0], reward, status] for i, text, reward, status in rows]


def without_seconds(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: without_seconds(item)
            for key, item in value.items()
            if not key.endswith(SECONDS_FIELDS)
        }
    return [without_seconds(item) for item in value] if isinstance(value, list) else value


def record(out: Path, checkout: Path, only: str, workers: int) -> int:
    chosen = {name: words for name, words in commands(checkout).items() if only in name}
    records: dict[str, Any] = {}
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        futures = {pool.submit(record_one, checkout, w): name for name, w in chosen.items()}
        for future in concurrent.futures.as_completed(futures):
            name = futures[future]
            records[name] = future.result()
            print(f"{len(records)}/{len(chosen)} {name}: status {records[name]['status']}")
            ordered = {name: records[name] for name in chosen if name in records}
            out.write_text(json.dumps(ordered, indent=1) + "\n")
    return 0


def difference(old: Any, new: Any, where: str) -> str | None:
    """Where the first difference is, and both values; None if there is none."""
    if isinstance(old, dict) and isinstance(new, dict):
        pairs: Any = [(key, old.get(key), new.get(key)) for key in {**old, **new}]
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        pairs = [(i, *pair) for i, pair in enumerate(zip(old, new, strict=True))]
    else:
        return None if old == new else f"{where}: {old} became {new}"
    return next(filter(None, (difference(a, b, f"{where}.{key}") for key, a, b in pairs)), None)


def diff(old_path: Path, new_path: Path) -> int:
    old, new = json.loads(old_path.read_text()), json.loads(new_path.read_text())
    shared = [name for name in old if name in new]
    differences = list(filter(None, (difference(old[n], new[n], n) for n in shared)))
    for line in differences:
        print(line)
    for name in shared:
        if old[name]["status"]:
            print(f"{name}: failed in both, with {old[name].get('error')}")
    only_once = len(set(old) ^ set(new))
    print(f"{len(shared) - len(differences)} of {len(shared)} searches are equal", end="")
    print(f"; {only_once} are in one file only" if only_once else "")
    return 1 if differences or not shared else 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    recording = verbs.add_parser("record")
    recording.add_argument("out", type=Path)
    recording.add_argument("--checkout", type=Path, default=Path(__file__).parents[2])
    recording.add_argument("--only", default="", help="searches whose name holds this text")
    recording.add_argument("--workers", type=int, default=1, help="searches at a time")
    comparing = verbs.add_parser("diff")
    comparing.add_argument("old", type=Path)
    comparing.add_argument("new", type=Path)
    args = parser.parse_args()
    if args.verb == "diff":
        return diff(args.old, args.new)
    return record(args.out, args.checkout.absolute(), args.only, args.workers)


if __name__ == "__main__":
    sys.exit(main())
