"""Words and numbers of the report as plain text."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from nas.core.trial import Trial
from nas.run.summary import SEVERAL, tested


@dataclasses.dataclass(frozen=True)
class Tile:
    """One of the numbers that matter most; `deviation` is shown smaller, behind the value."""

    what: str
    value: str
    detail: str
    deviation: str = ""


def number(value: Any, digits: int = 4) -> str:
    """A fraction with `digits` digits, a count with thousands; a dash if there is no value.

    >>> number(0.5), number(12345), number(None)
    ('0.5000', '12,345', '–')
    """
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, int):
        return f"{value:,}"
    small = value != 0 and abs(value) < 10**-digits
    return f"{value:.2e}" if small or abs(value) >= 1e6 else f"{value:,.{digits}f}"


def amount(value: Any) -> str:
    """A large number with three digits and a unit.

    >>> amount(1234567)
    '1.23 M'
    """
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return "–"
    rounded = float(f"{value:.3g}")
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(rounded) >= size:
            return f"{rounded / size:g} {unit}"
    return f"{rounded:g}"


def duration(seconds: float) -> str:
    """Seconds in the two largest units.

    >>> duration(9.5), duration(725), duration(12000)
    ('9.5 s', '12 min 5 s', '3 h 20 min')
    """
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


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation; only the mean of a single value."""
    mean = number(statistics.fmean(values))
    return f"{mean} ± {number(statistics.stdev(values))}" if len(values) > 1 else mean


def chosen(config: Mapping[str, Any], summary: Mapping[str, Any], what: str) -> str:
    """The space, controller, data set or seed of a run, by its name on the command line."""
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
) -> list[Tile]:
    """The four numbers at the top of the report."""
    failed = sum(t.reward is None for t in trials)
    seconds = sum(t.seconds for t in trials)
    wall = summary.get("wall_seconds")
    test = Tile("test result, retrained", "–", "not retrained yet")
    if retrainings:
        name, values = test_values(next(iter(retrainings.values())))
        mean, *deviation = spread(values).split(" ", 1)
        detail = f"mean ± sd, n = {len(values)} trainings" if deviation else "n = 1 training"
        test = Tile(f"test {name}, retrained", mean, detail, "".join(deviation))
    return [
        test,
        Tile(
            "best validation reward",
            number(best.reward) if best else "–",
            f"in trial {best.id}{_perplexity(best)}" if best else "no trial succeeded",
        ),
        Tile("trials", f"{len(trials):,}", f"{failed:,} failed" if failed else "none failed"),
        Tile(
            "search time",
            duration(seconds if wall is None else wall),
            "sum of all trials" if wall is None else f"wall; trials sum to {duration(seconds)}",
        ),
    ]


def _perplexity(trial: Trial) -> str:
    value = trial.metrics.get("valid_perplexity")
    return "" if value is None else f", perplexity {number(value)}"


def test_values(result: Mapping[str, Any]) -> tuple[str, list[float]]:
    """The name of the metric that a retraining tested, and its value for each seed."""
    name, key = tested(result)
    mean = result[key]
    return name, list(result.get(SEVERAL[key]) or (mean if isinstance(mean, list) else [mean]))


def test_result(result: Mapping[str, Any]) -> str:
    """The test result of a retraining as mean ± standard deviation over its seeds."""
    name, values = test_values(result)
    return f"test {name} {spread(values)} (n = {len(values)})"


def statements(
    summary: Mapping[str, Any],
    trials: Sequence[Trial],
    retrainings: Mapping[str, Mapping[str, Any]],
) -> list[str]:
    """What the numbers of a report mean, and what they do not mean."""
    trainings = sum(len(result["seeds"]) for result in retrainings.values())
    if trainings:
        test = (
            "Compare the test result of the retraining with a paper's. The test split was used "
            f"once per training, at its end ({trainings} in all); the search never used it."
        )
    else:
        test = (
            "The test split has not been used: nothing was retrained yet, so this run has no "
            "number to compare with a paper's."
        )
    lines = [
        "The reward is measured on validation data, which guided the search. So the best of many "
        "trials is optimistic; it is not the number that a paper reports.",
        test,
    ]
    if any("valid_perplexity" in trial.metrics for trial in trials):
        lines.append(
            "Perplexity is the exponential of the mean loss per token; lower is better. Language "
            "models are retrained on the training part and validated after each epoch."
        )
    if summary.get("trials") != len(trials):
        lines.append("The search is not finished: the report shows its trials so far.")
    if summary.get("stopped"):
        lines.append(f"The search stopped before its budget was spent: {summary['stopped']}")
    return lines
