"""The supernets of ENAS' spaces: steps are those of the built networks; weights as published."""

import math

import numpy as np
import pytest
import tensorflow as tf

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.search_spaces.papers.enas_macro import supernet as enas_macro_supernet
from nas.search_spaces.papers.enas_macro.space import ENASMacro
from nas.search_spaces.papers.enas_micro import supernet as enas_micro_supernet
from nas.search_spaces.papers.enas_micro.space import ENASMicro
from nas.search_spaces.published.genotypes import unread
from nas.training import devices
from tests.helpers.supernet_checks import Stepped, check_step, randomise

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(6, 8, 8, 1)).astype(np.float32)
LABELS = RNG.integers(0, 3, 6).astype(np.int32)
SEARCH = ImageSkeleton(image_shape=(8, 8, 1), classes=3, cells=1, channels=4, form="search")
SMALL, SMALL_ARCH = ENASMicro(nodes=1), (0, 0, 1, 3) * 2
SPACES = {"macro": ENASMacro(layers=5), "micro": ENASMicro(nodes=2)}
ARCHS = {name: [space.sample(RNG) for _ in range(20)] for name, space in SPACES.items()}
ARCHS["macro"][0] = tuple(d.name.endswith("op") for d in SPACES["macro"].decisions)  # a chain
few = [(name, arch) for name in SPACES for arch in ARCHS[name][:3]]
many = [(name, arch) for name in SPACES for arch in ARCHS[name][3:]]


def weights(net):
    return sum(math.prod(v.shape) for group in net.groups.values() for v in group)


def cifar(**settings):
    return ImageSkeleton(image_shape=(32, 32, 3), classes=10, **settings)


@pytest.fixture(scope="module")
def stepped():
    devices.prepare()  # graphs as the loops have them
    nets = {name: space.supernet(SEARCH) for name, space in SPACES.items()}
    for net in nets.values():
        randomise(net)
    return {name: Stepped(net, IMAGES, LABELS) for name, net in nets.items()}


def test_the_macro_network_has_the_weights_of_the_official_code(stepped):
    """Five layers of four filters; reductions of two and of three tensors."""
    f = 4
    reductions = (2 + 3) * (f**2 + 2 * f)
    stem_and_rest = 9 * f + 2 * f + 4 * 2 * f + 3 * f
    assert weights(stepped["macro"].net) == 5 * (42 * f**2 + 54 * f) + reductions + stem_and_rest


def test_late_binding_leaves_operations_without_effect():
    """Equal skips, all operations different: one network, and the one built for each of them."""
    space = ENASMacro(layers=3, late_binding=True)
    net = space.supernet(SEARCH)
    randomise(net)
    op = [d.name.endswith("op") for d in space.decisions]
    archs = [tuple(k if is_op else i % 2 for i, is_op in enumerate(op)) for k in (0, 3, 5)]
    other = tuple(5 if is_op else 1 - i % 2 for i, is_op in enumerate(op))
    logits = [net(IMAGES, tf.constant(a), training=False).numpy() for a in [*archs, other]]
    np.testing.assert_array_equal(logits[0], logits[1])
    np.testing.assert_array_equal(logits[0], logits[2])
    assert np.abs(logits[3] - logits[0]).max() > 1e-3  # skips have an effect
    stepped = Stepped(net, IMAGES, LABELS)
    check_step(stepped, stepped.step, archs[0], SEARCH)
    right = ENASMacro(layers=3)
    assert space.cost(archs[0], SEARCH) == right.cost(archs[2], SEARCH)


@pytest.mark.slow
@pytest.mark.parametrize("layers, expected", [(12, 697_860), (14, 810_756)])
def test_at_full_size_the_macro_network_too(layers, expected):
    assert weights(ENASMacro(layers=layers).supernet(cifar(channels=36))) == expected


@pytest.mark.slow
def test_at_full_size_the_micro_network_too():
    skeleton = cifar(cells=2, channels=20, auxiliary_weight=0.4)
    net = ENASMicro().supernet(skeleton)
    assert weights(net) == 5_373_140 + 412_928
    untrained = ENASMicro().supernet(skeleton.replace(auxiliary_trained=False))
    assert weights(untrained) == 5_373_140


def test_the_micro_network_has_the_weights_of_the_official_code(stepped):
    """Five cells, of 4, 8 and 16 filters, with two nodes, which read 2 and 3 states on both sides;
    the first calibrates both its inputs, a reduction its older one."""
    stem = 9 * 12 + 2 * 12
    first = 2 * (12 * 4 + 2 * 4)
    reductions = 2 * (4 * 8 + 2 * 8) + 2 * (8 * 16 + 2 * 16)
    cells = sum((2 + 3) * 2 * 2 * (2 * f**2 + 38 * f) + 4 * f**2 + 2 * f for f in (4, 8, 8, 16, 16))
    assert weights(stepped["micro"].net) == stem + first + reductions + cells + 16 * 3


