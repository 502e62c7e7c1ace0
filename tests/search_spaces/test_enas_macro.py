"""The ENAS macro space: its size, its weights as the official code counts them, its wiring."""

import math

import numpy as np
import pytest

from nas.controllers.policies.lstm import start_nodes, steps_of
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.ops.count import CountOps
from nas.ops.keras import KerasOps
from nas.search_spaces.papers.enas_macro.network import Layer
from nas.search_spaces.papers.enas_macro.space import ENASMacro

FORMS = ("final", "released", "search")
SMALL = ENASMacro(layers=4)
CONV_3, SEP_3, CONV_5, SEP_5, AVG, MAX = range(6)
EVERY_KIND = (SEP_3,) + (MAX, 0) + (CONV_5, 0, 1) + (SEP_5, 1, 1, 1)


def cifar(**settings):
    return ImageSkeleton(image_shape=(32, 32, 3), classes=10, **settings)


def tiny(**settings):
    return ImageSkeleton(image_shape=(8, 8, 1), classes=3, channels=4, **settings)


def test_the_size_is_the_papers():
    space = ENASMacro()
    assert space.size == 6**12 * 2**66 == pytest.approx(1.6e29, rel=0.01)  # section 2.3
    assert len(space.decisions) == 78
    assert len(ENASMacro(layers=24).decisions) == 300


def test_the_published_architecture_has_the_weights_of_the_official_code():
    space = ENASMacro(layers=24)
    arch = space.parse(" enas_macro ")
    layers = space.layers_of(arch)
    assert len(layers) == 24
    assert layers[5] == Layer("sep_5x5", (0, 1, 3))
    assert layers[23].skips == (0, 1, 5, 6, 7, 9, 13, 15, 18, 19)
    for filters, parameters in ((96, 42_559_392), (36, 5_997_852)):
        skeleton = cifar(channels=filters, form="released")
        assert space.cost(arch, skeleton).parameters == parameters
        assert space.official_parameters(arch, skeleton) == parameters


def test_reductions_that_nothing_reads_are_weights_of_the_official_code_alone():
    """Of a chain, the tensors before the last are stored for nothing: 2 and 3 of them."""
    space, chain = ENASMacro(layers=4), (CONV_3,) + (CONV_3, 0) + (CONV_3, 0, 0) + (CONV_3, 0, 0, 0)
    assert space.reductions == (0, 1)
    one = {form: cifar(channels=6, form=form) for form in FORMS}
    search = 3 * (6 * 6 + 2 * 6)  # 1x1 weights, scales and offsets of tensors 0, then 0 and 1
    released = (6 * 12 + 2 * 12) + 2 * (12 * 24 + 2 * 24)
    for form, unread in (("search", search), ("released", released), ("final", released)):
        mine = space.cost(chain, one[form]).parameters
        assert space.official_parameters(chain, one[form]) == mine + unread


@pytest.mark.parametrize("layers, at", [(1, ()), (2, ()), (3, (0, 1)), (12, (3, 7)), (24, (7, 15))])
def test_reductions_stand_behind_each_third(layers, at):
    assert ENASMacro(layers=layers).reductions == at


def test_the_lstm_answers_the_bits_of_a_layer_at_once():
    steps = steps_of(SMALL)
    assert [step.is_run for step in steps] == [False, False, True, False, True, False, True]
    assert [step.anchors for step in steps if step.is_run] == [(0,), (0, 1), (0, 1, 2)]
    assert start_nodes(SMALL) == []


class Watching(CountOps):
    """Counts, and keeps the channels of what is joined and normalised."""

    def __init__(self, shape):
        super().__init__(shape)
        self.joined, self.epsilons, self.poolings = [], {}, 0

    def add(self, inputs):
        self.joined.append([x[2] for x in inputs])
        return super().add(inputs)

    def concatenate(self, inputs):
        self.joined.append([x[2] for x in inputs])
        return super().concatenate(inputs)

    def batch_norm(self, x, *, name, epsilon=1e-5):
        self.epsilons[name] = epsilon
        return super().batch_norm(x, name=name, epsilon=epsilon)

    def max_pool(self, x, size, *, strides, padding="same"):
        self.poolings += 1
        return super().max_pool(x, size, strides=strides, padding=padding)


def watched(form):
    """Four layers, of which the last reads everything and the second is a pooling."""
    ops = Watching((8, 8, 1))
    SMALL.network(ops, EVERY_KIND, tiny(form=form))
    return ops


