"""Our batch normalisation equals Keras' own, forward and backward, and is saved as Keras' own."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from nas.ops.batch_norm import BatchNormalization

SETTINGS = {"momentum": 0.9, "epsilon": 1e-5}


def trained(layer, x, weights):
    """Output, gradients and weights after one batch in training. x: [batch, 5, 4, 3]."""
    layer.build(x.shape)
    layer.set_weights(weights)
    tensor = tf.constant(x)
    with tf.GradientTape() as tape:
        tape.watch(tensor)
        y = layer(tensor, training=True)
        loss = tf.reduce_sum(y * tf.cos(tensor))
    gradients = tape.gradient(loss, [tensor, *(v.value for v in layer.trainable_variables)])
    return [y, *gradients, *layer.get_weights()]


@pytest.mark.parametrize("settings", [{}, {"scale": False}, {"center": False}])
def test_a_step_is_that_of_keras(settings):
    rng = np.random.default_rng(0)
    x = rng.normal(2, 3, [7, 5, 4, 3]).astype(np.float32)
    count = 4 - len(settings)
    weights = [rng.uniform(0.5, 2, 3).astype(np.float32) for _ in range(count)]
    ours, keras_own = (
        trained(kind(**SETTINGS, **settings), x, weights)
        for kind in (BatchNormalization, keras.layers.BatchNormalization)
    )
    assert len(ours) == len(keras_own)
    for a, b in zip(ours, keras_own, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


def test_the_moving_averages_are_used_outside_training():
    layer = BatchNormalization(**SETTINGS)
    x = np.random.default_rng(0).normal(2, 3, [4, 2, 2, 3]).astype(np.float32)
    layer.build(x.shape)
    layer.set_weights([np.full(3, value, np.float32) for value in (2, 1, 3, 4)])
    expected = (x - 3) / np.sqrt(4 + 1e-5) * 2 + 1
    np.testing.assert_allclose(layer(x, training=False), expected, rtol=1e-5, atol=1e-5)


def test_a_frozen_layer_does_not_move():
    layer = BatchNormalization(**SETTINGS)
    layer.trainable = False
    x = np.ones([4, 2, 2, 3], np.float32)
    layer(x, training=True)
    assert [w.tolist() for w in layer.get_weights()[2:]] == [[0, 0, 0], [1, 1, 1]]


def test_a_single_value_has_no_variance():
    layer = BatchNormalization(**SETTINGS)
    layer(np.full([1, 1, 1, 3], 5, np.float32), training=True)
    np.testing.assert_allclose(layer.moving_variance, np.full(3, 0.9), rtol=1e-6)


def test_a_saved_model_has_the_plain_layer(tmp_path):
    inputs = keras.Input((4, 4, 3))
    model = keras.Model(inputs, BatchNormalization(**SETTINGS)(inputs))
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert type(again.layers[1]) is keras.layers.BatchNormalization
    assert again.layers[1].epsilon == 1e-5
