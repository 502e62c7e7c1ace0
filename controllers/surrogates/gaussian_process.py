"""Gaussian process regression that grows by an observation at a time (Rasmussen & Williams 2006).

It is given covariances and never sees a point, so that anything with a kernel can be modelled:
feature vectors (kernels.py) or graphs. The prior has mean 0 and variance 1. The same as
tensorflow-probability's GaussianProcessRegressionModel, to which a test holds it, but that one
begins anew with every observation.
"""

import numpy as np
from scipy.linalg import solve_triangular


class GaussianProcess:
    """The Cholesky factor L of the observations' covariance, a row longer with each.

    Args:
      noise: variance of an observed value, above 0.
      watched: so many points are looked at after every observation; V = L^-1 K(observations,
        watched) grows with L, so that nothing is solved twice.
    """

    def __init__(self, *, noise: float, watched: int = 0):
        self.noise, self.count = noise, 0
        self.factor = np.zeros((64, 64))  # grown by doubling
        self.v = np.zeros((64, watched))
        self.variance = np.ones(watched)

    def add(self, seen: np.ndarray, watched: np.ndarray | None = None) -> None:
        """An observation, whose value is given to `predict`.

        seen: [observations] its covariance with each before it. watched: [watched] likewise.
        """
        n = self.count
        if n == len(self.factor):
            self.factor = np.pad(self.factor, ((0, n), (0, n)))
            self.v = np.pad(self.v, ((0, n), (0, 0)))
        row = solve_triangular(self.factor[:n, :n], seen, lower=True) if n else seen
        # The noise keeps this above 0: 1 + noise - |row|^2 >= noise, but for rounding.
        corner = np.sqrt(max(1.0 + self.noise - row @ row, 0.5 * self.noise))
        self.factor[n, :n], self.factor[n, n] = row, corner
        self.count += 1
        if watched is not None:
            self.v[n] = (watched - row @ self.v[:n]) / corner
            self.variance -= self.v[n] ** 2

    def predict(
        self, values: np.ndarray, across: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation, without noise: [points] each.

        values: [observations]. across: [observations, points] covariances; None: of the watched.
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
