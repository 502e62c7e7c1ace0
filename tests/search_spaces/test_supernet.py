"""A supernet equals the networks that it holds: outputs, gradients, averages; traced once."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from nas.core.capabilities import supernet_space
from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.search_spaces.papers.genetic_cnn import GeneticCNN
from nas.search_spaces.papers.nasbench201.space import NASBench201, live_edges
from nas.search_spaces.papers.nasbench201.supernet import effective
from nas.training import devices

SPACE = NASBench201()
SKELETON = ImageSkeleton(image_shape=(8, 8, 1), classes=3, cells=1, channels=4)
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(6, 8, 8, 1)).astype(np.float32)
LABELS = RNG.integers(0, 3, 6).astype(np.int32)
ARCHS = [SPACE.sample(RNG) for _ in range(20)]
NONE, SKIP, CONV_1X1, CONV_3X3, AVG_POOL = range(5)
ALL_LIVE = (CONV_3X3, SKIP, CONV_1X1, AVG_POOL, CONV_3X3, SKIP)


class Stepped:
    """A supernet's logits, gradients and active groups: at once, or in one graph for all."""

    def __init__(self, net):
        self.variables = [v for group in net.groups.values() for v in group]

        def gradients(choice):
            with tf.GradientTape() as tape:
                logits = net(tf.constant(IMAGES), choice, training=True)
                loss = cross_entropy(logits)
            found = zip(self.variables, tape.gradient(loss, self.variables), strict=True)
            given = [tf.zeros(v.shape) if g is None else g for v, g in found]
            return logits, given, net.active(choice)

        def logits(choice):
            return net(tf.constant(IMAGES), choice, training=False)

        self.gradients, self.logits = gradients, logits
        self.gradients_graph = tf.function(gradients, autograph=False)
        self.logits_graph = tf.function(logits, autograph=False)


def cross_entropy(logits):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, logits))


@pytest.fixture(scope="module")
def net():
    """With moving averages, scales and offsets that differ from layer to layer."""
    devices.prepare()  # graphs as the loops have them
    keras.utils.set_random_seed(0)
    net, rng = SPACE.supernet(SKELETON), np.random.default_rng(1)
    for v in net.variables:
        if len(v.shape) == 1:
            v.assign(rng.uniform(0.5, 1.5, v.shape))
    return net


@pytest.fixture(scope="module")
def stepped(net):
    return Stepped(net)


def built(net, arch):
    """space.build(arch) with the supernet's weights."""
    model, layers = SPACE.build(arch, SKELETON), net.layers(arch)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(layers.pop(layer.name).get_weights())
    assert not layers
    return model


def tensor(arch):
    return tf.constant(arch, tf.int32)


def test_every_cell_loses_the_edges_that_carry_nothing():
    cells = list(itertools.product(range(5), repeat=6))
    expected = [[k if e in live_edges(c) else NONE for e, k in enumerate(c)] for c in cells]
    np.testing.assert_array_equal(effective(tf.constant(cells, tf.int32)), expected)


@pytest.mark.parametrize(
    "arch",
    [*ARCHS[:6], (NONE,) * 6, *(pytest.param(arch, marks=pytest.mark.slow) for arch in ARCHS[6:])],
    ids=str,
)
def test_a_path_equals_the_network_that_is_built_for_it(net, stepped, arch):
    """Run at once, which traces nothing."""
    compare(net, stepped, stepped.gradients, arch)


@pytest.mark.slow
def test_so_it_does_in_one_graph_for_all(net, stepped):
    for arch in ARCHS:
        compare(net, stepped, stepped.gradients_graph, arch)
    assert stepped.gradients_graph.experimental_get_tracing_count() == 1


