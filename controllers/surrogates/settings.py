"""Settings of surrogates, as frozen records: the nested nodes of conf/controller/*.yaml."""

import dataclasses

from nas.core.trial import ConfigError


@dataclasses.dataclass(frozen=True)
class GaussianProcessSettings:
    """The Gaussian process that predicts rewards.

    Args:
      kernel: exponentiated_quadratic, matern_three_halves, matern_five_halves or
        rational_quadratic, as a function of the distance d of two architectures.
      length_scale: l of the kernel, such as exp(-d^2 / 2 l^2).
      noise: variance of an observed value; the variance of the process itself is 1.
    """

    kernel: str
    length_scale: float
    noise: float

    def __post_init__(self):
        if self.noise <= 0:
            raise ConfigError(
                f"controller.gaussian_process.noise must be above 0, got {self.noise}"
            )


@dataclasses.dataclass(frozen=True)
class AnnealingSettings:
    """The simulated annealing over descendants of the trained networks (annealing.py).

    Args:
      neighbours: the largest number of children of an accepted network.
      count_met: whether children that were met before count among them, as in the code of
        Auto-Keras; else others are drawn in their place, at most twice as many as `neighbours`.
      temperature: the temperature at the start.
      min_temperature: the annealing ends when the temperature has fallen to it.
      decay: factor of the temperature for each network that is taken from the queue.
    """

    neighbours: int
    temperature: float
    min_temperature: float
    decay: float
    count_met: bool = True

    def __post_init__(self):
        if self.neighbours < 1:
            raise ConfigError(
                f"controller.annealing.neighbours must be at least 1, got {self.neighbours}"
            )
        if not 0 < self.min_temperature < self.temperature:
            raise ConfigError(
                "controller.annealing.min_temperature must be in (0, "
                f"controller.annealing.temperature={self.temperature}), got {self.min_temperature}"
            )
        if not 0 < self.decay < 1:
            raise ConfigError(f"controller.annealing.decay must be in (0, 1), got {self.decay}")
