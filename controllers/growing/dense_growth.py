"""EAS' two changes of a DenseNet: a layer's growth rate becomes larger, or a layer is copied.

Of a space of slots with growth rates (`space=densenet`): its decisions are called slotN/growth, and
slots between two poolings are a block (Cai et al. 2018, arXiv:1707.04873; code han-cai/EAS,
arch_search/arch_search_densenet_net2net.py).
"""

from collections.abc import Sequence
from typing import Any

from nas.controllers.growing.slot_growth import blocks_of, gaps
from nas.core.trial import Arch


class DenseGrowth:
    """What can grow in an architecture of `space`, a search_spaces/papers/growing/densenet.py, as of other spaces
    controllers/growing/slot_growth.py says."""

    def __init__(self, space: Any):
        self.start: Arch = space.start()
        self.blocks = blocks_of(space.pool_after, len(space.decisions))
        self.longest = max(len(block) for block in self.blocks)
        self.largest = len(space.decisions[0].choices) - 1
        self.vocabulary = 1 + self.largest  # between two blocks, and each growth rate
        self.answers = len(self.blocks), self.longest

    def questions(self, block: int) -> int:
        """How many answers a deeper step has."""
        return len(self.answers)

    def layers(self, arch: Arch) -> list[list[int]]:
        """The filled slots of each block."""
        return [[i for i in block if arch[i]] for block in self.blocks]

    def tokens(self, arch: Arch) -> list[int]:
        """The network as words: 0 is what stands round the blocks, others are growth rates."""
        words = [0]
        for block in self.layers(arch):
            words += [*(arch[i] for i in block), 0]
        return words

    def can_widen(self, arch: Arch) -> list[bool]:
        """Of each layer, whether there is a larger growth rate."""
        return [arch[i] != self.largest for block in self.layers(arch) for i in block]

    def wider(self, arch: Arch, chosen: Sequence[int]) -> Arch:
        """Those layers take the next growth rate. chosen: 1 or 0 of each."""
        new = list(arch)
        slots = [i for block in self.layers(arch) for i in block]
        for i, yes in zip(slots, chosen, strict=True):
            new[i] += yes
        return tuple(new)

    def places(self, arch: Arch) -> list[list[int | None]]:
        """[blocks][layers]: the empty slot behind each layer, the middle one; None: none."""
        return gaps(self.blocks, self.layers(arch))

    def deeper(self, arch: Arch, block: int, layer: int) -> Arch:
        """A copy of that layer behind it."""
        slot, before = self.places(arch)[block][layer], self.layers(arch)[block][layer]
        if slot is None:
            raise ValueError(f"no slot is empty behind layer {layer} of block {block}")
        return (*arch[:slot], arch[before], *arch[slot + 1 :])
