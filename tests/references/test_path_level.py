"""Path-level search beside its authors' code: the tree LSTM, the actors, advantages, parameters.

tests/references/README.md says how path_level.npz was made.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from nas.controllers.growing.controller import tan_reward
from nas.controllers.growing.tree_encoder import (
    ADD,
    CONCAT_COPY,
    CONCAT_SPLIT,
    NONE,
    UNDECIDED,
    Tree,
    TreeEncoder,
)
from nas.controllers.path_level import PathLevel
from nas.controllers.policies.settings import EncoderSettings
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import Trial
from nas.search_spaces.papers.path_level.space import PathLevelSpace

ANSWERS = dict(np.load(Path(__file__).with_name("path_level.npz")))
UNITS = 3
EDGES = ["Identity", "1x1_Conv", "3x3_DepthConv", "3x3_Conv"]
KINDS = {
    None: NONE, "add-copy": ADD, "concat-copy": CONCAT_COPY, "concat-split": CONCAT_SPLIT,
}  # fmt: skip


def weight(name: str) -> np.ndarray:
    return ANSWERS[f"encoder/{name}"]


def columns(cell: str, *names: str) -> np.ndarray:
    """PyTorch's matrices [outputs, inputs], side by side as ours: [inputs, outputs]."""
    return np.concatenate([weight(f"{cell}.{name}.weight").T for name in names], 1)


def encoder() -> TreeEncoder:
    """Ours, with the weights that the reference was given."""
    made = TreeEncoder(
        lambda start: tf.Variable(start.astype(np.float32)), np.random.default_rng(0),
        operations=len(EDGES), depth=3, most=3, embedding=4, units=UNITS,
    )  # fmt: skip
    up, down = "bottom_up_node_transition_lstm", "top_down_node_transition_lstm"
    made.edges.assign(weight("edge_embedding.weight")[1:])
    made.kinds.assign(weight("node_embedding.weight")[[1, 2, 3]])
    for cell, (kernel, bias) in ((up, made.up_input), (down, made.down_input)):
        kernel.assign(columns(cell, "iou_x", "f_x"))
        bias.assign(np.concatenate([weight(f"{cell}.iou_x.bias"), weight(f"{cell}.f_x.bias")]))
    for variable, cell, names in (
        (made.up_sum, up, ["iou_h_sum"]),
        (made.up_child, up, ["f_h_sum"]),
        (made.up_nary, up, ["iou_h_nArray", "f_h_nArray.0", "f_h_nArray.1"]),
        (made.down_sum, down, ["iou_h_sum_child"]),
        (made.down_sum_parent, down, ["iou_h_sum_parent"]),
        (made.down_child, down, ["f_h_sum_child"]),
        (made.down_child_parent, down, ["f_h_sum_parent"]),
        (made.down_nary, down, ["iou_h_nArray_child"]),
        (made.down_nary_parent, down, ["iou_h_nArray_parent"]),
        (
            made.down_nary_f, down,
            ["f_h_nArray_child.0", "f_h_nArray_child.1", "f_h_nArray_parent"],
        ),
    ):  # fmt: skip
        variable.assign(columns(cell, *names))
    for direction, (kernel, bias, recurrent) in zip(
        ("bottom_up", "top_down"), made.steps, strict=True
    ):
        cell = f"{direction}_edge_transition_lstm"
        kernel.assign(weight(f"{cell}.weight_ih").T)
        recurrent.assign(weight(f"{cell}.weight_hh").T)
        bias.assign(weight(f"{cell}.bias_ih") + weight(f"{cell}.bias_hh"))
    return made


def tree_of(spec) -> Tree:
    tree = Tree(3, 3)

    def put(node, place):
        edge, kind, children = node
        index = tree.index(place)
        if place:
            tree.edges[index] = UNDECIDED if edge == "#PAD" else UNDECIDED + 1 + EDGES.index(edge)
        tree.kinds[index] = KINDS[kind]
        for i, child in enumerate(children):
            put(child, (*place, i))

    put(spec, ())
    return tree


def test_the_tree_lstm_gives_the_codes_states():
    made, trees = encoder(), [tree_of(spec) for spec in json.loads(str(weight("trees")))]
    asked = [json.loads(place) for place in weight("places").tolist()]
    found = made(
        np.array([trees[t].edges for t, _ in asked]),
        np.array([trees[t].kinds for t, _ in asked]),
        np.array([trees[t].index(place) for t, place in asked], np.int32),
    )
    np.testing.assert_allclose(found, weight("states"), atol=1e-6)


