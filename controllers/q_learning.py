"""Q-learning of MetaQNN (Baker et al. 2017, arXiv:1611.02167, section 4.3 and Table 2).

An agent decides epsilon-greedily, state by state. A table has the value Q of each choice in each
state; the reward comes with the last choice of an architecture, and each choice before is worth
what the best one behind it is. Epsilon falls by a schedule that counts unique architectures.

A proposal that is known already is not trained again: its reward is answered from memory, and the
agent goes on until it meets a new one.

Departures. The table starts at 0.5 (appendix D.1 and code; Algorithm 1 says 0). After each answer
100 architectures are replayed (paper; code: 128), drawn from a memory that has each once, where the
code's has one entry for each time it was drawn. A failed child is paid `failure_reward`; the paper
does not say.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial

# Epsilon, and how many unique architectures it holds for (Table 2): 2,700 in all.
SCHEDULE = (
    *((1.0, 1500), (0.9, 100), (0.8, 100), (0.7, 100)),
    *((0.6, 150), (0.5, 150), (0.4, 150), (0.3, 150), (0.2, 150), (0.1, 150)),
)

Row = dict[int, float]  # Q of each choice that is open in one state
Path = list[tuple[Row, int]]  # what was open on the way to an architecture, and what was chosen


class QLearning:
    """Epsilon-greedy Q-learning with experience replay.

    Args:
      schedule: pairs (epsilon, unique architectures); behind them all the last epsilon stays.
      models: stretches or squeezes the schedule to so many unique architectures; None: as it is.
      initial_value: of every Q.
      learning_rate: of Q, alpha.
      discount: of later rewards, gamma.
      replays: architectures drawn from memory after each answer.
      max_repeats: so many known proposals in a row, and the last one is trained again.
      failure_reward: what a failed child is paid.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        schedule: Sequence[Sequence[float]] = SCHEDULE,
        models: int | None = None,
        initial_value: float = 0.5,
        learning_rate: float = 0.01,
        discount: float = 1.0,
        replays: int = 100,
        max_repeats: int = 1000,
        failure_reward: float = 0.0,
    ):
        _check_schedule(schedule, models)
        _check_learning(learning_rate, discount, replays, max_repeats)
        self.space = space
        self.schedule, self.models = schedule, models
        self.initial_value, self.failure_reward = initial_value, failure_reward
        self.learning_rate, self.discount = learning_rate, discount
        self.replays, self.max_repeats = replays, max_repeats
        self.rng = np.random.default_rng(seed)
        self.q: dict[tuple[int, ...], Row] = {}  # by the space's state
        self.rewards: dict[Arch, float] = {}  # the memory that is replayed
        self.paths: list[Path] = []  # of `rewards`, in their order
        self.known: dict[Any, Arch] = {}  # by the space's key, the first in `rewards`
        self.pending: list[Arch] = []  # proposed and not yet answered

    def ask(self, n: int) -> list[Proposal]:
        return [Proposal(self._next()) for _ in range(n)]

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            self.pending = [arch for arch in self.pending if arch != trial.arch]
            self._remember(
                trial.arch, self.failure_reward if trial.reward is None else trial.reward
            )

    def state(self) -> dict[str, Any]:
        rows = list(self.q.values())
        return {
            "states": _packed(self.q),
            "choices": _packed(rows),
            "values": np.array([value for row in rows for value in row.values()], float),
            "archs": _packed(self.rewards),
            "rewards": np.array(list(self.rewards.values()), float),
            "pending": [list(arch) for arch in self.pending],
            "rng": self.rng.bit_generator.state,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        values = iter(np.asarray(state["values"]).tolist())
        choices = _unpacked(state["choices"])
        rows = [{choice: next(values) for choice in open_choices} for open_choices in choices]
        self.q = dict(zip(_unpacked(state["states"]), rows, strict=True))
        rewards = np.asarray(state["rewards"]).tolist()
        self.rewards = dict(zip(_unpacked(state["archs"]), rewards, strict=True))
        self.paths = [self._path(arch) for arch in self.rewards]
        self.known = {}
        for arch in self.rewards:
            self.known.setdefault(self.space.key(arch), arch)
        self.pending = [tuple(arch) for arch in state["pending"]]
        self.rng.bit_generator.state = state["rng"]

    def epsilon(self, unique: int) -> float:
        """What the schedule says behind so many unique architectures."""
        total, end = sum(count for _, count in self.schedule), 0.0
        for epsilon, count in self.schedule:
            end += count * (self.models / total if self.models else 1)
            if unique < end:
                return epsilon
        return self.schedule[-1][0]

    def _next(self) -> Arch:
        """The next architecture to train; what is met on the way and known is learnt from."""
        waiting = {self.space.key(arch) for arch in self.pending}
        epsilon = self.epsilon(len(self.known) + len(waiting))
        for _ in range(self.max_repeats):
            arch = self._walk(epsilon)
            key = self.space.key(arch)
            if key in self.known:
                self._remember(arch, self.rewards[self.known[key]])
            elif key not in waiting:
                break
        self.pending.append(arch)
        return arch

    def _walk(self, epsilon: float) -> Arch:
        arch: Arch = ()
        while len(arch) < len(self.space.decisions):
            choices: Sequence[int] = self.space.allowed(arch)
            if len(choices) > 1 and self.rng.random() >= epsilon:
                row = self._row(arch)
                if row is not None:
                    best = max(row.values())
                    choices = [choice for choice, value in row.items() if value == best]
            arch += (choices[int(self.rng.random() * len(choices))],)
        return arch

    def _row(self, prefix: Arch) -> Row | None:
        state = self.space.state(prefix)
        if state is None:
            return None
        if state not in self.q:
            self.q[state] = dict.fromkeys(self.space.allowed(prefix), self.initial_value)
        return self.q[state]

    def _path(self, arch: Arch) -> Path:
        rows = [(self._row(arch[:i]), choice) for i, choice in enumerate(arch)]
        return [(row, choice) for row, choice in rows if row is not None]

    def _remember(self, arch: Arch, reward: float) -> None:
        """Then replays: this is where all learning happens (Algorithm 1)."""
        if arch not in self.rewards:
            self.paths.append(self._path(arch))
            self.known.setdefault(self.space.key(arch), arch)
        self.rewards[arch] = reward
        rewards = list(self.rewards.values())
        for i in self.rng.integers(len(rewards), size=self.replays).tolist():
            self._learn(self.paths[i], rewards[i])

    def _learn(self, path: Path, reward: float) -> None:
        """Q += alpha (r + gamma max Q' - Q), backwards; r is 0 but for the last choice."""
        target = reward
        for row, choice in reversed(path):
            row[choice] += self.learning_rate * (target - row[choice])
            target = self.discount * max(row.values())


def _packed(rows: Iterable[Iterable[int]]) -> dict[str, np.ndarray]:
    """Sequences of different lengths as two arrays."""
    listed = [list(row) for row in rows]
    flat = [value for row in listed for value in row]
    return {"flat": np.array(flat, int), "lengths": np.array([len(row) for row in listed], int)}


def _unpacked(packed: dict[str, Any]) -> list[tuple[int, ...]]:
    values = iter(np.asarray(packed["flat"]).tolist())
    return [tuple(next(values) for _ in range(n)) for n in np.asarray(packed["lengths"]).tolist()]


def _check_schedule(schedule: Sequence[Sequence[float]], models: int | None) -> None:
    right = all(len(pair) == 2 and 0 <= pair[0] <= 1 and pair[1] >= 1 for pair in schedule)
    if not schedule or not right:
        raise ConfigError(
            "controller.schedule must be pairs (epsilon in [0, 1], architectures from 1), "
            f"got {[list(pair) for pair in schedule]}; set controller.schedule=[[1.0,100],[0.1,50]]"
        )
    if models is not None and models < 1:
        raise ConfigError(
            f"controller.models must be null or at least 1, got {models}; set controller.models=100"
        )


def _check_learning(rate: float, discount: float, replays: int, max_repeats: int) -> None:
    for name, value, rule, right, example in (
        ("learning_rate", rate, "in (0, 1]", 0 < rate <= 1, 0.01),
        ("discount", discount, "in [0, 1]", 0 <= discount <= 1, 1.0),
        ("replays", replays, "at least 1", replays >= 1, 100),
        ("max_repeats", max_repeats, "at least 1", max_repeats >= 1, 1000),
    ):
        if not right:
            raise ConfigError(
                f"controller.{name} must be {rule}, got {value}; set controller.{name}={example}"
            )
