"""When and how the policy of a growing controller learns: the node `controller.updates`."""

import dataclasses

from nas.core.trial import ConfigError

CODE, PAPER = "code", "paper"  # rules of the baseline
ZERO, START, MEAN = "zero", "start", "mean"  # first baselines


@dataclasses.dataclass(frozen=True)
class UpdateSettings:
    """The REINFORCE updates of EAS and path-level search.

    Args:
      episode: networks per update.
      baseline: "code": it moves before it is subtracted, 0.95 of the way to the episode's mean;
        "paper": it moves afterwards, 0.05 of the way.
      first_baseline: where it begins: "zero" (EAS' code), "start", the start network's reward
        (PathLevel-EAS' code), or "mean", the first episode's mean reward.
      entropy_weight: of the policy's entropy in the objective.
      mean_entropy: the entropy is the mean over a network's steps, and over the questions of a step
        (EAS' code); false: their sum (PathLevel-EAS' code).
    """

    episode: int = 10
    baseline: str = CODE
    first_baseline: str = ZERO
    entropy_weight: float = 0.00001
    mean_entropy: bool = True

    def __post_init__(self) -> None:
        if self.episode < 1:
            raise ConfigError(
                f"controller.updates.episode must be at least 1, got {self.episode}; "
                "set controller.updates.episode=10"
            )
        for name, rules in (
            ("baseline", (CODE, PAPER)),
            ("first_baseline", (ZERO, START, MEAN)),
        ):
            if getattr(self, name) not in rules:
                raise ConfigError(
                    f"controller.updates.{name} must be one of {', '.join(rules)}, got "
                    f"{getattr(self, name)}; set controller.updates.{name}={rules[0]}"
                )