def test_the_actors_give_the_codes_probabilities():
    space = PathLevelSpace(edges=("identity", "conv_1x1", "depth_conv_3x3"))
    policy = PathLevel(
        space, seed=0, encoder=EncoderSettings(embedding=4, units=3), hidden=0.84
    ).policy  # fmt: skip
    state = tf.constant(ANSWERS["actors/state"], tf.float32)
    for name, actor, layers in (
        ("merge", "merge", "merge_type_decider"),
        ("add", "merge", "branch_num_decider.1"),
        ("edge", "edge", "edge_decider"),
        ("expand", "expand", "expand_decider"),
    ):
        for variable, part in zip(
            policy.actors[name],
            ("linear_0.weight", "linear_0.bias", "final_linear.weight", "final_linear.bias"),
            strict=True,
        ):
            variable.assign(ANSWERS[f"actors/{actor}/{layers}.{part}"].T)
        found = np.exp(policy._log_p(name, state))
        np.testing.assert_allclose(found, ANSWERS[f"actors/{name}/probs"], atol=1e-6)


def test_advantages_over_three_updates_are_the_codes():
    """The first baseline is the reward of the start network."""
    controller = PathLevel(PathLevelSpace(depth=2), seed=0)
    (start,) = controller.ask(1)
    controller.tell([Trial(0, start, float(ANSWERS["advantages/start"]))])
    for accuracies, expected in zip(
        ANSWERS["advantages/accuracies"], ANSWERS["advantages/advantages"], strict=True
    ):
        rewards = np.array([tan_reward(accuracy) for accuracy in accuracies])
        np.testing.assert_allclose(rewards - controller._baseline(rewards.mean()), expected)


def tree_cell_a(space: PathLevelSpace):
    """TreeCell-A (PathLevel-EAS, code/ImageNet/tree_cells.py)."""
    branches = {
        "root": [("add", 2), "0", "1"],
        "0": [("add", 2), ("conv_1x1", "0_0"), ("max_pool_3x3", "0_1")],
        "0_0": [("concat", 2), "avg_pool_3x3", "depth_conv_7x7"],
        "0_1": [("add", 2), "depth_conv_3x3", "depth_conv_5x5"],
        "1": [("add", 2), ("depth_conv_5x5", "1_0"), ("depth_conv_3x3", "1_1")],
        "1_0": [("add", 3), "depth_conv_5x5", "avg_pool_3x3", "avg_pool_3x3"],
        "1_1": [("add", 2), "avg_pool_3x3", "depth_conv_3x3"],
    }
    chosen = space.decode(space.start())
    for node, (merge, *edges) in branches.items():
        chosen[f"{node}/merge"] = merge
        for i, edge in enumerate(edges):
            branch = str(i) if node == "root" else f"{node}_{i}"
            if node != "root":
                chosen[f"{branch}/edge"] = edge if isinstance(edge, str) else edge[0]
            if node == "root" or not isinstance(edge, str):
                chosen[f"{branch}/expand"] = True
    return space.encode(chosen)


@pytest.mark.parametrize("groups, millions", [(1, None), (2, 13.0)])
@pytest.mark.parametrize("cells, growth", [(16, 48), (2, 8)])
def test_tree_cell_a_has_the_codes_parameters(groups, millions, cells, growth):
    """In our order of layers, as the code counts them there: for N = 16 and k = 48, 13.03M.

    In the order of its DenseNet, normalization first, the code counts 13.12M: the published 13.1M
    (README, TreeCell-A with DenseNet, N = 16, k = 48, G = 2).
    """
    space = PathLevelSpace(groups=groups)
    skeleton = ImageSkeleton(image_shape=(32, 32, 3), classes=10, cells=cells, channels=growth)
    found = space.cost(tree_cell_a(space), skeleton).parameters
    assert found == ANSWERS[f"parameters/weight_bn_act/G{groups}_N{cells}_k{growth}"]
    if millions and cells == 16:
        assert round(found / 1e6, 1) == millions
        assert round(ANSWERS["parameters/bn_act_weight/G2_N16_k48"] / 1e6, 1) == 13.1
