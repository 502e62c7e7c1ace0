"""All architectures of a small space in a fixed order, and which of them are one network."""

import itertools
from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from nas.core.space import Space
from nas.core.trial import Arch, ConfigError

LARGEST = 100_000  # architectures; training each of more takes too long


def architectures(space: Space, most: int = LARGEST) -> list[Arch]:
    """All architectures, in the order of their choices. Raises ConfigError for more than `most`."""

    def after(prefix: Arch) -> Iterator[Arch]:
        if len(prefix) == len(space.decisions):
            yield prefix
            return
        for choice in space.allowed(prefix):
            yield from after((*prefix, choice))

    archs = list(itertools.islice(after(()), most + 1))
    if len(archs) > most:
        raise ConfigError(
            f"space must have at most {most:,} architectures to be tabulated, "
            f"{type(space).__name__} has more; set space=nasbench201"
        )
    return archs


def unique(space: Space, archs: Sequence[Arch]) -> tuple[list[Arch], np.ndarray]:
    """The first architecture of each `space.key`, and of each architecture the row of its key."""
    rows: dict[Hashable, int] = {}
    first: list[Arch] = []
    row_of = np.empty(len(archs), int)
    for i, arch in enumerate(archs):
        key = space.key(arch)
        if key not in rows:
            rows[key] = len(first)
            first.append(arch)
        row_of[i] = rows[key]
    return first, row_of
