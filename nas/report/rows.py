"""The tables of a report as rows of text: decisions, trials, failures and retrainings."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nas.core.space import Space
from nas.core.trial import STATUSES, Arch, Trial
from nas.report.choices import group_name
from nas.report.words import amount, duration, number, test_values

TOP = 10  # rows of best trials
MAX_REASONS = 5  # rows per kind of failure
MAX_IDS = 8  # trials named in a row

Rows = list[list[str]]


def retraining(result: Mapping[str, Any]) -> tuple[list[str], Rows]:
    """The head and one row per seed of a retraining."""
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
    """The history of each training of a retraining, by the name of its seed."""
    saved = result.get("history") or []
    several = [saved] if isinstance(saved, Mapping) else saved
    return {f"seed {s}": history for s, history in zip(result["seeds"], several, strict=False)}


def decisions(space: Space, arch: Arch) -> Rows:
    """The head, then a row per part of the network with a column per kind of decision.

    The yes-or-no decisions of a part (skips) share one cell, which lists the numbers of the chosen
    ones.
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


def top(trials: Sequence[Trial], space: Space) -> tuple[list[str], Rows, list[int]]:
    """The best trials: the head, a row for the best trial of each network, the columns of numbers.

    The last cell is the architecture, its choices separated by commas.
    """
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
            ",".join(map(str, t.arch)),
        ]
        for t in rows.values()
    ]
    return head, body, list(range(len(head) - 1))


def failures(failed: Sequence[Trial]) -> Rows:
    """Rows of kind, count, reason and trials; reasons that differ only in numbers are one row."""
    rows: Rows = []
    for kind in STATUSES[1:]:
        reasons: dict[str, list[Trial]] = {}
        for t in failed:
            if t.status == kind:
                reasons.setdefault(re.sub(r"\d[\d.,e+-]*", "#", t.reason), []).append(t)
        common = sorted(reasons.values(), key=len, reverse=True)
        for same in common[:MAX_REASONS]:
            ids = ", ".join(str(t.id) for t in same[:MAX_IDS])
            ids += f" and {len(same) - MAX_IDS} more" if len(same) > MAX_IDS else ""
            rows.append([kind, f"{len(same):,}", same[0].reason or "no reason given", ids])
        rest = sum(len(same) for same in common[MAX_REASONS:])
        if rest:
            rows.append([kind, f"{rest:,}", f"{len(common) - MAX_REASONS} other reasons", ""])
    return rows
