"""Rewards: raw metrics become the one number a controller is paid with. Larger is better."""

import statistics
from typing import Any

from nas.core.trial import ConfigError


def accuracy(
    metrics: dict[str, Any], *, power: float = 1.0, last_epochs: int = 1, mean: bool = False
) -> float:
    """The best validation accuracy of the last epochs, or the mean of them, to a power.

    Zoph & Le 2017 (section 4.1) pay the cube of the best of the last five epochs, the code of
    Auto-Keras (0.3.7) the mean of the last five.

    Args:
      metrics: with valid_accuracies, one fraction an epoch; or valid_accuracy alone (tables).
    """
    every = metrics.get("valid_accuracies") or [metrics["valid_accuracy"]]
    last = every[-last_epochs:]
    return float((statistics.fmean(last) if mean else max(last)) ** power)


def metric(metrics: dict[str, Any], *, name: str = "valid_accuracy", sign: float = 1.0) -> float:
    """One metric as it is; sign -1 where smaller is better."""
    known = [key for key, value in metrics.items() if isinstance(value, int | float)]
    if name not in known:
        raise ConfigError(f"reward.name must be one of {', '.join(known)}, got {name}")
    return float(sign * metrics[name])


def inverse_perplexity(
    metrics: dict[str, Any], *, scale: float = 80.0, power: float = 2.0
) -> float:
    """scale / valid_perplexity^power: Zoph & Le 2017 (section 4.2) pay 80 over its square."""
    perplexity = metrics.get("valid_perplexity")
    if perplexity is None:
        raise ConfigError(
            "reward=perplexity must have valid_perplexity among the metrics, got "
            f"{', '.join(metrics)}; set evaluator=language or another reward"
        )
    return float(scale / perplexity**power)


class LatencyPenalty:
    """Accuracy x (latency / target) ^ exponent: MnasNet's (Tan et al. 2019, section 3).

    Equal exponents trade accuracy for latency everywhere (the paper's soft constraint); 0 below the
    target and -1 above it punish only what is too slow (its hard one).

    Args:
      target: latency in the evaluator's unit (tables: milliseconds); must be given.
      exponent_below: where the latency is at most the target; alpha in the paper.
      exponent_above: where it is more; beta in the paper.
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
        return float(metrics["valid_accuracy"] * (latency / self.target) ** exponent)
