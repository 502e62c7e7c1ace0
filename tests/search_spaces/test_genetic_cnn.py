"""Genetic CNN's space: bits counted, stages decoded by hand, networks that are one."""

import itertools
import math

import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.search_spaces.papers.genetic_cnn import GeneticCNN, Stage

SPACE = GeneticCNN()
SMALL = ImageSkeleton(image_shape=(8, 8, 1), classes=10, channels=8, width=0.25)


def test_three_and_five_nodes_have_13_bits_and_three_four_five_19():
    assert len(GeneticCNN(nodes=(3, 5), filters=(20, 50)).decisions) == 13
    assert len(SPACE.decisions) == 19
    assert SPACE.size == 524_288


def test_the_code_1_01_joins_1_to_2_and_2_to_3():
    space = GeneticCNN(nodes=(3,), filters=(8,))
    chosen = space.decode(space.parse("1-01"))
    assert {name for name, there in chosen.items() if there} == {
        "stage0/edge1->2",
        "stage0/edge2->3",
    }
    assert space.stages(space.parse("1-01")) == (Stage({1: (0,), 2: (1,), 3: (2,)}, (3,)),)


def test_a_stage_by_hand():
    """1 feeds 3 and 4, 3 feeds 4; 2 and 5 have no edge and are left out."""
    space = GeneticCNN(nodes=(5,), filters=(8,))
    (stage,) = space.stages(space.parse("0-10-101-0000"))
    assert stage == Stage({1: (0,), 3: (1,), 4: (1, 3)}, (4,))


def test_nodes_nobody_feeds_read_the_input_and_nodes_that_feed_nobody_the_output():
    space = GeneticCNN(nodes=(4,), filters=(8,))
    (stage,) = space.stages(space.parse("0-10-010"))  # 1 -> 3, 2 -> 4
    assert stage == Stage({1: (0,), 2: (0,), 3: (1,), 4: (2,)}, (3, 4))


def test_a_stage_without_edges_is_one_convolution():
    model = SPACE.build((0,) * 19, SMALL)
    names = [layer.name for layer in model.layers if layer.__class__.__name__ == "Conv2D"]
    assert names == ["stage0_input_conv", "stage1_input_conv", "stage2_input_conv"]


def test_a_full_stage_has_its_nodes_and_the_two_that_are_not_encoded():
    model = SPACE.build((1,) * 19, SMALL)
    convs = [layer for layer in model.layers if layer.__class__.__name__ == "Conv2D"]
    assert len(convs) == 3 * 2 + 3 + 4 + 5
    # Inputs of node k are k - 1 nodes: one sum each from node 3 on; the output reads the last.
    sums = [layer for layer in model.layers if layer.__class__.__name__ == "Add"]
    assert [len(layer.input) for layer in sums] == [2, 2, 3, 2, 3, 4]


def test_parameters_by_hand():
    """8x8x1, a quarter of the filters: stages of 2, 4 and 8, 32 units, on a 1x1 map."""
    arch = SPACE.parse("1-00|0-00-000|0-00-000-0000")
    conv = [25 * a * b + 2 * b for a, b in ((1, 2), (2, 2), (2, 2), (2, 2), (2, 4), (4, 8))]
    cost = SPACE.cost(arch, SMALL)
    assert cost.parameters == sum(conv) + (8 * 32 + 32) + (32 * 10 + 10)


def test_five_random_networks_cost_what_keras_counts():
    rng = np.random.default_rng(0)
    for _ in range(5):
        arch = SPACE.sample(rng)
        model = SPACE.build(arch, SMALL)
        assert model(np.zeros((2, 8, 8, 1), np.float32)).shape == (2, 10)
        counted = sum(math.prod(v.shape) for v in model.trainable_variables)
        assert SPACE.cost(arch, SMALL).parameters == counted


def test_dropout_stands_behind_the_dense_layer():
    dropped = ImageSkeleton(image_shape=(8, 8, 1), classes=3, width=0.25, dropout=0.5)
    layers = [layer.__class__.__name__ for layer in SPACE.build((0,) * 19, dropped).layers]
    assert layers[-4:] == ["ReLU", "Dropout", "Flatten", "Dense"]
    assert "Dropout" not in [
        layer.__class__.__name__ for layer in SPACE.build((0,) * 19, SMALL).layers
    ]


@pytest.mark.parametrize("nodes, networks", [(3, 6), (4, 31), (5, 302)])
def test_a_stage_has_as_many_networks_as_there_are_unlabelled_graphs(nodes, networks):
    space = GeneticCNN(nodes=(nodes,), filters=(8,))
    every = itertools.product((0, 1), repeat=len(space.decisions))
    assert len({space.key(arch) for arch in every}) == networks


def test_one_edge_is_one_network_whichever_nodes_it_joins():
    space = GeneticCNN(nodes=(3, 3), filters=(8, 8))
    keys = {space.key(space.parse(text)) for text in ("1-00|0-00", "0-10|0-00", "0-01|0-00")}
    assert len(keys) == 1
    assert space.key(space.parse("0-00|1-00")) not in keys


def test_the_papers_notation_is_read_as_it_is_written():
    rng = np.random.default_rng(1)
    for _ in range(20):
        arch = SPACE.sample(rng)
        assert SPACE.parse(SPACE.notation(arch)) == arch
    assert SPACE.notation((1, 0, 1) + (0,) * 16) == "1-01|0-00-000|0-00-000-0000"


@pytest.mark.parametrize(
    "text", ["1-01", "1-01|0-00-000|0-00-000-0002", "", "1|01|000000|0000000000"]
)
def test_a_wrong_code_is_refused(text):
    with pytest.raises(ConfigError, match="genotype must be written like 0-00.* got .*; set geno"):
        SPACE.parse(text)


def test_the_graph_by_hand():
    space = GeneticCNN(nodes=(3,), filters=(8,))
    graph = space.graph(space.parse("0-01"))  # 2 -> 3
    assert graph.edges == (
        ("image", "stage0_input"),
        ("stage0_input", "stage0_node2"),
        ("stage0_node2", "stage0_node3"),
        ("stage0_node3", "stage0_output"),
        ("stage0_output", "pool0"),
        ("pool0", "dense"),
        ("dense", "logits"),
    )
    assert graph.nodes[1] == ("stage0_input", "5x5, 8", "conv")


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"nodes": (3, 1)}, r"nodes must be whole numbers from 2, one a stage, got \[3, 1\]"),
        ({"nodes": ()}, r"nodes must be whole numbers from 2, one a stage, got \[\]"),
        ({"filters": (8, 8)}, r"filters must be .* each of the 3 stages of .* got \[8, 8\]"),
        ({"filters": (8, 8, 0)}, r"filters must be .* got \[8, 8, 0\]"),
        ({"kernel": 0}, "kernel must be at least 1, got 0"),
        ({"pool": 0}, "pool must be at least 1, got 0"),
        ({"units": 0}, "units must be at least 1, got 0"),
    ],
)
def test_wrong_settings_are_refused_saying_where_to_change_them(settings, message):
    with pytest.raises(ConfigError, match="space." + message + ".*; set space."):
        GeneticCNN(**settings)
