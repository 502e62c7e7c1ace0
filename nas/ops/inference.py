"""What a described network computes at inference, straight from its weights: no model is built."""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from nas.core.ops import BN_EPSILON
from nas.ops.description import NORM_WEIGHTS, Description, Moments, Weights
from nas.ops.tensors import TensorOps


def outputs(
    network: Description, weights: Weights, images: np.ndarray, name: str | None = None
) -> np.ndarray:
    """What layer `name` gives for the images, without training; None: the logits.

    Args:
      images: [batch, height, width, channels] float32, normalised.

    Returns: [batch, height, width, channels], or [batch, units] for a dense layer.
    """
    if name is not None:
        up_to_it = network.layers[: network.position(name) + 1]
        network = Description(network.image_shape, up_to_it, name)
    return network.write(InferenceOps(tf.constant(images, tf.float32), weights)).numpy()


def moments(network: Description, weights: Weights, images: np.ndarray, name: str) -> Moments:
    """Mean and variance over `images` of each channel of layer `name`: two arrays [channels]."""
    values = outputs(network, weights, images, name)
    axes = tuple(range(values.ndim - 1))
    return values.mean(axes), values.var(axes)


class InferenceOps(TensorOps):
    """TensorOps at inference, rounded as searches with inherited weights always were.

    The fused normalization and a product with 1/count differ in the last digit from the plain
    operations here. Inherited weights come of these numbers, so a search would not repeat.
    """

    def batch_norm(
        self, x: tf.Tensor, *, name: str, epsilon: float = BN_EPSILON, affine: bool = True
    ) -> tf.Tensor:
        names = NORM_WEIGHTS if affine else NORM_WEIGHTS[2:]
        *learnt, mean, variance = (self.weights[f"{name}/{each}"] for each in names)
        gamma, beta = learnt or (None, None)
        return tf.nn.batch_normalization(x, mean, variance, beta, gamma, epsilon)

    def average(self, inputs: Sequence[tf.Tensor]) -> tf.Tensor:
        return tf.add_n(inputs) / len(inputs)
