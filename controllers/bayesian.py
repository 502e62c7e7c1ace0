"""Bayesian optimisation: a Gaussian process over a space's features proposes what to train next.

Rewards become normal scores of their ranks, so that a few ruined networks do not set the scale
(as in Salinas et al. 2020, arXiv:1909.13595). The kernel is exp(-d^2 / 2 l^2), d the distance of
two architectures' features, each feature scaled to deviation 1 and d^2 divided by their number: two
random architectures are at d^2 = 2 on average, whatever the space. A pending trial is believed to
give what the process expects of it. Acquisition: expected improvement (Jones et al. 1998), upper
confidence bound (Srinivas et al. 2010), or Thompson sampling drawn for each candidate on its own
(White et al. 2021, arXiv:1910.11858, section 4.2).

Small spaces are looked at whole, larger ones through `candidates` draws and mutations of the best.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.linalg import solve_triangular
from scipy.special import ndtri
from scipy.stats import norm, rankdata

from nas.trial import Arch, ConfigError, Proposal, Trial
from search_spaces.base import Space

ACQUISITIONS = ("ei", "ucb", "thompson")
SCALE_DRAWS = 2000  # random architectures whose features set the scale, where the space is large


class Bayesian:
    """Asks for the candidate of the largest acquisition.

    Args:
      initial: random architectures before the process is asked.
      length_scale: l above.
      noise: variance of a reward's normal score, beside the process' own variance of 1.
      acquisition: ei, ucb or thompson.
      ucb_weight: deviations above the mean, of ucb.
      enumerate_below: a space of at most so many architectures is looked at whole.
      candidates: drawn at each step in a larger one, half of them mutations of the `parents` best.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        initial: int = 10,
        length_scale: float = 3.0,
        noise: float = 0.1,
        acquisition: str = "ei",
        ucb_weight: float = 1.0,
        enumerate_below: int = 20_000,
        candidates: int = 1000,
        parents: int = 10,
    ):
        if acquisition not in ACQUISITIONS:
            raise ConfigError(
                f"controller.acquisition must be one of {', '.join(ACQUISITIONS)}, "
                f"got {acquisition}"
            )
        for name, value in (("length_scale", length_scale), ("noise", noise)):
            if value <= 0:
                raise ConfigError(f"controller.{name} must be above 0, got {value}")
        for name, value in (("initial", initial), ("candidates", candidates), ("parents", parents)):
            if value < 1:
                raise ConfigError(f"controller.{name} must be at least 1, got {value}")
        self.space, self.rng = space, np.random.default_rng(seed)
        self.initial, self.length_scale, self.noise = initial, length_scale, noise
        self.acquisition, self.ucb_weight = acquisition, ucb_weight
        self.candidates, self.parents = candidates, parents
        self.asked: list[Arch] = []
        self.rewards: list[float | None] = []  # of `asked`; None: failed, or not told
        self.told: list[bool] = []
        self.believed: list[float] = []  # normal score expected when it was asked for
        self.pool: list[Arch] | None = None
        self.process: _Process | None = None  # over the pool
        if not space.is_conditional and space.size <= enumerate_below:
            self.pool = list(itertools.product(*(range(len(d.choices)) for d in space.decisions)))
        draws = self.pool or [space.sample(self.rng) for _ in range(SCALE_DRAWS)]
        features = space.features(draws)
        deviation = features.std(0)
        self.scale = np.where(deviation > 0, deviation, 1.0) * np.sqrt(features.shape[1])
        if self.pool is not None:
            self.index = {arch: i for i, arch in enumerate(self.pool)}
            self.process = _Process(features / self.scale, length_scale, noise)

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
        self.asked, self.rewards, self.told, self.believed = [], [], [], []
        for arch, reward, told, believed in zip(
            state["asked"], state["rewards"], state["told"], state["believed"], strict=True
        ):
            self._note(tuple(arch), believed)
            self.rewards[-1], self.told[-1] = reward, told
        self.rng.bit_generator.state = state["rng"]

    def _note(self, arch: Arch, believed: float) -> None:
        self.asked.append(arch)
        self.rewards.append(None)
        self.told.append(False)
        self.believed.append(believed)
        if self.process is not None:
            self.process.add(self.space.features([arch])[0] / self.scale)

    def _unknown(self) -> Arch | None:
        seen = set(self.asked)
        if len(seen) >= self.space.size:
            return None
        while True:
            arch = self.space.sample(self.rng)
            if arch not in seen:
                self._note(arch, 0.0)
                return arch

    def _scores(self) -> np.ndarray:
        """Normal score of each asked architecture: by rank where it is told, else as believed."""
        scores = np.array(self.believed)
        told = np.array(self.told)
        if told.any():
            rewards = [r for r, known in zip(self.rewards, self.told, strict=True) if known]
            known = np.array([-np.inf if r is None else r for r in rewards])  # failed: the lowest
            scores[told] = ndtri((rankdata(known) - 0.5) / len(known))
        return scores

    def _best_candidate(self) -> Arch | None:
        if self.pool is not None and self.process is not None:
            archs, process = self.pool, self.process
        else:
            archs = self._draw()
            process = _Process(
                self.space.features(archs) / self.scale, self.length_scale, self.noise
            )
            for features in self.space.features(self.asked) / self.scale:
                process.add(features)
        scores = self._scores()
        mean, deviation = process.predict(scores)
        value = self._acquire(mean, deviation, scores[np.array(self.told)].max(initial=-np.inf))
        if self.pool is not None:
            value[[self.index[arch] for arch in self.asked]] = -np.inf
        best = int(np.argmax(value))
        if value[best] == -np.inf:
            return None
        self._note(archs[best], float(mean[best]))
        return archs[best]

    def _acquire(self, mean: np.ndarray, deviation: np.ndarray, best: float) -> np.ndarray:
        if self.acquisition == "thompson":
            return mean + deviation * self.rng.standard_normal(len(mean))
        if self.acquisition == "ucb":
            return mean + self.ucb_weight * deviation
        if best == -np.inf:  # nothing is told yet: all improve
            return deviation.copy()
        u = (mean - best) / deviation
        return deviation * (u * norm.cdf(u) + norm.pdf(u))

    def _draw(self) -> list[Arch]:
        seen = set(self.asked)
        ranked = sorted(
            ((reward, i) for i, reward in enumerate(self.rewards) if reward is not None),
            reverse=True,
        )[: self.parents]
        found: dict[Arch, None] = {}
        for k in range(self.candidates):
            if ranked and k % 2:
                _, best = ranked[int(self.rng.integers(len(ranked)))]
                parent = self.asked[best]
                arch = self.space.mutate(parent, self.rng)
            else:
                arch = self.space.sample(self.rng)
            if arch not in seen:
                found[arch] = None
        return list(found)


