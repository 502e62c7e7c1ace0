"""MetaQNN's space: actions, sizes and dropouts counted by hand, and the published networks."""

import collections
import itertools
import math

import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.ops.count import CountOps
from nas.search_spaces.papers.metaqnn import BINS, GAP, SOFTMAX, START, MetaQNN

SPACE = MetaQNN()
FULL = ImageSkeleton(image_shape=(32, 32, 3), classes=10)
# bowenbaker/metaqnn, static/prototxt/cifar10_0 to _5, dropouts left out.
PUBLISHED = (
    "[C(128,5), C(512,3), P(2,2), C(128,1), C(128,5), P(3,2), C(512,3), SM]",
    "[C(256,3), C(128,1), C(128,3), C(128,3), P(5,3), C(128,3), SM]",
    "[C(64,3), C(128,3), P(5,3), C(256,3), P(3,2), FC(512), FC(128), SM]",
    "[C(64,5), C(512,3), C(512,1), C(64,1), C(128,5), P(3,2), C(512,5), C(512,3), P(5,3), SM]",
    "[C(128,5), C(512,3), P(2,2), C(128,1), C(128,5), P(3,2), SM]",
    "[C(64,3), C(64,3), P(5,3), C(256,3), C(128,5), SM]",
)


class CountedPools(CountOps):
    pools = 0

    def max_pool(self, x, size, *, strides, padding="same"):
        self.pools += 1
        return super().max_pool(x, size, strides=strides, padding=padding)


def prefix(*names, space=SPACE):
    known = space.decisions[0].choices
    return tuple(known.index(name) for name in names)


def kinds(choices, space=SPACE):
    return collections.Counter(space.choices[choice].kind for choice in choices)


def dropout_rates(model):
    return [layer.rate for layer in model.layers if layer.__class__.__name__ == "Dropout"]


def test_the_start_has_14_actions():
    assert kinds(SPACE.allowed(())) == {"SM": 1, "GAP": 1, "C": 12}


def test_a_convolution_of_a_large_representation_has_17_actions():
    assert kinds(SPACE.allowed(prefix("C(64,5)"))) == {"SM": 1, "GAP": 1, "C": 12, "P": 3}


def test_a_pooling_of_a_large_representation_has_14_actions():
    assert kinds(SPACE.allowed(prefix("C(64,5)", "P(2,2)"))) == {"SM": 1, "GAP": 1, "C": 12}


def test_a_convolution_in_the_middle_bin_has_15_actions():
    open_choices = SPACE.allowed(prefix("C(64,3)", "P(2,2)", "C(64,3)", "P(3,2)", "C(64,3)"))
    assert kinds(open_choices) == {"SM": 1, "GAP": 1, "C": 8, "P": 2, "FC": 3}
    assert {SPACE.choices[c].window for c in open_choices} == {0, 1, 2, 3}


def test_in_the_smallest_bin_no_window_is_smaller():
    at_one = prefix("C(64,1)", "P(2,2)", "C(64,1)", "P(3,2)", "C(64,1)", "P(3,2)")
    assert SPACE.state(at_one)[2] == 1
    assert kinds(SPACE.allowed(at_one)) == {"SM": 1, "GAP": 1, "FC": 3}


def test_dense_layers_are_at_most_two_and_do_not_grow():
    small = prefix("C(64,1)", "P(5,3)", "C(64,1)", "P(5,3)")  # 32, 10, 2
    names = SPACE.decisions[0].choices
    assert {names[c] for c in SPACE.allowed((*small, *prefix("FC(256)")))} == {
        "SM", "FC(256)", "FC(128)",
    }  # fmt: skip
    assert SPACE.allowed((*small, *prefix("FC(256)", "FC(128)"))) == (SOFTMAX,)
    assert kinds(SPACE.allowed(small[:2]))["FC"] == 0  # 10 pixels: the largest bin


def test_only_the_softmax_is_left_behind_a_gap_the_last_layer_and_itself():
    assert SPACE.allowed(prefix("GAP")) == (SOFTMAX,)
    assert SPACE.allowed(prefix(*["C(64,1)"] * 18)) == (SOFTMAX,)
    assert len(SPACE.allowed(prefix(*["C(64,1)"] * 17))) == 17
    assert SPACE.allowed(prefix("C(64,1)", "SM", "SM")) == (SOFTMAX,)


