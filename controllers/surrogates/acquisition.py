"""What a candidate is worth trying, from the mean and deviation that a model expects of it.

Expected improvement (Jones et al. 1998), upper confidence bound (Srinivas et al. 2010), and
Thompson sampling, drawn for each point on its own (White et al. 2021, arXiv:1910.11858, section
4.2).
"""

import numpy as np
from scipy.stats import norm

from nas.core.trial import ConfigError

ACQUISITIONS = ("ei", "ucb", "thompson")


def check_acquisition(name: str) -> None:
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
    """[points], larger is better. best: the best value so far; -inf where there is none."""
    if name == "thompson":
        return mean + deviation * rng.standard_normal(len(mean))
    if name == "ucb":
        return mean + ucb_weight * deviation
    if best == -np.inf:  # nothing is told yet: all improve
        return deviation.copy()
    u = (mean - best) / deviation
    return deviation * (u * norm.cdf(u) + norm.pdf(u))
