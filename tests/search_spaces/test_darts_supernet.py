"""The supernet of the DARTS space equals the networks that it holds."""

import numpy as np
import pytest
import tensorflow as tf

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.search_spaces.papers.darts.space import DARTS
from nas.search_spaces.papers.darts.supernet import answers, edges
from nas.training import devices

OPERATIONS = ("max_pool_3x3", "identity", "sep_3x3")
SPACE = DARTS(nodes=2, operations=OPERATIONS)
SKELETON = ImageSkeleton(image_shape=(8, 8, 1), classes=3, cells=1, channels=4)
RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(6, 8, 8, 1)).astype(np.float32)
LABELS = RNG.integers(0, 3, 6).astype(np.int32)
ARCHS = [SPACE.sample(RNG) for _ in range(20)]


def cross_entropy(logits):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(LABELS, logits))


def filled(skeleton):
    devices.prepare()
    net, rng = SPACE.supernet(skeleton), np.random.default_rng(1)
    for v in net.variables:
        if len(v.shape) == 1:
            v.assign(rng.uniform(0.5, 1.5, v.shape))
    return net


@pytest.fixture(scope="module")
def net():
    return filled(SKELETON)


@pytest.fixture(scope="module")
def gradients(net):
    return gradients_of(net)


def gradients_of(net):
    variables = [v for group in net.groups.values() for v in group]

    def run(arch):
        with tf.GradientTape() as tape:
            logits = net(tf.constant(IMAGES), arch, training=True)
            loss = cross_entropy(logits)
        return logits, tape.gradient(loss, variables), net.active(arch)

    run.variables = variables
    run.graph = tf.function(run, autograph=False)
    return run


def test_edges_are_those_of_the_paper():
    assert len(edges(4)) == 14
    assert edges(2) == [(0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]


def test_the_answers_of_an_architecture_by_hand():
    """Normal: node 2 of states 0 and 1, node 3 of 1 and 2; reduction: node 3 of 0 and 2."""
    arch = SPACE.encode(
        {
            "normal/node2/inputs": (0, 1), "normal/node2/op1": "sep_3x3",
            "normal/node2/op2": "identity", "normal/node3/inputs": (1, 2),
            "normal/node3/op1": "max_pool_3x3", "normal/node3/op2": "sep_3x3",
            "reduction/node2/inputs": (0, 1), "reduction/node2/op1": "identity",
            "reduction/node2/op2": "identity", "reduction/node3/inputs": (0, 2),
            "reduction/node3/op1": "sep_3x3", "reduction/node3/op2": "max_pool_3x3",
        }
    )  # fmt: skip
    none = 3
    expected = [2, 1, none, 0, 2, 1, 1, 2, none, 0]
    assert answers(2, len(OPERATIONS), tf.constant(arch)).numpy().tolist() == expected
    assert answers(2, len(OPERATIONS), tf.constant([arch] * 2)).shape == (2, 10)


@pytest.mark.parametrize(
    "arch",
    [*ARCHS[:3], *(pytest.param(arch, marks=pytest.mark.slow) for arch in ARCHS[3:])],
    ids=str,
)
def test_a_path_equals_the_network_that_is_built_for_it(net, gradients, arch):
    """Run at once, which traces nothing."""
    compare(net, gradients, gradients, arch)


@pytest.mark.slow
def test_so_it_does_in_one_graph_for_all(net, gradients):
    for arch in ARCHS:
        compare(net, gradients, gradients.graph, arch)
    assert gradients.graph.experimental_get_tracing_count() == 1


def compare(net, gradients, run, arch):
    """Logits and gradients of `run` with those of space.build(arch)."""
    model, layers = SPACE.build(arch, net.skeleton), net.layers(arch)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(layers[layer.name].get_weights())
    assert {layer.name for layer in model.layers if layer.weights} == set(layers)
    with tf.GradientTape() as tape:
        logits = model(IMAGES, training=True)
        loss = cross_entropy(logits)
    expected = tape.gradient(loss, model.trainable_variables)
    found, given, active = run(tf.constant(arch))
    np.testing.assert_allclose(found, logits, rtol=1e-5, atol=1e-5)
    gradient_of = {id(v): g for v, g in zip(gradients.variables, given, strict=True)}
    for v, g in zip(model.trainable_variables, expected, strict=True):
        name, weight = v.path.split("/")[-2:]
        own = next(w for w in layers[name].weights if w.name == weight)
        np.testing.assert_allclose(gradient_of.pop(id(own)), g, rtol=1e-5, atol=1e-5)
    assert all(not np.any(g) for g in gradient_of.values())  # of the branches not chosen

    groups = zip(net.groups.values(), active, strict=True)
    on = {id(v) for group, is_active in groups if is_active for v in group}
    assert on == {id(v) for layer in layers.values() for v in layer.trainable_variables}


def test_in_the_form_of_the_search_too():
    """A pooling is followed by a normalization, and the stem's alone has a scale and an offset."""
    net = filled(SKELETON.replace(form="search"))
    gradients = gradients_of(net)
    for arch in ARCHS[:2]:
        compare(net, gradients, gradients, arch)
    affine = [v.path for v in net.variables if v.trainable and len(v.shape) == 1]
    assert sorted(affine) == ["logits/bias", "stem_bn/beta", "stem_bn/gamma"]
    norms = {v.path.split("/")[0] for v in net.variables if "moving" in v.path}
    pools = {name for name in norms if name.endswith("_0") and "_node" in name}
    assert len(pools) == 5 * 5  # the first operation of five edges in five cells
    built = SPACE.build(ARCHS[0], net.skeleton)
    assert SPACE.cost(ARCHS[0], net.skeleton).parameters == built.count_params() - sum(
        int(np.prod(v.shape)) for v in built.non_trainable_variables
    )


def test_one_hot_gates_are_the_path(net):
    arch, x = tf.constant(ARCHS[0]), tf.constant(IMAGES)
    gates = tf.one_hot(answers(2, len(OPERATIONS), arch), len(OPERATIONS) + 1)
    np.testing.assert_allclose(
        net(x, gates, training=False), net(x, arch, training=False), rtol=1e-5, atol=1e-5
    )


def test_gates_are_derived_as_in_the_paper():
    """The two strongest edges of a node, by their best operation; `none` never, however strong."""
    weights = np.zeros([10, 4])
    weights[0], weights[1] = [3, 0, 0, 9], [0, 1, 0, 0]  # node 2 has these two alone
    weights[2], weights[3], weights[4] = [0, 0, 2, 0], [0, 2, 0, 5], [1, 0, 0, 0]  # 3 is none
    weights[7:, 2] = 1, 3, 2
    found = SPACE.decode(SPACE.architecture_from_gates(weights))
    assert (found["normal/node2/op1"], found["normal/node2/op2"]) == ("max_pool_3x3", "identity")
    assert found["normal/node3/inputs"] == (0, 2)
    assert (found["normal/node3/op1"], found["normal/node3/op2"]) == ("sep_3x3", "max_pool_3x3")
    assert found["reduction/node3/inputs"] == (1, 2)
    assert SPACE.gate_counts() == (4,) * 10 and DARTS().gate_counts() == (8,) * 28


@pytest.mark.parametrize("name", ["drop_path", "auxiliary_weight"])
def test_what_the_supernet_does_not_have_is_refused(name):
    skeleton = ImageSkeleton(image_shape=(8, 8, 1), classes=3, **{name: 0.4})
    with pytest.raises(ConfigError, match=f"skeleton.{name} must be 0 for shared weights, got 0.4"):
        SPACE.supernet(skeleton)