def test_sizes_follow_the_codes_formula():
    """ceil((n - window + 1) / stride), from 32 pixels."""
    walk, at = [], SPACE._position(())
    for choice in prefix("P(2,2)", "P(3,2)", "P(5,3)"):
        at = SPACE._after(at, choice)
        walk.append(at.size)
    assert walk == [16, 7, 1]


@pytest.mark.parametrize(
    "size, window, stride, agent, network",
    [
        (32, 2, 2, 16, 16),
        (16, 3, 2, 7, 8),
        (16, 5, 3, 4, 5),
        (32, 3, 2, 15, 16),
        (32, 5, 3, 10, 10),
    ],
)
def test_the_agent_rounds_poolings_down_and_the_network_up(size, window, stride, agent, network):
    """floor((n - window) / stride) + 1, and Caffe's ceil((n - window) / stride) + 1."""
    space = MetaQNN(image_size=size)
    conv, pool = prefix("C(64,1)", f"P({window},{stride})", space=space)
    assert space._position((conv, pool)).size == agent
    arch = (conv, pool, GAP) + (SOFTMAX,) * 16
    sizes = {}
    for rounds in ("up", "down"):
        rounded = MetaQNN(image_size=size, pooling_rounds=rounds)
        model = rounded.build(arch, ImageSkeleton(image_shape=(size, size, 1), classes=3))
        pools = [layer for layer in model.layers if layer.__class__.__name__ == "MaxPooling2D"]
        sizes[rounds] = pools[0].output.shape[1]
        assert rounded.graph(arch).nodes[2][1].endswith(f"to {sizes[rounds]}")
    assert sizes == {"up": network, "down": agent}


def test_the_last_windows_see_the_pixels_that_there_are():
    """4x4 pixels, P(3,2): windows of columns 0 to 2 and 2 to 3; worked out by hand."""
    space = MetaQNN(image_size=4, filters=(1,), kernels=(1,), pools=((3, 2),))
    tiny = ImageSkeleton(image_shape=(4, 4, 1), classes=1)
    model = space.build(space.parse("C(1,1), P(3,2), SM"), tiny)
    conv, logits = model.get_layer("layer0_conv"), model.get_layer("logits")
    conv.set_weights([np.ones((1, 1, 1, 1)), np.zeros(1)])
    image = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    for pixel, value in enumerate((10, 11, 14, 15)):
        logits.set_weights([np.eye(4)[:, [pixel]], np.zeros(1)])
        assert model(image).numpy() == pytest.approx(value)


def test_states_are_depth_last_layer_bin_and_dense_layers():
    c, p, fc = prefix("C(64,1)", "P(5,3)", "FC(128)")
    assert SPACE.state(()) == (0, START, 8, 0)
    assert SPACE.state((c, p)) == (2, p, 8, 0)  # 10 pixels
    assert SPACE.state((c, p, c, p)) == (4, p, 1, 0)  # 2 pixels
    assert SPACE.state((c, p, c, p, fc)) == (5, fc, 1, 1)
    assert SPACE.state((GAP,)) == (1, GAP, 1, 0)
    assert SPACE.state((c, SOFTMAX)) is None
    assert SPACE.state((c, SOFTMAX, SOFTMAX)) is None


def test_one_state_has_one_set_of_actions_whatever_led_to_it():
    rng, actions = np.random.default_rng(0), {}
    for _ in range(300):
        arch = SPACE.sample(rng)
        for i in range(len(arch)):
            state = SPACE.state(arch[:i])
            if state is not None:
                assert actions.setdefault(state, SPACE.allowed(arch[:i])) == SPACE.allowed(arch[:i])
                assert state[0] == i <= 18
                assert state[2] in BINS


def test_every_path_ends():
    rng = np.random.default_rng(1)
    for _ in range(300):
        chain = SPACE.chain(SPACE.sample(rng))
        assert [layer.kind for layer in chain].count("SM") == 1
        assert chain[-1].kind == "SM"
        assert len(chain) <= 18 + 1


def test_the_first_action_is_drawn_uniformly():
    rng = np.random.default_rng(2)
    first = collections.Counter(SPACE.sample(rng)[0] for _ in range(7000))
    chi2 = sum((count - 500) ** 2 / 500 for count in first.values())
    assert len(first) == 14
    assert chi2 < 13 + 6 * math.sqrt(2 * 13)  # mean 13, six deviations


