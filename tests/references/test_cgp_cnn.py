"""CGP-CNN's genotypes against sg-nm/cgp-cnn: active nodes, decoded layers, mutations."""

from pathlib import Path

import numpy as np
import pytest

from nas.search_spaces.papers.cgp_cnn.space import CGPCNN

REFERENCE = np.load(Path(__file__).with_name("cgp_cnn.npz"))
SPACES = {blocks: CGPCNN(blocks=blocks) for blocks in ("conv", "res")}
BLOCKS = pytest.mark.parametrize("blocks", SPACES)


def archs(blocks, name="genes"):
    return [SPACES[blocks].from_genes(table) for table in REFERENCE[f"{blocks}_{name}"]]


@BLOCKS
def test_the_active_nodes_of_20_genotypes(blocks):
    space = SPACES[blocks]
    for arch, active in zip(archs(blocks), REFERENCE[f"{blocks}_active"], strict=True):
        assert list(space.active(arch)) == np.flatnonzero(active).tolist()


@BLOCKS
def test_the_layers_that_they_decode_to(blocks):
    """A layer: its function (0 the image, then as in the code, the output last), and its inputs.

    Inputs are positions in the list of layers. Functions of one input have a second, unused one.
    """
    space = SPACES[blocks]
    ends = np.cumsum(REFERENCE[f"{blocks}_layer_counts"])
    for arch, rows in zip(
        archs(blocks), np.split(REFERENCE[f"{blocks}_layers"], ends[:-1]), strict=True
    ):
        active = space.active(arch)
        place = {0: 0} | {node + 1: i + 1 for i, node in enumerate(active)}
        assert len(rows) == len(active) + 1
        for node, (function, *inputs) in zip(active, rows[1:].tolist(), strict=True):
            is_output = node == space.nodes
            assert function == 1 + (len(space.functions) if is_output else arch[3 * node])
            sources = [place[source] for source in space._sources(arch, node)]
            assert sources == inputs[: len(sources)]


@BLOCKS
def test_which_mutations_change_an_active_gene(blocks):
    space = SPACES[blocks]
    for parent, child, changed in zip(
        archs(blocks), archs(blocks, "children"), REFERENCE[f"{blocks}_changed"], strict=True
    ):
        others = {i for i, gene in enumerate(parent) if gene != child[i]}
        assert bool(others & space.active_genes(parent)) == changed
        if not changed:
            assert space.key(child) == space.key(parent)


@BLOCKS
def test_neutral_mutations_change_no_active_gene(blocks):
    space = SPACES[blocks]
    for parent, child in zip(archs(blocks), archs(blocks, "neutral"), strict=True):
        others = {i for i, gene in enumerate(parent) if gene != child[i]}
        assert others
        assert not others & space.active_genes(parent)
        assert space.key(child) == space.key(parent)
