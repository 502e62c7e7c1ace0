"""Texts for language models: token numbers in three parts, and the words that they stand for.

A data set is a module of benchmarks/ with `load(**settings) -> TextData` and, if they make sense,
`look(**settings) -> Found` and `prepare(**settings)`, as nas/data/images.py says.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from nas.core.trial import ConfigError
from nas.data.images import PARTS


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TextData:
    """A text in three parts. A search uses train and valid only; test is for the end.

    A part's first token is never predicted: nothing precedes it.

    Raises ConfigError if an array breaks these rules.
    """

    name: str
    train: np.ndarray  # [tokens] int32 in [0, vocabulary), as the other parts
    valid: np.ndarray
    test: np.ndarray
    words: tuple[str, ...]  # of each token number
    # By part, if known: nats per token of its tokens under the distribution that generated them. No
    # model's mean loss over a long part is lower.
    entropy: Mapping[str, float] | None = None
    level: str = "word"  # what a token is: word or character
    read_as: str = ""  # one line on what was read and as what, as in ImageData

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
    """The different words, most frequent first; equally frequent ones in alphabetical order.

    The TensorFlow tutorial numbers the words of Penn Treebank so (tutorials/rnn/ptb/reader.py).

        >>> by_frequency(["the", "cat", "the", "bat"])
        ('the', 'bat', 'cat')
    """
    words, counts = np.unique(tokens, return_counts=True)  # sorted
    return tuple(str(word) for word in words[np.argsort(-counts, kind="stable")])


def numbered(tokens: list[str], words: tuple[str, ...]) -> np.ndarray:
    """Each token's number, [tokens] int32. Raises KeyError for a token that is not in `words`."""
    number = {word: i for i, word in enumerate(words)}
    return np.array([number[token] for token in tokens], np.int32)


def first_tokens(tokens: np.ndarray, count: int | None) -> np.ndarray:
    """The first `count` tokens, or all for None. Raises ConfigError for a wrong count."""
    if count is None:
        return tokens
    if isinstance(count, bool) or not isinstance(count, int) or not 2 <= count <= len(tokens):
        raise ConfigError(
            f"dataset.train_size must be null (all) or a number of tokens in [2, {len(tokens)}], "
            f"got {count}; set dataset.train_size=null"
        )
    return tokens[:count]