@pytest.mark.parametrize(
    "settings",
    [
        {"image_size": 8, "layers": 3, "filters": (8,), "kernels": (1, 3), "units": (4, 2)},
        {"image_size": 4, "layers": 4, "filters": (8,), "kernels": (3,), "max_fc": 1},
    ],
)
def test_the_size_is_the_number_of_valid_vectors(settings):
    space = MetaQNN(**settings)

    def archs(arch):
        if len(arch) == len(space.decisions):
            return 1
        return sum(archs((*arch, choice)) for choice in space.allowed(arch))

    assert space.size == archs(())


@pytest.mark.parametrize(
    "text, weights",
    zip(
        PUBLISHED,
        (1_993_482, 610_826, 3_715_082, 4_927_434, 1_157_386, 1_133_770),
        strict=True,
    ),
)
def test_the_parameters_of_the_published_networks(text, weights):
    """Counted from the authors' prototxt files by Caffe's rules."""
    assert SPACE.cost(SPACE.parse(text), FULL).parameters == weights


def test_a_small_size_by_hand():
    """One layer, 32 pixels: SM, GAP SM, and one of 12 convolutions with SM."""
    assert MetaQNN(layers=1).size == 14
    # Behind a convolution 16 more layers or the end; behind the GAP the end.
    assert MetaQNN(layers=2).size == 1 + 1 + 12 * 17


def test_the_size_with_the_papers_settings():
    assert SPACE.size == 282_710_031_500_590_500_770  # counted here; the paper gives none


@pytest.mark.parametrize("text", PUBLISHED)
def test_published_networks_are_in_the_space_and_read_as_they_are_written(text):
    assert SPACE.notation(SPACE.parse(text)) == text


def test_the_codes_notation_is_read():
    ours = SPACE.parse("[C(64,3), P(2,2), GAP, SM]")
    assert SPACE.parse("[C(64,3,1), P(2,2), D(1,1), GAP(10), SM(10)]") == ours
    assert SPACE.parse("C(64,3), P(2,2), GAP") == ours
    assert SPACE.parse(",".join(map(str, ours))) == ours


@pytest.mark.parametrize(
    "text, message",
    [
        ("C(64,3), C(65,3), SM", r"C\(65,3\) is none of SM, GAP, C\(64,1\)"),
        ("P(2,2), SM", r"decision 0 \(layer0\) must be one of"),
        ("C(64,3) SM)", "it must be like"),
        ("C(64,3), GAP, GAP", r"decision 2 \(layer2\) must be one of \[0\]"),
    ],
)
def test_a_wrong_network_is_refused(text, message):
    with pytest.raises(ConfigError, match=f"genotype must be layers .*{message}.*; set genotype="):
        SPACE.parse(text)


def test_the_parameters_of_the_top_model():
    """Table A2's best network, with a dense layer on the 5x5 map and with the average of it."""
    top = "C(512,5), C(256,3), C(256,5), C(256,3), P(5,3), C(512,3), C(512,5), P(2,2)"
    assert SPACE.cost(SPACE.parse(f"[{top}, SM]"), FULL).parameters == 11_309_834
    assert SPACE.cost(SPACE.parse(f"[{top}, GAP, SM]"), FULL).parameters == 11_186_954


def test_parameters_with_dense_layers_by_hand():
    """8x8x1: C(64,3), P(5,3) to 2x2, FC(128), 3 classes; a quarter of the filters and units."""
    space = MetaQNN(image_size=8)
    small = ImageSkeleton(image_shape=(8, 8, 1), classes=3, width=0.25)
    cost = space.cost(space.parse("C(64,3), P(5,3), FC(128), SM"), small)
    assert cost.parameters == (9 * 16 + 16) + (4 * 16 * 32 + 32) + (32 * 3 + 3)
    assert cost.flops == 64 * 9 * 16 + 64 * 32 + 32 * 3
    assert cost.activations == 64 + 2 * 64 * 16 + 4 * 16 + 2 * 32 + 3


