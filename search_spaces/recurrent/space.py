"""Spaces of recurrent cells: the language model around a cell, and its cost."""

from typing import TYPE_CHECKING, Any

from nas.core.language_skeleton import LanguageSkeleton
from nas.core.space import Cost, Space
from nas.core.trial import Arch, ConfigError

if TYPE_CHECKING:
    import keras

    from nas.search_spaces.recurrent.language_model import CellMaker


class RecurrentSpace(Space):
    """A space whose architectures are cells of a language model.

    Subclasses set `decisions` and write `maker`, `cell_weights` and `graph`.
    """

    domain = "language"

    def maker(self, arch: Arch) -> "CellMaker":
        """A function (inputs, units, skeleton) -> the cell that `arch` describes."""
        raise NotImplementedError

    def cell_weights(self, arch: Arch, inputs: int, units: int) -> int:
        """Trainable weights of one cell; each is used in one multiplication for each token."""
        raise NotImplementedError

    def build(self, arch: Arch, skeleton: LanguageSkeleton) -> "keras.Model":
        """tokens [batch, time] int32 -> logits [batch, time, vocabulary] float32."""
        from nas.search_spaces.recurrent.language_model import LanguageModel

        check_skeleton(skeleton)
        return LanguageModel(self.maker(arch), skeleton)

    def cost(self, arch: Arch, skeleton: LanguageSkeleton) -> Cost:
        """The cost of one token. Activations are the outputs of layers and softmax."""
        check_skeleton(skeleton)
        self.check(arch)
        sizes, words = skeleton.sizes, skeleton.vocabulary
        inputs = (skeleton.embedding, *sizes[:-1])
        cells = sum(self.cell_weights(arch, i, n) for i, n in zip(inputs, sizes, strict=True))
        softmax = words * sizes[-1]
        weights = cells + words * skeleton.embedding + words * skeleton.softmax_bias
        return Cost(
            parameters=weights + (0 if skeleton.tied else softmax),
            flops=cells + softmax,
            activations=skeleton.embedding + sum(sizes) + words,
        )


def check_skeleton(skeleton: Any) -> None:
    """Raises ConfigError if `skeleton` is not that of a language model."""
    if not isinstance(skeleton, LanguageSkeleton):
        raise ConfigError(
            f"a space of recurrent cells needs a skeleton of language models, got "
            f"{type(skeleton).__name__}; set skeleton=grammar evaluator=language"
        )
