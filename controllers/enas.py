"""REINFORCE as ENAS has it (Pham et al. 2018, arXiv:1802.03268, section 2.2; official code,
general_controller.py and micro_controller.py; enas_lm), with the policy of enas_policy.py.

The reward is the child's plus entropy_weight x the entropy of what was chosen. The baseline starts
at 0 and moves towards each reward before the advantage is formed. Skip connections are drawn to
skip_target by a penalty in the loss. The defaults are those of the official macro search.

What the code calls aggregation, the mean gradient of several replicas, is a batch here. Not said
and chosen here: a failed child is paid `failure_reward`.
"""

from collections.abc import Sequence

import numpy as np

from nas.controllers.reinforce import PolicyGradient, check
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError

ENTROPIES = ("all", "chosen")


class ENAS(PolicyGradient):
    """Follows the gradient of the expected reward.

    Args:
      layers, units: of the LSTM.
      gate_bias: whether its gates have biases.
      init_scale: weights start uniform in [-init_scale, init_scale].
      learning_rate, beta_1, beta_2, epsilon: Adam's.
      batch_size: children per gradient, whose gradients are averaged.
      baseline_decay: of the moving average of rewards.
      temperature: logits are divided by it; None: they are not.
      tanh_constant: bounds logits, as tanh_constant x tanh(logits); None: nothing does.
      op_tanh_reduce: tanh_constant is divided by it where a choice is none among nodes.
      locality: the logit of an earlier node loses its squared distance over this; None: nothing.
      op_bias: the learned biases of operations start as 0, and as this for favoured ones; None:
        none are learned.
      favoured: operations.
      fixed_bias: more for favoured operations and less for others, behind the tanh, in decisions
        whose name begins with fixed_bias_of.
      entropy_weight: of the entropy in the reward.
      entropy_of: all choices of a decision, or the chosen one alone, -p log p.
      skip_target, skip_weight: the share of skip connections, and the weight of the penalty.
      failure_reward: what a failed child is paid.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        layers: int = 1,
        units: int = 64,
        gate_bias: bool = False,
        init_scale: float = 0.1,
        learning_rate: float = 0.001,
        beta_1: float = 0.0,
        beta_2: float = 0.999,
        epsilon: float = 0.001,
        batch_size: int = 20,
        baseline_decay: float = 0.99,
        temperature: float | None = None,
        tanh_constant: float | None = 1.5,
        op_tanh_reduce: float = 1.0,
        locality: float | None = None,
        op_bias: float | None = None,
        favoured: Sequence[str] = (),
        fixed_bias: float = 0.0,
        fixed_bias_of: str = "",
        entropy_weight: float = 0.0001,
        entropy_of: str = "chosen",
        skip_target: float = 0.4,
        skip_weight: float = 0.8,
        failure_reward: float = 0.0,
    ):
        check(batch_size, baseline_decay)
        for name, value in (
            ("temperature", temperature),
            ("tanh_constant", tanh_constant),
            ("op_tanh_reduce", op_tanh_reduce),
            ("locality", locality),
        ):
            if value is not None and not value > 0:
                raise ConfigError(f"controller.{name} must be above 0, got {value}")
        if entropy_of not in ENTROPIES:
            raise ConfigError(
                f"controller.entropy_of must be {' or '.join(ENTROPIES)}, got {entropy_of}"
            )
        if not 0.0 < skip_target < 1.0:
            raise ConfigError(f"controller.skip_target must be in (0, 1), got {skip_target}")
        from nas.controllers.policies.enas import ENASPolicy

        rng = np.random.default_rng(seed)
        policy = ENASPolicy(
            space,
            layers=layers,
            units=units,
            gate_bias=gate_bias,
            init_scale=init_scale,
            learning_rate=learning_rate,
            beta_1=beta_1,
            beta_2=beta_2,
            epsilon=epsilon,
            temperature=temperature,
            tanh_constant=tanh_constant,
            op_tanh_reduce=op_tanh_reduce,
            locality=locality,
            op_bias=op_bias,
            favoured=favoured,
            fixed_bias=fixed_bias,
            fixed_bias_of=fixed_bias_of,
            entropy_of=entropy_of,
            skip_target=skip_target,
            skip_weight=skip_weight,
            rng=rng,
        )
        self.entropy_weight = entropy_weight
        super().__init__(
            policy,
            rng,
            batch_size=batch_size,
            baseline_decay=baseline_decay,
            baseline=0.0,
            failure_reward=failure_reward,
        )

    def _learn(self, archs: list[Arch], rewards: np.ndarray) -> None:
        entropies, _ = self.policy.terms(archs)
        paid = rewards + self.entropy_weight * entropies
        baselines = np.array([self._move_baseline(reward) for reward in paid.tolist()])
        self.policy.update(archs, paid - baselines)