def compare(net, stepped, run, arch):
    """Logits, gradients and averages of `run` with those of space.build(arch)."""
    model = built(net, arch)
    before = {id(v): v.numpy() for v in net.variables}
    np.testing.assert_allclose(
        stepped.logits(tensor(arch)), model(IMAGES, training=False), rtol=1e-5, atol=1e-5
    )
    with tf.GradientTape() as tape:
        logits = model(IMAGES, training=True)
        loss = cross_entropy(logits)
    expected = tape.gradient(loss, model.trainable_variables)
    found, gradients, _ = run(tensor(arch))
    np.testing.assert_allclose(found, logits, rtol=1e-5, atol=1e-5)

    gradient_of = {id(v): g for v, g in zip(stepped.variables, gradients, strict=True)}
    layers = net.layers(arch)
    for v, g in zip(model.trainable_variables, expected, strict=True):
        name, weight = v.path.split("/")[-2:]
        own = next(w for w in layers[name].weights if w.name == weight)
        np.testing.assert_allclose(gradient_of.pop(id(own)), g, rtol=1e-5, atol=1e-5)
    assert all(not np.any(g) for g in gradient_of.values())  # of the branches not chosen

    # Moving averages follow those of the network, and nothing else has moved.
    own_averages = {id(w): (name, w.name) for name, layer in layers.items() for w in layer.weights}
    for v in net.variables:
        if id(v) in own_averages and "moving" in v.name:
            name, weight = own_averages[id(v)]
            of_model = next(w for w in model.get_layer(name).weights if w.name == weight)
            np.testing.assert_allclose(v, of_model, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(v, before[id(v)])


def test_all_architectures_are_one_trace(stepped):
    for arch in ARCHS:
        logits = stepped.logits_graph(tensor(arch))
        np.testing.assert_allclose(logits, stepped.logits(tensor(arch)), rtol=1e-5, atol=1e-5)
    assert stepped.logits_graph.experimental_get_tracing_count() == 1


def test_the_active_groups_are_the_layers_of_the_architecture(net):
    for arch in ARCHS:
        active = net.active(tensor(arch))
        on = {
            id(v) for group, a in zip(net.groups.values(), active, strict=True) if a for v in group
        }
        own = [v for layer in net.layers(arch).values() for v in layer.trainable_variables]
        assert on == {id(v) for v in own}


def test_static_shares_the_layers(net):
    model = net.static(ALL_LIVE)
    np.testing.assert_allclose(
        model(IMAGES), net(tf.constant(IMAGES), tensor(ALL_LIVE), training=False), atol=1e-5
    )
    own = {id(v) for v in net.variables}
    assert all(id(v) in own for v in model.variables)


def test_one_hot_gates_are_the_path(net):
    gates = tf.one_hot(ALL_LIVE, 5)
    np.testing.assert_allclose(
        net(tf.constant(IMAGES), gates, training=False),
        net(tf.constant(IMAGES), tensor(ALL_LIVE), training=False),
        atol=1e-5,
    )
    of_gates = [bool(a) for a in net.active(gates)]
    assert of_gates == [bool(a) for a in net.active(tensor(ALL_LIVE))]
    assert all(bool(a) for a in net.active(tf.fill([6, 5], 0.2)))


def test_a_gates_gradient_is_the_slope_of_the_loss(net):
    gates = np.random.default_rng(2).uniform(0.1, 0.4, (6, 5)).astype(np.float32)

    def loss(gates):
        return cross_entropy(net(tf.constant(IMAGES), tf.constant(gates), training=False))

    variable = tf.Variable(gates)
    with tf.GradientTape() as tape:
        value = cross_entropy(net(tf.constant(IMAGES), variable, training=False))
    gradient = tape.gradient(value, variable).numpy()
    along = gradient / np.linalg.norm(gradient)
    slope = (loss(gates + 1e-3 * along) - loss(gates - 1e-3 * along)) / 2e-3  # between the kinks
    assert float(slope) == pytest.approx(np.linalg.norm(gradient), rel=1e-2)
    assert (gradient[:, NONE] == 0).all() and (gradient[:, SKIP] != 0).all()


def test_batch_statistics_normalise_as_training_does_and_move_nothing(net):
    before = [v.numpy() for v in net.variables]
    x, arch = tf.constant(IMAGES), tensor(ALL_LIVE)
    by_batch = net(x, arch, training=False, batch_statistics=True)
    for v, old in zip(net.variables, before, strict=True):
        np.testing.assert_array_equal(v, old)
    np.testing.assert_allclose(by_batch, net(x, arch, training=True), atol=1e-5)


def test_dropout_draws_from_its_seed():
    skeleton = ImageSkeleton(image_shape=(8, 8, 1), classes=3, channels=4, dropout=0.5)
    net, x = SPACE.supernet(skeleton), tf.constant(IMAGES)

    def logits(*seed):
        return net(x, tensor(ALL_LIVE), training=True, seed=tf.constant(seed)).numpy()

    np.testing.assert_array_equal(logits(0, 1), logits(0, 1))
    assert np.any(logits(0, 1) != logits(0, 2))
    with pytest.raises(ValueError, match="must be given a seed"):
        net(x, tensor(ALL_LIVE), training=True)


def test_max_pooling_in_a_branch_has_the_gradient_of_max_pooling():
    from nas.search_spaces.supernet.ops import SupernetOps

    ops, x = SupernetOps((5, 5, 2)), tf.constant(RNG.normal(size=(2, 5, 5, 2)).astype(np.float32))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        mine = ops.max_pool(x, 3, strides=2)
        plain = tf.nn.max_pool2d(x, 3, 2, "SAME")
        losses = tf.reduce_sum(mine**2), tf.reduce_sum(plain**2)
    np.testing.assert_array_equal(mine, plain)
    np.testing.assert_array_equal(tape.gradient(losses[0], x), tape.gradient(losses[1], x))


@pytest.mark.parametrize("wrong", [[0] * 5, [[0.2] * 5] * 5, 3])
def test_other_choices_are_refused(net, wrong):
    with pytest.raises(ValueError, match=r"a choice must be an architecture \[6\] int32 or gates"):
        net(tf.constant(IMAGES), tf.constant(wrong), training=False)


def test_a_space_without_one_says_so():
    with pytest.raises(ConfigError, match="space must be one with a supernet, got GeneticCNN; set"):
        supernet_space(GeneticCNN())
