"""Of the growing space (`morphism_space.py`): the mutations that apply, and which settings do."""

from collections.abc import Sequence

from nas.trial import Arch, ConfigError
from search_spaces.base import Space

HEADS = ("pool", "flatten")


def changes(space: Space, arch: Arch, *, growing: bool) -> dict[str, list[tuple[int, int]]]:
    """By kind of change, the decisions that can be answered so, with their new choices.

    growing: only those that make the network larger and preserve what it computes.
    """
    kinds: dict[str, list[tuple[int, int]]] = {}
    for at, decision in enumerate(space.decisions):
        part, old = decision.name.split("/")[-1], arch[at]
        for choice in space.allowed(arch[:at]):
            if choice == old or (growing and not _grows(part, decision.choices, old, choice)):
                continue
            kind = part
            if part in ("kernel", "skip"):  # to come, to go, or to change
                kind += " added" if not old else " removed" if not choice else ""
            kinds.setdefault(kind, []).append((at, choice))
    return kinds


def _grows(part: str, choices: Sequence, old: int, new: int) -> bool:
    if part == "filters":
        return choices[new] > choices[old] > 0  # 0, as many as come in, may be more or fewer
    return part in ("kernel", "skip") and not old


def check_slots(
    slots: int,
    kernels: Sequence[int],
    filters: Sequence[int],
    strides: Sequence[int],
    pool_after: Sequence[int],
) -> None:
    """Raises ConfigError."""
    if slots < 1:
        raise ConfigError(f"space.slots must be at least 1, got {slots}; set space.slots=12")
    for name, values, least in (
        ("kernels", kernels, 1),
        ("filters", filters, 0),
        ("strides", strides, 1),
    ):
        if not values or min(values) < least or len(set(values)) < len(values):
            raise ConfigError(
                f"space.{name} must be different whole numbers from {least}, got {list(values)}; "
                f"set space.{name}=[1,3]"
            )
    if list(pool_after) != sorted({p for p in pool_after if 0 < p < slots}):
        raise ConfigError(
            f"space.pool_after must rise within [1, space.slots={slots}), got {list(pool_after)}; "
            "set space.pool_after=[]"
        )


def check_rest(
    head: str, learning_rates: Sequence[float], filled: float, identity_share: float
) -> None:
    """Raises ConfigError."""
    if head not in HEADS:
        raise ConfigError(f"space.head must be one of {', '.join(HEADS)}, got {head}")
    if any(not rate > 0 for rate in learning_rates) or len(set(learning_rates)) < len(
        learning_rates
    ):
        raise ConfigError(
            f"space.learning_rates must be different and positive, got {list(learning_rates)}; "
            "set space.learning_rates=[]"
        )
    for name, share in (("filled", filled), ("identity_share", identity_share)):
        if not 0 <= share <= 1:
            raise ConfigError(f"space.{name} must be in [0, 1], got {share}; set space.{name}=0.5")
