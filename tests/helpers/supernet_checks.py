"""What holds for the supernet of any space: a step on a path is one of the network built for it."""

import numpy as np
import tensorflow as tf

from nas.oneshot.optimizer import GroupedOptimizer
from nas.training.recipe import Recipe

PLAIN = Recipe(optimizer="sgd", momentum=0.0, nesterov=False)


class Stepped:
    """Steps of a rate of 1 on a path, at once or in one graph for all."""

    def __init__(self, net, images, labels):
        self.net, self.images, self.labels = net, tf.constant(images), tf.constant(labels)
        self.optimizer = GroupedOptimizer(
            PLAIN, list(net.groups.values()), list(net.kernels.values())
        )
        self.graph = tf.function(self.step, autograph=False)

    def step(self, arch):
        with tf.GradientTape() as tape:
            heads = self.net.heads(self.images, arch, training=True)
            loss = sum(cross_entropy(self.labels, logits) for logits in heads)
        gradients = tape.gradient(loss, self.optimizer.variables)
        one, first = tf.constant(1.0), tf.constant(0)
        used, rows = self.net.active(arch), self.net.rows(arch)
        self.optimizer.apply(gradients, used, one, first, rows)
        return heads


def cross_entropy(labels, logits):
    return tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))


def randomise(net, seed=1):
    """Scales, offsets and moving averages that differ from one to the next."""
    rng = np.random.default_rng(seed)
    for v in net.variables:
        if len(v.shape) == 1 or v.name in ("scales", "averages"):
            v.assign(rng.uniform(0.5, 1.5, v.shape))


def check_step(stepped, run, arch, skeleton):
    """`run` gives the logits of the built network, and moves and averages as it does; all else
    stays as it is. run: stepped.step or stepped.graph."""
    net = stepped.net
    model, layers = net.space.build(arch, skeleton), net.layers(arch)
    built = {layer.name: layer for layer in model.layers if layer.weights}
    extras = getattr(model, "in_training", None)
    if extras:
        built |= {layer.name: layer for layer in extras.model.layers if layer.weights}
        built.pop("drop_path", None)
    assert set(built) == set(layers)
    for name, layer in built.items():
        layer.set_weights(layers[name].get_weights())
    with tf.GradientTape() as tape:
        heads = extras(stepped.images) if extras else [model(stepped.images, training=True)]
        loss = sum(cross_entropy(stepped.labels, logits) for logits in heads)
    variables = (extras or model).trainable_variables
    for v, g in zip(variables, tape.gradient(loss, variables), strict=True):
        v.assign_sub(g)

    before = {id(v): v.numpy() for v in net.variables}
    for logits, expected in zip(run(tf.constant(arch, tf.int32)), heads, strict=True):
        np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-5)
    for name, layer in net.layers(arch).items():
        for mine, expected in zip(layer.get_weights(), built[name].get_weights(), strict=True):
            np.testing.assert_allclose(mine, expected, rtol=1e-5, atol=1e-5)
    moved = {id(v) for v in net.variables if np.any(before[id(v)] != v.numpy())}
    _check_the_rest(net, arch, before, moved, layers)


def _check_the_rest(net, arch, before, moved, layers):
    allowed = {id(v) for layer in layers.values() for v in layer.weights}
    tables = [v for v in net.variables if v.name in ("kernels", "scales", "averages")]
    arch = tf.constant(arch, tf.int32)
    choices = zip(net.groups.values(), net.active(arch), net.rows(arch), strict=True)
    for group, is_active, row in choices:
        for v in group:
            if row is None:
                continue
            changed = np.unique(np.nonzero(before[id(v)] != v.numpy())[0]).tolist()
            assert changed in ([], [int(row)])
            assert is_active or not changed
    for v in tables:  # averages have no group: one row at most
        assert len(np.unique(np.nonzero(before[id(v)] != v.numpy())[0])) <= 1
    assert moved <= allowed | {id(v) for v in tables}