def test_what_joins_in_is_added_up_in_a_search_and_concatenated_in_the_end():
    assert watched("search").joined[-1] == [4] * 4
    assert {width for widths in watched("search").joined for width in widths} <= {2, 4}
    assert watched("final").joined[-1] == [16] * 4  # doubled twice
    assert watched("released").poolings == 0
    assert watched("final").poolings == watched("search").poolings == 1
    epsilons = watched("search").epsilons
    assert {name for name, value in epsilons.items() if value == 1e-3} == {
        "layer0_bn", "layer2_bn", "layer3_bn"
    }  # fmt: skip
    assert set(watched("final").epsilons.values()) == {1e-5}


def test_the_released_form_has_plain_convolutions_for_separable_ones():
    plain, separable = (CONV_3,) + (CONV_5, 1), (SEP_3,) + (SEP_5, 1)
    space = ENASMacro(layers=2)
    assert space.cost(plain, tiny(form="released")) == space.cost(separable, tiny(form="released"))
    for form in ("final", "search"):
        costs = [space.cost(arch, tiny(form=form)).parameters for arch in (plain, separable)]
        assert costs[0] - costs[1] == (9 + 25) * 16 - (9 + 25) * 4 - 2 * 16


@pytest.mark.parametrize("form", ["released", "search"])  # the other one is in test_spaces.py
def test_built_networks_have_the_weights_that_were_said(form):
    model = SMALL.build(EVERY_KIND, tiny(form=form))
    weights = sum(math.prod(v.shape) for v in model.trainable_variables)
    assert weights == SMALL.cost(EVERY_KIND, tiny(form=form)).parameters


def test_a_searched_layer_is_worked_by_hand():
    """One layer that pools 1x1-convolved pixels, and one that adds the stem to its own."""
    space = ENASMacro(layers=2)
    ops = KerasOps((3, 3, 1))
    skeleton = ImageSkeleton(image_shape=(3, 3, 1), classes=1, channels=1, form="search")
    model = ops.model(space.network(ops, (MAX,) + (AVG, 1), skeleton))
    for name, layer in ops.made.items():
        if name.endswith("_conv") or name == "logits":
            layer.set_weights([np.ones_like(layer.get_weights()[0]) * (name != "stem_conv")])
    kernel = np.zeros((3, 3, 1, 1))
    kernel[1, 1] = 2.0
    ops.made["stem_conv"].set_weights([kernel])
    x = np.arange(-4, 5, dtype=np.float32).reshape(1, 3, 3, 1)
    stem = 2 * x[0, :, :, 0]
    first = np.array([[max(0, stem[: i + 2, : j + 2].max()) for j in range(3)] for i in range(3)])
    second = np.array(
        [
            [first[max(0, i - 1) : i + 2, max(0, j - 1) : j + 2].mean() for j in range(3)]
            for i in range(3)
        ]
    )
    expected = (stem + second).mean()
    np.testing.assert_allclose(model(x)[0, 0], expected, rtol=1e-4)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: ENASMacro(layers=0), "space.layers must be at least 1, got 0; set space.layers="),
        (lambda: ENASMacro(operations=["conv_7x7"]), "space.operations must be different ones of"),
        (lambda: ENASMacro(operations=[]), r"space.operations must be .*got \[\]; set"),
        (lambda: SMALL.parse("enas_macro"), "genotype must be of space.layers=4 layers, got "
         "enas_macro, which has 24; set space.layers=24"),
        (lambda: SMALL.parse("nasnet_a"), "must be one of enas_macro or 10 choices, got nasnet_a"),
        (lambda: SMALL.parse("0 1"), "genotype must be 10 choices separated by commas, got 0,1"),
        (lambda: ENASMacro(layers=24, operations=["conv_3x3"]).parse("enas_macro"),
         r"decision 1 \(layer1/op\) must be one of \[0\]"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_the_authors_notation_is_parsed():
    assert SMALL.parse("0  1 1  2 0 1  3 1 1 0") == (0, 1, 1, 2, 0, 1, 3, 1, 1, 0)


def test_a_picture_has_every_wire():
    graph = SMALL.graph((CONV_3,) + (MAX, 1) + (SEP_5, 0, 1) + (AVG, 0, 0, 0))
    assert ("layer1", "1: max_pool_3x3", "max_pool_3x3") in graph.nodes
    assert set(graph.edges) == {
        ("stem", "layer0"), ("stem", "layer1"), ("layer0", "layer1"), ("layer0", "layer2"),
        ("layer1", "layer2"), ("layer2", "layer3"), ("layer3", "classifier"),
    }  # fmt: skip
