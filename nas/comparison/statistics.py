"""The statistics of a comparison: anytime curves with confidence bands, ranks, paired tests."""

import dataclasses
import itertools

import numpy as np
import scipy.stats


@dataclasses.dataclass(frozen=True)
class PairedTest:
    """The test of two controllers over the same seeds."""

    first: str
    second: str
    difference: float  # mean of first minus second
    p: float  # of Wilcoxon's signed-rank test, two-sided, with Holm's correction
    effect: float  # P(first > second) + P(equal) / 2 over all pairs of runs; 0.5 is no effect
    n: int  # seeds for which both have a value


def incumbents(rewards: np.ndarray) -> np.ndarray:
    """The index of the best trial so far at each trial, [trials] int; -1 before the first success.

    rewards: [trials] float, NaN for a failed trial. Of equal rewards the earliest trial stays.

    >>> incumbents(np.array([np.nan, 0.2, 0.1, 0.5])).tolist()
    [-1, 1, 1, 3]
    """
    best, at, out = -np.inf, -1, np.empty(len(rewards), int)
    for i, reward in enumerate(rewards):
        if reward > best:
            best, at = reward, i
        out[i] = at
    return out


def on_grid(times: np.ndarray, values: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """The step curve (times, values) at the points of `grid`; NaN before the first time.

    times: [points], increasing; values: [points]; grid: [g]. Returns [g].
    """
    at = np.searchsorted(times, grid, side="right") - 1
    return np.where(at >= 0, values[np.maximum(at, 0)], np.nan)


def mean_and_band(curves: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The mean over runs and its 95 % confidence band by Student's t; no band for a single run.

    curves: [runs, points], NaN where a run has no value yet. The mean is NaN there as well, so that
    a curve begins where all runs have begun. Returns mean, low and high, [points] each.
    """
    runs = len(curves)
    mean = curves.mean(0)
    if runs == 1:
        return mean, mean, mean
    half = scipy.stats.t.ppf(0.975, runs - 1) * curves.std(0, ddof=1) / np.sqrt(runs)
    return mean, mean - half, mean + half


def mean_ranks(scores: dict[str, np.ndarray]) -> dict[str, float]:
    """The mean rank of each controller over the seeds. 1 is the best; equal scores share a rank.

    scores: [seeds] each; the same position is the same seed.
    """
    table = np.stack(list(scores.values()), 1)  # [seeds, controllers]
    ranks = scipy.stats.rankdata(-table, axis=1).mean(0)
    return dict(zip(scores, ranks.tolist(), strict=True))


def paired_tests(scores: dict[str, np.ndarray]) -> list[PairedTest]:
    """Wilcoxon's signed-rank test of every pair of controllers, with Holm's correction (1979).

    scores: [seeds] each; the same position is the same seed.
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
    """Holm's step-down correction: the k-th smallest p of m times m - k + 1, made monotonic."""
    m, corrected, largest = len(p_values), [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(m), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (m - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def _wilcoxon(differences: np.ndarray) -> float:
    if not np.any(differences):
        return 1.0  # all scores are equal: the test is not defined, and there is no difference
    return float(scipy.stats.wilcoxon(differences, zero_method="pratt", method="asymptotic").pvalue)


def _superiority(first: np.ndarray, second: np.ndarray) -> float:
    """Probability of superiority (Vargha & Delaney's A), computed from ranks."""
    ranks = scipy.stats.rankdata(np.concatenate([first, second]))[: len(first)]
    n, m = len(first), len(second)
    return float((ranks.sum() - n * (n + 1) / 2) / (n * m))