class _Process:
    """A Gaussian process seen from fixed candidates; an observation costs one pass over them.

    The Cholesky factor L of the observations' kernel grows by a row at a time, and with it
    V = L^-1 K(observations, candidates): so nothing is solved twice.
    """

    def __init__(self, candidates: np.ndarray, length_scale: float, noise: float):
        """candidates: [candidates, features]."""
        self.x, self.noise, self.sharpness = candidates, noise, 0.5 / length_scale**2
        self.squares = (candidates**2).sum(1)
        self.seen = np.zeros((0, candidates.shape[1]))
        self.factor = np.zeros((64, 64))  # grown by doubling
        self.v = np.zeros((64, len(candidates)))
        self.variance = np.ones(len(candidates))

    def add(self, x: np.ndarray) -> None:
        """An observation at x [features]; its value is given to `predict`."""
        n = len(self.seen)
        if n == len(self.factor):
            self.factor = np.pad(self.factor, ((0, n), (0, n)))
            self.v = np.pad(self.v, ((0, n), (0, 0)))
        row = self._kernel(self.seen, (self.seen**2).sum(1), x)
        row = solve_triangular(self.factor[:n, :n], row, lower=True) if n else row
        # The noise keeps this above 0: 1 + noise - |row|^2 >= noise, but for rounding.
        corner = np.sqrt(max(1.0 + self.noise - row @ row, 0.5 * self.noise))
        self.factor[n, :n], self.factor[n, n] = row, corner
        self.v[n] = (self._kernel(self.x, self.squares, x) - row @ self.v[:n]) / corner
        self.variance -= self.v[n] ** 2
        self.seen = np.vstack([self.seen, x])

    def predict(self, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation at the candidates, [candidates] each; scores: [observations]."""
        n = len(self.seen)
        weight = solve_triangular(self.factor[:n, :n], scores, lower=True)
        return weight @ self.v[:n], np.sqrt(np.maximum(self.variance, 1e-12))

    def _kernel(self, points: np.ndarray, squares: np.ndarray, x: np.ndarray) -> np.ndarray:
        return np.exp(-self.sharpness * np.maximum(squares + x @ x - 2.0 * points @ x, 0.0))
