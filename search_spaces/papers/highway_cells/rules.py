"""What a space of highway nodes asks and shares: the rules that its supernet needs as well."""

import dataclasses
from typing import Any

NODE, EDGE, FUNCTION = SHARED = ("node", "edge", "function")


@dataclasses.dataclass(frozen=True)
class HighwayRules:
    """The settings of RecurrentNodes, which explains them."""

    nodes: int
    functions: tuple[str, ...]
    first: str | None
    average: str
    shared: str
    normalised: bool

    def rows(self, node: int) -> int:
        """The number of matrices that the supernet has for a node, counted from 1."""
        return {NODE: 1, EDGE: node, FUNCTION: node * len(self.functions)}[self.shared]

    def row(self, node: int, state: Any, function: Any) -> Any:
        """The matrix for a node that applies a function to a state.

        state, function: ints or tensors [] int32; the row is of the same kind.
        """
        return {NODE: 0 * state, EDGE: state, FUNCTION: function * node + state}[self.shared]
