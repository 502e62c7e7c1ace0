"""Sentences of a probabilistic grammar whose entropy is known. This language needs no download.

It is a small English. Determiner, noun and verb agree in number across nested relative clauses, so
a model must remember the number. Words of a class are drawn by Zipf's law. Each word determines the
rules that produced it (the grammar is LL(1)), so the true probability of a token, given all tokens
before it, is the product of the probabilities of the rules between the last token and this one. The
mean of its -log is a floor: the loss of a model is below it only by chance.
"""

import bisect
import math
from collections.abc import Mapping

import numpy as np

from nas.core.trial import ConfigError
from nas.data.images import PARTS, Found
from nas.data.text import TextData, by_frequency, numbered

EOS = "<eos>"  # ends every sentence, and stands before the first one
Rules = Mapping[str, tuple[tuple[float, tuple[str, ...]], ...]]  # symbol: (probability, becomes)

WORDS = {  # classes; 1 and 2 are singular and plural
    "determiner 1": "a every this one each",
    "determiner 2": "some these many two few",
    "noun 1": "dog cat farmer child bird king river teacher wolf sailor doctor queen baker fox "
    "guest",
    "noun 2": "dogs cats farmers children birds kings rivers teachers wolves sailors doctors "
    "queens bakers foxes guests",
    "any adjective": "old small red quiet young tall strange kind brave tired",
    "verb 1": "sleeps runs smiles waits sings falls laughs",
    "verb 2": "sleep run smile wait sing fall laugh",
    "verb 1 of an object": "sees likes follows knows helps hears fears",
    "verb 2 of an object": "see like follow know help hear fear",
}


def _zipf(words: str) -> tuple[tuple[float, tuple[str, ...]], ...]:
    """Rules for the words of a class, the most frequent word first."""
    ranked = words.split()
    total = sum(1 / rank for rank in range(1, len(ranked) + 1))
    return tuple((1 / rank / total, (word,)) for rank, word in enumerate(ranked, 1))


def _of_number(n: str) -> Rules:
    """Rules of one number, 1 or 2: subject phrases, their relative clauses and their predicates."""
    return {
        f"phrase {n}": ((1.0, (f"determiner {n}", f"named {n}")),),
        f"named {n}": (
            (0.7, (f"noun {n}", f"relative {n}")),
            (0.3, ("any adjective", f"noun {n}", f"relative {n}")),
        ),
        f"relative {n}": ((0.75, ()), (0.25, ("that", f"clause {n}"))),
        f"clause {n}": (
            (0.5, (f"does {n}",)),
            (0.25, ("phrase 1", "verb 1 of an object")),
            (0.25, ("phrase 2", "verb 2 of an object")),
        ),
        f"does {n}": ((0.4, (f"verb {n}",)), (0.6, (f"verb {n} of an object", "object"))),
    }


RULES: Rules = {
    "whole sentence": (
        (0.5, ("phrase 1", "does 1", EOS)),
        (0.5, ("phrase 2", "does 2", EOS)),
    ),
    "object": ((0.5, ("phrase 1",)), (0.5, ("phrase 2",))),
    **_of_number("1"),
    **_of_number("2"),
    **{name: _zipf(words) for name, words in WORDS.items()},
}


def load(
    *,
    train_size: int = 100_000,
    valid_size: int = 10_000,
    test_size: int = 10_000,
    seed: int = 0,
) -> TextData:
    """Draws the three parts, of the given numbers of tokens; the last sentence may be cut.

    The `entropy` of the result is the floor for the tokens of each part; `entropy()` is that of the
    language.
    """
    sizes = dict(zip(PARTS, (train_size, valid_size, test_size), strict=True))
    for part, size in sizes.items():
        if isinstance(size, bool) or not isinstance(size, int) or size < 2:
            raise ConfigError(
                f"dataset.{part}_size must be a number of tokens, at least 2, got {size}; "
                f"set dataset.{part}_size=10000"
            )
    drawn = {
        part: draw(size, np.random.default_rng([seed, i]))
        for i, (part, size) in enumerate(sizes.items())
    }
    words = (EOS, "that", *by_frequency(" ".join(WORDS.values()).split()))
    numbers = {part: numbered(tokens, words) for part, (tokens, _) in drawn.items()}
    floors = {part: float(surprisals[1:].mean()) for part, (_, surprisals) in drawn.items()}
    return TextData(
        name="grammar",
        train=numbers["train"],
        valid=numbers["valid"],
        test=numbers["test"],
        words=words,
        entropy=floors,
    )


def look(
    *, train_size: int = 100_000, valid_size: int = 10_000, test_size: int = 10_000, **settings
) -> Found:
    return Found(
        ready=True,
        place="drawn when it is read",
        contents=f"{train_size:,}, {valid_size:,}, {test_size:,} words of a grammar, floor known",
    )


def draw(size: int, rng: np.random.Generator) -> tuple[list[str], np.ndarray]:
    """`size` tokens, <eos> first, and -log of the true probability of each, nats: [size] float64.

    The value of the first token is 0, because it is always <eos>.
    """
    cumulative = {
        symbol: np.cumsum([probability for probability, _ in ways]).tolist()
        for symbol, ways in RULES.items()
    }
    tokens, surprisals = [EOS], [0.0]
    stack: list[str] = []
    pending = 0.0  # -log of the probability of the rules since the last token
    while len(tokens) < size:
        symbol = stack.pop() if stack else "whole sentence"
        if symbol not in RULES:
            tokens.append(symbol)
            surprisals.append(pending)
            pending = 0.0
            continue
        ways = RULES[symbol]
        way = bisect.bisect_right(cumulative[symbol], rng.random())
        probability, becomes = ways[min(way, len(ways) - 1)]  # the sum may miss 1 by rounding
        pending -= math.log(probability)
        stack.extend(reversed(becomes))
    return tokens, np.array(surprisals)


def entropy() -> float:
    """The entropy of the language, nats per token.

    It is the entropy of a sentence divided by its mean length, <eos> included. Both solve linear
    equations: the value of a symbol is the mean over its rules of -log of the rule's probability
    (or of the number of words that it writes), plus the values of the symbols that it becomes.
    """
    names = list(RULES)
    counts = np.zeros((len(names), len(names)))  # mean count of each symbol in a symbol's rules
    surprise, length = np.zeros(len(names)), np.zeros(len(names))
    for i, name in enumerate(names):
        for probability, becomes in RULES[name]:
            surprise[i] -= probability * math.log(probability)
            for symbol in becomes:
                if symbol in RULES:
                    counts[i, names.index(symbol)] += probability
                else:
                    length[i] += probability
    values = np.linalg.solve(np.eye(len(names)) - counts, np.stack([surprise, length], 1))
    sentence = values[names.index("whole sentence")]
    return float(sentence[0] / sentence[1])
