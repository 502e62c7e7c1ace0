"""Networks that grow: the mutations that an architecture allows, and the checks of the settings."""

from collections.abc import Sequence

from nas.core.space import Space
from nas.core.trial import Arch, ConfigError

HEADS = ("pool", "flatten")


def changes(
    space: Space, arch: Arch, *, only_grow: bool, doubling: bool
) -> dict[str, list[tuple[int, Arch]]]:
    """The possible changes of `arch`, by kind: (the first changed decision, its new choices).

    Args:
      only_grow: return only changes that make the network larger and preserve what it computes. The
        kinds are deeper, wider and skip.
      doubling: wider means twice as wide.
    """
    kinds: dict[str, list[tuple[int, Arch]]] = {}
    for at, decision in enumerate(space.decisions):
        part, old = decision.name.split("/")[-1], arch[at]
        for choice in space.allowed(arch[:at]):
            if choice == old:
                continue
            new: Arch = (choice,)
            if only_grow and not old and part in ("kernel", "units"):
                same = _same_width(space, arch, at)
                if same is None or (part == "units" and choice != same):
                    continue
                if part == "kernel":
                    new = choice, same
            elif only_grow and not _grows(part, decision.choices, old, choice, doubling):
                continue
            kind = _growth(part, old) if only_grow else _change(part, old, choice)
            kinds.setdefault(kind, []).append((at, new))
    return kinds


def _growth(part: str, old: int) -> str:
    if part == "skip":
        return part
    return "wider" if part == "filters" or old else "deeper"


def _change(part: str, old: int, new: int) -> str:
    if part in ("kernel", "skip", "units"):  # these can be added, removed or changed
        part += " added" if not old else " removed" if not new else ""
    return part


def _grows(part: str, choices: Sequence, old: int, new: int, doubling: bool) -> bool:
    if part in ("filters", "units"):
        if doubling:
            return choices[new] == 2 * choices[old] > 0
        return choices[new] > choices[old] > 0  # 0, as wide as the input, may be more or fewer
    return part == "skip" and not old


def _same_width(space: Space, arch: Arch, at: int) -> int | None:
    """The choice of width that makes a layer, added by decision `at`, as wide as its input.

    None if no choice does.
    """
    part = space.decisions[at].name.split("/")[-1]
    width = at + (part == "kernel")  # a convolution's filters are the next decision
    if 0 in space.decisions[width].choices and part == "kernel":
        return space.decisions[width].choices.index(0)
    before = (i for i in reversed(range(at)) if space.decisions[i].name.endswith(f"/{part}"))
    return next((arch[i + width - at] for i in before if arch[i]), None)


def check_slots(
    slots: int,
    kernels: Sequence[int],
    filters: Sequence[int],
    strides: Sequence[int],
    pool_after: Sequence[int],
) -> None:
    """Raises ConfigError for settings of slots that make no space."""
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


def check_rest(head: str, learning_rates: Sequence[float], filled: float) -> None:
    """Raises ConfigError for wrong settings of head, learning rates and samples."""
    if head not in HEADS:
        raise ConfigError(f"space.head must be one of {', '.join(HEADS)}, got {head}")
    if any(not rate > 0 for rate in learning_rates) or len(set(learning_rates)) < len(
        learning_rates
    ):
        raise ConfigError(
            f"space.learning_rates must be different and positive, got {list(learning_rates)}; "
            "set space.learning_rates=[]"
        )
    if not 0 <= filled <= 1:
        raise ConfigError(f"space.filled must be in [0, 1], got {filled}; set space.filled=0.5")


def check_start(
    start_filters: Sequence[Sequence[int]], filters: Sequence[int], edges: Sequence[int]
) -> None:
    """Raises ConfigError for a first network that the space does not have.

    edges: the first slot of each stage, and the number of slots.
    """
    if not start_filters:
        return
    lengths = [end - first for first, end in zip(edges, edges[1:], strict=False)]
    fits = len(start_filters) == len(lengths) and all(
        len(stage) <= length and set(stage) <= set(filters)
        for stage, length in zip(start_filters, lengths, strict=True)
    )
    if not fits:
        raise ConfigError(
            f"space.growth.start_filters must be {len(lengths)} lists of space.filters="
            f"{list(filters)}, at most {lengths} long, got "
            f"{[list(stage) for stage in start_filters]}; set space.growth.start_filters=[]"
        )


def check_hidden(hidden: int, units: Sequence[int], start_units: Sequence[int]) -> None:
    """Raises ConfigError for wrong settings of the hidden layers."""
    if hidden < 0:
        raise ConfigError(f"space.hidden must be at least 0, got {hidden}; set space.hidden=1")
    if not units or min(units) < 1 or len(set(units)) < len(units):
        raise ConfigError(
            f"space.units must be different whole numbers from 1, got {list(units)}; "
            "set space.units=[64,128]"
        )
    if len(start_units) > hidden or not set(start_units) <= set(units):
        raise ConfigError(
            f"space.growth.start_units must be at most space.hidden={hidden} of space.units="
            f"{list(units)}, got {list(start_units)}; set space.growth.start_units=[]"
        )
