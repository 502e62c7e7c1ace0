"""Bayesian optimisation: a Gaussian process over a space's features proposes what to train next.

Rewards are replaced by the normal scores of their ranks, so that a few ruined networks do not set
the scale (as in Salinas et al. 2020, arXiv:1909.13595). The kernel is tensorflow-probability's, by
default exp(-d^2 / 2 l^2). Here d is the distance of two architectures' features, each feature
scaled to deviation 1 and d^2 divided by their number, so that two random architectures are at
d^2 = 2 on average in any space; or d is the edit distance of their networks (posterior.py). A
pending trial counts as observed with the value that the process expects of it.

The posterior is gaussian_process.py's own: it grows by one observation, where
tensorflow-probability starts again. Small spaces are searched completely, each point of feature
space once; in larger spaces `candidates` architectures are compared, draws and mutations of the
best.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.special import ndtri
from scipy.stats import rankdata

from nas.controllers.surrogates import kernels
from nas.controllers.surrogates.acquisition import acquire, check_acquisition
from nas.controllers.surrogates.gaussian_process import GaussianProcess
from nas.controllers.surrogates.posterior import (
    OverFeatures,
    OverNetworks,
    Posterior,
    check_distance,
    scale,
)
from nas.controllers.surrogates.settings import GaussianProcessSettings
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial

CACHED_ROWS = 2000  # of covariances, for all searches of this process
GAUSSIAN_PROCESS = GaussianProcessSettings(
    kernel="exponentiated_quadratic", length_scale=3.0, noise=0.1
)


class Bayesian:
    """Asks for the candidate with the largest acquisition.

    Args:
      initial: the number of random architectures before the process is used.
      distance: "features", or "edit" (for networks whose layers are in a row).
      gaussian_process: its noise is the variance of a reward's normal score.
      acquisition: "ei", "ucb" or "thompson".
      ucb_weight: deviations above the mean, for ucb.
      enumerate_below: a space of at most this many architectures is searched completely, if the
        distance is that of features.
      candidates: architectures compared at each step in a larger space; half of them are mutations
        of the `parents` best.
      parents: see candidates.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        initial: int = 10,
        distance: str = "features",
        gaussian_process: GaussianProcessSettings = GAUSSIAN_PROCESS,
        acquisition: str = "ei",
        ucb_weight: float = 1.0,
        enumerate_below: int = 20_000,
        candidates: int = 1000,
        parents: int = 10,
    ):
        check_acquisition(acquisition)
        check_distance(distance, space)
        for name, value in (("initial", initial), ("candidates", candidates), ("parents", parents)):
            if value < 1:
                raise ConfigError(f"controller.{name} must be at least 1, got {value}")
        self.space, self.rng = space, np.random.default_rng(seed)
        self.initial = initial
        self.acquisition, self.ucb_weight = acquisition, ucb_weight
        self.candidates, self.parents = candidates, parents
        self.pool: _Pool | None = None
        self.posterior: Posterior
        name, length_scale = gaussian_process.kernel, gaussian_process.length_scale
        kernel = kernels.kernel(name, length_scale)
        self.noise = gaussian_process.noise
        if distance == "edit":
            self.posterior = OverNetworks(space, kernel, noise=self.noise)
        elif space.is_conditional or space.size > enumerate_below:
            self.posterior = OverFeatures(space, kernel, noise=self.noise, rng=self.rng)
        else:
            self.pool = _pool(space, name, length_scale)
        self._clear()

    def _clear(self) -> None:
        """Forgets all proposals and rewards."""
        self.asked: list[Arch] = []
        self.rewards: list[float | None] = []  # of `asked`; None: failed, or pending
        self.told: list[bool] = []
        self.believed: list[float] = []  # the normal score expected when it was asked for
        if self.pool is None:
            self.posterior.clear()
        else:
            self.process = GaussianProcess(noise=self.noise, watched=len(self.pool.points))
            self.seen: list[int] = []  # the points of `asked`

    def ask(self, n: int) -> list[Proposal]:
        proposals = []
        for _ in range(n):
            arch = self._unknown() if len(self.asked) < self.initial else self._best_candidate()
            if arch is None:
                break  # every architecture has been asked for
            proposals.append(Proposal(arch))
        return proposals

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.id < 0:  # a trial of another run: a warm start
                self._note(trial.arch, 0.0)
            waiting = (i for i, arch in enumerate(self.asked) if arch == trial.arch)
            i = next((i for i in waiting if not self.told[i]), None)
            if i is None:
                raise ValueError(f"{trial.arch} was told and never asked for")
            self.rewards[i], self.told[i] = trial.reward, True

    def state(self) -> dict[str, Any]:
        return {
            "rng": self.rng.bit_generator.state,
            "asked": [list(arch) for arch in self.asked],
            "rewards": self.rewards,
            "told": self.told,
            "believed": self.believed,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self._clear()
        for arch, reward, told, believed in zip(
            state["asked"], state["rewards"], state["told"], state["believed"], strict=True
        ):
            self._note(tuple(arch), believed)
            self.rewards[-1], self.told[-1] = reward, told
        self.rng.bit_generator.state = state["rng"]

    def _note(self, arch: Arch, believed: float) -> None:
        """Adds a pending architecture, with the normal score expected of it."""
        self.asked.append(arch)
        self.rewards.append(None)
        self.told.append(False)
        self.believed.append(believed)
        if self.pool is not None:
            point = int(self.pool.which[self.pool.index[arch]])
            row = self.pool.row(point)
            self.process.add(row[self.seen], row)
            self.seen.append(point)
        else:
            self.posterior.add(arch)

    def _unknown(self) -> Arch | None:
        """A random architecture that was not asked for; None: there is none."""
        seen = set(self.asked)
        if len(seen) >= self.space.size:
            return None
        while True:
            arch = self.space.sample(self.rng)
            if arch not in seen:
                self._note(arch, 0.0)
                return arch

    def _scores(self) -> np.ndarray:
        """[asked], normal scores: by rank for told rewards, as expected for pending ones."""
        scores = np.array(self.believed)
        told = np.array(self.told)
        if told.any():
            rewards = [r for r, known in zip(self.rewards, self.told, strict=True) if known]
            known = np.array([-np.inf if r is None else r for r in rewards])  # failed: lowest
            scores[told] = ndtri((rankdata(known) - 0.5) / len(known))
        return scores

    def _best_candidate(self) -> Arch | None:
        """The architecture with the largest acquisition; None: all have been asked for."""
        scores = self._scores()
        if self.pool is not None:
            archs, which = self.pool.archs, self.pool.which
            mean, deviation = self.process.predict(scores)
        else:
            archs = self._draw()
            if not archs:
                return None
            which = np.arange(len(archs))
            mean, deviation = self.posterior.predict(scores, archs)
        value = acquire(
            self.acquisition,
            mean,
            deviation,
            best=scores[np.array(self.told)].max(initial=-np.inf),
            ucb_weight=self.ucb_weight,
            rng=self.rng,
        )[which]
        if self.pool is not None:
            value[[self.pool.index[arch] for arch in self.asked]] = -np.inf
        best = int(np.argmax(value))
        if value[best] == -np.inf:
            return None
        self._note(archs[best], float(mean[which[best]]))
        return archs[best]

    def _draw(self) -> list[Arch]:
        """Different architectures that were not asked for: draws, and mutations of the best."""
        seen = set(self.asked)
        ranked = sorted(
            ((reward, i) for i, reward in enumerate(self.rewards) if reward is not None),
            reverse=True,
        )[: self.parents]
        drawn: dict[Arch, None] = {}
        for k in range(self.candidates):
            if ranked and k % 2:
                _, best = ranked[int(self.rng.integers(len(ranked)))]
                parent = self.asked[best]
                arch = self.space.mutate(parent, self.rng)
            else:
                arch = self.space.sample(self.rng)
            if arch not in seen:
                drawn[arch] = None
        return list(drawn)


class _Pool:
    """All architectures of a small space, and the points of feature space where they lie.

    Attributes:
      archs: in the order of their choices; `index` has the place of each.
      points: [points, features], scaled; different architectures may share a point.
      which: [archs], the point of each.
      row: the covariances of a point with all points, [points].
    """

    def __init__(self, space: Space, covariance: kernels.Kernel):
        self.archs = list(itertools.product(*(range(len(d.choices)) for d in space.decisions)))
        self.index = {arch: i for i, arch in enumerate(self.archs)}
        features = space.features(self.archs)
        points, self.which = np.unique(features / scale(features), axis=0, return_inverse=True)
        self.points = points
        self.row = functools.lru_cache(CACHED_ROWS)(
            lambda i: covariance(points, points[i : i + 1])[:, 0]  # [points]
        )


@functools.lru_cache(1)  # a comparison makes a controller for each seed
def _pool(space: Space, name: str, length_scale: float) -> _Pool:
    return _Pool(space, kernels.kernel(name, length_scale))
