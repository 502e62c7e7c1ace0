"""Published architectures: as published, and in one notation as in another."""

import json
import re
from importlib import resources

import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.ops.count import CountOps
from nas.search_spaces.cells.network import network
from nas.search_spaces.papers.amoebanet import OPERATIONS, AmoebaNet
from nas.search_spaces.papers.darts.space import DARTS
from nas.search_spaces.papers.enas_micro.space import ENASMicro
from nas.search_spaces.papers.nasnet import NASNet
from nas.search_spaces.published import genotypes
from nas.search_spaces.published.genotypes import Cell, Genotype, Node, canonical

SPACES = {"nasnet": NASNet(), "amoebanet": AmoebaNet(), "enas_micro": ENASMicro(), "darts": DARTS()}
ENAS = "0 2 0 0 0 4 0 1 0 4 1 1 1 0 0 1 0 2 1 1 1 0 1 0 0 3 0 2 1 1 3 1 1 0 0 4 0 3 1 1"
DARTS_V2 = """Genotype(normal=[('sep_conv_3x3', 0), ('sep_conv_3x3', 1), ('sep_conv_3x3', 0),
('sep_conv_3x3', 1), ('sep_conv_3x3', 1), ('skip_connect', 0), ('skip_connect', 0),
('dil_conv_3x3', 2)], normal_concat=[2, 3, 4, 5], reduce=[('max_pool_3x3', 0),
('max_pool_3x3', 1), ('skip_connect', 2), ('max_pool_3x3', 1), ('max_pool_3x3', 0),
('skip_connect', 2), ('skip_connect', 2), ('max_pool_3x3', 1)], reduce_concat=range(2, 6))"""


def test_every_entry_names_its_notation_and_its_source():
    document = json.loads(
        (resources.files("nas.search_spaces.published") / "genotypes.json").read_text()
    )
    for entry in genotypes.read().values():
        assert entry["encoding"] in document["encodings"]
        assert "/" in entry["source"]


@pytest.mark.parametrize(
    "name, normal, reduction, unread",
    [
        ("nasnet_a", (1, 2, 3, 4, 5, 6), (3, 4, 5, 6), ((2, 3, 4, 5, 6), (4, 5, 6))),
        ("amoebanet_a", (1, 3, 4, 6), (2, 3, 4, 5, 6), ((3, 4, 6), (3, 5, 6))),
        ("amoebanet_b", (0, 3, 4, 6), (5, 6), ((3, 4, 6), (5, 6))),
        ("amoebanet_c", (1, 2, 4, 5, 6), (0, 2, 3, 4, 5, 6), ((4, 5, 6), (3, 5, 6))),
        ("amoebanet_d", (0, 3, 4, 6), (4, 5, 6), ((3, 4, 6), (4, 5, 6))),
    ],
)
def test_what_leaves_a_published_cell_is_what_its_code_says(name, normal, reduction, unread):
    genotype = genotypes.cells("slim")[name]
    assert (genotype.normal.concat, genotype.reduction.concat) == (normal, reduction)
    nodes = genotype.normal.nodes, genotype.reduction.nodes
    assert (genotypes.unread(nodes[0]), genotypes.unread(nodes[1])) == unread


def test_nasnet_a_has_the_edges_of_darts_transcription_and_more_states_that_leave():
    slim, darts = (
        genotypes.cells("slim")["nasnet_a"],
        genotypes.cells("darts_cnn")["nasnet_a_darts"],
    )
    swap = {0: 1, 1: 0}
    for ours, theirs in ((slim.normal, darts.normal), (slim.reduction, darts.reduction)):
        assert [
            (tuple(swap.get(i, i) for i in node.inputs), node.operations) for node in ours.nodes
        ] == [(node.inputs, node.operations) for node in theirs.nodes]
    assert darts.normal.concat == (2, 3, 4, 5, 6)
    assert darts.reduction.concat == (4, 5, 6)


@pytest.mark.parametrize(
    "name, parameters",
    [
        ("darts_v1", 3_169_414),
        ("darts_v2", 3_349_342),
        ("nasnet_a_darts", 3_830_950),
        ("amoebanet_a_darts", 3_145_078),
    ],
)
def test_darts_transcriptions_have_the_weights_of_darts_code(name, parameters):
    ops = CountOps((32, 32, 3))
    skeleton = ImageSkeleton(image_shape=(32, 32, 3), classes=10, cells=6, channels=36)
    genotype = genotypes.cells("darts_cnn")[name]
    network(ops, DARTS.rules, (genotype.normal, genotype.reduction), skeleton)
    assert ops.parameters == parameters


@pytest.mark.parametrize(
    "space, name",
    [
        ("nasnet", "nasnet_a"),
        ("amoebanet", "amoebanet_a"),
        ("amoebanet", "amoebanet_c"),
        ("amoebanet", "nasnet_a"),
        ("enas_micro", "enas_micro"),
        ("darts", "darts_v1"),
        ("darts", "darts_v2"),
    ],
)
def test_a_name_is_parsed_to_the_published_cells(space, name):
    space = SPACES[space]
    arch = space.parse(f" {name} ")
    genotype = space.genotype(arch)
    assert genotype.normal.concat == space.published[name].normal.concat
    assert genotype.reduction.concat == space.published[name].reduction.concat
    assert space.arch_of(space.published[name]) == space.arch_of(genotype) == arch
    assert space.key(arch) == " | ".join(
        canonical(c) for c in (space.published[name].normal, space.published[name].reduction)
    )


