"""Published recurrent cells of ENAS and DARTS, read from genotypes.json. Imports no TensorFlow.

ENAS' cell has been published in three forms that are not the same: `enas_lm` is the one of the
authors' corrected code, `enas_rnn` that of their first, `enas_rnn_darts` the paper's figure as
DARTS' code has it. They differ in the functions' order and in what is averaged at the end.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

from nas.core.trial import ConfigError
from nas.search_spaces.published.genotypes import read

ENAS_LM = ("tanh", "relu", "sigmoid", "identity")
ENAS_FIRST = ("tanh", "relu", "identity", "sigmoid")


@dataclasses.dataclass(frozen=True)
class Nodes:
    """State 0 is made of input and last output by `first`; node k, from 1, has a function of one.

    nodes[k - 1] is (function, the earlier state it reads); the states in `outputs` are averaged.
    """

    first: str
    nodes: tuple[tuple[str, int], ...]
    outputs: tuple[int, ...]


@functools.cache
def published(name: str) -> Nodes:
    """A recurrent cell of genotypes.json. Raises ConfigError where there is none of that name."""
    if name not in names():
        raise ConfigError(
            f"cell.genotype must be one of {', '.join(names())}, got {name}; "
            "set cell.genotype=darts_rnn_v2"
        )
    entry = read()[name]
    return DECODERS[entry["encoding"]](entry)


def names() -> tuple[str, ...]:
    """Of the published cells."""
    return tuple(name for name, entry in read().items() if entry["encoding"] in DECODERS)


def loose_ends(nodes: Sequence[tuple[str, int]]) -> tuple[int, ...]:
    """The states that no node reads."""
    return tuple(sorted(set(range(len(nodes) + 1)) - {state for _, state in nodes}))


def _from_darts(entry: Mapping[str, Any]) -> Nodes:
    nodes = tuple((function, state) for function, state in entry["recurrent"])
    return Nodes("tanh", nodes, tuple(entry["concat"]))


def _from_enas_lm(entry: Mapping[str, Any]) -> Nodes:
    """Every node but the first state is averaged."""
    nodes = tuple((ENAS_LM[function], state) for state, function in entry["pairs"])
    return Nodes("tanh", nodes, tuple(range(1, len(nodes) + 1)))


def _from_enas_first(entry: Mapping[str, Any]) -> Nodes:
    """What no node reads is averaged."""
    first, *rest = entry["flat"]
    pairs = zip(rest[::2], rest[1::2], strict=True)
    nodes = tuple((ENAS_FIRST[function], state) for state, function in pairs)
    return Nodes(ENAS_FIRST[first], nodes, loose_ends(nodes))


DECODERS = {"darts_rnn": _from_darts, "enas_lm": _from_enas_lm, "enas_rnn": _from_enas_first}
