"""The quick network: its first weights and dropout, and that it trains as the Keras model does.

That it computes the same in every space is held in tests/contracts/test_spaces.py.
"""

import keras
import numpy as np
import pytest
import tensorflow as tf

from nas.core.ops import DEPTHWISE_INITIALIZER
from nas.core.skeleton import ImageSkeleton
from nas.ops.quick_network import QuickNetwork
from nas.ops.weights import DEPTHWISE, KERNEL, FlatLayout, Weight, draw
from nas.search_spaces.image_space import ImageSpace
from nas.search_spaces.papers.darts.space import DARTS
from nas.search_spaces.papers.nasbench201.space import NASBench201
from nas.training import loop as image
from nas.training.recipe import Recipe
from nas.training.weights import give, take
from tests.helpers.small_images import make, some

SHAPE = (8, 8, 3)
SEED = tf.constant([0, 1])


class Plain(ImageSpace):
    """A convolution, dropout, a normalised dense layer, and another dense layer."""

    def network(self, ops, arch, skeleton):
        x = ops.conv(ops.image(), 8, (3, 3), bias=True, initializer="lecun_uniform", name="conv")
        x = ops.dense(ops.dropout(x, skeleton.dropout), 6, name="dense")
        x = ops.relu(ops.batch_norm(x, name="norm"))
        return ops.dense(x, skeleton.classes, name="logits", dtype="float32")


class Twice(ImageSpace):
    def network(self, ops, arch, skeleton):
        x = ops.conv(ops.conv(ops.image(), 3, (3, 3), name="same"), 3, (3, 3), name="same")
        return ops.classifier(x, skeleton.classes, dropout=0.0)


class Dilated(ImageSpace):
    """Both kinds of dilated convolutions, whose gradients some kernels of a CPU lack."""

    def network(self, ops, arch, skeleton):
        x = ops.conv(ops.image(), 4, (3, 3), dilation=2, name="conv")
        x = ops.depthwise(x, (3, 3), dilation=2, name="depthwise")
        return ops.classifier(ops.relu(x), skeleton.classes, dropout=0.0)


class OfKeras(ImageSpace):
    def build(self, arch, skeleton):
        return keras.Sequential([keras.Input(SHAPE), keras.layers.Flatten(), keras.layers.Dense(2)])


def quick_network(space, arch, skeleton, **settings):
    return QuickNetwork(lambda ops: space.network(ops, arch, skeleton), skeleton, **settings)


def skeleton(**settings):
    return ImageSkeleton(image_shape=SHAPE, classes=2, **({"channels": 2} | settings))


def darts(**settings):
    space = DARTS()
    return quick_network(space, space.parse("darts_v2"), skeleton(**settings), seed=0)


def images(count=6):
    return tf.random.stateless_uniform((count, *SHAPE), (0, 0))


def heads(network, seed=SEED, progress=0.0):
    return [head.numpy() for head in network.heads(images(), seed=seed, progress=progress)]


@pytest.mark.parametrize(
    "space, arch", [(NASBench201(), (1, 3, 4, 3, 0, 2)), (Dilated(), ())], ids=["cells", "dilated"]
)
def test_it_learns_what_the_keras_model_learns(space, arch):
    data = make(*some(60, shape=SHAPE))
    recipe = Recipe(epochs=2, batch_size=16, weight_decay=1e-2, clip_norm=1.0, pad_crop=1)
    model = image.build(space, arch, skeleton(), recipe, seed=0)
    quick = image.build_for_search(space, arch, skeleton(), recipe, seed=1)
    give(quick, take(model))
    histories = [image.fit(m, data, recipe, seed=0) for m in (model, quick)]
    for name in ("loss", "accuracy", "valid_loss", "valid_accuracy"):
        np.testing.assert_allclose(*(h[name] for h in histories), rtol=1e-3)
    for name, value in take(model).items():
        np.testing.assert_allclose(quick.values()[name], value, rtol=1e-2, atol=1e-3)


def test_all_epochs_are_one_trace_and_equal_seeds_train_alike():
    data, recipe = make(*some(40, shape=SHAPE)), Recipe(epochs=2, batch_size=16)
    losses = []
    for seed in (0, 0, 1):
        quick = image.build_for_search(Plain(), (), skeleton(dropout=0.5), recipe, seed=0)
        loop = image.EpochLoop(quick, data, recipe, seed=seed)
        order, rates = np.arange(16, dtype=np.int32)[None], np.full(1, 0.01, np.float32)
        losses.append([loop.run(order, rates, number)[0] for number in range(2)])
        assert loop.graph.experimental_get_tracing_count() == 1
    assert losses[0] == losses[1] != losses[2]


