"""The convolutional space of Zoph & Le 2017: decisions counted, wiring drawn by hand."""

import math

import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.ops.count import paddings
from nas.ops.keras import KerasOps
from nas.search_spaces.papers.zoph2017 import IMAGE, ZophConv

SKELETON = ImageSkeleton(image_shape=(8, 8, 1), classes=3, width=0.125)


def arch_of(space, layers, skips):
    """`layers`: of each, its choices by name, the rest are the first; `skips`: (from, to)."""
    chosen = {decision.name: decision.choices[0] for decision in space.decisions}
    for i, layer in enumerate(layers):
        chosen |= {f"layer{i}/{name}": value for name, value in layer.items()}
    chosen |= {f"layer{b}/skip{a}": True for a, b in skips}
    return space.encode(chosen)


def conv_inputs(model):
    """Channels that each convolution reads, by its layer's name."""
    return {
        layer.name: layer.kernel.shape[2]
        for layer in model.layers
        if layer.__class__.__name__ == "Conv2D"
    }


def test_a_network_of_n_layers_has_as_many_skips_as_pairs():
    for layers in (1, 2, 6, 15):
        skips = [d for d in ZophConv(layers=layers).decisions if d.anchors is not None]
        assert len(skips) == layers * (layers - 1) // 2
        assert all(d.choices == (False, True) for d in skips)


def test_decisions_come_in_the_order_of_the_layers_with_their_anchors():
    space = ZophConv(layers=3, strides=(1, 2, 3))
    own = ["filter_height", "filter_width", "stride_height", "stride_width", "filters"]
    names = [
        f"layer{i}/{name}" for i in range(3) for name in [*own, *(f"skip{j}" for j in range(i))]
    ]
    assert [decision.name for decision in space.decisions] == names
    last = space.decisions[-1]
    assert (last.name, last.node, last.anchors) == ("layer2/skip1", 2, (None, 1))


def test_sizes_are_exact():
    assert ZophConv(layers=15).size == 64**15 * 2**105
    assert ZophConv(layers=2, strides=(1, 2, 3)).size == (64 * 9) ** 2 * 2


def test_a_layer_without_inputs_reads_the_image_and_leaves_go_to_the_classifier():
    """image -> 0 -> 2, image -> 1, image -> 3: the classifier reads 1, 2 and 3."""
    space = ZophConv(layers=4, filters=(8, 16, 24, 32))
    widths = [{"filters": filters} for filters in (8, 16, 24, 32)]
    arch = arch_of(space, widths, [(0, 2)])
    assert space.inputs(arch) == [(IMAGE,), (IMAGE,), (0,), (IMAGE,), (1, 2, 3)]
    model = space.build(arch, SKELETON)
    assert list(conv_inputs(model).values()) == [1, 1, 1, 1]  # the image, or 8 x 0.125 channels
    assert model.get_layer("logits").kernel.shape == (2 + 3 + 4, 3)


def test_several_inputs_are_concatenated_along_channels():
    space = ZophConv(layers=3, filters=(8, 16, 24))
    arch = arch_of(
        space, [{"filters": 8}, {"filters": 16}, {"filters": 24}], [(0, 1), (0, 2), (1, 2)]
    )
    model = space.build(arch, SKELETON)
    assert conv_inputs(model) == {"layer0_conv": 1, "layer1_conv": 1, "layer2_conv": 1 + 2}
    assert model.get_layer("logits").kernel.shape == (3, 3)


def test_parameters_counted_by_hand():
    """layer 0: 3x5, 24 filters; layer 1: 1x7, 36 filters reads 0 only; 3 classes; width 1."""
    space = ZophConv(layers=2)
    first = {"filter_height": 3, "filter_width": 5, "filters": 24}
    second = {"filter_height": 1, "filter_width": 7, "filters": 36}
    cost = space.cost(
        arch_of(space, [first, second], [(0, 1)]),
        ImageSkeleton(image_shape=(8, 8, 1), classes=3),
    )
    assert cost.parameters == (360 + 48) + (6048 + 72) + (36 * 3 + 3)
    assert cost.flops == 64 * (360 + 6048) + 36 * 3
    assert cost.activations == 64 * (1 + 2 * 24 + 2 * 36) + 36 + 3


