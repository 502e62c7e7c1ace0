"""Rewards: raw metrics become the one number a controller is paid with. Larger is better."""

from typing import Any


def accuracy(metrics: dict[str, Any], *, power: float = 1.0, last_epochs: int = 1) -> float:
    """The best validation accuracy of the last epochs, to a power.

    Zoph & Le 2017 (section 4.1) pay the cube of the best of the last five epochs.

    Args:
      metrics: with valid_accuracies, one fraction an epoch; or valid_accuracy alone (tables).
    """
    every = metrics.get("valid_accuracies") or [metrics["valid_accuracy"]]
    return float(max(every[-last_epochs:]) ** power)


def metric(metrics: dict[str, Any], *, name: str = "valid_accuracy", sign: float = 1.0) -> float:
    """One metric as it is; sign -1 where smaller is better."""
    return float(sign * metrics[name])
