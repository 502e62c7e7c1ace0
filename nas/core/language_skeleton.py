"""The fixed part of a language model around a recurrent cell: sizes, dropouts, initial weights."""

import dataclasses

from nas.core.trial import ConfigError

RATES = (
    "dropout_word", "dropout_input", "dropout_hidden", "dropout_output", "dropout_cell_input",
    "dropout_cell_state", "weight_drop",
)  # fmt: skip


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageSkeleton:
    """Sizes and regularisation of a recurrent language model.

    The data set gives the vocabulary, the configuration the rest.
    """

    vocabulary: int
    units: int = 200  # of each layer but the last
    last_units: int | None = None  # of the last layer; None: units
    embedding: int = 200  # numbers per word
    layers: int = 2
    tied: bool = False  # True: the softmax uses the embedding's weights (Inan et al. 2017)
    softmax_bias: bool = True
    # Initial weights are uniform in +-init; None: in +-1/sqrt(units), as in PyTorch.
    init: float | None = 0.1
    init_embedding: float = 0.1  # the initial embedding is uniform in +-init_embedding
    variational: bool = False  # True: one mask for all steps (Gal & Ghahramani 2016)
    dropout_word: float = 0.0  # share of words whose embedding is zero in a sequence
    dropout_input: float = 0.0  # rate after the embedding
    dropout_hidden: float = 0.0  # rate between layers
    dropout_output: float = 0.0  # rate before the softmax
    dropout_cell_input: float = 0.0  # rate of the cell's input, one mask per sequence
    # rate of the state that the cell's matrix products read, one mask per sequence
    dropout_cell_state: float = 0.0
    # share of recurrent weights dropped in a sequence (Merity et al. 2018)
    weight_drop: float = 0.0

    def __post_init__(self) -> None:
        for name in ("vocabulary", "units", "embedding", "layers"):
            _check_whole(name, getattr(self, name))
        if self.last_units is not None:
            _check_whole("last_units", self.last_units)
        for name in RATES:
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(_wrong(name, "be in [0, 1)", getattr(self, name), 0.0))
        for name in ("init", "init_embedding"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(_wrong(name, "be above 0", value, 0.1))
        if self.tied and self.sizes[-1] != self.embedding:
            raise ConfigError(
                "skeleton.tied needs a last layer of as many units as the embedding has numbers, "
                f"got {self.sizes[-1]} and {self.embedding}; set "
                f"skeleton.last_units={self.embedding}"
            )

    @property
    def sizes(self) -> tuple[int, ...]:
        """The units of each layer."""
        last = self.units if self.last_units is None else self.last_units
        return (self.units,) * (self.layers - 1) + (last,)


def _check_whole(name: str, value: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(_wrong(name, "be a whole number, at least 1", value, 1))


def _wrong(name: str, rule: str, value: object, example: object) -> str:
    return f"skeleton.{name} must {rule}, got {value}; set skeleton.{name}={example}"
