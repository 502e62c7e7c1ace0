"""The cell spaces: the published networks' weights and shapes, drop path, the auxiliary head."""

import itertools
import math

import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.ops.count import CountOps
from nas.ops.keras import KerasOps
from nas.search_spaces.cells import network as cell_network
from nas.search_spaces.cells.network import places
from nas.search_spaces.cells.operations import factorized_reduction, separable
from nas.search_spaces.papers.amoebanet import AmoebaNet
from nas.search_spaces.papers.darts.space import DARTS
from nas.search_spaces.papers.enas_micro.space import ENASMicro
from nas.search_spaces.papers.nasnet import NASNet

SPACES = {"nasnet": NASNet(), "amoebanet": AmoebaNet(), "enas_micro": ENASMicro(), "darts": DARTS()}
PUBLISHED = {"nasnet": "nasnet_a", "amoebanet": "amoebanet_a", "enas_micro": "enas_micro"}
PUBLISHED |= {"darts": "darts_v2"}
every_space = pytest.mark.parametrize("name", SPACES)


def cifar(**settings):
    return ImageSkeleton(image_shape=(32, 32, 3), classes=10, **settings)


def tiny(**settings):
    return ImageSkeleton(image_shape=(8, 8, 1), classes=3, channels=4, **settings)


def published(name):
    return SPACES[name], SPACES[name].parse(PUBLISHED[name])


class Watching(CountOps):
    """Counts, and keeps what the tests ask for."""

    def __init__(self, shape):
        super().__init__(shape)
        self.rates, self.head, self.last = [], 0, None

    def drop_path(self, x, rate):
        self.rates.append(rate)
        return x

    def auxiliary(self, head):
        before = self.parameters
        assert head() == (1, 1, 10)
        self.head, self.parameters = self.parameters - before, before

    def classifier(self, x, classes, **settings):
        self.last = self.last or x
        return super().classifier(x, classes, **settings)


def watched(name, skeleton, monkeypatch=None):
    """The ops of a published network, and the shape of each cell's output."""
    space, arch = published(name)
    ops, shapes = Watching(skeleton.image_shape), []
    if monkeypatch:
        cell = cell_network.cell
        monkeypatch.setattr(
            cell_network, "cell", lambda *args: shapes.append(cell(*args)) or shapes[-1]
        )
    space.network(ops, arch, skeleton)
    return ops, shapes


@pytest.mark.parametrize(
    "name, cells, channels, parameters",
    [
        ("nasnet", 6, 32, 3_346_538),  # 6@768
        ("nasnet", 6, 96, 28_213_546),
        ("nasnet", 7, 96, 32_590_954),
        ("amoebanet", 6, 32, 2_567_754),
        ("amoebanet", 6, 36, 3_218_266),
        ("enas_micro", 5, 36, 3_894_372),
        ("darts", 6, 36, 3_349_342),
    ],
)
def test_published_networks_have_their_weights(name, cells, channels, parameters):
    space, arch = published(name)
    assert space.cost(arch, cifar(cells=cells, channels=channels)).parameters == parameters


@pytest.mark.parametrize(
    "cells, channels, stem_channels, skips, parameters",
    [(4, 44, 32, False, 5_289_978), (6, 168, 96, True, 88_753_150)],
    ids=["mobile", "large"],
)
def test_nasnet_a_on_imagenet_has_the_weights_of_keras(
    cells, channels, stem_channels, skips, parameters
):
    skeleton = ImageSkeleton(
        image_shape=(224, 224, 3), classes=1000, cells=cells, channels=channels, stem="imagenet",
        stem_channels=stem_channels, skip_reduction_input=skips,
    )  # fmt: skip
    space, arch = published("nasnet")
    assert space.cost(arch, skeleton).parameters == parameters


def test_auxiliary_heads_have_their_weights():
    assert watched("darts", cifar(cells=6, channels=36, auxiliary_weight=0.4))[0].head == 476_426
    assert watched("enas_micro", cifar(cells=5, channels=36, auxiliary_weight=1))[0].head == 494_848


def test_the_last_map_of_nasnet_a_is_6_at_768():
    assert watched("nasnet", cifar(cells=6, channels=32))[0].last == (8, 8, 768)