@pytest.mark.parametrize("name, arch", few)
def test_a_step_on_a_path_is_one_of_the_network_that_is_built_for_it(stepped, name, arch):
    """Run at once, which traces nothing."""
    check_step(stepped[name], stepped[name].step, arch, SEARCH)


@pytest.mark.slow
@pytest.mark.parametrize("name, arch", few + many)
def test_so_it_is_in_one_graph_for_all(stepped, name, arch):
    check_step(stepped[name], stepped[name].graph, arch, SEARCH)
    assert stepped[name].graph.experimental_get_tracing_count() == 1


def test_the_macro_networks_reductions_run_for_what_is_read():
    """Three layers: tensors 0, 1 and 2 are made, and behind layers 0 and 1 halved."""
    space = ENASMacro(layers=3)
    assert enas_macro_supernet.reductions(space.reductions) == [(0, 0), (1, 0), (1, 1)]
    bits = {"layer1/skip0": 1, "layer2/skip0": 0, "layer2/skip1": 0}
    arch = [bits.get(d.name, 3) for d in space.decisions]
    answers = enas_macro_supernet.questions(3, space.reductions, tf.constant([arch]))
    assert answers.numpy()[0].tolist() == [*arch, 1, 0, 0]
    bits["layer2/skip0"] = 1
    arch = [bits.get(d.name, 3) for d in space.decisions]
    answers = enas_macro_supernet.questions(3, space.reductions, tf.constant(arch))
    assert answers.numpy()[6:].tolist() == [1, 1, 0]


def test_states_that_no_node_reads_leave_a_micro_cell():
    space = ENASMicro(nodes=3)
    for _ in range(20):
        arch, genotype = (found := space.sample(RNG)), space.genotype(found)
        answers = enas_micro_supernet.questions(3, tf.constant(arch)).numpy()[24:]
        for cell, own in zip((genotype.normal, genotype.reduction), (0, 4), strict=True):
            leaving = [i for i in range(4) if answers[own + i]]
            assert (*leaving, 4) == unread(cell.nodes)


def test_one_hot_gates_are_the_path_of_the_macro_space(stepped):
    net, arch = stepped["macro"].net, tf.constant(ARCHS["macro"][1])
    by_gates = net(tf.constant(IMAGES), tf.one_hot(arch, 6), training=False)
    np.testing.assert_allclose(
        by_gates, net(tf.constant(IMAGES), arch, training=False), rtol=1e-5, atol=1e-5
    )


def test_the_micro_space_has_no_gates(stepped):
    with pytest.raises(ConfigError, match="method must draw paths in the ENAS micro space.* set"):
        stepped["micro"].net(tf.constant(IMAGES), tf.zeros([16, 5]), training=False)


def test_batch_statistics_reach_the_rows_too(stepped):
    net, arch, x = stepped["micro"].net, tf.constant(ARCHS["micro"][0]), tf.constant(IMAGES)
    before = [v.numpy() for v in net.variables]
    by_batch = net(x, arch, training=False, batch_statistics=True)
    assert all(np.array_equal(v, old) for v, old in zip(net.variables, before, strict=True))
    np.testing.assert_allclose(by_batch, net(x, arch, training=True), rtol=1e-5, atol=1e-5)


def test_an_untrained_auxiliary_head_sends_gradients_and_does_not_move():
    """As in the official code; a trained one moves in the same way as any layer."""
    skeleton = SEARCH.replace(auxiliary_weight=1.0, auxiliary_trained=False)
    stepped = Stepped(SMALL.supernet(skeleton), IMAGES, LABELS)
    check_step(stepped, stepped.step, SMALL_ARCH, skeleton)
    assert stepped.net(tf.constant(IMAGES), SMALL_ARCH, training=False).shape == (6, 3)


@pytest.mark.slow
def test_a_trained_auxiliary_head_moves():
    skeleton = SEARCH.replace(auxiliary_weight=1.0)
    stepped = Stepped(SMALL.supernet(skeleton), IMAGES, LABELS)
    check_step(stepped, stepped.step, SMALL_ARCH, skeleton)


def test_paths_are_dropped_as_the_training_goes_on():
    skeleton = SEARCH.replace(drop_path=0.5)
    net, arch = SMALL.supernet(skeleton), tf.constant(SMALL_ARCH)
    x, seed = tf.constant(IMAGES), tf.constant([0, 1])

    def logits(progress):
        return net(x, arch, training=True, seed=seed, progress=tf.constant(progress)).numpy()

    np.testing.assert_allclose(
        logits(0.0), net(x, arch, training=False, batch_statistics=True), rtol=1e-5, atol=1e-5
    )
    assert np.any(logits(0.0) != logits(1.0))
    with pytest.raises(ValueError, match="drops paths must be given the progress in training"):
        net(x, arch, training=True, seed=seed)