def test_smaller_inputs_are_padded_with_zeros_to_the_largest():
    """layer 0 has strides 2x3 on 8x8, layer 1 none: 4x3 and 8x8 are joined as 8x8."""
    space = ZophConv(layers=3, strides=(1, 2, 3))
    arch = arch_of(space, [{"stride_height": 2, "stride_width": 3}, {}, {}], [(0, 2), (1, 2)])
    model = space.build(arch, SKELETON)
    (padding,) = [x for x in model.layers if x.__class__.__name__ == "ZeroPadding2D"]
    assert padding.input.shape[1:3] == (4, 3)
    assert padding.output.shape[1:3] == (8, 8)
    assert model.get_layer("layer2_conv").output.shape[1:3] == (8, 8)
    assert space.cost(arch, SKELETON).parameters == sum(
        math.prod(v.shape) for v in model.trainable_variables
    )


def test_the_padded_image_stays_in_the_middle():
    assert paddings([(2, 2), (5, 4), (5, 4)]) == [((1, 2), (1, 1)), None, None]
    ops = KerasOps((5, 5, 1))
    small = ops.max_pool(ops.image(), 3, strides=2)  # 3x3
    model = ops.model(ops.concatenate([small, ops.image()]))
    both = model(np.ones((1, 5, 5, 1), np.float32)).numpy()
    expected = np.zeros((5, 5), np.float32)
    expected[1:4, 1:4] = 1
    np.testing.assert_array_equal(both[0, :, :, 0], expected)
    np.testing.assert_array_equal(both[0, :, :, 1], np.ones((5, 5)))


def test_strides_never_go_below_one_pixel():
    space = ZophConv(layers=4, strides=(3,))
    model = space.build(arch_of(space, [], [(0, 1), (1, 2), (2, 3)]), SKELETON)
    assert [model.get_layer(f"layer{i}_conv").output.shape[1] for i in range(4)] == [3, 1, 1, 1]


def test_what_crosses_a_pooling_is_pooled_once():
    """0 -> 1 | pool | 0 -> 2, 1 -> 2, image -> 3; both readers of one tensor share its pooling."""
    space = ZophConv(layers=5, pool_after=(2, 4))
    arch = arch_of(space, [], [(0, 1), (0, 2), (1, 2), (0, 3), (2, 4)])
    model = space.build(arch, SKELETON)
    size = {i: model.get_layer(f"layer{i}_conv").output.shape[1] for i in range(5)}
    assert size == {0: 8, 1: 8, 2: 4, 3: 4, 4: 2}
    pools = [x for x in model.layers if x.__class__.__name__ == "MaxPooling2D"]
    assert len(pools) == 4  # of layers 0 and 1 at 2; of layers 2 and 3 at 4
    graph = space.graph(arch)
    assert sum(kind == "max_pool" for _, _, kind in graph.nodes) == 4
    assert ("layer3", "layer3/pool4") in graph.edges
    assert ("layer3/pool4", "classifier") in graph.edges


def test_a_block_is_densely_connected():
    """Two blocks of three: each layer reads the block's inputs and all its earlier layers."""
    space = ZophConv(layers=2, block_layers=3, filters=(8,))
    model = space.build(arch_of(space, [], [(0, 1)]), SKELETON)
    assert list(conv_inputs(model).values()) == [1, 1 + 1, 1 + 2, 1, 1 + 1, 1 + 2]
    assert space.graph(arch_of(space, [], [])).nodes[1][1] == "3 x 1x1, 8"


def test_the_size_published_for_v1_lies_between_the_usual_and_the_largest():
    """Table 1: 15 layers, 4.2 million weights."""
    space, rng = ZophConv(layers=15), np.random.default_rng(0)
    full = ImageSkeleton(image_shape=(32, 32, 3), classes=10)
    usual = np.mean([space.cost(space.sample(rng), full).parameters for _ in range(100)])
    largest = space.cost(tuple(len(d.choices) - 1 for d in space.decisions), full).parameters
    assert usual < 4.2e6 < largest


