"""How networks grow, as a frozen record: the nested node `growth` of conf/space/*.yaml."""

import dataclasses
from collections.abc import Sequence

from nas.core.trial import ConfigError


@dataclasses.dataclass(frozen=True)
class GrowthSettings:
    """Where a search of growing networks starts, and what its mutations do.

    Args:
      only_grow: mutations only add a layer as wide as its input, more filters or a skip, each kind
        equally often, which preserves what the network computes. A network that cannot grow stays
        as it is.
      doubling: together with only_grow: filters, and the units of dense layers, are only doubled.
      start_filters: for each stage between two poolings, the filters of the layers that `start`
        has; their kernels are 3x3 if that is a choice. Empty: two layers in each stage, with rising
        filters.
      start_units: the units of the hidden layers that `start` has, in spaces that have such.
      identity_share: the share of mutations that change nothing, so that training goes on.
    """

    only_grow: bool = False
    doubling: bool = False
    start_filters: Sequence[Sequence[int]] = ()
    start_units: Sequence[int] = ()
    identity_share: float = 0.0

    def __post_init__(self) -> None:
        if self.doubling and not self.only_grow:
            raise ConfigError(
                "space.growth.doubling needs space.growth.only_grow=true; set it or "
                "space.growth.doubling=false"
            )
        if not 0 <= self.identity_share <= 1:
            raise ConfigError(
                f"space.growth.identity_share must be in [0, 1], got {self.identity_share}; "
                "set space.growth.identity_share=0.1"
            )


GROWTH = GrowthSettings()
