"""REINFORCE over one softmax per decision, as NAS-Bench-201 ran it (Dong & Yang 2020, section 4).

There is no network: the policy is a table of logits. The baseline is a bias-corrected moving
average that includes the reward it is subtracted from, as in the released code; so the first
gradient is zero. The first version of that code ended with the policy's most probable architecture,
the present version ends with the best architecture of the history: see `recommend`.

Departure: if choices depend on earlier ones, closed choices are masked out of the softmax.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.controllers.policies.adam import TableAdam
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial

BEST, POLICY = "best", "policy"


class ReinforceSoftmax:
    """One Adam step along each reward's policy gradient.

    Args:
      learning_rate: of Adam.
      baseline_decay: of the moving average of rewards.
      init_scale: standard deviation of the initial logits, which are normal draws.
      failure_reward: the reward of a failed trial.
      final: the search ends with the "best" architecture of the history, or with the "policy"'s
        most probable one.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        learning_rate: float = 0.5,
        baseline_decay: float = 0.9,
        init_scale: float = 0.001,
        failure_reward: float = 0.0,
        final: str = BEST,
    ):
        if final not in (BEST, POLICY):
            raise ConfigError(f"controller.final must be {BEST} or {POLICY}, got {final}")
        if not 0.0 <= baseline_decay < 1.0:
            raise ConfigError(f"controller.baseline_decay must be in [0, 1), got {baseline_decay}")
        self.space, self.rng = space, np.random.default_rng(seed)
        self.decay, self.failure_reward, self.final = baseline_decay, failure_reward, final
        counts = [len(decision.choices) for decision in space.decisions]
        self.closed = np.arange(max(counts)) >= np.array(counts)[:, None]  # [decisions, width]
        self.logits = init_scale * self.rng.standard_normal(self.closed.shape)
        self.adam = TableAdam(self.logits.shape, learning_rate)
        self.sum, self.weight = 0.0, 0.0  # of the baseline

    @property
    def baseline(self) -> float:
        """Bias-corrected: after the first reward it is that reward."""
        return self.sum / self.weight

    def ask(self, n: int) -> list[Proposal]:
        return [Proposal(self._draw()) for _ in range(n)]

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            reward = self.failure_reward if trial.reward is None else trial.reward
            self.sum = self.decay * self.sum + (1 - self.decay) * reward
            self.weight = self.decay * self.weight + (1 - self.decay)
            self.logits = self.logits + self.adam.step(
                (reward - self.baseline) * self.gradient(trial.arch)
            )

    def gradient(self, arch: Arch) -> np.ndarray:
        """d log P(arch) / d logits: [decisions, width]."""
        gradient = -self._probabilities(arch)
        gradient[np.arange(len(arch)), arch] += 1.0
        return gradient

    def recommend(self) -> Arch | None:
        """The policy's most probable choices, or None for the best architecture of the history."""
        if self.final == BEST:
            return None
        arch: Arch = ()
        for logits in self.logits:
            arch += (max(self.space.allowed(arch), key=lambda choice: logits[choice]),)
        return arch

    def state(self) -> dict[str, Any]:
        return {
            "rng": self.rng.bit_generator.state,
            "logits": self.logits,
            **self.adam.state(),
            "sum": self.sum,
            "weight": self.weight,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self.rng.bit_generator.state = state["rng"]
        self.logits = np.array(state["logits"])
        self.adam.load_state(state)
        self.sum, self.weight = state["sum"], state["weight"]

    def _draw(self) -> Arch:
        uniform = self.rng.random(len(self.logits))
        if not self.space.is_conditional:
            cumulative = np.cumsum(self._softmax(self.closed), 1)
            chosen = (cumulative < (uniform * cumulative[:, -1])[:, None]).sum(1)
            return tuple(chosen.tolist())
        arch: Arch = ()
        for logits, u in zip(self.logits, uniform, strict=True):
            allowed = self.space.allowed(arch)
            weight = np.exp(logits[list(allowed)] - logits[list(allowed)].max()).cumsum()
            arch += (allowed[int((weight < u * weight[-1]).sum())],)
        return arch

    def _probabilities(self, arch: Arch) -> np.ndarray:
        """[decisions, width], given the choices of `arch` before each decision."""
        closed = self.closed
        if self.space.is_conditional:
            closed = np.ones_like(closed)
            for i in range(len(arch)):
                closed[i, list(self.space.allowed(tuple(arch[:i])))] = False
        return self._softmax(closed)

    def _softmax(self, closed: np.ndarray) -> np.ndarray:
        weight = np.exp(np.where(closed, -np.inf, self.logits - self.logits.max(1, keepdims=True)))
        return weight / weight.sum(1, keepdims=True)
