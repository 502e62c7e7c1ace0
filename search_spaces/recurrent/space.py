"""What the spaces of recurrent cells share: the language model round a cell, and what it costs."""

from typing import TYPE_CHECKING, Any

from nas.core.language_skeleton import LanguageSkeleton
from nas.core.space import Cost, Space
from nas.core.trial import Arch, ConfigError

if TYPE_CHECKING:
    import keras

    from nas.search_spaces.recurrent.language_model import CellMaker


class RecurrentSpace(Space):
    """Subclasses set `decisions` and write `maker`, `cell_weights` and `graph`."""

    domain = "language"

    def maker(self, arch: Arch) -> "CellMaker":
        """The chosen cell, to be called with numbers of inputs and units and the skeleton."""
        raise NotImplementedError

    def cell_weights(self, arch: Arch, inputs: int, units: int) -> int:
        """Trainable weights of one cell; each is multiplied once a token."""
        raise NotImplementedError

    def build(self, arch: Arch, skeleton: LanguageSkeleton) -> "keras.Model":
        """tokens [batch, time] int32 -> logits [batch, time, vocabulary] float32."""
        from nas.search_spaces.recurrent.language_model import LanguageModel

        check_skeleton(skeleton)
        return LanguageModel(self.maker(arch), skeleton)

    def cost(self, arch: Arch, skeleton: LanguageSkeleton) -> Cost:
        """Of one token; activations are what each layer and the softmax give, nodes not counted."""
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
    if not isinstance(skeleton, LanguageSkeleton):
        raise ConfigError(
            f"a space of recurrent cells needs a skeleton of language models, got "
            f"{type(skeleton).__name__}; set skeleton=grammar evaluator=language"
        )
