"""Trains on one device and on two logical CPUs: several_devices.py PLAIN|NORMALISED.

Prints the largest difference of weights, and losses, as JSON. A process of its own, for devices are
divided before TensorFlow starts.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)

from nas.ops.batch_norm import BatchNormalization  # noqa: E402
from nas.training import devices  # noqa: E402
from nas.training import loop as image  # noqa: E402
from nas.training.recipe import Recipe  # noqa: E402
from tests.helpers.small_images import make, some  # noqa: E402


def network(data, recipe, normalised):
    keras.utils.set_random_seed(0)
    with devices.strategy(recipe).scope():
        inputs = keras.Input(data.image_shape)
        x = keras.layers.Conv2D(4, 3)(inputs)
        x = keras.layers.ReLU()(BatchNormalization()(x) if normalised else x)
        return keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(x)))


def main():
    normalised, data = sys.argv[1] == "NORMALISED", make(*some(60))
    weights, losses = [], []
    for several in (False, True):
        recipe = Recipe(
            epochs=2, batch_size=10, weight_decay=1e-3, clip_norm=1.0, several_devices=several
        )
        model = network(data, recipe, normalised)
        losses.append(image.fit(model, data, recipe, seed=0)["loss"])
        weights.append([np.array(w) for w in model.get_weights()])
    difference = max(float(abs(a - b).max()) for a, b in zip(*weights, strict=True))
    print(json.dumps({"difference": difference, "losses": losses}))


if __name__ == "__main__":
    main()
