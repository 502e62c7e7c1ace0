"""One controller for several tasks, which goes on with a new one: Wong et al. 2018.

arXiv:1803.02780. REINFORCE with an LSTM that reads a learned embedding of the task at each step. A
reward is normalised by the running mean and deviation of its own task's rewards. Of a controller
that has learnt on other tasks (`warm_start=RUN`) all weights are kept and the embeddings of the
tasks are new.

The paper's text was not at hand: its numbers here are not checked, and chosen here are the learning
rate, the batch, the decay, that a reward counts among its own task's before it is normalised, that
tasks take turns, and that Adam's moments start anew with a new task.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.controllers.reinforce import PolicyGradient, check
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial


class Transfer(PolicyGradient):
    """Proposals say their task as notes["task"], a number below `tasks`; evaluators may read it.

    Args:
      tasks: learnt at once, in turns.
      layers, units: of the LSTM.
      task_size: of a task's embedding; the embedding of an answer has units - task_size.
      init_scale: weights start uniform in [-init_scale, init_scale].
      learning_rate: Adam's.
      batch_size: children per gradient, of all tasks.
      decay: of the running mean and deviation of each task's rewards.
      entropy_weight: of the policy's entropy in the objective.
      failure_reward: what a failed child is paid.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        tasks: int = 1,
        layers: int = 2,
        units: int = 50,
        task_size: int = 25,
        init_scale: float = 0.1,
        learning_rate: float = 0.01,
        batch_size: int = 10,
        decay: float = 0.95,
        entropy_weight: float = 0.0,
        failure_reward: float = 0.0,
    ):
        check(batch_size, 0.0)
        if tasks < 1:
            raise ConfigError(f"controller.tasks must be at least 1, got {tasks}")
        if not 1 <= task_size < units:
            raise ConfigError(
                f"controller.task_size must be in [1, controller.units={units}), got {task_size}"
            )
        if not 0.0 < decay < 1.0:
            raise ConfigError(f"controller.decay must be in (0, 1), got {decay}")
        from nas.controllers.policies.tasks import TaskPolicy, Tasks

        rng = np.random.default_rng(seed)
        policy = TaskPolicy(
            Tasks(space, tasks),
            task_size=task_size,
            layers=layers,
            units=units,
            init_scale=init_scale,
            learning_rate=learning_rate,
            entropy_weight=entropy_weight,
            rng=rng,
        )
        super().__init__(
            policy,
            rng,
            batch_size=batch_size,
            baseline_decay=decay,
            baseline=None,
            failure_reward=failure_reward,
        )
        self.tasks, self.decay, self.asked = tasks, decay, 0
        self.sums = np.zeros((tasks, 3))  # of 1, reward and its square, of each task, decayed

    def ask(self, n: int) -> list[Proposal]:
        turns = [(self.asked + i) % self.tasks for i in range(n)]
        self.asked += n
        drawn = {
            task: iter(self.policy.sample(turns.count(task), self.rng, given=(task,)))
            for task in sorted(set(turns))
        }
        return [Proposal(next(drawn[task])[1:], notes={"task": task}) for task in turns]

    def tell(self, trials: Sequence[Trial]) -> None:
        for trial in trials:
            reward = self.failure_reward if trial.reward is None else trial.reward
            self.batch.append(((trial.proposal.notes["task"], *trial.arch), reward))
            if len(self.batch) == self.batch_size:
                self._learn([arch for arch, _ in self.batch], np.array([r for _, r in self.batch]))
                self.batch = []

    def take_over(self, state: dict[str, Any]) -> None:
        """Everything that another one has learnt but its tasks. Raises ConfigError."""
        if "sums" not in state:
            raise ConfigError("warm_start must be a run of controller=transfer, got another's")
        try:
            self.policy.take_over(state["weights"])
        except ValueError as error:
            raise ConfigError(
                f"warm_start must be a run of a controller with the same settings: {error}"
            ) from None

    def normalised(self, task: int, reward: float) -> float:
        """In deviations of its task's rewards from their mean, the reward itself among them."""
        self.sums[task] *= self.decay
        self.sums[task] += (1.0, reward, reward**2)
        weight, total, squares = self.sums[task]
        mean = total / weight
        variance = squares / weight - mean**2
        return float((reward - mean) / np.sqrt(variance)) if variance > 1e-12 else 0.0

    def state(self) -> dict[str, Any]:
        return super().state() | {"asked": self.asked, "sums": self.sums}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.asked, self.sums = state["asked"], np.array(state["sums"])

    def _learn(self, archs: list[Arch], rewards: np.ndarray) -> None:
        pairs = zip(archs, rewards.tolist(), strict=True)
        self.policy.update(archs, np.array([self.normalised(arch[0], r) for arch, r in pairs]))
