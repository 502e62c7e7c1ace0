"""EAS' two changes of a network, as changes of an architecture: layers become wider, or are added.

Of a space of slots (`space=morphism`): its decisions are called slotN/kernel and so on, and
slots between two poolings are a block. What a change gives computes at first what was before
(Cai et al. 2018, arXiv:1707.04873, section 3).
"""

from collections.abc import Sequence

from nas.trial import Arch, ConfigError
from search_spaces.base import Space

PARTS = ("kernel", "filters", "stride")


class Growth:
    """What can grow in an architecture of `space`. Raises ConfigError for a space that has none."""

    def __init__(self, space: Space):
        self.at: dict[tuple[int, str], int] = {}  # of each part of a slot, its decision
        for i, decision in enumerate(space.decisions):
            slot, _, part = decision.name.partition("/")
            if slot.startswith("slot") and part:
                self.at[int(slot.removeprefix("slot")), part] = i
        if not self.at or not hasattr(space, "start") or not hasattr(space, "pool_after"):
            raise ConfigError(
                "controller=eas must have a space with wider and deeper layers, got "
                f"{type(space).__name__}; set space=morphism or space=densenet"
            )
        chosen = {part: space.decisions[self.at[0, part]].choices for part in PARTS}
        if 1 not in chosen["stride"]:
            raise ConfigError(
                "controller=eas must have a stride of 1 for the layers that it adds, got "
                f"{list(chosen['stride'])}; set space.strides=[1]"
            )
        self.stride = chosen["stride"].index(1)
        self.kernels = [
            i for i, k in enumerate(chosen["kernel"]) if k % 2
        ]  # an even one: no centre
        self.sizes = sorted(
            (i for i, f in enumerate(chosen["filters"]) if f), key=chosen["filters"].__getitem__
        )
        if not self.kernels or not self.sizes:
            raise ConfigError(
                "controller=eas must have odd kernels and numbers of filters, got "
                f"{list(chosen['kernel'][1:])} and {list(chosen['filters'])}; "
                "set space.kernels=[1,3,5] space.filters=[16,32,64]"
            )
        self.start: Arch = space.start()
        slots = 1 + max(slot for slot, _ in self.at)
        self.blocks = blocks_of(space.pool_after, slots)
        self.longest = max(len(block) for block in self.blocks)
        self.answers = len(self.blocks), self.longest, len(self.kernels)  # of a deeper step
        self.widths, self.counts = len(chosen["filters"]), len(chosen["kernel"])
        self.vocabulary = 1 + self.widths * self.counts  # pooling, and conv-F-K

    def layers(self, arch: Arch) -> list[list[int]]:
        """The filled slots of each block."""
        return [[i for i in block if arch[self.at[i, "kernel"]]] for block in self.blocks]

    def tokens(self, arch: Arch) -> list[int]:
        """The network as words: 0 is a pooling, others a convolution's filters and size."""
        words: list[int] = []
        for n, block in enumerate(self.layers(arch)):
            words += [0] if n else []
            words += [
                1 + self._filters(arch, i) * self.counts + self._kernel(arch, i) for i in block
            ]
        return words

    def can_widen(self, arch: Arch) -> list[bool]:
        """Of each layer, whether its list of sizes goes on."""
        return [self._filters(arch, i) != self.sizes[-1] for b in self.layers(arch) for i in b]

    def wider(self, arch: Arch, chosen: Sequence[int]) -> Arch:
        """Those layers take the next size. chosen: 1 or 0 of each."""
        new = list(arch)
        slots = [i for block in self.layers(arch) for i in block]
        for i, yes in zip(slots, chosen, strict=True):
            if yes:
                after = self.sizes.index(self._filters(arch, i)) + 1
                new[self.at[i, "filters"]] = self.sizes[after]
        return tuple(new)

    def places(self, arch: Arch) -> list[list[int | None]]:
        """[blocks][layers]: the empty slot behind each layer, the middle one; None: none."""
        return gaps(self.blocks, self.layers(arch))

    def deeper(self, arch: Arch, block: int, layer: int, kernel: int) -> Arch:
        """A convolution behind that layer, as wide as it. kernel: a number of `kernels`."""
        slot, before = self.places(arch)[block][layer], self.layers(arch)[block][layer]
        if slot is None:
            raise ValueError(f"no slot is empty behind layer {layer} of block {block}")
        new = list(arch)
        new[self.at[slot, "kernel"]] = self.kernels[kernel]
        new[self.at[slot, "filters"]] = self._filters(arch, before)
        new[self.at[slot, "stride"]] = self.stride
        return tuple(new)

    def _filters(self, arch: Arch, slot: int) -> int:
        return arch[self.at[slot, "filters"]]

    def _kernel(self, arch: Arch, slot: int) -> int:
        return arch[self.at[slot, "kernel"]]


def blocks_of(pool_after: Sequence[int], slots: int) -> list[range]:
    """The slots between two poolings."""
    edges = (0, *pool_after, slots)
    return [range(a, b) for a, b in zip(edges, edges[1:], strict=False)]


def gaps(blocks: list[range], layers: list[list[int]]) -> list[list[int | None]]:
    """[blocks][layers]: of the empty slots behind each layer the middle one; None: there is none.

    layers: the filled slots of each block.
    """
    found: list[list[int | None]] = []
    for block, filled in zip(blocks, layers, strict=True):
        ends = zip(filled, [*filled[1:], block.stop], strict=False)
        found.append([(i + end) // 2 if end - i > 1 else None for i, end in ends])
    return found
