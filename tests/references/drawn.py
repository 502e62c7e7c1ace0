"""Weights that depend on their name alone, so that two implementations can be given the same."""

import zlib

import numpy as np

DEPTHWISE = "depthwise"


def drawn(name: str, shape: tuple[int, ...], seed: int) -> np.ndarray:
    """The value of a weight called "layer/weight", float32.

    Kernels are normal with a variance of 2 / fan-in; a normalization's values are far from those
    that a network begins with, so that a wrong order of its weights shows.
    """
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    layer, weight = name.rsplit("/", 1)
    if weight in ("gamma", "moving_variance"):
        return rng.uniform(0.5, 1.5, shape).astype(np.float32)
    if weight in ("beta", "moving_mean", "bias"):
        return (0.1 * rng.standard_normal(shape)).astype(np.float32)
    fan_in = np.prod(shape[:2] if DEPTHWISE in layer else shape[:-1])
    return (rng.standard_normal(shape) * (2.0 / fan_in) ** 0.5).astype(np.float32)
