"""What a finished search says, as rows of text: the numbers, names and commands of the report."""

import re
import shlex
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from nas.core.trial import STATUSES, Arch, Trial
from nas.report.choices import group_name
from nas.report.html import Html, element, joined
from nas.run.summary import SEVERAL, tested

TOP = 10  # rows of best trials
MOST_REASONS = 5  # rows per kind of failure
MOST_IDS = 8  # trials named in a row

# What a retraining may have tested: the key of the mean, and that of each seed's value.

Rows = list[list[str]]


def number(value: Any, digits: int = 4) -> str:
    """A fraction with four digits, a count with thousands; a dash for what is not there."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    small = value != 0 and abs(value) < 10**-digits
    return f"{value:.2e}" if small or abs(value) >= 1e6 else f"{value:,.{digits}f}"


def amount(value: Any) -> str:
    """1234567 -> 1.23 M."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return "–"
    rounded = float(f"{value:.3g}")
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(rounded) >= size:
            return f"{rounded / size:g} {unit}"
    return f"{rounded:g}"


def duration(seconds: float) -> str:
    """9.5 s, 12 min 5 s, 3 h 20 min, 2 d 4 h."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for size, unit, part, below in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    raise ValueError(f"seconds must be finite and at least 0, got {seconds}")


def chosen(config: Mapping[str, Any], summary: Mapping[str, Any], what: str) -> str:
    """Which space, controller, data set or seed a run used, by the name the command line has."""
    group = config.get(what)
    if what in summary:
        return str(summary[what])
    if what in (config.get("choices") or {}):
        return str(config["choices"][what])
    if isinstance(group, Mapping):
        return str(group.get("_target_", "?")).rsplit(".", 1)[-1]
    return "none" if group is None else str(group)


def headline(
    summary: Mapping[str, Any],
    trials: Sequence[Trial],
    best: Trial | None,
    retrainings: Mapping[str, Mapping[str, Any]],
) -> list[tuple[str, Any, str]]:
    """The numbers that matter most, as (what, value, detail)."""
    failed = sum(t.reward is None for t in trials)
    seconds = sum(t.seconds for t in trials)
    wall = summary.get("wall_seconds")
    test: tuple[str, Any, str] = ("test result, retrained", "–", "not retrained yet")
    if retrainings:
        result = next(iter(retrainings.values()))
        name, values = test_values(result)
        mean, *deviation = spread(values).split(" ", 1)
        n = len(values)
        test = (
            f"test {name}, retrained",
            joined([mean, *(element("small", d) for d in deviation)]),
            f"mean ± sd, n = {n} trainings" if deviation else "n = 1 training",
        )
    return [
        test,
        (
            "best validation reward",
            number(best.reward) if best else "–",
            f"in trial {best.id}{_perplexity(best)}" if best else "no trial succeeded",
        ),
        ("trials", f"{len(trials):,}", f"{failed:,} failed" if failed else "none failed"),
        (
            "search time",
            duration(seconds if wall is None else wall),
            "sum of all trials" if wall is None else f"wall; trials sum to {duration(seconds)}",
        ),
    ]


def _perplexity(trial: Trial) -> str:
    value = trial.metrics.get("valid_perplexity")
    return "" if value is None else f", perplexity {number(value)}"


def test_values(result: Mapping[str, Any]) -> tuple[str, list[float]]:
    """The name of the metric that was tested, and its value for each seed."""
    name, key = tested(result)
    mean = result[key]
    return name, list(result.get(SEVERAL[key]) or (mean if isinstance(mean, list) else [mean]))


def spread(values: Sequence[float]) -> str:
    mean = number(statistics.fmean(values))
    return f"{mean} ± {number(statistics.stdev(values))}" if len(values) > 1 else mean


def test_result(result: Mapping[str, Any]) -> str:
    name, values = test_values(result)
    return f"test {name} {spread(values)} (n = {len(values)})"


def retraining(result: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """One row per seed."""
    name, values = test_values(result)
    text = "valid_perplexities" in result
    others = result.get("valid_perplexities" if text else "test_losses") or [None] * len(values)
    runs = histories(result)
    rows = [
        [
            str(seed),
            number(value),
            number(other),
            amount(result.get("parameters")),
            number(len(runs.get(f"seed {seed}", {}).get("seconds", [])) or None),
            duration(sum(runs.get(f"seed {seed}", {}).get("seconds", []))),
        ]
        for seed, value, other in zip(result["seeds"], values, others, strict=False)
    ]
    second = "valid. perplexity" if text else "test loss"
    return ["seed", f"test {name}", second, "parameters", "epochs", "training time"], rows


def histories(result: Mapping[str, Any]) -> dict[str, Mapping[str, Sequence[float]]]:
    """Of each training, by the name of its seed."""
    given = result.get("history") or []
    several = [given] if isinstance(given, Mapping) else given
    return {f"seed {s}": history for s, history in zip(result["seeds"], several, strict=False)}


def decisions(space, arch: Arch) -> Rows:
    """A head and rows: one per part of the network, one column per kind of decision.

    Yes-or-no decisions of one part (skips) are one cell that lists the numbers of those chosen.
    """
    decoded = space.decode(arch)
    cells: dict[str, dict[str, list[tuple[str, Any]]]] = {}
    for name, value in decoded.items():
        part, _, last = name.rpartition("/")
        column = group_name(last) if part else "value"
        cells.setdefault(part or name, {}).setdefault(column, []).append((last, value))
    columns = list(dict.fromkeys(column for row in cells.values() for column in row))
    rows = [
        [part, *(_cell(row.get(column, [])) for column in columns)] for part, row in cells.items()
    ]
    return [["decision" if columns == ["value"] else "part", *columns], *rows]


def _cell(values: Sequence[tuple[str, Any]]) -> str:
    if not values:
        return ""
    numbered = [re.search(r"\d+$", name) for name, _ in values]
    if all(isinstance(value, bool) for _, value in values) and all(numbered):
        yes = [m.group() for m, (_, value) in zip(numbered, values, strict=True) if m and value]
        return ", ".join(yes) or "none"
    return ", ".join(str(value) for _, value in values)


def top(trials: Sequence[Trial], space) -> tuple[list[str], Rows, list[int]]:
    """Head, rows and the columns that are numbers: the best trial of each of the best networks."""
    ordered = sorted(
        (t for t in trials if t.reward is not None), key=lambda t: (-(t.reward or 0.0), t.id)
    )
    rows: dict[Any, Trial] = {}
    for trial in ordered:
        if len(rows) == TOP:
            break
        rows.setdefault(space.key(trial.arch), trial)
    known = ("valid_accuracy", "valid_perplexity", "valid_loss")
    metrics = [m for m in known if any(m in t.metrics for t in rows.values())]
    epochs = len({t.metrics.get("epochs") for t in rows.values()}) > 1
    head = ["trial", "reward", *(m.replace("valid_", "valid. ") for m in metrics)]
    head += ["parameters", "FLOPs", *(["epochs"] if epochs else []), "time", "architecture"]
    body = [
        [
            str(t.id),
            number(t.reward),
            *(number(t.metrics.get(m)) for m in metrics),
            amount(t.metrics.get("parameters")),
            amount(t.metrics.get("flops")),
            *([number(t.metrics.get("epochs"))] if epochs else []),
            duration(t.seconds),
            element("code", Html(",<wbr>".join(map(str, t.arch)))),
        ]
        for t in rows.values()
    ]
    return head, body, list(range(len(head) - 1))


def failures(failed: Sequence[Trial]) -> Rows:
    """Kind, trials, reason and which; reasons that differ in their numbers alone are one row."""
    rows: Rows = []
    for kind in STATUSES[1:]:
        reasons: dict[str, list[Trial]] = {}
        for t in failed:
            if t.status == kind:
                reasons.setdefault(re.sub(r"\d[\d.,e+-]*", "#", t.reason), []).append(t)
        common = sorted(reasons.values(), key=len, reverse=True)
        for same in common[:MOST_REASONS]:
            ids = ", ".join(str(t.id) for t in same[:MOST_IDS])
            more = f" and {len(same) - MOST_IDS} more" if len(same) > MOST_IDS else ""
            rows.append([kind, f"{len(same):,}", same[0].reason or "no reason given", ids + more])
        rest = sum(len(same) for same in common[MOST_REASONS:])
        if rest:
            rows.append([kind, f"{rest:,}", f"{len(common) - MOST_REASONS} other reasons", ""])
    return rows


def retrain_command(folder: Path) -> str:
    return shlex.join(["nas", "retrain", str(folder), "seeds=[0,1,2]"])


def commands(config: Mapping[str, Any], folder: Path) -> list[str]:
    """What continues the run, retrains its best and writes the report again."""
    overrides = config.get("overrides")
    if overrides is None:
        names = config.get("choices") or {}
        overrides = [
            f"{key}={value}" for key, value in names.items() if value not in (None, "None")
        ]
        overrides.append(f"seed={config.get('seed', 0)}")
    kept = [o for o in overrides if o.partition("=")[0] not in ("run_dir", "max_trials")]
    trials = config.get("max_trials")
    more = [f"max_trials={trials}"] if trials else []
    run = str(folder)
    return [
        shlex.join(["nas", "search", *kept, *more, f"run_dir={run}"]),
        retrain_command(folder),
        shlex.join(["nas", "report", run]),
    ]
