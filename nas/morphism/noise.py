"""Noise on weights that a transform copies: without it copies get equal gradients for ever."""

import numpy as np


def with_noise(values: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """Values with normal noise. noise: in standard deviations of all of them.

    As in EAS' code (han-cai/EAS, models/layers.py, apply_noise) and PathLevel-EAS'.
    """
    spread = noise * values.std() if values.size else 0.0
    return values + (spread * rng.standard_normal(values.shape)).astype(np.float32)


def with_uniform_noise(
    values: np.ndarray, noise: float, rng: np.random.Generator, *, like: np.ndarray
) -> np.ndarray:
    """Values with uniform noise. noise: its whole width, in ranges (largest - smallest) of `like`.

    As in Auto-Keras' code, version 0.3.7 (autokeras/nn/layer_transformer.py, add_noise).
    """
    half = noise * float(np.ptp(like)) / 2
    return values + rng.uniform(-half, half, values.shape).astype(np.float32)
