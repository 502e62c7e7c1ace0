"""Rewards: functions from an evaluation's metrics to the number that a controller maximises."""

import statistics
from typing import Any

from nas.core.trial import ConfigError


def accuracy(
    metrics: dict[str, Any], *, power: float = 1.0, last_epochs: int = 1, mean: bool = False
) -> float:
    """The best validation accuracy of the last epochs, or their mean, to a power.

    Zoph & Le 2017 (section 4.1) use the cube of the best of the last five epochs, the code of
    Auto-Keras (0.3.7) the mean of the last five.

    Args:
      metrics: has valid_accuracies, a fraction per epoch, or only valid_accuracy (tables).
      power: exponent of the accuracy.
      last_epochs: number of epochs at the end that count.
      mean: True: their mean; False: their best.

    >>> accuracy({"valid_accuracies": [0.9, 0.5, 0.6]}, power=2.0, last_epochs=2)
    0.36
    """
    every = metrics.get("valid_accuracies")
    if not every:
        every = [_entry(metrics, "valid_accuracy", "accuracy")]
    last = every[-last_epochs:]
    return float((statistics.fmean(last) if mean else max(last)) ** power)


def _entry(metrics: dict[str, Any], name: str, reward: str) -> Any:
    """A metric. Raises ConfigError if the evaluator does not give it."""
    if metrics.get(name) is None:
        raise ConfigError(
            f"reward={reward} must have {name} among the metrics, got "
            f"{', '.join(metrics) or 'none'}; set reward=metric reward.name=NAME, or another "
            "evaluator"
        )
    return metrics[name]


def metric(metrics: dict[str, Any], *, name: str = "valid_accuracy", sign: float = 1.0) -> float:
    """The metric called `name`, times `sign`: -1 if smaller is better."""
    known = [key for key, value in metrics.items() if isinstance(value, int | float)]
    if name not in known:
        raise ConfigError(f"reward.name must be one of {', '.join(known)}, got {name}")
    return float(sign * metrics[name])


def inverse_perplexity(
    metrics: dict[str, Any], *, scale: float = 80.0, power: float = 2.0
) -> float:
    """scale / valid_perplexity^power; Zoph & Le 2017 (section 4.2) use 80 over its square."""
    perplexity = metrics.get("valid_perplexity")
    if perplexity is None:
        raise ConfigError(
            "reward=perplexity must have valid_perplexity among the metrics, got "
            f"{', '.join(metrics)}; set evaluator=language or another reward"
        )
    return float(scale / perplexity**power)


class LatencyPenalty:
    """Accuracy x (latency / target)^exponent: MnasNet's reward (Tan et al. 2019, section 3).

    Equal exponents trade accuracy for latency everywhere (the paper's soft constraint). Exponents
    of 0 below and -1 above the target penalise only slower networks (its hard constraint).

    Args:
      target: latency in the evaluator's unit (tables: milliseconds); it has no default.
      exponent_below: exponent if the latency is at most the target; alpha in the paper.
      exponent_above: exponent if the latency is larger; beta in the paper.
    """

    def __init__(
        self,
        *,
        target: float | None = None,
        exponent_below: float = -0.07,
        exponent_above: float = -0.07,
    ):
        if target is None or not target > 0:
            raise ConfigError(
                f"reward.target must be a latency above 0, got {target}; set reward.target=NUMBER"
            )
        self.target = target
        self.exponent_below, self.exponent_above = exponent_below, exponent_above

    def __call__(self, metrics: dict[str, Any]) -> float:
        latency = metrics.get("latency")
        if latency is None or not latency > 0:
            raise ConfigError(
                f"reward=latency must have a latency above 0 among the metrics, got {latency}; "
                "set evaluator.device=NAME, which a table has, or another reward"
            )
        exponent = self.exponent_above if latency > self.target else self.exponent_below
        accuracy = _entry(metrics, "valid_accuracy", "latency")
        return float(accuracy * (latency / self.target) ** exponent)
