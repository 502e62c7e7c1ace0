"""The two changes by which EAS grows a DenseNet: a layer's growth rate rises, or a layer is copied.

Slots between two poolings are a block (Cai et al. 2018, arXiv:1707.04873; code han-cai/EAS,
arch_search/arch_search_densenet_net2net.py).
"""

from collections.abc import Sequence

from nas.controllers.growing.slot_growth import blocks_of, gaps
from nas.core.capabilities import DenseGrowableSpace
from nas.core.trial import Arch


class DenseGrowth:
    """The ways in which an architecture of a DenseNet space can grow.

    It has the methods of `SlotGrowth`, which serves the other spaces.

    Attributes:
      start: the architecture that grows.
      longest: slots of the longest block.
      vocabulary: the number of different words of `tokens`.
      answers: the number of choices of each answer of a deeper step: a block, and a layer in it.
    """

    def __init__(self, space: DenseGrowableSpace):
        self.start: Arch = space.start()
        self.blocks = blocks_of(space.pool_after, len(self.start))
        self.longest = max(len(block) for block in self.blocks)
        self.largest = len(space.growth_rates)
        self.vocabulary = 1 + self.largest  # the boundary of a block, and each growth rate
        self.answers = len(self.blocks), self.longest

    def questions(self, block: int) -> int:
        """How many answers a deeper step in that block has."""
        return len(self.answers)

    def layers(self, arch: Arch) -> list[list[int]]:
        """The filled slots of each block."""
        return [[i for i in block if arch[i]] for block in self.blocks]

    def tokens(self, arch: Arch) -> list[int]:
        """The network as words: 0 stands before and after each block, others are growth rates."""
        words = [0]
        for block in self.layers(arch):
            words += [*(arch[i] for i in block), 0]
        return words

    def can_widen(self, arch: Arch) -> list[bool]:
        """For each layer, whether there is a larger growth rate."""
        return [arch[i] != self.largest for block in self.layers(arch) for i in block]

    def wider(self, arch: Arch, chosen: Sequence[int]) -> Arch:
        """The chosen layers take the next growth rate. chosen: 1 or 0 for each layer."""
        widened = list(arch)
        slots = [i for block in self.layers(arch) for i in block]
        for i, yes in zip(slots, chosen, strict=True):
            widened[i] += yes
        return tuple(widened)

    def places(self, arch: Arch) -> list[list[int | None]]:
        """[blocks][layers]: the middle one of the empty slots behind each layer, or None."""
        return gaps(self.blocks, self.layers(arch))

    def deeper(self, arch: Arch, block: int, layer: int) -> Arch:
        """Puts a copy of that layer behind it. Raises ValueError if there is no room."""
        slot, before = self.places(arch)[block][layer], self.layers(arch)[block][layer]
        if slot is None:
            raise ValueError(f"no slot is empty behind layer {layer} of block {block}")
        return (*arch[:slot], arch[before], *arch[slot + 1 :])
