"""One controller for several tasks, which continues with another task: Wong et al. 2018
(arXiv:1803.02780).

REINFORCE with an LSTM that reads a learned embedding of the task at each step. Rewards are
normalised by the running mean and deviation of the rewards of the same task. A controller that
starts from one which has learnt on other tasks (`warm_start=RUN`) keeps all its weights, except
that the embeddings of its own tasks start at random.

The paper's text was not at hand: its numbers here are not confirmed. It has a skip connection
across the LSTM's cell, which is not here. Chosen here are the learning rate, the batch, the decay,
that a reward counts in its task's mean and deviation before it is normalised, that tasks take
turns, and that Adam's moments start at zero for another task.
"""

from typing import TYPE_CHECKING, Any

import numpy as np

from nas.controllers.policies.policy_gradient import PolicyGradient, check
from nas.controllers.policies.settings import AdamSettings, LSTMSettings
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Proposal, Trial

if TYPE_CHECKING:  # it imports TensorFlow
    from nas.controllers.policies.tasks import TaskPolicy

LSTM = LSTMSettings(layers=2, units=50, init_scale=0.1)
ADAM = AdamSettings(learning_rate=0.01)
SMALLEST_VARIANCE = 1e-12  # rewards of a smaller one are all taken as the mean


class Transfer(PolicyGradient):
    """Proposals name their task in notes["task"], a number below `tasks`, for the evaluator.

    Args:
      tasks: the number of tasks that are learnt at once, in turns.
      lstm, adam: of the policy, and of its updates.
      task_size: size of a task's embedding; an answer's embedding has lstm.units - task_size.
      batch_size: trials per update, of all tasks together.
      decay: of the running mean and deviation of each task's rewards.
      entropy_weight: of the policy's entropy in the objective.
      failure_reward: the reward of a failed trial.
    """

    policy: "TaskPolicy"

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        tasks: int = 1,
        lstm: LSTMSettings = LSTM,
        task_size: int = 25,
        adam: AdamSettings = ADAM,
        batch_size: int = 10,
        decay: float = 0.95,
        entropy_weight: float = 0.0,
        failure_reward: float = 0.0,
    ):
        check(batch_size, 0.0)
        if tasks < 1:
            raise ConfigError(f"controller.tasks must be at least 1, got {tasks}")
        if not 1 <= task_size < lstm.units:
            raise ConfigError(
                f"controller.task_size must be in [1, controller.lstm.units={lstm.units}), "
                f"got {task_size}"
            )
        if not 0.0 < decay < 1.0:
            raise ConfigError(f"controller.decay must be in (0, 1), got {decay}")
        from nas.controllers.policies.tasks import SpaceOfTasks, TaskPolicy

        rng = np.random.default_rng(seed)
        super().__init__(
            TaskPolicy(
                SpaceOfTasks(space, tasks),
                lstm,
                adam,
                task_size=task_size,
                entropy_weight=entropy_weight,
                rng=rng,
            ),
            rng,
            batch_size=batch_size,
            baseline_decay=decay,
            baseline=None,
            failure_reward=failure_reward,
        )
        self.tasks, self.decay, self.asked = tasks, decay, 0
        # [tasks, 3]: decayed sums of 1, of the rewards and of their squares.
        self.sums = np.zeros((tasks, 3))

    def ask(self, n: int) -> list[Proposal]:
        turns = [(self.asked + i) % self.tasks for i in range(n)]
        self.asked += n
        draws = {
            task: iter(self.policy.sample(turns.count(task), self.rng, first=(task,)))
            for task in sorted(set(turns))
        }
        return [Proposal(next(draws[task])[1:], notes={"task": task}) for task in turns]

    def take_over(self, state: dict[str, Any]) -> None:
        """Takes what another one has learnt, except for the embeddings of its tasks.

        Raises ConfigError for the state of another controller, or of one of another size.
        """
        if "sums" not in state:
            raise ConfigError("warm_start must be a run of controller=transfer, got another's")
        try:
            self.policy.take_over(state["weights"])
        except ValueError as error:
            raise ConfigError(
                f"warm_start must be a run of a controller with the same settings: {error}"
            ) from None

    def normalised(self, task: int, reward: float) -> float:
        """The reward minus its task's mean, in deviations; the reward itself counts in both."""
        self.sums[task] *= self.decay
        self.sums[task] += (1.0, reward, reward**2)
        weight, total, squares = self.sums[task]
        mean = total / weight
        variance = squares / weight - mean**2
        if variance > SMALLEST_VARIANCE:
            return float((reward - mean) / np.sqrt(variance))
        return 0.0

    def state(self) -> dict[str, Any]:
        return super().state() | {"asked": self.asked, "sums": self.sums}

    def load_state(self, state: dict[str, Any]) -> None:
        super().load_state(state)
        self.asked, self.sums = state["asked"], np.array(state["sums"])

    def _rewarded(self, trial: Trial) -> Arch:
        return trial.proposal.notes["task"], *trial.arch

    def _learn(self, archs: list[Arch], rewards: np.ndarray) -> None:
        advantages = [
            self.normalised(arch[0], reward)
            for arch, reward in zip(archs, rewards.tolist(), strict=True)
        ]
        self.policy.update(archs, np.array(advantages))
