"""Rewards: known values, and what they refuse."""

import pytest

from nas.core.trial import ConfigError
from nas.engine.rewards import LatencyPenalty, accuracy, metric


def test_accuracy_is_the_best_of_the_last_epochs_to_a_power():
    metrics = {"valid_accuracies": [0.9, 0.5, 0.6], "valid_accuracy": 0.6}
    assert accuracy(metrics) == 0.6
    assert accuracy(metrics, power=3, last_epochs=2) == pytest.approx(0.216)
    assert accuracy(metrics, last_epochs=3) == 0.9
    assert accuracy({"valid_accuracy": 0.5}, last_epochs=5) == 0.5


def test_accuracy_may_be_the_mean_of_the_last_epochs():
    metrics = {"valid_accuracies": [0.9, 0.5, 0.6], "valid_accuracy": 0.6}
    assert accuracy(metrics, mean=True) == 0.6
    assert accuracy(metrics, mean=True, last_epochs=2) == pytest.approx(0.55)
    assert accuracy(metrics, mean=True, last_epochs=5, power=2) == pytest.approx((2 / 3) ** 2)


def test_a_metric_may_be_better_where_it_is_smaller():
    assert metric({"valid_loss": 2.0}, name="valid_loss", sign=-1.0) == -2.0


@pytest.mark.parametrize("latency, expected", [(10, 0.8), (20, 0.8 * 2**-0.07), (5, 0.8 * 2**0.07)])
def test_twice_the_latency_is_worth_five_percent_of_accuracy(latency, expected):
    """MnasNet, section 3: the exponent was chosen so that 5 % more accuracy pays for twice that."""
    reward = LatencyPenalty(target=10)
    assert reward({"valid_accuracy": 0.8, "latency": latency}) == pytest.approx(expected)
    assert abs(2**-0.07 - 1 / 1.05) < 0.002


def test_a_hard_constraint_punishes_what_is_too_slow_alone():
    reward = LatencyPenalty(target=10, exponent_below=0, exponent_above=-1)
    assert reward({"valid_accuracy": 0.8, "latency": 1}) == 0.8
    assert reward({"valid_accuracy": 0.8, "latency": 10}) == 0.8
    assert reward({"valid_accuracy": 0.8, "latency": 20}) == pytest.approx(0.4)


@pytest.mark.parametrize("target", [None, 0, -1.0])
def test_a_target_must_be_set(target):
    with pytest.raises(ConfigError, match=f"reward.target must be .* got {target}; set reward"):
        LatencyPenalty(target=target)


@pytest.mark.parametrize("metrics", [{}, {"latency": 0.0}])
def test_an_evaluator_without_latency_is_named(metrics):
    with pytest.raises(ConfigError, match="must have a latency .* set evaluator.device=NAME"):
        LatencyPenalty(target=10)({"valid_accuracy": 0.8} | metrics)
