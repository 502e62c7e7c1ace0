"""The two changes by which EAS grows a network of slots: layers become wider, or are added.

For spaces of slots (`space=plain`, `space=morphism`): their decisions are called slotN/kernel and
so on, those of hidden dense layers hiddenN/units, and slots between two poolings are a block. A
changed network at first computes what it computed before the change (Cai et al. 2018,
arXiv:1707.04873, section 3).
"""

from collections.abc import Sequence

from nas.core.capabilities import GrowableSpace
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError

PARTS = ("kernel", "filters", "stride")
UNITS = "units"  # of a hidden dense layer


class SlotGrowth:
    """The ways in which an architecture of `space` can grow.

    Hidden dense layers are slots behind those of convolutions, and the last block.

    Attributes:
      start: the architecture that grows.
      longest: slots of the longest block.
      vocabulary: the number of different words of `tokens`.
      answers: the number of choices of each answer of a deeper step: a block, a layer in it and a
        kernel.

    Raises:
      ConfigError: the space has no layers that can grow.
    """

    def __init__(self, space: Space):
        self.at: dict[tuple[int, str], int] = {}  # (slot, part) -> decision
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
        # Even kernels have no centre, and 0 is an empty slot.
        self.kernels = [i for i, k in enumerate(chosen["kernel"]) if k % 2]
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
        self.answers = len(self.blocks), self.longest, len(self.kernels)
        self.widths, self.counts = len(chosen["filters"]), len(chosen["kernel"])
        # Pooling, conv-F-K, fc-U.
        self.vocabulary = 1 + self.widths * self.counts + len(self.units)

    def questions(self, block: int) -> int:
        """How many answers a deeper step in that block has: dense layers have no kernel."""
        return 2 if self._is_hidden(self.blocks[block].start) else 3

    def layers(self, arch: Arch) -> list[list[int]]:
        """The filled slots of each block."""
        return [[i for i in block if arch[self._filling(i)]] for block in self.blocks]

    def tokens(self, arch: Arch) -> list[int]:
        """The network as words: 0 is a pooling, others are a layer with its size."""
        words: list[int] = []
        for n, slots in enumerate(self.layers(arch)):
            words += [0] if n else []
            words += [self._word(arch, i) for i in slots]
        return words

    def can_widen(self, arch: Arch) -> list[bool]:
        """For each layer, whether there is a larger size."""
        widths = [self._width(i) for block in self.layers(arch) for i in block]
        return [arch[at] != sizes[-1] for at, sizes in widths]

    def wider(self, arch: Arch, chosen: Sequence[int]) -> Arch:
        """The chosen layers take the next size. chosen: 1 or 0 for each layer."""
        widened = list(arch)
        slots = [i for block in self.layers(arch) for i in block]
        for i, yes in zip(slots, chosen, strict=True):
            if yes:
                at, sizes = self._width(i)
                widened[at] = sizes[sizes.index(arch[at]) + 1]
        return tuple(widened)

    def places(self, arch: Arch) -> list[list[int | None]]:
        """[blocks][layers]: the middle one of the empty slots behind each layer, or None."""
        return gaps(self.blocks, self.layers(arch))

    def deeper(self, arch: Arch, block: int, layer: int, kernel: int | None = None) -> Arch:
        """Adds a layer behind that one, as wide as it. Raises ValueError if there is no room.

        kernel: for a convolution, an index of `kernels`.
        """
        slot, before = self.places(arch)[block][layer], self.layers(arch)[block][layer]
        if slot is None:
            raise ValueError(f"no slot is empty behind layer {layer} of block {block}")
        deepened = list(arch)
        deepened[self._width(slot)[0]] = arch[self._width(before)[0]]
        if kernel is not None:
            deepened[self.at[slot, "kernel"]] = self.kernels[kernel]
            deepened[self.at[slot, "stride"]] = self.stride
        return tuple(deepened)

    def _is_hidden(self, slot: int) -> bool:
        return slot >= self.slots

    def _filling(self, slot: int) -> int:
        """The decision that says whether a slot is filled."""
        return self.at[slot, UNITS if self._is_hidden(slot) else "kernel"]

    def _width(self, slot: int) -> tuple[int, list[int]]:
        """The decision of a layer's width, and its choices in rising order."""
        if self._is_hidden(slot):
            return self.at[slot, UNITS], self.units
        return self.at[slot, "filters"], self.filters

    def _word(self, arch: Arch, slot: int) -> int:
        width = arch[self._width(slot)[0]]
        if self._is_hidden(slot):
            return self.widths * self.counts + width  # behind those of convolutions; 0: empty
        return 1 + width * self.counts + arch[self.at[slot, "kernel"]]


def _rising(choices: Sequence[int]) -> list[int]:
    """The indices of the choices above 0, in the order of their widths."""
    return sorted((i for i, width in enumerate(choices) if width), key=choices.__getitem__)


def blocks_of(pool_after: Sequence[int], slots: int) -> list[range]:
    """The slots between two poolings."""
    edges = (0, *pool_after, slots)
    return [range(a, b) for a, b in zip(edges, edges[1:], strict=False)]


def gaps(blocks: list[range], layers: list[list[int]]) -> list[list[int | None]]:
    """[blocks][layers]: the middle one of the empty slots behind each layer, or None.

    layers: the filled slots of each block.
    """
    middles: list[list[int | None]] = []
    for block, filled in zip(blocks, layers, strict=True):
        ends = zip(filled, [*filled[1:], block.stop], strict=False)
        middles.append([(i + end) // 2 if end - i > 1 else None for i, end in ends])
    return middles
