"""One-shot search by single paths: each weight step trains one architecture's own weights.

With path=uniform the paths are drawn uniformly and the controller searches the trained weights
afterwards: random search with weight sharing (Li & Talwalkar 2019, arXiv:1902.07638, section 3)
with controller=random, SPOS (Guo et al. 2020, arXiv:1904.00420, section 3) with an evolution. With
path=controller they are the controller's, which learns between the epochs from scores on
single validation batches: ENAS (Pham et al. 2018, arXiv:1802.03268, section 2.2) with
controller=reinforce.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nas.core.capabilities import EntropyReporting
from nas.core.trial import Arch, ConfigError, Proposal, Trial

UNIFORM, CONTROLLER = "uniform", "controller"
_PATHS, _REWARDS = 1, 2  # random streams of an epoch; 0 is the order's


class Paths:
    """How paths are drawn and what the controller learns from.

    Args:
      path: who draws the paths of the weight steps: uniform or controller.
      controller_steps: after each epoch, so many times architectures are asked for and told; 0
        leaves the controller as it is.
      samples_per_step: architectures asked for at a time.
      reward_batch_size: validation images, or sequences of a text, that each of them is paid for.
    """

    def __init__(
        self,
        *,
        space,
        controller,
        reward: Callable[[dict[str, Any]], float],
        seed: int,
        path: str = UNIFORM,
        controller_steps: int = 0,
        samples_per_step: int = 20,
        reward_batch_size: int = 128,
    ):
        if path not in (UNIFORM, CONTROLLER):
            raise ConfigError(f"method.path must be {UNIFORM} or {CONTROLLER}, got {path}")
        if controller_steps < 0:
            raise ConfigError(f"method.controller_steps must be at least 0, got {controller_steps}")
        for name, value in (
            ("samples_per_step", samples_per_step),
            ("reward_batch_size", reward_batch_size),
        ):
            if value < 1:
                raise ConfigError(f"method.{name} must be at least 1, got {value}")
        self.space, self.controller, self.reward, self.seed = space, controller, reward, seed
        self.path = path
        self.controller_steps, self.samples_per_step = controller_steps, samples_per_step
        self.reward_batch_size = reward_batch_size
        self.tensors: list = []  # nothing of its own for a checkpoint

    def start(self, shared) -> None:
        """shared: the shared weights that the epochs train."""
        self.shared = shared

    def epoch(self, epoch: int, order: np.ndarray, rates: np.ndarray) -> dict[str, float]:
        """One epoch of weight steps, then the controller's. Returns what came out, by name.

        order: [steps, ...] int, what each step reads (shared.order); rates: [steps] float32.
        """
        archs = self._paths(epoch, len(order))
        drawn = self.path == CONTROLLER
        measures = self.shared.train(order, rates, archs, epoch)
        values = self.shared.named(measures) | shares(self.space, archs)
        if drawn and isinstance(self.controller, EntropyReporting):
            values["policy_entropy"] = self.controller.policy_entropy(archs[:100])
        if self.controller_steps:
            values["reward"] = self._learn(epoch)
        return values

    def state(self) -> dict[str, Any]:
        return self.controller.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.controller.load_state(state)

    def deriver(self):
        """The controller that searches the trained weights. What has learnt already only draws."""
        return Frozen(self.controller) if self.controller_steps else self.controller

    def _paths(self, epoch: int, steps: int) -> list[Arch]:
        if self.path == UNIFORM:
            rng = np.random.default_rng([self.seed, epoch, _PATHS])
            return [self.space.sample(rng) for _ in range(steps)]
        return [proposal.arch for proposal in ask(self.controller, steps)]

    def _learn(self, epoch: int) -> float:
        """The controller's steps of one epoch; returns their mean reward."""
        rng, rewards = np.random.default_rng([self.seed, epoch, _REWARDS]), []
        for step in range(self.controller_steps):
            proposals = ask(self.controller, self.samples_per_step)
            batches = self.shared.draw(rng, len(proposals), self.reward_batch_size)
            scores, losses = self.shared.scores([p.arch for p in proposals], batches)
            trials = []
            for k, proposal in enumerate(proposals):
                metrics = {self.shared.metric: float(scores[k]), "valid_loss": float(losses[k])}
                number = (epoch * self.controller_steps + step) * self.samples_per_step + k
                rewards.append(float(self.reward(metrics)))
                trials.append(Trial(number, proposal, rewards[-1], metrics))
            self.controller.tell(trials)
        return float(np.mean(rewards))


class Frozen:
    """A controller that proposes as ever and is told nothing."""

    def __init__(self, controller):
        self.controller = controller

    def ask(self, n: int) -> list[Proposal]:
        return self.controller.ask(n)

    def tell(self, trials: Sequence[Trial]) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return self.controller.state()

    def load_state(self, state: dict[str, Any]) -> None:
        self.controller.load_state(state)


def ask(controller, n: int) -> list[Proposal]:
    """n proposals. Raises ConfigError where the controller waits to be told of earlier ones."""
    proposals: list[Proposal] = []
    while len(proposals) < n:
        more = controller.ask(n - len(proposals))
        if not more:
            raise ConfigError(
                f"controller must propose {n} architectures at a time for shared weights, got "
                f"{len(proposals)} of {type(controller).__name__}; set method.path=uniform and "
                "method.controller_steps=0"
            )
        proposals += more
    return proposals


# What search spaces call the operations that do nothing.
_IDLE = {"skip_share": ("skip_connect", "identity"), "none_share": ("none",)}


def idle_shares(space, archs: Sequence[Arch]) -> dict[str, float]:
    """The share of skips and of `none` among the decisions that could choose them.

    One is missing where no decision can.
    """
    chosen, found = np.array(archs), {}
    for name, words in _IDLE.items():
        hits = [
            np.isin(chosen[:, i], [d.choices.index(word) for word in words if word in d.choices])
            for i, d in enumerate(space.decisions)
            if set(words) & {choice for choice in d.choices if isinstance(choice, str)}
        ]
        if hits:
            found[name] = float(np.mean(hits))
    return found


def shares(space, archs: Sequence[Arch]) -> dict[str, float]:
    """What the architectures choose: `idle_shares`, and how different they are.

    choice_entropy is the mean over the open decisions of the entropy of the choices made, over
    that of uniform ones: 1 where all are as frequent, 0 where one alone is chosen.
    """
    chosen, entropies = np.array(archs), []
    for i, decision in enumerate(space.decisions):
        if len(decision.choices) > 1:
            p = np.bincount(chosen[:, i], minlength=len(decision.choices)) / len(chosen)
            p = p[p > 0]
            entropies.append(-(p * np.log(p)).sum() / np.log(len(decision.choices)))
    return idle_shares(space, archs) | {"choice_entropy": float(np.mean(entropies))}
