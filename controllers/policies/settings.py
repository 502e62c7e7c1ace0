"""Settings of policies, as frozen records: the nested nodes of conf/controller/*.yaml.

A record checks its own numbers, and its messages name the setting of the command line, such as
`controller.lstm.units`.
"""

import dataclasses
from collections.abc import Sequence

from nas.core.trial import ConfigError

ALL, CHOSEN = "all", "chosen"


@dataclasses.dataclass(frozen=True)
class LSTMSettings:
    """The LSTM of a policy.

    Args:
      layers: number of stacked layers.
      units: of each layer.
      init_scale: all weights start uniform in [-init_scale, init_scale].
      gate_bias: whether the gates have biases.
    """

    layers: int
    units: int
    init_scale: float
    gate_bias: bool = True


@dataclasses.dataclass(frozen=True)
class AdamSettings:
    """Adam (Kingma & Ba 2015); the defaults are that paper's, except for the learning rate."""

    learning_rate: float
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8


@dataclasses.dataclass(frozen=True)
class LogitShaping:
    """What ENAS does to logits before the softmax (official code and enas_lm).

    Args:
      temperature: logits are divided by it; None: they are not.
      tanh_constant: logits become tanh_constant * tanh(logits); None: they are not bounded.
      op_tanh_reduce: tanh_constant is divided by it in softmaxes over operations, which do not
        attend to nodes.
      locality: the logit of an earlier node loses its squared distance divided by this; None: it
        loses nothing.
      op_bias: the initial value of the learned biases of `favoured` operations; those of other
        operations start at 0. None: no biases are learned.
      favoured: names of operations.
      fixed_bias: added to the bounded logits of `favoured` operations and subtracted from those of
        all others, in decisions whose name begins with `fixed_bias_of`.
      fixed_bias_of: see fixed_bias.
      tied: whether the softmax over operations has the weights of their embedding (enas_lm).
    """

    temperature: float | None = None
    tanh_constant: float | None = 1.5
    op_tanh_reduce: float = 1.0
    locality: float | None = None
    op_bias: float | None = None
    favoured: Sequence[str] = ()
    fixed_bias: float = 0.0
    fixed_bias_of: str = ""
    tied: bool = False

    def __post_init__(self):
        for name, value in (
            ("temperature", self.temperature),
            ("tanh_constant", self.tanh_constant),
            ("op_tanh_reduce", self.op_tanh_reduce),
            ("locality", self.locality),
        ):
            if value is not None and not value > 0:
                raise ConfigError(f"controller.logits.{name} must be above 0, got {value}")


@dataclasses.dataclass(frozen=True)
class Regularization:
    """What ENAS adds to the reward (the entropy) and to the loss (the skip penalty).

    Args:
      entropy_weight: of the entropy in the reward.
      entropy_of: "all" choices of a decision, or "chosen": only -p log p of the chosen one.
      entropy_gradient: whether the entropy in the reward also has a gradient of its own.
      skip_target: the share of skip connections that the penalty draws the policy to.
      skip_weight: of the penalty in the loss.
    """

    entropy_weight: float = 0.0001
    entropy_of: str = CHOSEN
    entropy_gradient: bool = False
    skip_target: float = 0.4
    skip_weight: float = 0.8

    def __post_init__(self):
        if self.entropy_of not in (ALL, CHOSEN):
            raise ConfigError(
                f"controller.regularization.entropy_of must be {ALL} or {CHOSEN}, "
                f"got {self.entropy_of}"
            )
        if not 0.0 < self.skip_target < 1.0:
            raise ConfigError(
                f"controller.regularization.skip_target must be in (0, 1), got {self.skip_target}"
            )


@dataclasses.dataclass(frozen=True)
class EncoderSettings:
    """The recurrent network that reads an architecture which a policy grows (EAS, path-level).

    Args:
      embedding: size of the vector of each token that is read.
      units: of the encoder, in each direction.
    """

    embedding: int
    units: int

    def __post_init__(self):
        for name, value in (("embedding", self.embedding), ("units", self.units)):
            if value < 1:
                raise ConfigError(f"controller.encoder.{name} must be at least 1, got {value}")