@pytest.mark.parametrize("name", ["amoebanet_b", "amoebanet_d"])
def test_amoebanets_with_other_operations_are_in_the_wider_space(name):
    wide = AmoebaNet(operations=list(OPERATIONS))
    assert wide.genotype(wide.parse(name)) == wide.published[name]
    skeleton = ImageSkeleton(image_shape=(8, 8, 1), classes=10, channels=8)
    assert wide.cost(wide.parse(name), skeleton).parameters > 0


@pytest.mark.parametrize(
    "space, name",
    [(s, name) for s in SPACES for name in SPACES[s].published if not name.endswith("_a_darts")],
)
def test_every_published_cell_is_had_by_its_name_with_the_settings_that_are_told(space, name):
    made = SPACES[space]
    try:
        arch = made.parse(name)
    except ConfigError as error:
        said = re.search(r"space.nodes=(\d+) or space.operations=\[(.*)\]", str(error))
        made = type(made)(nodes=int(said[1]), operations=said[2].split(","))
        arch = made.parse(name)
    assert made.genotype(arch) == made.published[name] or space == "darts"
    assert made.genotype(arch).normal.concat == made.published[name].normal.concat
    skeleton = ImageSkeleton(image_shape=(8, 8, 1), classes=10, channels=8)
    assert made.cost(arch, skeleton).parameters > 0


@pytest.mark.parametrize("name", ["nasnet_a_darts", "amoebanet_a_darts"])
def test_transcriptions_that_read_a_state_twice_are_not_in_darts_space(name):
    wide = DARTS(nodes=5, operations=list(DARTS.rules.operations))
    with pytest.raises(
        ConfigError, match=r"must be an architecture of the space, .*got \(\d, \d\)"
    ):
        wide.parse(name)


def test_the_authors_own_notations_are_parsed():
    enas, darts = SPACES["enas_micro"], SPACES["darts"]
    assert enas.parse(ENAS) == enas.parse("enas_micro") == tuple(map(int, ENAS.split()))
    assert darts.parse(DARTS_V2) == darts.parse("darts_v2")


@pytest.mark.parametrize(
    "space, text, message",
    [
        ("nasnet", "nasnet_z", "must be one of nasnet_a or 50 choices .* got nasnet_z; set"),
        ("amoebanet", "amoebanet_b", "must be an architecture of the space, got amoebanet_b: .*"
         "got 'conv_1x1'; change space.nodes=5 or space.operations=.identity,.*,conv_1x1,"),
        ("enas_micro", "0 2", "must be 40 choices separated by commas, got 0,2"),
        ("darts", "Genotype(normal=3)", "must be of DARTS' notation, got .*: it must be Genotype"),
        ("darts", "normal=", "must be of DARTS' notation"),
        ("darts", DARTS_V2.replace("sep_conv_3x3", "mystery"), "must be .* operations of skip_con"),
        ("darts", DARTS_V2.replace("3x3', 1", "3x3', 0"), r"must be an .*got \(0, 0\)"),
        ("darts", DARTS_V2.replace("range(2, 6)", "[4, 5]"), r"must concatenate all nodes, \[2, 3"),
    ],
)  # fmt: skip
def test_what_is_no_architecture_is_refused(space, text, message):
    with pytest.raises(ConfigError, match=f"(?s)genotype {message}"):
        SPACES[space].parse(text)


def renumbered(cell: Cell, rng: np.random.Generator) -> Cell:
    """The same cell with its nodes in another order that has inputs first, and paths exchanged."""
    number, nodes = {0: 0, 1: 1}, []
    while len(nodes) < len(cell.nodes):
        i = int(rng.integers(len(cell.nodes)))
        node = cell.nodes[i]
        if i + 2 in number or not all(j in number for j in node.inputs):
            continue
        turn = int(rng.integers(2)) * 2 - 1
        inputs = tuple(number[j] for j in node.inputs)[::turn]
        nodes.append(Node(inputs, node.operations[::turn], node.combination))
        number[i + 2] = len(nodes) + 1
    return Cell(tuple(nodes), tuple(sorted(number[i] for i in cell.concat)))


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_the_order_of_nodes_and_paths_does_not_name_a_cell(space):
    rng = np.random.default_rng(0)
    for _ in range(100):
        cell = space.genotype(space.sample(rng)).normal
        assert canonical(renumbered(cell, rng)) == canonical(cell)


def test_cells_that_share_otherwise_have_other_names():
    twins = [Node((0, 1), ("sep_3x3", "sep_3x3"))] * 2  # equal, with weights of their own
    once = Node((2, 2), ("sep_5x5", "sep_5x5"))
    each = Node((2, 3), ("sep_5x5", "sep_5x5"))
    assert canonical(Cell((*twins, once), (3, 4))) != canonical(Cell((*twins, each), (3, 4)))
    assert canonical(Cell((*twins, once), (3, 4))) != canonical(Cell((*twins, once), (2, 3, 4)))
    assert canonical(Cell((*twins, each), (4,))) == (
        "[]; sep_3x3(0) add sep_3x3(1); sep_3x3(0) add sep_3x3(1); sep_5x5(2) add sep_5x5(3)!"
    )


def test_genotypes_are_values():
    cell = Cell((Node((0, 1), ("identity", "identity")),), (2,))
    assert hash(Genotype(cell, cell)) == hash(Genotype(cell, cell))