def test_shapes_of_the_published_enas_cells(monkeypatch):
    shapes = watched("enas_micro", cifar(cells=5, channels=36), monkeypatch)[1]
    expected = [(32, 180)] * 5 + [(16, 288)] + [(16, 360)] * 5 + [(8, 576)] + [(8, 720)] * 5
    assert shapes == [(size, size, channels) for size, channels in expected]


def test_the_normal_cells_of_amoebanet_a_leave_with_four_states(monkeypatch):
    assert watched("amoebanet", cifar(cells=6, channels=32), monkeypatch)[1][-1] == (8, 8, 512)


def test_reductions_stand_between_the_stages():
    def at(skeleton):
        return [i for i, place in enumerate(places(skeleton)) if place.is_reduction]

    assert at(cifar(cells=6)) == [6, 13]  # DARTS' 20 cells; behind 6 and 12 normal cells
    assert at(cifar(cells=5)) == [5, 11]  # ENAS' 15 + 2
    assert at(cifar(cells=4, stem="imagenet")) == [0, 1, 6, 11]
    filters = [place.filters for place in places(cifar(cells=1, channels=44, stem="imagenet"))]
    assert filters == [11, 22, 44, 88, 88, 176, 176]


@pytest.mark.parametrize(
    "name, size",
    [
        ("nasnet", math.prod((13 * k) ** 2 * 2 for k in range(2, 7)) ** 2),
        ("amoebanet", math.prod((8 * k) ** 2 for k in range(2, 7)) ** 2),
        ("enas_micro", 5_062_500_000_000**2),
        ("darts", (1 * 3 * 6 * 10 * 7**8) ** 2),
    ],
)
def test_sizes_counted_by_hand(name, size):
    assert SPACES[name].size == size


def test_the_sizes_as_they_are_quoted():
    assert SPACES["nasnet"].size == pytest.approx(5.2e36, rel=0.01)
    assert SPACES["enas_micro"].size == pytest.approx(2.56e25, rel=0.01)
    assert len(SPACES["nasnet"].decisions) == 50  # softmaxes, section 3.2


def test_enas_states_can_be_pointed_at():
    decisions = {d.name: d for d in SPACES["enas_micro"].decisions}
    assert decisions["normal/node3/input2"].anchors == (0, 1, 2)
    assert decisions["normal/node3/input2"].node == 3
    assert decisions["reduction/node2/input1"].anchors == (7, 8)
    assert decisions["reduction/node2/op1"].node == 9


def test_samples_leave_a_cell_by_the_states_that_nothing_reads():
    rng = np.random.default_rng(0)
    for _ in range(50):
        genotype = SPACES["nasnet"].genotype(SPACES["nasnet"].sample(rng))
        read = {i for node in genotype.normal.nodes for i in node.inputs}
        assert set(genotype.normal.concat) == set(range(7)) - read
        assert SPACES["darts"].genotype(SPACES["darts"].sample(rng)).normal.concat == (2, 3, 4, 5)


def test_amoebanet_mutates_states_and_operations_and_now_and_then_nothing():
    space, rng = SPACES["amoebanet"], np.random.default_rng(0)
    arch, counts = space.sample(rng), {"same": 0, "input": 0, "op": 0}
    for _ in range(10_000):
        child = space.mutate(arch, rng)
        changed = [d.name for d, a, b in zip(space.decisions, arch, child, strict=True) if a != b]
        assert len(changed) <= 1
        kind = changed[0].split("/")[-1][:-1] if changed else "same"
        counts[kind] += 1
        for cell in (space.genotype(child).normal, space.genotype(child).reduction):
            assert all(i < k + 2 for k, node in enumerate(cell.nodes) for i in node.inputs)
        arch = child
    # Five standard deviations: each fails wrongly once in a million runs.
    for kind, p in (("same", 0.05), ("input", 0.475), ("op", 0.475)):
        assert abs(counts[kind] - 10_000 * p) < 5 * math.sqrt(10_000 * p * (1 - p))


