"""Refuses data that would not fit into memory before a byte of them is allocated."""

import os

from nas.core.trial import ConfigError


def check_fits(size: int, what: str, advice: str) -> None:
    """Raises ConfigError if `size` bytes are more than half of this machine's memory.

    what: the data and where they are from. advice: what to set instead.
    """
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if size > memory // 2:
        raise ConfigError(
            f"{what} must fit into half of this machine's {memory / 2**30:.0f} GiB of memory, got "
            f"{size / 2**30:,.0f} GiB; {advice}"
        )
