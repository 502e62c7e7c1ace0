"""Predictions for architectures after some were observed: a Gaussian process over any space.

The distance of two architectures is that of the space's features, or the edit distance of their
networks (edit_distance.py). Bourgain's embedding turns networks into points of Euclidean space, so
that the kernel of their distances is valid (Jin, Song & Hu 2019, arXiv:1806.10282, section 3.1).
"""

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from nas.controllers.surrogates import bourgain, kernels
from nas.controllers.surrogates.edit_distance import network_distance
from nas.controllers.surrogates.gaussian_process import GaussianProcess
from nas.core.capabilities import ChainSpace, chain_space
from nas.core.space import Chain, Space
from nas.core.trial import Arch, ConfigError

DISTANCES = ("features", "edit")
SCALE_DRAWS = 2000  # random architectures whose features set the scale


class Posterior(Protocol):
    """A process that has observed architectures one after another."""

    def add(self, arch: Arch) -> None:
        """Adds an observation, whose value `predict` takes."""
        ...

    def clear(self) -> None:
        """Forgets all observations."""
        ...

    def predict(self, values: np.ndarray, archs: Sequence[Arch]) -> tuple[np.ndarray, np.ndarray]:
        """Predicted means and deviations: [archs] each. values: [observations]."""
        ...


def check_distance(distance: str, space: Space) -> None:
    """Raises ConfigError for an unknown distance, or one that the space does not have."""
    if distance not in DISTANCES:
        raise ConfigError(
            f"controller.distance must be one of {', '.join(DISTANCES)}, got {distance}"
        )
    if distance == "edit" and not isinstance(space, ChainSpace):
        raise ConfigError(
            "controller.distance=edit needs a space whose networks are layers in a row with skips, "
            f"got {type(space).__name__}; set space=morphism or controller.distance=features"
        )


class OverFeatures:
    """A posterior whose points are features, each scaled to deviation 1 over random architectures.

    rng: draws these architectures.
    """

    def __init__(
        self, space: Space, kernel: kernels.Kernel, *, noise: float, rng: np.random.Generator
    ):
        self.space, self.kernel, self.noise = space, kernel, noise
        draws = [space.sample(rng) for _ in range(SCALE_DRAWS)]
        self.scale = scale(space.features(draws))
        self.clear()

    def clear(self) -> None:
        self.process = GaussianProcess(noise=self.noise)
        self.points = np.zeros((0, len(self.scale)))  # [observations, features]

    def add(self, arch: Arch) -> None:
        point = self._points([arch])
        self.process.add(self.kernel(self.points, point)[:, 0])
        self.points = np.concatenate([self.points, point])

    def predict(self, values: np.ndarray, archs: Sequence[Arch]) -> tuple[np.ndarray, np.ndarray]:
        return self.process.predict(values, self.kernel(self.points, self._points(archs)))

    def _points(self, archs: Sequence[Arch]) -> np.ndarray:
        return self.space.features(archs) / self.scale


class OverNetworks:
    """A posterior whose points are Bourgain's embedding of the edit distances.

    All points are embedded again after each observation.

    Args:
      skip_weight: the weight of the skips in a distance.
      shrinking: see bourgain.py.
      raw_prediction: predicted networks are compared by the distances themselves, while
        observations are embedded, as in Auto-Keras' code, version 0.3.7; the kernel is not valid.
    """

    def __init__(
        self,
        space: Space,
        kernel: kernels.Kernel,
        *,
        noise: float,
        skip_weight: float = 1.0,
        shrinking: bool = False,
        raw_prediction: bool = False,
    ):
        self.space, self.kernel, self.noise = space, kernel, noise
        self.skip_weight, self.shrinking = skip_weight, shrinking
        self.raw_prediction = raw_prediction
        self.clear()

    def clear(self) -> None:
        self.chains: list[Chain] = []  # of the observations
        self.distances = np.zeros((0, 0))  # of the observations
        self._fitted: tuple[list[np.ndarray], np.ndarray, GaussianProcess] | None = None

    def add(self, arch: Arch) -> None:
        row = self._to_observed([arch])
        self.chains.append(chain_space(self.space).as_chain(arch))
        self.distances = np.block([[self.distances, row.T], [row, np.zeros((1, 1))]])
        self._fitted = None

    def predict(self, values: np.ndarray, archs: Sequence[Arch]) -> tuple[np.ndarray, np.ndarray]:
        chosen, points, process = self._fit()
        distances = self._to_observed(archs)
        if self.raw_prediction:
            across = self.kernel(np.zeros((1, 1)), distances.reshape(-1, 1))
            return process.predict(values, across.reshape(distances.shape).T)
        return process.predict(values, self.kernel(points, bourgain.embedded(distances, chosen)))

    def _fit(self) -> tuple[list[np.ndarray], np.ndarray, GaussianProcess]:
        if self._fitted is None:
            chosen = bourgain.subsets(len(self.chains), shrinking=self.shrinking)
            points = bourgain.embedded(self.distances, chosen)
            covariance, process = self.kernel(points, points), GaussianProcess(noise=self.noise)
            for i, row in enumerate(covariance):
                process.add(row[:i])
            self._fitted = chosen, points, process
        return self._fitted

    def _to_observed(self, archs: Sequence[Arch]) -> np.ndarray:
        """Distances: [archs, observations]."""
        distances = [
            [network_distance(chain, old, skip_weight=self.skip_weight) for old in self.chains]
            for chain in map(chain_space(self.space).as_chain, archs)
        ]
        return np.array(distances).reshape(len(archs), len(self.chains))


def scale(features: np.ndarray) -> np.ndarray:
    """The divisor of each feature, [features], with which d^2 is 2 on average.

    features: of random architectures, [archs, features].
    """
    deviation = features.std(0)
    return np.where(deviation > 0, deviation, 1.0) * np.sqrt(features.shape[1])
