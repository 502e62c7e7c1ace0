"""Auto-Keras (Jin, Song & Hu 2019, arXiv:1806.10282): a process chooses among networks that grow.

A kernel of edit distances, the upper confidence bound, and simulated annealing over the morphisms
of all trained networks (sections 3.1 and 3.2; numbers of the authors' code, version 0.3.7). A child
names the trained network that it descends from, whose weights `evaluator=inherit` carries over.
Morphisms are the space's mutations: those of `space=auto_keras` preserve what a network computes.

Departures: what a morphism may change is said by the space; a single observation has covariance 1
with itself, in the code 0; networks too large are refused by the evaluator, not left out; a child
may not be a network that failed or is in training, nor one of those met in this annealing.

The first proposal is the space's `start()`, for whose training the others wait: workers beyond one
are idle until then. Without a start, or where it fails, proposals are random until one is trained.
"""

from collections.abc import Sequence
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
from nas.core.capabilities import StartingSpace
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial

TRIES = 2  # for each neighbour wanted; code 0.3.7


class AutoKeras:
    """Proposes the descendant of trained networks whose acquisition is the largest found.

    Args:
      distance: edit (of networks in a row), or features, which every space has.
      kernel: of kernels.py, of that distance.
      length_scale: of the kernel exp(-d^2 / 2 l^2); the square root of a half: exp(-d^2).
      skip_weight: lambda, of the skips' part of the edit distance.
      shrinking: subsets of the embedding get fewer with their size.
      raw_prediction: new networks are compared by unembedded distances.
      noise: variance of an observed reward.
      acquisition: ucb, ei or thompson.
      ucb_weight: beta, deviations above the mean, of ucb.
      neighbours: children of an accepted network, at most.
      temperature, min_temperature, decay: of the annealing.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        distance: str = "edit",
        kernel: str = "exponentiated_quadratic",
        length_scale: float = 0.5**0.5,
        skip_weight: float = 1.0,
        shrinking: bool = False,
        raw_prediction: bool = False,
        noise: float = 1e-10,
        acquisition: str = "ucb",
        ucb_weight: float = 2.576,
        neighbours: int = 8,
        temperature: float = 1.0,
        min_temperature: float = 1e-4,
        decay: float = 0.9,
    ):
        check_acquisition(acquisition)
        check_distance(distance, space)
        if distance != "edit" and (shrinking or raw_prediction):
            raise ConfigError(
                "controller.shrinking and controller.raw_prediction need controller.distance=edit, "
                f"got {distance}; set them to false"
            )
        if noise <= 0:
            raise ConfigError(f"controller.noise must be above 0, got {noise}")
        if not skip_weight >= 0:
            raise ConfigError(f"controller.skip_weight must not be negative, got {skip_weight}")
        if neighbours < 1:
            raise ConfigError(f"controller.neighbours must be at least 1, got {neighbours}")
        if not 0 < min_temperature < temperature:
            raise ConfigError(
                f"controller.min_temperature must be in (0, controller.temperature={temperature}), "
                f"got {min_temperature}"
            )
        if not 0 < decay < 1:
            raise ConfigError(f"controller.decay must be in (0, 1), got {decay}")
        self.space, self.rng = space, np.random.default_rng(seed)
        self.acquisition, self.ucb_weight = acquisition, ucb_weight
        self.neighbours = neighbours
        self.schedule = tuple(temperatures(temperature, min_temperature, decay))
        rule = kernels.kernel(kernel, length_scale)
        self.posterior: Posterior
        if distance == "edit":
            self.posterior = OverNetworks(
                space,
                rule,
                noise=noise,
                skip_weight=skip_weight,
                shrinking=shrinking,
                raw_prediction=raw_prediction,
            )
        else:
            self.posterior = OverFeatures(space, rule, noise=noise, rng=self.rng)
        self.asked: list[Arch] = []
        self.starting = False  # the start is in training
        self.trained: list[tuple[Arch, float, int]] = []  # with rewards and trials

    def ask(self, n: int) -> list[Proposal]:
        proposals: list[Proposal] = []
        while len(proposals) < n and (proposal := self._next()) is not None:
            self.asked.append(proposal.arch)
            proposals.append(proposal)
        return proposals

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            self.starting = self.starting and trial.id < 0  # those of another run
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
        self.starting = state["starting"]
        self.trained.clear()
        self.posterior.clear()
        for arch, reward, trial in state["trained"]:
            self._learn(tuple(arch), reward, trial)
        self.rng.bit_generator.state = state["rng"]

    def _learn(self, arch: Arch, reward: float, trial: int) -> None:
        self.trained.append((arch, reward, trial))
        self.posterior.add(arch)

    def _next(self) -> Proposal | None:
        """None: nothing new was met, or nothing can be before the start is trained."""
        trained = [arch for arch, _, _ in self.trained]  # those of another run were not asked for
        met = {self.space.key(arch) for arch in self.asked + trained}
        if not self.trained:
            if isinstance(self.space, StartingSpace) and not self.asked:
                self.starting = True
                return Proposal(self.space.start())
            if self.starting:
                return None
            new = self._new(lambda: self.space.sample(self.rng), met, 1)
            return Proposal(new[0]) if new else None
        found = anneal(
            [(reward, arch, trial) for arch, reward, trial in self.trained],
            lambda arch: self._new(lambda: self.space.mutate(arch, self.rng), met, self.neighbours),
            self._acquisitions,
            self.schedule,
            self.rng,
        )
        return None if found is None else Proposal(found[0], parent=found[1])

    def _new(self, draw, met: set, wanted: int) -> list[Arch]:
        """At most `wanted` draws that are not in `met`, to which they are added."""
        new: list[Arch] = []
        drawn = 0
        while drawn < TRIES * self.neighbours and len(new) < wanted:
            arch, drawn = draw(), drawn + 1
            if (key := self.space.key(arch)) not in met:
                met.add(key)
                new.append(arch)
        return new

    def _acquisitions(self, archs: Sequence[Arch]) -> np.ndarray:
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
