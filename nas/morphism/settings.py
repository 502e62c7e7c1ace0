"""How a child takes its parent's weights, as a frozen record: the node `evaluator.morphism`."""

import dataclasses

from nas.core.trial import ConfigError

NET2NET, AUTO_KERAS, SAME_SHAPE = "net2net", "auto_keras", "same_shape"
METHODS = (NET2NET, AUTO_KERAS, SAME_SHAPE)


@dataclasses.dataclass(frozen=True)
class MorphismSettings:
    """The transforms and their noise. The defaults are those of EAS' code (`noise_config`).

    Args:
      method: net2net: added channels are copies, and what reads them divides its weights among
        them (Chen et al. 2016; EAS). auto_keras: added channels are copies that what follows reads
        with zeros, behind a new batch normalization, and inserted layers are not measured (version
        0.3.7). same_shape: nothing is transformed; layers keep their weights if their shape has
        stayed (Real et al. 2017).
      wider_noise: on copies. In standard deviations of what is copied; with auto_keras, in ranges
        of the kernel, and on the zeros as well.
      deeper_noise: on inserted identities, likewise.
      best_epoch: a training that patience ends hands on the weights of the epoch with the lowest
        validation loss, not the last ones (Auto-Keras' code 0.3.7).
    """

    method: str = NET2NET
    wider_noise: float = 0.01
    deeper_noise: float = 0.001
    best_epoch: bool = False

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(
                f"evaluator.morphism.method must be one of {', '.join(METHODS)}, got {self.method}"
            )
        for name in ("wider_noise", "deeper_noise"):
            if not getattr(self, name) >= 0:
                raise ConfigError(
                    f"evaluator.morphism.{name} must not be negative, got {getattr(self, name)}; "
                    f"set evaluator.morphism.{name}=0.01"
                )


EXACT = MorphismSettings(wider_noise=0.0, deeper_noise=0.0)  # children compute what parents do
EAS_NOISE = MorphismSettings()
