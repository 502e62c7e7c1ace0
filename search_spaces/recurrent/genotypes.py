"""Published recurrent cells of ENAS and DARTS, read from genotypes.json without TensorFlow.

ENAS' cell was published in three different forms. `enas_lm` is the cell of the authors' corrected
code, `enas_rnn` that of their first code, and `enas_rnn_darts` the figure of the paper as DARTS'
code has it. They differ in the order of the functions and in the states that the output averages.
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
    """A cell of highway nodes.

    The function `first` computes state 0 from the input and the last output. Node k, counted from
    1, applies a function to one earlier state: nodes[k - 1] is (function, that state). The output
    is the average of the states in `outputs`.
    """

    first: str
    nodes: tuple[tuple[str, int], ...]
    outputs: tuple[int, ...]


@functools.cache
def published(name: str) -> Nodes:
    """A recurrent cell of genotypes.json. Raises ConfigError for an unknown name."""
    if name not in names():
        raise ConfigError(
            f"cell.genotype must be one of {', '.join(names())}, got {name}; "
            "set cell.genotype=darts_rnn_v2"
        )
    entry = read()[name]
    return DECODERS[entry["encoding"]](entry)


def names() -> tuple[str, ...]:
    """The names of the published cells."""
    return tuple(name for name, entry in read().items() if entry["encoding"] in DECODERS)


def loose_ends(nodes: Sequence[tuple[str, int]]) -> tuple[int, ...]:
    """The states that no node reads."""
    return tuple(sorted(set(range(len(nodes) + 1)) - {state for _, state in nodes}))


def _from_darts(entry: Mapping[str, Any]) -> Nodes:
    nodes = tuple((function, state) for function, state in entry["recurrent"])
    return Nodes("tanh", nodes, tuple(entry["concat"]))


def _from_enas_lm(entry: Mapping[str, Any]) -> Nodes:
    """The output averages all states except the first."""
    nodes = tuple((ENAS_LM[function], state) for state, function in entry["pairs"])
    return Nodes("tanh", nodes, tuple(range(1, len(nodes) + 1)))


def _from_enas_first(entry: Mapping[str, Any]) -> Nodes:
    """The output averages the states that no node reads."""
    first, *rest = entry["flat"]
    pairs = zip(rest[::2], rest[1::2], strict=True)
    nodes = tuple((ENAS_FIRST[function], state) for state, function in pairs)
    return Nodes(ENAS_FIRST[first], nodes, loose_ends(nodes))


DECODERS = {"darts_rnn": _from_darts, "enas_lm": _from_enas_lm, "enas_rnn": _from_enas_first}
