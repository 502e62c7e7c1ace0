"""EAS: efficient architecture search by network transformation (Cai et al. 2018, arXiv:1707.04873).

A start network, plain or a DenseNet, is trained. In each episode some networks are grown from it by
wider and deeper layers, take its weights (`evaluator=inherit`) and are trained; then the policy
learns once. Numbers are those of the authors' code (han-cai/EAS) where conf/controller/eas.yaml and
eas_densenet.yaml say so.

Departures: the plain space has no hidden dense layers, so none are widened or added; where no slot
behind a layer is empty, none can be added there. Not known and chosen here: weights start uniform,
the first episode's mean is the first baseline, the deeper actor's LSTM is as wide as both
directions of the encoder. A failed network is paid as one of accuracy 0. The later stage, which
starts from the best networks found, is not here.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from controllers.eas_actions import Growth
from controllers.eas_dense import DenseGrowth
from nas.trial import ConfigError, Proposal, Trial
from search_spaces.base import Space

CODE, PAPER = "code", "paper"
MOST = 0.999  # a larger accuracy is paid as this: the tangent of 1 is infinite (ours)


class EAS:
    """Grows networks from `space.start()`, whose trial is the parent of all others.

    Args:
      episode: networks per update.
      wider_steps, deeper_steps: changes of each network, the wider ones first.
      embedding: of a word, and of an answer of the deeper actor.
      units: of the encoder, in each direction.
      init_scale: weights start uniform in [-init_scale, init_scale].
      learning_rate: Adam's.
      entropy_weight: of the policy's entropy in the objective.
      baseline: code: it moves before it is subtracted, 0.95 of the way to the new episode's mean;
        paper: it moves afterwards, 0.05 of the way.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        episode: int = 10,
        wider_steps: int = 4,
        deeper_steps: int = 5,
        embedding: int = 16,
        units: int = 50,
        init_scale: float = 0.1,
        learning_rate: float = 0.002,
        entropy_weight: float = 0.00001,
        baseline: str = CODE,
    ):
        for name, value, least in (
            ("episode", episode, 1),
            ("wider_steps", wider_steps, 0),
            ("deeper_steps", deeper_steps, 0),
        ):
            if value < least:
                raise ConfigError(f"controller.{name} must be at least {least}, got {value}")
        if baseline not in (CODE, PAPER):
            raise ConfigError(f"controller.baseline must be {CODE} or {PAPER}, got {baseline}")
        is_dense = space.decisions[0].name.endswith("/growth")
        growth = DenseGrowth(space) if is_dense else Growth(space)
        from controllers.eas_policy import Actions, EASPolicy

        self.rng = np.random.default_rng(seed)
        self.policy = EASPolicy(
            growth,
            embedding=embedding,
            units=units,
            wider_steps=wider_steps,
            deeper_steps=deeper_steps,
            init_scale=init_scale,
            learning_rate=learning_rate,
            entropy_weight=entropy_weight,
            rng=self.rng,
        )
        self.first, self.episode, self.rule = growth.start, episode, baseline
        self.begun = False  # whether the start network has been asked for
        self.start: int | None = None  # its trial
        self.baseline: float | None = None
        self.batch: list[tuple[Actions, float]] = []  # told, not yet learnt from

    def ask(self, n: int) -> list[Proposal]:
        if self.start is not None:
            return [self._next() for _ in range(n)]
        if self.begun:
            return []  # everything grows from the one that is being trained
        self.begun = True
        return [Proposal(self.first)]

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            if trial.id < 0:
                continue  # of another run: its actions are not known
            if "actions" not in trial.proposal.notes:
                self.begun = trial.reward is not None  # a start that failed is asked for again
                self.start = trial.id if self.begun else None
                continue
            self.batch.append((trial.proposal.notes["actions"], tan_reward(trial.reward or 0.0)))
            if len(self.batch) == self.episode:
                rewards = np.array([reward for _, reward in self.batch])
                advantages = rewards - self._baseline(float(rewards.mean()))
                self.policy.update([actions for actions, _ in self.batch], advantages)
                self.batch = []

    def state(self) -> dict[str, Any]:
        return {
            "rng": self.rng.bit_generator.state,
            "weights": self.policy.weights(),
            "begun": self.begun,
            "start": self.start,
            "baseline": self.baseline,
            "batch": [[actions, reward] for actions, reward in self.batch],
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.policy.set_weights(state["weights"])
        self.begun, self.start, self.baseline = state["begun"], state["start"], state["baseline"]
        self.batch = [(actions, reward) for actions, reward in state["batch"]]

    def _next(self) -> Proposal:
        arch, actions = self.policy.sample(self.rng)
        return Proposal(arch, parent=self.start, notes={"actions": actions})

    def _baseline(self, mean: float) -> float:
        """What is subtracted from an episode's rewards, whose mean is given."""
        before = mean if self.baseline is None else self.baseline
        self.baseline = before + (0.95 if self.rule == CODE else 0.05) * (mean - before)
        return self.baseline if self.rule == CODE else before


def tan_reward(accuracy: float) -> float:
    """tan(accuracy * pi / 2): near 1 a step is worth more (section 3)."""
    return math.tan(min(accuracy, MOST) * math.pi / 2)