def test_pictures_join_both_cells():
    space, arch = published("nasnet")
    graph = space.graph(arch)
    labels = {name: label for name, label, _ in graph.nodes}
    assert labels["normal/state0"] == "normal: last"
    assert labels["reduction/state2a"] == "sep_5x5"
    assert ("normal/state1", "normal/output") in graph.edges
    assert len(graph.nodes) == 2 * (2 + 5 * 3 + 1)


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"nodes": 0}, "nodes must be at least 1, got 0; set space.nodes=5"),
        ({"operations": ["sep_9x9"]}, r"operations must be different ones of .*got \['sep_9x9'\]"),
        ({"operations": []}, r"operations must be different ones of identity, .*got \[\]"),
        ({"combinations": ["add", "add"]}, "combinations must be different ones of add, concat"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ConfigError, match=f"space.{message}"):
        NASNet(**settings)


def test_a_wrong_share_of_identities_is_refused():
    with pytest.raises(ConfigError, match=r"space.identity_share must be in \[0, 1\), got 1"):
        AmoebaNet(identity_share=1)


# What is built.


def even_pixels_zero(size):
    x = np.ones((1, size, size, 3), np.float32)
    x[:, ::2, ::2] = 0
    return x


@pytest.mark.parametrize("size", [4, 5, 1])
def test_factorized_reductions_read_the_odd_pixels_too(size):
    ops = KerasOps((size, size, 3))
    model = ops.model(factorized_reduction(ops, ops.image(), 5, "half"))
    even, odd = ops.made["half_even_conv"], ops.made["half_odd_conv"]
    assert (even.filters, odd.filters) == (3, 2)
    for layer in (even, odd):
        layer.set_weights([np.ones_like(layer.get_weights()[0])])
    y = model(even_pixels_zero(size)).numpy() * math.sqrt(1 + 1e-5)
    half = -(-size // 2)
    assert y.shape == (1, half, half, 5)
    assert (y[..., :3] == 0).all()
    seen = size // 2  # the last odd pixel of an odd size is a zero from outside
    np.testing.assert_allclose(y[0, :seen, :seen, 3:], 3, rtol=1e-5)
    assert (y[0, seen:, :, 3:] == 0).all()


def test_a_dilated_strided_convolution_is_worked_by_hand():
    """Depthwise, 3x3, dilation 2, stride 2, two zeros around: as PyTorch's with padding=2."""
    ops = KerasOps((6, 6, 1))
    model = ops.model(separable(ops, ops.image(), 1, 2, "dil", size=3, times=1, dilation=2))
    rng = np.random.default_rng(0)
    x, kernel = rng.random((6, 6), np.float32), rng.random((3, 3), np.float32)
    ops.made["dil_0_depthwise"].set_weights([kernel[:, :, None, None]])
    ops.made["dil_0_conv"].set_weights([np.ones((1, 1, 1, 1))])
    padded = np.pad(x, 2)
    expected = [
        [(padded[2 * i : 2 * i + 5 : 2, 2 * j : 2 * j + 5 : 2] * kernel).sum() for j in range(3)]
        for i in range(3)
    ]
    y = model(x[None, :, :, None]).numpy()[0, :, :, 0] * math.sqrt(1 + 1e-5)
    np.testing.assert_allclose(y, expected, rtol=1e-5)


@every_space
def test_any_image_can_be_classified(name):
    space, rng = SPACES[name], np.random.default_rng(0)
    for shape, stem in itertools.product([(1, 1, 1), (5, 3, 2), (33, 7, 3)], ["cifar", "imagenet"]):
        if stem == "imagenet" and min(shape) < 3:
            continue  # its first convolution has no padding
        skeleton = ImageSkeleton(
            image_shape=shape, classes=3, channels=2, stem=stem, auxiliary_weight=0.4
        )
        for _ in range(5):
            space.cost(space.sample(rng), skeleton)


@pytest.mark.parametrize("shape", [(5, 3, 2), (1, 1, 1)])
def test_a_small_odd_image_is_classified_at_the_cost_that_was_said(shape):
    space, arch = published("nasnet")
    skeleton = ImageSkeleton(image_shape=shape, classes=3, channels=3)
    model = space.build(arch, skeleton)
    assert model(np.ones((2, *shape), np.float32)).shape == (2, 3)
    weights = sum(math.prod(v.shape) for v in model.trainable_variables)
    assert weights == space.cost(arch, skeleton).parameters


@pytest.mark.parametrize(
    "name, first, last", [("nasnet", 0.02, 0.4), ("enas_micro", 0.02, 0.4), ("darts", 0.4, 0.4)]
)
def test_rates_of_dropped_paths_grow_with_depth_where_the_paper_says(name, first, last):
    rates = watched(name, cifar(cells=6, drop_path=0.4))[0].rates
    assert (rates[0], rates[-1]) == (pytest.approx(first), pytest.approx(last))
    assert rates == sorted(rates)


def test_identities_are_not_dropped_but_strided_ones_of_darts():
    # NASNet-A: of ten paths two are identities in its normal cell, one in its reduction cell.
    assert len(watched("nasnet", cifar(cells=1))[0].rates) == 3 * 8 + 2 * 9
    # DARTS-V2: two in the normal cell; three in the reduction cell, none of them on an input.
    assert len(watched("darts", cifar(cells=1))[0].rates) == 3 * 6 + 2 * 5


def test_paths_are_dropped_for_some_images_and_the_others_enlarged():
    from nas.ops.training import DropPath

    layer, ones = DropPath(), np.ones((4000, 2, 1, 3), np.float32)
    layer.progress.assign(0.5)
    y = layer(ones, rate=0.4, training=True).numpy()
    assert (y == y[:, :1, :, :1]).all()  # whole images
    assert sorted(set(y.ravel().tolist())) == [0, pytest.approx(1.25)]
    # Half way to 0.4; five standard deviations.
    assert abs((y[:, 0, 0, 0] == 0).mean() - 0.2) < 5 * math.sqrt(0.2 * 0.8 / 4000)
    np.testing.assert_array_equal(layer(ones, rate=0.4), ones)
    layer.progress.assign(0.0)
    np.testing.assert_array_equal(layer(ones, rate=0.4, training=True), ones)


def test_training_is_the_same_network_until_paths_are_dropped():
    space, arch = published("nasnet")
    model = space.build(arch, tiny(drop_path=0.5, auxiliary_weight=0.4))
    extras, images = model.in_training, np.random.default_rng(0).random((6, 8, 8, 1), np.float32)
    logits, auxiliary = extras(images)
    np.testing.assert_allclose(logits, model(images, training=True), rtol=1e-4, atol=1e-5)
    assert auxiliary.shape == logits.shape == (6, 3)
    extras.progress.assign(1.0)
    np.testing.assert_allclose(extras.model(images)[0], model(images), rtol=1e-4, atol=1e-5)
    dropped = extras(images)[0]
    assert not np.allclose(dropped, model(images, training=True), rtol=1e-2)
    stock = {layer.__class__.__module__.split(".")[0] for layer in model.layers}
    assert stock == {"keras"}  # so that what is saved opens anywhere


def test_both_heads_have_gradients_and_the_served_one_no_auxiliary_weights():
    import tensorflow as tf

    space, arch = published("darts")
    skeleton = tiny(drop_path=0.3, auxiliary_weight=0.4)
    model = space.build(arch, skeleton)
    extras = model.in_training
    variables = extras.model.trainable_variables
    extras.progress.assign(1.0)
    images = tf.random.stateless_uniform((4, 8, 8, 1), (0, 0))
    with tf.GradientTape() as tape:
        logits, auxiliary = extras(images)
        loss = tf.reduce_sum(logits**2) + extras.auxiliary_weight * tf.reduce_sum(auxiliary**2)
    assert None not in tape.gradient(loss, variables)
    weights = sum(math.prod(v.shape) for v in model.trainable_variables)
    assert weights == space.cost(arch, skeleton).parameters
    assert {v.path for v in model.trainable_variables} < {v.path for v in variables}


def test_training_without_an_auxiliary_head_has_one_output():
    space, arch = published("darts")
    (logits,) = space.build(arch, tiny(drop_path=0.3)).in_training(np.ones((2, 8, 8, 1)))
    assert logits.shape == (2, 3)


def test_without_extras_a_model_has_no_second_network():
    space, arch = published("darts")
    assert not hasattr(space.build(arch, tiny()), "in_training")


class LikeKeras(KerasOps):
    """keras.applications.nasnet: zeros around strided poolings count; another epsilon."""

    def batch_norm(self, x, *, name):
        settings = {"momentum": 0.9997, "epsilon": 1e-3}
        return self._weighted(self.layers.BatchNormalization, name, settings)(x)

    def max_pool(self, x, size, *, strides):
        return self._pool(self.layers.MaxPooling2D, x, size, strides)

    def avg_pool(self, x, size, *, strides, padding="same"):
        return self._pool(self.layers.AveragePooling2D, x, size, strides)

    def _pool(self, layer, x, size, strides):
        if strides == 1:
            return layer(size, strides=1, padding="same")(x)
        before = [n % 2 for n in x.shape[1:3]]
        x = self.layers.ZeroPadding2D(((before[0], 1), (before[1], 1)))(x)
        return layer(size, strides=strides)(x)


def keras_names(cells):
    """Layer of ours -> layers of Keras whose weights it has, and which of them."""
    blocks = {"stem0": "stem_1", "stem1": "stem_2"}
    blocks |= {f"reduction{k}": f"reduce_{k * cells}" for k in (1, 2)}
    for stage, i in itertools.product(range(3), range(cells)):
        blocks[f"stage{stage}_cell{i}"] = str(i if stage == 0 else stage * cells + i + 1)
    sides = {
        "normal": {"2a": "left1", "2b": "right1", "3a": "left2", "3b": "right2", "6a": "left5"},
        "reduction": {"2a": "left1", "2b": "right1", "3b": "right2", "4b": "right3", "6a": "left4"},
    }
    names = {
        "stem_conv": ("stem_conv1", 0), "stem_bn": ("stem_bn1", None),
        "logits": ("predictions", None),
    }  # fmt: skip
    for ours, theirs in blocks.items():
        kind = "normal" if ours.startswith("stage") else "reduction"
        names[f"{ours}_newer_conv"] = (f"{kind}_conv_1_{theirs}", 0)
        names[f"{ours}_newer_bn"] = (f"{kind}_bn_1_{theirs}", None)
        names[f"{ours}_older_bn"] = (f"adjust_bn_{theirs}", None)
        names[f"{ours}_older_conv"] = (f"adjust_conv_projection_{theirs}", 0)
        names[f"{ours}_older_even_conv"] = (f"adjust_conv_1_{theirs}", 0)
        names[f"{ours}_older_odd_conv"] = (f"adjust_conv_2_{theirs}", 0)
        for (side, label), i in itertools.product(sides[kind].items(), (0, 1)):
            to = f"{kind}_{label}_{theirs}"
            names[f"{ours}_node{side}_{i}_depthwise"] = (f"separable_conv_{i + 1}_{to}", 0)
            names[f"{ours}_node{side}_{i}_conv"] = (f"separable_conv_{i + 1}_{to}", 1)
            names[f"{ours}_node{side}_{i}_bn"] = (f"separable_conv_{i + 1}_bn_{to}", None)
    return names


def shake(layer, rng):
    """Batch normalizations of a trained network's kind, so that none is the identity."""
    shape = layer.gamma.shape
    layer.set_weights(
        [rng.uniform(0.5, 1.5, shape), rng.normal(0, 0.2, shape), rng.normal(0, 0.2, shape),
         rng.uniform(0.5, 1.5, shape)]
    )  # fmt: skip


@pytest.mark.slow
def test_nasnet_a_computes_what_keras_nasnet_mobile_does():
    import keras

    theirs = keras.applications.NASNetMobile(weights=None, classifier_activation=None)
    rng = np.random.default_rng(0)
    for layer in theirs.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            shake(layer, rng)
    space, arch = published("nasnet")
    skeleton = ImageSkeleton(
        image_shape=(224, 224, 3), classes=1000, cells=4, channels=44, stem="imagenet",
        stem_channels=32,
    )  # fmt: skip
    ops = LikeKeras(skeleton.image_shape)
    ours = ops.model(space.network(ops, arch, skeleton))
    names, copied = keras_names(4), set()
    for name, layer in ops.made.items():
        other, which = names[name]
        weights = theirs.get_layer(other).get_weights()
        layer.set_weights(weights if which is None else [weights[which]])
        copied.add(other)
    assert copied == {layer.name for layer in theirs.layers if layer.weights}
    assert ours.count_params() == theirs.count_params() == 5_326_716
    images = rng.uniform(-1, 1, (2, 224, 224, 3)).astype(np.float32)
    expected = np.asarray(theirs(images))
    np.testing.assert_allclose(ours(images), expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.slow
def test_keras_nasnet_large_has_the_weights_that_were_counted():
    import keras

    model = keras.applications.NASNetLarge(weights=None)
    assert sum(math.prod(v.shape) for v in model.trainable_variables) == 88_753_150
