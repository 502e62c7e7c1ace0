"""Statistics against values worked out by hand and against scipy's own."""

import numpy as np
import pytest
import scipy.stats

from nas.comparison.statistics import (
    holm,
    incumbents,
    mean_and_band,
    mean_ranks,
    on_grid,
    paired_tests,
)


def test_the_incumbent_is_the_earliest_best_and_failures_never_are():
    rewards = np.array([np.nan, 0.2, 0.1, 0.5, 0.5, np.nan, 0.6])
    assert incumbents(rewards).tolist() == [-1, 1, 1, 3, 3, 3, 6]


def test_a_step_curve_holds_its_last_value():
    times, values = np.array([10.0, 20.0]), np.array([1.0, 3.0])
    got = on_grid(times, values, np.array([5.0, 10.0, 19.0, 20.0, 99.0]))
    np.testing.assert_array_equal(got, [np.nan, 1, 1, 3, 3])


def test_the_band_is_students():
    curves = np.array([[1.0], [2.0], [3.0]])
    mean, low, high = mean_and_band(curves)
    half = 4.302652729911275 / np.sqrt(3)  # t(0.975, 2); the standard deviation is 1
    assert mean[0] == 2.0
    assert high[0] - mean[0] == pytest.approx(half) == mean[0] - low[0]


def test_holm_by_hand():
    # Sorted 0.01 x 3, 0.03 x 2 = 0.06, 0.04 x 1 rises to 0.06.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])


def test_ranks_are_shared_by_equals():
    scores = {"a": np.array([3.0, 1.0]), "b": np.array([2.0, 1.0]), "c": np.array([1.0, 0.0])}
    assert mean_ranks(scores) == {"a": 1.25, "b": 1.75, "c": 3.0}


def test_paired_tests_are_scipys_corrected():
    rng = np.random.default_rng(0)
    scores = {name: rng.normal(i * 0.3, 1, 40) for i, name in enumerate("abc")}
    tests = {(t.first, t.second): t for t in paired_tests(scores)}
    raw = {
        (a, b): scipy.stats.wilcoxon(scores[a], scores[b], method="asymptotic").pvalue
        for a, b in tests
    }
    smallest = min(raw, key=raw.get)
    assert tests[smallest].p == pytest.approx(min(1.0, 3 * raw[smallest]), rel=1e-6)
    first, second = scores["a"], scores["b"]
    share = np.mean(first[:, None] > second[None, :])
    assert tests["a", "b"].effect == pytest.approx(share)


def test_equal_scores_have_no_effect():
    (test,) = paired_tests({"a": np.ones(5), "b": np.ones(5)})
    assert (test.p, test.effect, test.difference) == (1.0, 0.5, 0.0)
