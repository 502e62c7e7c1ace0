"""Acquisitions: how much a candidate is worth trying, from its predicted mean and deviation.

Expected improvement (Jones et al. 1998), upper confidence bound (Srinivas et al. 2010), and
Thompson sampling, drawn independently for each point (White et al. 2021, arXiv:1910.11858, section
4.2).
"""

import numpy as np
from scipy.stats import norm

from nas.core.trial import ConfigError

ACQUISITIONS = ("ei", "ucb", "thompson")


def check_acquisition(name: str) -> None:
    """Raises ConfigError for an unknown name."""
    if name not in ACQUISITIONS:
        raise ConfigError(
            f"controller.acquisition must be one of {', '.join(ACQUISITIONS)}, got {name}"
        )


def acquire(
    name: str,
    mean: np.ndarray,
    deviation: np.ndarray,
    *,
    best: float,
    ucb_weight: float,
    rng: np.random.Generator,
) -> np.ndarray:
    """The acquisition of each point: [points], larger is better.

    Args:
      name: "ei", "ucb" or "thompson".
      mean, deviation: predicted values, [points] each.
      best: the largest value so far, for ei; -inf if no value is known.
      ucb_weight: deviations above the mean, for ucb.
      rng: draws the samples of thompson.
    """
    if name == "thompson":
        return mean + deviation * rng.standard_normal(len(mean))
    if name == "ucb":
        return mean + ucb_weight * deviation
    if best == -np.inf:  # no value is known: every candidate improves
        return deviation.copy()
    u = (mean - best) / deviation
    return deviation * (u * norm.cdf(u) + norm.pdf(u))
