"""Q-learning of MetaQNN (Baker et al. 2017, arXiv:1611.02167, section 4.3 and Table 2).

An agent makes one decision after another, epsilon-greedily. A table has the value Q of each choice
in each state; the reward comes with the last choice of an architecture, and the target of an
earlier choice is the largest Q of the next state. Epsilon falls by a schedule that counts unique
architectures.

An architecture that is already known is not trained again: its reward is taken from memory, and the
agent continues until it meets an unknown one.

Departures: the table starts at 0.5 (appendix D.1 and code; Algorithm 1 says 0). After each reward
100 architectures are replayed (paper; code: 128), drawn from a memory that has each architecture
once, while the code's memory has one entry for each time it was drawn.

The paper does not say what a failed trial is worth. In the code, and here, nothing is learnt from a
network that is too large for the memory, which may be drawn again; one that no learning rate trains
has the accuracy of a guess (bowenbaker/metaqnn, caffe_client.py, lines 86 to 93; `gives_up` of
nas/evaluators/scratch.py). Any other failed trial has the reward `failure_reward`.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from nas.core.space import Space
from nas.core.trial import OOM, Arch, ConfigError, Proposal, Trial

# Epsilon, and for how many unique architectures it stays (Table 2): 2,700 in all.
SCHEDULE = (
    *((1.0, 1500), (0.9, 100), (0.8, 100), (0.7, 100)),
    *((0.6, 150), (0.5, 150), (0.4, 150), (0.3, 150), (0.2, 150), (0.1, 150)),
)

Row = dict[int, float]  # Q of each open choice of one state
Path = list[tuple[Row, int]]  # the row of each state of an architecture, and its choice there


class QLearning:
    """Epsilon-greedy Q-learning with experience replay.

    Args:
      schedule: pairs (epsilon, unique architectures); after all of them the last epsilon stays.
      models: scales the schedule to this many unique architectures; None: it is not scaled.
      initial_value: of every Q.
      learning_rate: alpha, of Q.
      discount: gamma, of later rewards.
      replays: architectures drawn from memory after each reward.
      max_repeats: after this many known architectures in a row the last one is trained again.
      failure_reward: the reward of a failed trial, but for one that ran out of memory.
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
        # The memory that is replayed: for each architecture its place in two lists.
        self.memory: dict[Arch, int] = {}
        self.rewards: list[float] = []
        self.paths: list[Path] = []
        self.known: dict[Any, Arch] = {}  # by the space's key, the first of `memory` that has it
        self.pending: list[Arch] = []  # asked for, not told

    def ask(self, n: int) -> list[Proposal]:
        return [Proposal(self._next()) for _ in range(n)]

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            self.pending = [arch for arch in self.pending if arch != trial.arch]
            if trial.status == OOM:
                continue
            reward = self.failure_reward if trial.reward is None else trial.reward
            self._remember(trial.arch, reward)

    def state(self) -> dict[str, Any]:
        rows = list(self.q.values())
        return {
            "states": _packed(self.q),
            "choices": _packed(rows),
            "values": np.array([value for row in rows for value in row.values()], float),
            "archs": _packed(self.memory),
            "rewards": np.array(self.rewards, float),
            "pending": [list(arch) for arch in self.pending],
            "rng": self.rng.bit_generator.state,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        values = iter(np.asarray(state["values"]).tolist())
        choices = _unpacked(state["choices"])
        rows = [{choice: next(values) for choice in open_choices} for open_choices in choices]
        self.q = dict(zip(_unpacked(state["states"]), rows, strict=True))
        self.memory = {arch: i for i, arch in enumerate(_unpacked(state["archs"]))}
        self.rewards = np.asarray(state["rewards"]).tolist()
        self.paths = [self._path(arch) for arch in self.memory]
        self.known = {}
        for arch in self.memory:
            self.known.setdefault(self.space.key(arch), arch)
        self.pending = [tuple(arch) for arch in state["pending"]]
        self.rng.bit_generator.state = state["rng"]

    def epsilon(self, unique: int) -> float:
        """Epsilon after this many unique architectures."""
        total, end = sum(count for _, count in self.schedule), 0.0
        for epsilon, count in self.schedule:
            end += count * (self.models / total if self.models else 1)
            if unique < end:
                return epsilon
        return self.schedule[-1][0]

    def _next(self) -> Arch:
        """The next architecture to train. The agent learns from known ones that it meets before."""
        waiting = {self.space.key(arch) for arch in self.pending}
        epsilon = self.epsilon(len(self.known) + len(waiting))
        for _ in range(self.max_repeats):
            arch = self._walk(epsilon)
            key = self.space.key(arch)
            if key in self.known:
                self._remember(arch, self.rewards[self.memory[self.known[key]]])
            elif key not in waiting:
                break
        self.pending.append(arch)
        return arch

    def _walk(self, epsilon: float) -> Arch:
        """An architecture, each choice random with probability epsilon and else one of the best."""
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
        """The row of the state after `prefix`; None: there is nothing to choose."""
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
        """Puts the reward into memory and replays, which is all the learning (Algorithm 1)."""
        if arch not in self.memory:
            self.memory[arch] = len(self.rewards)
            self.rewards.append(reward)
            self.paths.append(self._path(arch))
            self.known.setdefault(self.space.key(arch), arch)
        self.rewards[self.memory[arch]] = reward
        for i in self.rng.integers(len(self.rewards), size=self.replays).tolist():
            self._learn(self.paths[i], self.rewards[i])

    def _learn(self, path: Path, reward: float) -> None:
        """Q += alpha (r + gamma max Q' - Q), last choice first; r is 0 except for that choice."""
        target = reward
        for row, choice in reversed(path):
            row[choice] += self.learning_rate * (target - row[choice])
            target = self.discount * max(row.values())


def _packed(rows: Iterable[Iterable[int]]) -> dict[str, np.ndarray]:
    """Sequences of different lengths, as one flat array and one of lengths."""
    listed = [list(row) for row in rows]
    flat = [value for row in listed for value in row]
    return {"flat": np.array(flat, int), "lengths": np.array([len(row) for row in listed], int)}


def _unpacked(packed: dict[str, Any]) -> list[tuple[int, ...]]:
    values = iter(np.asarray(packed["flat"]).tolist())
    return [tuple(next(values) for _ in range(n)) for n in np.asarray(packed["lengths"]).tolist()]


def _check_schedule(schedule: Sequence[Sequence[float]], models: int | None) -> None:
    is_valid = all(len(pair) == 2 and 0 <= pair[0] <= 1 and pair[1] >= 1 for pair in schedule)
    if not schedule or not is_valid:
        raise ConfigError(
            "controller.schedule must be pairs (epsilon in [0, 1], architectures from 1), "
            f"got {[list(pair) for pair in schedule]}; set controller.schedule=[[1.0,100],[0.1,50]]"
        )
    if models is not None and models < 1:
        raise ConfigError(
            f"controller.models must be null or at least 1, got {models}; set controller.models=100"
        )


def _check_learning(rate: float, discount: float, replays: int, max_repeats: int) -> None:
    for name, value, rule, is_valid, example in (
        ("learning_rate", rate, "in (0, 1]", 0 < rate <= 1, 0.01),
        ("discount", discount, "in [0, 1]", 0 <= discount <= 1, 1.0),
        ("replays", replays, "at least 1", replays >= 1, 100),
        ("max_repeats", max_repeats, "at least 1", max_repeats >= 1, 1000),
    ):
        if not is_valid:
            raise ConfigError(
                f"controller.{name} must be {rule}, got {value}; set controller.{name}={example}"
            )