def test_dense_layers_dropout_and_biases_are_those_of_the_model():
    model = Plain().build((), skeleton(dropout=0.5))
    quick = quick_network(Plain(), (), skeleton(dropout=0.5), seed=3)
    assert give(model, take(quick)) == sum(int(v.shape[0]) for v in quick.trainable_variables)
    assert take(quick).keys() == take(model).keys()
    np.testing.assert_allclose(quick(images()), model(images()), rtol=1e-5, atol=1e-6)
    first, again, other = (heads(quick, tf.constant([0, n]))[0] for n in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_paths_are_dropped_as_training_goes_on_and_the_auxiliary_head_has_gradients():
    quick = darts(drop_path=0.5, auxiliary_weight=0.4)
    with tf.GradientTape() as tape:
        logits, auxiliary = quick.heads(images(), seed=SEED, progress=1.0)
        loss = tf.reduce_sum(logits**2) + quick.auxiliary_weight * tf.reduce_sum(auxiliary**2)
    gradients = quick.named(tape.gradient(loss, quick.trainable_variables))
    assert all(
        gradients[f"auxiliary_{name}"].any() for name in ("wide_conv/kernel", "wide_bn/beta")
    )
    undropped, same = heads(quick)[0], heads(darts(auxiliary_weight=0.4))[0]
    np.testing.assert_allclose(undropped, same, rtol=1e-4, atol=1e-5)
    assert not np.allclose(logits, undropped, rtol=1e-2)


def test_dropped_paths_are_of_whole_images_and_keep_the_mean():
    quick = darts(drop_path=0.4)
    paths = np.stack(quick._paths(4000, SEED, tf.constant(0.5)))
    assert paths.shape == (len(quick._rates), 4000, 1, 1, 1)
    last = paths[-1].ravel()  # its rate is 0.4 in the end, 0.2 half way
    assert sorted(set(last.tolist())) == [0, pytest.approx(1.25)]
    # Five standard deviations.
    assert abs((last == 0).mean() - 0.2) < 5 * np.sqrt(0.2 * 0.8 / 4000)
    assert not np.array_equal(paths[-1] > 0, paths[-2] > 0)


def test_mixed_precision_computes_in_bfloat16_and_keeps_float32_weights():
    quick = quick_network(Plain(), (), skeleton(), seed=0, dtype="bfloat16")
    exact = quick_network(Plain(), (), skeleton(), seed=0)
    assert {v.dtype for v in quick.trainable_variables} == {tf.float32}
    (logits,), (expected,) = heads(quick), heads(exact)
    assert logits.dtype == np.float32 and (logits != expected).any()
    np.testing.assert_allclose(logits, expected, atol=0.1)


@pytest.mark.parametrize(
    "initializer", ["he_normal", "lecun_normal", "glorot_uniform", "he_uniform", DEPTHWISE]
)
def test_weights_are_drawn_as_keras_initializers_draw_them(initializer):
    shape = (3, 5, 400, 1) if initializer == DEPTHWISE else (3, 5, 20, 30)
    ours = draw({"kernel": Weight(shape, KERNEL, initializer)}, seed=0)["kernel"]
    theirs = keras.initializers.get(
        {"class_name": "VarianceScaling", "config": DEPTHWISE_INITIALIZER}
        if initializer == DEPTHWISE
        else initializer
    )(shape)
    assert ours.dtype == np.float32
    # The deviation of n values is off by at most deviation / sqrt(2n): six times both of these.
    assert ours.std() == pytest.approx(np.std(theirs), rel=6 / np.sqrt(ours.size))
    assert np.abs(ours).max() == pytest.approx(np.abs(theirs).max(), rel=0.02)


def test_equal_seeds_draw_equal_weights():
    first, again, other = (
        quick_network(Plain(), (), skeleton(), seed=s).values() for s in (0, 0, 1)
    )
    np.testing.assert_equal(first, again)
    assert (first["conv/kernel"] != other["conv/kernel"]).any()
    assert not first["conv/bias"].any() and (first["norm/moving_variance"] == 1).all()


def test_what_is_assigned_has_the_same_name_and_shape():
    quick = quick_network(Plain(), (), skeleton(), seed=0)
    before = quick.values()
    given = {"dense/bias": np.ones(6), "conv/bias": np.ones(5), "other/bias": np.ones(6)}
    assert quick.assign(given) == 6
    assert quick.assign({"norm/moving_mean": np.ones(6)}) == 0  # nothing trainable
    changed = {n for n, v in quick.values().items() if (v != before[n]).any()}
    assert changed == {"dense/bias", "norm/moving_mean"}


def test_a_layout_divides_what_it_joins():
    shapes = {"a": (2, 3), "b": (4,), "c": (2, 3), "d": (1, 4)}
    arrays = {n: np.random.default_rng(len(n)).random(s, np.float32) for n, s in shapes.items()}
    layout = FlatLayout(shapes)
    assert (layout.names, layout.sizes) == (["a", "c", "b", "d"], [12, 4, 4])
    np.testing.assert_equal(layout.divide(layout.join(arrays)), arrays)


def test_a_space_that_builds_of_keras_alone_gives_its_model():
    recipe = Recipe(epochs=1, batch_size=10)
    one, two = (image.build_for_search(OfKeras(), (), skeleton(), recipe, seed=0) for _ in range(2))
    assert isinstance(one, keras.Model)
    np.testing.assert_equal(one.get_weights(), two.get_weights())


def test_wrong_networks_are_refused():
    with pytest.raises(ValueError, match="names of their own, got same twice"):
        quick_network(Twice(), (), skeleton(), seed=0)
    wrong = {"kernel": Weight((3, 3, 1, 1), KERNEL, "orthogonal")}
    with pytest.raises(ValueError, match="initializer must be one of he_normal, .*got orthogonal"):
        draw(wrong, seed=0)
