"""All architectures of a small space, in one order, and which of them are one network."""

import itertools
from collections.abc import Hashable, Iterator, Sequence

import numpy as np

from nas.core.trial import Arch, ConfigError

LARGEST = 100_000  # architectures: a table of more is not made by training each of them


def architectures(space, most: int = LARGEST) -> list[Arch]:
    """All of them, in the order of their choices. Raises ConfigError where there are more."""

    def after(prefix: Arch) -> Iterator[Arch]:
        if len(prefix) == len(space.decisions):
            yield prefix
            return
        for choice in space.allowed(prefix):
            yield from after((*prefix, choice))

    found = list(itertools.islice(after(()), most + 1))
    if len(found) > most:
        raise ConfigError(
            f"space must have at most {most:,} architectures to be tabulated, "
            f"{type(space).__name__} has more; set space=nasbench201"
        )
    return found


def unique(space, archs: Sequence[Arch]) -> tuple[list[Arch], np.ndarray]:
    """The first architecture of each key, and for each architecture the row of its key."""
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
