"""The statistics of a comparison: anytime curves with bands, ranks, paired tests."""

import dataclasses
import itertools

import numpy as np
import scipy.stats


@dataclasses.dataclass(frozen=True)
class PairedTest:
    """Two controllers over the same seeds."""

    first: str
    second: str
    difference: float  # mean of first - second
    p: float  # Wilcoxon signed-rank, two-sided, corrected by Holm over all pairs
    effect: float  # P(first > second) + P(equal) / 2 over all pairs of runs; 0.5 is no effect
    n: int  # seeds both have


def incumbents(rewards: np.ndarray) -> np.ndarray:
    """Index of the best trial so far at each trial; -1 before the first that succeeded.

    rewards: [trials] float, NaN where a trial failed. Of equals the earliest stays.
    """
    best, at, out = -np.inf, -1, np.empty(len(rewards), int)
    for i, reward in enumerate(rewards):
        if reward > best:
            best, at = reward, i
        out[i] = at
    return out


def on_grid(times: np.ndarray, values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """A step curve read off at `grid`: the value of the last time at or before it, else NaN.

    times: [points], increasing; values: [points]; grid: [g].
    """
    at = np.searchsorted(times, grid, side="right") - 1
    return np.where(at >= 0, values[np.maximum(at, 0)], np.nan)


def mean_and_band(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean over runs and its 95 % confidence band, by Student's t; no band for a single run.

    curves: [runs, points], NaN where a run has no value yet: there the mean is NaN as well, so that
    a curve begins where every run has begun. Returns mean, low, high: [points] each.
    """
    runs = len(curves)
    mean = curves.mean(0)
    if runs == 1:
        return mean, mean, mean
    half = scipy.stats.t.ppf(0.975, runs - 1) * curves.std(0, ddof=1) / np.sqrt(runs)
    return mean, mean - half, mean + half


def mean_ranks(scores: dict[str, np.ndarray]) -> dict[str, float]:
    """Mean rank of each controller over the seeds; 1 is best, equals share.

    scores: [seeds] each, paired by position.
    """
    table = np.stack(list(scores.values()), 1)  # [seeds, controllers]
    ranks = scipy.stats.rankdata(-table, axis=1).mean(0)
    return dict(zip(scores, ranks.tolist(), strict=True))


def paired_tests(scores: dict[str, np.ndarray]) -> list[PairedTest]:
    """Wilcoxon's signed-rank test between every two controllers, corrected by Holm (1979).

    scores: [seeds] each, paired by position: the same position is the same seed.
    """
    pairs = list(itertools.combinations(scores, 2))
    raw = [_wilcoxon(scores[a] - scores[b]) for a, b in pairs]
    return [
        PairedTest(a, b, float((scores[a] - scores[b]).mean()), p, effect, len(scores[a]))
        for (a, b), p, effect in zip(
            pairs, holm(raw), [_superiority(scores[a], scores[b]) for a, b in pairs], strict=True
        )
    ]


def holm(p_values: list[float]) -> list[float]:
    """Holm's step-down correction: the k-th smallest of m times m - k + 1, kept rising."""
    m, corrected, largest = len(p_values), [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (m - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def _wilcoxon(differences: np.ndarray) -> float:
    if not np.any(differences):
        return 1.0  # the same scores throughout: the test is not defined, and there is nothing
    return float(scipy.stats.wilcoxon(differences, zero_method="pratt", method="asymptotic").pvalue)


def _superiority(first: np.ndarray, second: np.ndarray) -> float:
    """Probability of superiority (Vargha & Delaney's A): ranks stand in for all pairs."""
    ranks = scipy.stats.rankdata(np.concatenate([first, second]))[: len(first)]
    n, m = len(first), len(second)
    return float((ranks.sum() - n * (n + 1) / 2) / (n * m))
