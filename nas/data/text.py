"""A text for language models, split, as every text module of benchmarks/ gives it.

The contract of a data set is that of nas/data/images.py: `load(**settings) -> TextData`, and where they
make sense `look(**settings) -> Found` and `prepare(**settings)`.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from nas.core.trial import ConfigError
from nas.data.images import PARTS


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TextData:
    """One stream of tokens for each part; search sees train and valid, test is for the end alone.

    train, valid, test: [tokens] int32 in [0, vocabulary). words: of each token number. entropy:
    nats a token of the parts' own tokens under the distribution that made them, by part, where it
    is known: no model's mean loss over a long part is below it. The first token of a part is the
    one that nothing precedes; it is given, never predicted.

    Raises ConfigError where an array breaks these rules.
    """

    name: str
    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    words: tuple[str, ...]
    entropy: Mapping[str, float] | None = None
    level: str = "word"  # or character: what a token is

    def __post_init__(self):
        if len(set(self.words)) != len(self.words) or not self.words:
            raise ConfigError(f"text {self.name} must have at least one word, each different")
        for part in PARTS:
            tokens = getattr(self, part)
            if tokens.ndim != 1 or tokens.dtype != np.int32 or len(tokens) < 2:
                raise ConfigError(
                    f"text {self.name}, {part} part: tokens must be int32 [tokens], at least 2, "
                    f"got {tokens.dtype} {list(tokens.shape)}"
                )
            low, high = int(tokens.min()), int(tokens.max())
            if low < 0 or high >= self.vocabulary:
                raise ConfigError(
                    f"text {self.name}, {part} part: tokens must be in [0, {self.vocabulary - 1}], "
                    f"got {low} to {high}"
                )

    @property
    def vocabulary(self) -> int:
        return len(self.words)


def by_frequency(tokens: list[str]) -> tuple[str, ...]:
    """The different words, the most frequent first; equally frequent ones in the alphabet's order.

    As the TensorFlow tutorial numbers Penn Treebank's (tutorials/rnn/ptb/reader.py).
    """
    words, counts = np.unique(tokens, return_counts=True)  # sorted
    return tuple(str(word) for word in words[np.argsort(-counts, kind="stable")])


def numbered(tokens: list[str], words: tuple[str, ...]) -> np.ndarray:
    """[tokens] int32. Raises KeyError for a token that is no word."""
    number = {word: i for i, word in enumerate(words)}
    return np.array([number[token] for token in tokens], np.int32)


def first_tokens(tokens: np.ndarray, count: int | None) -> np.ndarray:
    """The first `count` tokens, all where it is None. Raises ConfigError for a wrong count."""
    if count is None:
        return tokens
    if isinstance(count, bool) or not isinstance(count, int) or not 2 <= count <= len(tokens):
        raise ConfigError(
            f"dataset.train_size must be null (all) or a number of tokens in [2, {len(tokens)}], "
            f"got {count}; set dataset.train_size=null"
        )
    return tokens[:count]
