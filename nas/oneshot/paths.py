"""One-shot search by single paths: each training step updates one architecture's own weights.

With path=uniform the paths are drawn uniformly, and the controller searches the trained weights
afterwards. controller=random is random search with weight sharing (Li & Talwalkar 2019,
arXiv:1902.07638, section 3). controller=spos with statistics_batches=200 is SPOS (Guo et al. 2020,
arXiv:1904.00420, section 3), whose scores estimate the moments of each path on training batches.
With path=controller the controller draws the paths and learns between the epochs, from scores on
single validation batches. controller=reinforce is ENAS (Pham et al. 2018, arXiv:1802.03268, section
2.2).

Departure from SPOS: its code trains paths whose multiply-adds are uniform over bins; here paths are
uniform, as the paper's section 3.3 says.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nas.core.capabilities import EntropyReporting
from nas.core.controller import Controller
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Trial
from nas.engine.proposers import Frozen, ask
from nas.oneshot.choice_shares import shares
from nas.oneshot.interface import SharedWeights, estimating_statistics

UNIFORM, CONTROLLER = "uniform", "controller"
_PATHS, _REWARDS = 1, 2  # random streams of an epoch; 0 is its batch order's


class Paths:
    """A one-shot method that trains one path a step (see interface.Method).

    Args:
      path: who draws the paths of the training steps: uniform or controller.
      controller_steps: how many steps of asking and telling the controller takes after each epoch;
        0: it does not learn until the weights are trained.
      samples_per_step: architectures that the controller proposes in each of them.
      reward_batch_size: validation images, or sequences of a text, that each reward is computed on.
      derive_batch_size: of the own validation batch on which the derivation scores each
        architecture; None: all are scored on the run's valid_images.
      statistics_batches: training batches on which each score estimates the moments of the path's
        normalizations; 0: `batch_statistics` of the run says how scores normalise.
    """

    def __init__(
        self,
        *,
        space: Space,
        controller: Controller,
        reward: Callable[[dict[str, Any]], float],
        seed: int,
        path: str = UNIFORM,
        controller_steps: int = 0,
        samples_per_step: int = 20,
        reward_batch_size: int = 128,
        derive_batch_size: int | None = None,
        statistics_batches: int = 0,
    ):
        if path not in (UNIFORM, CONTROLLER):
            raise ConfigError(f"method.path must be {UNIFORM} or {CONTROLLER}, got {path}")
        for name, value, least in (
            ("controller_steps", controller_steps, 0),
            ("samples_per_step", samples_per_step, 1),
            ("reward_batch_size", reward_batch_size, 1),
            ("statistics_batches", statistics_batches, 0),
        ):
            if value < least:
                raise ConfigError(f"method.{name} must be at least {least}, got {value}")
        self.space, self.controller, self.reward, self.seed = space, controller, reward, seed
        self.path = path
        self.controller_steps, self.samples_per_step = controller_steps, samples_per_step
        self.reward_batch_size = reward_batch_size
        self.derive_batch_size = derive_batch_size
        self.statistics_batches = statistics_batches
        self.tensors: list[Any] = []  # the controller's state is saved by `state`

    def start(self, shared: SharedWeights) -> None:
        """shared: the weights that the epochs train.

        Raises ConfigError if scores are to estimate moments that these weights do not have.
        """
        self.shared = shared
        if self.statistics_batches:
            estimating_statistics(shared).estimate_statistics(self.statistics_batches)

    def epoch(self, epoch: int, order: np.ndarray, rates: np.ndarray) -> dict[str, float]:
        """One epoch of training steps, then the controller's steps. Returns mean values by name.

        order: [steps, ...] int, from shared.batch_order; rates: [steps] float32, learning rates.
        """
        archs = self._paths(epoch, len(order))
        measures = self.shared.train(order, rates, archs, epoch)
        values = self.shared.measures_by_name(measures) | shares(self.space, archs)
        if self.path == CONTROLLER and isinstance(self.controller, EntropyReporting):
            values["policy_entropy"] = self.controller.policy_entropy(archs[:100])
        if self.controller_steps:
            values["reward"] = self._learn(epoch)
        return values

    def state(self) -> dict[str, Any]:
        return self.controller.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.controller.load_state(state)

    def deriver(self) -> Controller:
        """The controller that searches the trained weights.

        A controller that learnt between the epochs only proposes from here on.
        """
        return Frozen(self.controller) if self.controller_steps else self.controller

    def _paths(self, epoch: int, steps: int) -> list[Arch]:
        """The architecture of each training step."""
        if self.path == UNIFORM:
            rng = np.random.default_rng([self.seed, epoch, _PATHS])
            return [self.space.sample(rng) for _ in range(steps)]
        return [proposal.arch for proposal in ask(self.controller, steps)]

    def _learn(self, epoch: int) -> float:
        """Takes the controller's steps after an epoch. Returns their mean reward."""
        rng, rewards = np.random.default_rng([self.seed, epoch, _REWARDS]), []
        for step in range(self.controller_steps):
            proposals = ask(self.controller, self.samples_per_step)
            batches = self.shared.sample_batches(rng, len(proposals), self.reward_batch_size)
            scores, losses = self.shared.scores([p.arch for p in proposals], batches)
            trials = []
            for k, proposal in enumerate(proposals):
                metrics = {self.shared.metric: float(scores[k]), "valid_loss": float(losses[k])}
                number = (epoch * self.controller_steps + step) * self.samples_per_step + k
                rewards.append(float(self.reward(metrics)))
                trials.append(Trial(number, proposal, rewards[-1], metrics))
            self.controller.tell(trials)
        return float(np.mean(rewards))