def test_graphs_say_kernel_filters_and_strides():
    space = ZophConv(layers=2, strides=(1, 2))
    graph = space.graph(arch_of(space, [{"filter_width": 5, "stride_width": 2}], [(0, 1)]))
    assert graph.nodes[1] == ("layer0", "1x5, 24, stride 1x2", "1x5")
    assert graph.edges == (("image", "layer0"), ("layer0", "layer1"), ("layer1", "classifier"))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"layers": 0}, "layers must be at least 1, or several such numbers that rise, got 0"),
        ({"block_layers": 0}, "block_layers must be at least 1, got 0"),
        ({"filters": ()}, r"filters must be different whole numbers from 1, got \[\]"),
        ({"filter_heights": (3, 3)}, r"filter_heights must be different .* got \[3, 3\]"),
        ({"filter_widths": (0,)}, r"filter_widths must be different .* got \[0\]"),
        ({"strides": (-1,)}, r"strides must be different .* got \[-1\]"),
        ({"pool_after": (6,)}, r"pool_after must rise within \[1, space.layers=6\), got \[6\]"),
        ({"pool_after": (3, 2)}, r"pool_after must rise .* got \[3, 2\]"),
        ({"strides": (1,), "block_layers": 3}, "block_layers must be 1 where strides are searched"),
    ],
)
def test_wrong_settings_are_refused_saying_where_to_change_them(settings, message):
    with pytest.raises(ConfigError, match="space." + message + ".*; set space."):
        ZophConv(**settings)


def test_the_depth_is_the_first_decision_where_there_are_several():
    space = ZophConv(
        layers=[1, 3], filter_heights=(1, 3), filter_widths=(1,), filters=(8, 16), pool_after=()
    )
    assert space.decisions[0].name == "depth" and space.decisions[0].choices == (1, 3)

    def every(arch=()):
        if len(arch) == len(space.decisions):
            return [arch]
        return [a for choice in space.allowed(arch) for a in every((*arch, choice))]

    archs = every()
    assert space.size == len(archs) == len(set(archs)) == 4 + 4**3 * 2**3
    assert {len(space.layers_of(arch)) for arch in archs} == {1, 3}
    shallow = [arch for arch in archs if arch[0] == 0]
    assert len(shallow) == 4 and not any(any(arch[4:]) for arch in shallow)
    assert space.inputs(shallow[0]) == [(IMAGE,), (0,)]
    for arch in (shallow[-1], archs[-1]):
        model = space.build(arch, SKELETON)
        assert len(conv_inputs(model)) == len(space.layers_of(arch))
        cost = space.cost(arch, SKELETON)
        assert cost.parameters == sum(math.prod(v.shape) for v in model.trainable_variables)


def test_the_order_of_layers_does_not_name_a_network():
    """0 -> 2 and 1 -> 3 with the same layers in another order; then with one crossed over."""
    space = ZophConv(layers=4, filters=(8, 16))
    wide = {"filters": 16}
    first = arch_of(space, [{}, wide, {}, {}], [(0, 2), (1, 3)])
    again = arch_of(space, [wide, {}, {}, {}], [(0, 2), (1, 3)])
    later = arch_of(space, [wide, {}, {}, {}], [(0, 3), (1, 2)])
    other = arch_of(space, [{}, {}, wide, {}], [(0, 2), (1, 3)])
    assert space.key(first) == space.key(again) == space.key(later) != space.key(other)
    pooled = ZophConv(layers=4, filters=(8, 16), pool_after=(1,))
    assert pooled.key(first) != pooled.key(again)


def test_depths_must_rise():
    for wrong in ([3, 3], [0, 2], []):
        with pytest.raises(ConfigError, match="space.layers must be at least 1, or several such"):
            ZophConv(layers=wrong)
    with pytest.raises(ConfigError, match=r"pool_after must rise within \[1, space.layers=2\)"):
        ZophConv(layers=[2, 4], pool_after=(3,))