def test_dropout_rises_linearly_to_a_half():
    small = ImageSkeleton(image_shape=(8, 8, 1), classes=3, width=0.02)
    for layers, rates in ((8, [0.125, 0.25, 0.375, 0.5]), (9, [0.125, 0.25, 0.375, 0.5])):
        arch = SPACE.parse(",".join(["C(64,3)"] * layers + ["GAP"]))
        assert dropout_rates(SPACE.build(arch, small)) == rates
    # Two of four layers before it; the skeleton's own stands last.
    dropped = ImageSkeleton(image_shape=(8, 8, 1), classes=3, width=0.02, dropout=0.3)
    model = SPACE.build(SPACE.parse("C(64,3), C(64,3), SM"), dropped)
    assert dropout_rates(model) == [0.5, 0.3]
    assert dropout_rates(SPACE.build(SPACE.parse("C(64,3), SM"), small)) == []


def test_weights_start_as_glorot_says_and_nothing_is_normalized():
    small = ImageSkeleton(image_shape=(8, 8, 1), classes=3, width=0.1)
    model = SPACE.build(SPACE.parse("C(64,3), C(64,1), SM"), small)
    weighted = [layer for layer in model.layers if layer.trainable_variables]
    assert [layer.name for layer in weighted] == ["layer0_conv", "layer1_conv", "logits"]
    assert {layer.kernel_initializer.__class__.__name__ for layer in weighted} == {"GlorotUniform"}
    assert all(layer.use_bias for layer in weighted)


def test_poolings_that_no_longer_fit_are_left_out_of_smaller_images():
    arch = SPACE.parse("C(64,3), P(5,3), C(64,3), P(5,3), GAP")  # 32, 10, 2
    tiny = ImageSkeleton(image_shape=(8, 8, 1), classes=3, width=0.1)  # 8, 2
    model = SPACE.build(arch, tiny)
    pools = [layer for layer in model.layers if layer.__class__.__name__ == "MaxPooling2D"]
    assert [pool.output.shape[1] for pool in pools] == [2]
    assert SPACE.cost(arch, tiny).parameters == sum(
        math.prod(v.shape) for v in model.trainable_variables
    )


def test_a_space_of_small_images_pools_no_further_than_they_go():
    space, rng = MetaQNN(image_size=8), np.random.default_rng(3)
    small = ImageSkeleton(image_shape=(8, 8, 1), classes=3, width=0.02)
    archs = [a for a in (space.sample(rng) for _ in range(300)) if "P" in space.notation(a)]
    assert archs
    for arch in archs:
        sizes = [space._position(arch[:i]).size for i in range(len(arch))]
        assert min(sizes) >= 1
        wanted = sum(layer.kind == "P" for layer in space.chain(arch))
        counted = CountedPools(small.image_shape)
        space.network(counted, arch, small)
        assert counted.pools == wanted  # none is left out


def test_the_graph_is_a_chain_with_the_sizes_behind_poolings():
    graph = SPACE.graph(SPACE.parse("C(64,3), P(5,3), GAP"))
    assert graph.nodes == (
        ("image", "image, 32", "input"),
        ("layer0", "C(64,3)", "3x3"),
        ("layer1", "P(5,3), to 10", "max_pool"),
        ("layer2", "GAP", "gap"),
        ("classifier", "SM", "classifier"),
    )
    assert graph.edges == tuple(itertools.pairwise(name for name, _, _ in graph.nodes))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"image_size": 0}, "image_size must be at least 1, got 0"),
        ({"layers": 0}, "layers must be at least 1, got 0"),
        ({"max_fc": -1}, "max_fc must be at least 0, got -1"),
        ({"filters": ()}, r"filters must be different whole numbers from 1, got \[\]"),
        ({"kernels": (3, 3)}, r"kernels must be different .* got \[3, 3\]"),
        ({"units": (0,)}, r"units must be different .* got \[0\]"),
        ({"pools": ((2,),)}, r"pools must be different pairs .* got \[\[2\]\]"),
        ({"pools": ((2, 2), (2, 2))}, r"pools must be different pairs"),
        ({"pools": ((2, 3),)}, r"pools must have no stride larger than its window .* got \[2, 3\]"),
        ({"pooling_rounds": "nearest"}, "pooling_rounds must be up or down, got nearest"),
    ],
)
def test_wrong_settings_are_refused_saying_where_to_change_them(settings, message):
    with pytest.raises(ConfigError, match="space." + message + ".*; set space."):
        MetaQNN(**settings)
