"""EAS' two changes of a network, as changes of an architecture: layers become wider, or are added.

Of a space of slots (`space=plain`, `space=morphism`): its decisions are called slotN/kernel and so
on, those of hidden dense layers hiddenN/units, and slots between two poolings are a block. What a
change gives computes at first what was before (Cai et al. 2018, arXiv:1707.04873, section 3).
"""

from collections.abc import Sequence

from nas.core.capabilities import GrowableSpace
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError

PARTS = ("kernel", "filters", "stride")
UNITS = "units"  # of a hidden dense layer


class Growth:
    """What can grow in an architecture of `space`. Raises ConfigError for a space that has none.

    Hidden dense layers are slots behind those of convolutions, and the last block.
    """

    def __init__(self, space: Space):
        self.at: dict[tuple[int, str], int] = {}  # of each part of a slot, its decision
        hidden: list[int] = []
        for i, decision in enumerate(space.decisions):
            slot, _, part = decision.name.partition("/")
            if slot.startswith("slot") and part:
                self.at[int(slot.removeprefix("slot")), part] = i
            elif slot.startswith("hidden") and part == UNITS:
                hidden.append(i)
        if not self.at or not isinstance(space, GrowableSpace):
            raise ConfigError(
                "controller=eas must have a space with wider and deeper layers, got "
                f"{type(space).__name__}; set space=plain, space=morphism or space=densenet"
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
        self.filters = _rising(chosen["filters"])
        self.units = _rising(space.decisions[hidden[0]].choices) if hidden else []
        if not self.kernels or not self.filters:
            raise ConfigError(
                "controller=eas must have odd kernels and numbers of filters, got "
                f"{list(chosen['kernel'][1:])} and {list(chosen['filters'])}; "
                "set space.kernels=[1,3,5] space.filters=[16,32,64]"
            )
        self.start: Arch = space.start()
        self.slots = 1 + max(slot for slot, _ in self.at)
        self.at |= {(self.slots + n, UNITS): i for n, i in enumerate(hidden)}
        self.blocks = blocks_of(space.pool_after, self.slots)
        if hidden:
            self.blocks.append(range(self.slots, self.slots + len(hidden)))
        self.longest = max(len(block) for block in self.blocks)
        self.answers = len(self.blocks), self.longest, len(self.kernels)  # of a deeper step
        self.widths, self.counts = len(chosen["filters"]), len(chosen["kernel"])
        # Pooling, conv-F-K, fc-U.
        self.vocabulary = 1 + self.widths * self.counts + len(self.units)

    def questions(self, block: int) -> int:
        """How many answers a deeper step in that block has: a dense layer has no kernel."""
        return 2 if self._is_hidden(self.blocks[block].start) else 3

    def layers(self, arch: Arch) -> list[list[int]]:
        """The filled slots of each block."""
        return [[i for i in block if arch[self._asks(i)]] for block in self.blocks]

    def tokens(self, arch: Arch) -> list[int]:
        """The network as words: 0 is a pooling, others a layer with its size."""
        words: list[int] = []
        for n, slots in enumerate(self.layers(arch)):
            words += [0] if n else []
            words += [self._word(arch, i) for i in slots]
        return words

    def can_widen(self, arch: Arch) -> list[bool]:
        """Of each layer, whether its list of sizes goes on."""
        widths = [self._width(i) for block in self.layers(arch) for i in block]
        return [arch[at] != sizes[-1] for at, sizes in widths]

    def wider(self, arch: Arch, chosen: Sequence[int]) -> Arch:
        """Those layers take the next size. chosen: 1 or 0 of each."""
        new = list(arch)
        slots = [i for block in self.layers(arch) for i in block]
        for i, yes in zip(slots, chosen, strict=True):
            if yes:
                at, sizes = self._width(i)
                new[at] = sizes[sizes.index(arch[at]) + 1]
        return tuple(new)

    def places(self, arch: Arch) -> list[list[int | None]]:
        """[blocks][layers]: the empty slot behind each layer, the middle one; None: none."""
        return gaps(self.blocks, self.layers(arch))

    def deeper(self, arch: Arch, block: int, layer: int, kernel: int | None = None) -> Arch:
        """A layer behind that one, as wide as it. kernel: of a convolution, a number of `kernels`.

        Raises ValueError where there is no room.
        """
        slot, before = self.places(arch)[block][layer], self.layers(arch)[block][layer]
        if slot is None:
            raise ValueError(f"no slot is empty behind layer {layer} of block {block}")
        new = list(arch)
        new[self._width(slot)[0]] = arch[self._width(before)[0]]
        if kernel is not None:
            new[self.at[slot, "kernel"]] = self.kernels[kernel]
            new[self.at[slot, "stride"]] = self.stride
        return tuple(new)

    def _is_hidden(self, slot: int) -> bool:
        return slot >= self.slots

    def _asks(self, slot: int) -> int:
        """The decision that says whether a slot is filled."""
        return self.at[slot, UNITS if self._is_hidden(slot) else "kernel"]

    def _width(self, slot: int) -> tuple[int, list[int]]:
        """The decision of a layer's width, and its choices as they rise."""
        if self._is_hidden(slot):
            return self.at[slot, UNITS], self.units
        return self.at[slot, "filters"], self.filters

    def _word(self, arch: Arch, slot: int) -> int:
        width = arch[self._width(slot)[0]]
        if self._is_hidden(slot):
            return self.widths * self.counts + width  # behind those of convolutions; 0: empty
        return 1 + width * self.counts + arch[self.at[slot, "kernel"]]


def _rising(choices: Sequence[int]) -> list[int]:
    """The choices that are numbers of channels, smaller ones first."""
    return sorted((i for i, width in enumerate(choices) if width), key=choices.__getitem__)


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
