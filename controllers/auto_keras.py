"""Auto-Keras (Jin, Song & Hu 2019, arXiv:1806.10282): a Gaussian process chooses among networks
that grow.

Its parts are a kernel of edit distances, the upper confidence bound, and simulated annealing over
the morphisms of all trained networks (sections 3.1 and 3.2; numbers of the authors' code, version
0.3.7). A proposal names the trained network that it descends from as its parent, whose weights
`evaluator=inherit` carries over. Morphisms are the space's mutations: those of `space=auto_keras`
preserve what a network computes.

Departures: the space says what a morphism may change; a single observation has covariance 1 with
itself, in the code 0; networks that are too large are refused by the evaluator, not left out; a
child may not be a network that failed or is in training, nor one that this annealing has drawn.

The first proposals are the space's `starts()`, or its `start()` alone, and nothing else is proposed
before one of them is trained: further workers are idle until then. If the space has no start, or if
no start could be trained, proposals are random until one is.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nas.controllers.surrogates import kernels
from nas.controllers.surrogates.acquisition import acquire, check_acquisition
from nas.controllers.surrogates.annealing import anneal, temperatures
from nas.controllers.surrogates.posterior import (
    OverFeatures,
    OverNetworks,
    Posterior,
    check_distance,
)
from nas.controllers.surrogates.settings import AnnealingSettings, GaussianProcessSettings
from nas.core.capabilities import SeveralStartsSpace, StartingSpace
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial

DRAWS_PER_NEIGHBOUR = 2  # at most, where networks that were met do not count as neighbours
# The length scale makes the kernel exp(-d^2).
GAUSSIAN_PROCESS = GaussianProcessSettings(
    kernel="exponentiated_quadratic", length_scale=0.5**0.5, noise=1e-10
)
ANNEALING = AnnealingSettings(neighbours=8, temperature=1.0, min_temperature=1e-4, decay=0.9)


class AutoKeras:
    """Proposes the descendant of trained networks with the largest acquisition that it meets.

    Args:
      distance: "edit" (for networks whose layers are in a row), or "features" (for any space).
      gaussian_process: its kernel is a function of that distance.
      skip_weight: lambda, the weight of the skips in the edit distance.
      shrinking: the embedding has fewer of the larger subsets.
      raw_prediction: new networks are compared by distances that are not embedded.
      acquisition: "ucb", "ei" or "thompson".
      ucb_weight: beta of ucb: deviations above the mean.
      annealing: the search for the largest acquisition.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        distance: str = "edit",
        gaussian_process: GaussianProcessSettings = GAUSSIAN_PROCESS,
        skip_weight: float = 1.0,
        shrinking: bool = False,
        raw_prediction: bool = False,
        acquisition: str = "ucb",
        ucb_weight: float = 2.576,
        annealing: AnnealingSettings = ANNEALING,
    ):
        check_acquisition(acquisition)
        check_distance(distance, space)
        if distance != "edit" and (shrinking or raw_prediction):
            raise ConfigError(
                "controller.shrinking and controller.raw_prediction need controller.distance=edit, "
                f"got {distance}; set them to false"
            )
        if not skip_weight >= 0:
            raise ConfigError(f"controller.skip_weight must not be negative, got {skip_weight}")
        self.space, self.rng = space, np.random.default_rng(seed)
        self.acquisition, self.ucb_weight = acquisition, ucb_weight
        self.neighbours, self.count_met = annealing.neighbours, annealing.count_met
        self.starts = _starts(space)
        self.schedule = tuple(
            temperatures(annealing.temperature, annealing.min_temperature, annealing.decay)
        )
        kernel = kernels.kernel(gaussian_process.kernel, gaussian_process.length_scale)
        noise = gaussian_process.noise
        self.posterior: Posterior
        if distance == "edit":
            self.posterior = OverNetworks(
                space,
                kernel,
                noise=noise,
                skip_weight=skip_weight,
                shrinking=shrinking,
                raw_prediction=raw_prediction,
            )
        else:
            self.posterior = OverFeatures(space, kernel, noise=noise, rng=self.rng)
        self.asked: list[Arch] = []
        self.starting = 0  # how many of the starts are in training
        self.trained: list[tuple[Arch, float, int]] = []  # with rewards and the ids of trials

    def ask(self, n: int) -> list[Proposal]:
        proposals: list[Proposal] = []
        while len(proposals) < n and (proposal := self._next()) is not None:
            self.asked.append(proposal.arch)
            proposals.append(proposal)
        return proposals

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.id >= 0:  # below 0: a trial of another run
                self.starting = max(0, self.starting - 1)
            if trial.reward is not None:
                self._learn(trial.arch, trial.reward, trial.id)

    def state(self) -> dict[str, Any]:
        return {
            "rng": self.rng.bit_generator.state,
            "asked": [list(arch) for arch in self.asked],
            "starting": self.starting,
            "trained": [[list(arch), reward, trial] for arch, reward, trial in self.trained],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.asked = [tuple(arch) for arch in state["asked"]]
        self.starting = int(state["starting"])
        self.trained.clear()
        self.posterior.clear()
        for arch, reward, trial in state["trained"]:
            self._learn(tuple(arch), reward, trial)
        self.rng.bit_generator.state = state["rng"]

    def _learn(self, arch: Arch, reward: float, trial: int) -> None:
        self.trained.append((arch, reward, trial))
        self.posterior.add(arch)

    def _next(self) -> Proposal | None:
        """None: the annealing met nothing new, or a start must be trained first."""
        trained = [arch for arch, _, _ in self.trained]  # trials of another run are not in `asked`
        met = {self.space.key(arch) for arch in self.asked + trained}
        continued = any(trial < 0 for _, _, trial in self.trained)
        if len(self.asked) < len(self.starts) and not continued:
            self.starting += 1
            return Proposal(self.starts[len(self.asked)])
        draws = self.neighbours * (1 if self.count_met else DRAWS_PER_NEIGHBOUR)
        if not self.trained:
            if self.starting:
                return None
            unmet = self._unmet(lambda: self.space.sample(self.rng), met, 1, draws)
            return Proposal(unmet[0]) if unmet else None
        best = anneal(
            [(reward, arch, trial) for arch, reward, trial in self.trained],
            lambda arch: self._unmet(
                lambda: self.space.mutate(arch, self.rng), met, self.neighbours, draws
            ),
            self._acquisitions,
            self.schedule,
            self.rng,
        )
        return None if best is None else Proposal(best[0], parent=best[1])

    def _unmet(self, draw: Callable[[], Arch], met: set[Any], most: int, draws: int) -> list[Arch]:
        """At most `most` of `draws` draws whose keys are not in `met`, to which they are added."""
        unmet: list[Arch] = []
        while draws and len(unmet) < most:
            arch, draws = draw(), draws - 1
            if (key := self.space.key(arch)) not in met:
                met.add(key)
                unmet.append(arch)
        return unmet

    def _acquisitions(self, archs: Sequence[Arch]) -> np.ndarray:
        """[archs], larger is better."""
        rewards = np.array([reward for _, reward, _ in self.trained])
        mean, deviation = self.posterior.predict(rewards, archs)
        return acquire(
            self.acquisition,
            mean,
            deviation,
            best=rewards.max(),
            ucb_weight=self.ucb_weight,
            rng=self.rng,
        )


def _starts(space: Space) -> tuple[Arch, ...]:
    """The networks that are trained before any other."""
    if isinstance(space, SeveralStartsSpace):
        return tuple(space.starts())
    return (space.start(),) if isinstance(space, StartingSpace) else ()
