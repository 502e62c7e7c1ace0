"""Gaussian process regression, updated by one observation at a time (Rasmussen & Williams 2006).

It takes covariances and never sees a point, so it models anything with a kernel: feature vectors
(kernels.py) or graphs. The prior has mean 0 and variance 1. A test holds it to
tensorflow-probability's GaussianProcessRegressionModel, which starts again with every
observation.
"""

import numpy as np
from scipy.linalg import solve_triangular


class GaussianProcess:
    """Keeps the Cholesky factor L of the observations' covariance; each observation adds a row.

    Args:
      noise: variance of an observed value, above 0.
      watched: the number of points that are predicted after every observation; V = L^-1
        K(observations, watched) grows with L, so that nothing is solved twice.
    """

    def __init__(self, *, noise: float, watched: int = 0):
        self.noise, self.count = noise, 0
        self.factor = np.zeros((64, 64))  # grown by doubling
        self.v = np.zeros((64, watched))
        self.variance = np.ones(watched)

    def add(self, seen: np.ndarray, watched: np.ndarray | None = None) -> None:
        """Adds an observation, whose value `predict` takes.

        Args:
          seen: its covariance with each earlier observation, [observations].
          watched: its covariance with each watched point, [watched].
        """
        n = self.count
        if n == len(self.factor):
            self.factor = np.pad(self.factor, ((0, n), (0, n)))
            self.v = np.pad(self.v, ((0, n), (0, 0)))
        row = solve_triangular(self.factor[:n, :n], seen, lower=True) if n else seen
        # The noise keeps this above 0: 1 + noise - |row|^2 >= noise, except for rounding.
        corner = np.sqrt(max(1.0 + self.noise - row @ row, 0.5 * self.noise))
        self.factor[n, :n], self.factor[n, n] = row, corner
        self.count += 1
        if watched is not None:
            self.v[n] = (watched - row @ self.v[:n]) / corner
            self.variance -= self.v[n] ** 2

    def predict(
        self, values: np.ndarray, across: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Predicted means and deviations, without noise: [points] each.

        Args:
          values: of the observations, [observations].
          across: covariances, [observations, points]; None: the points are the watched ones.
        """
        n = self.count
        factor = self.factor[:n, :n]
        if across is None:
            v, variance = self.v[:n], self.variance
        else:
            v = solve_triangular(factor, across, lower=True)
            variance = 1.0 - (v**2).sum(0)
        weight = solve_triangular(factor, values, lower=True)
        return weight @ v, np.sqrt(np.maximum(variance, 1e-12))
