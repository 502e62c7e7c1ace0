"""Kernels of a Gaussian process over feature vectors: those of tensorflow-probability, in numpy.

All have k(x, x) = 1. The Gaussian process itself is in gaussian_process.py.
"""

import functools
import importlib
import sys
from collections.abc import Callable
from types import ModuleType

import numpy as np

from nas.core.trial import ConfigError

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]  # [a, features], [b, features] -> [a, b]

MODULE = "tensorflow_probability.substrates.numpy.math.psd_kernels"
KERNELS = {
    "exponentiated_quadratic": "ExponentiatedQuadratic",  # exp(-d^2 / 2 l^2)
    "matern_three_halves": "MaternThreeHalves",
    "matern_five_halves": "MaternFiveHalves",
    "rational_quadratic": "RationalQuadratic",
}


def kernel(name: str, length_scale: float) -> Kernel:
    """The kernel of that name. Raises ConfigError for an unknown name or a wrong length scale."""
    if name not in KERNELS:
        raise ConfigError(
            f"controller.gaussian_process.kernel must be one of {', '.join(KERNELS)}, got {name}"
        )
    if length_scale <= 0:
        raise ConfigError(
            f"controller.gaussian_process.length_scale must be above 0, got {length_scale}"
        )
    return getattr(_psd_kernels(), KERNELS[name])(length_scale=np.float64(length_scale)).matrix


@functools.lru_cache(1)
def _psd_kernels() -> ModuleType:
    """tensorflow-probability's numpy half, which computes without TensorFlow: 0.8 s instead of 5.

    It imports TensorFlow if it can, but only to copy docstrings. The modules that were imported
    without TensorFlow are kept only here: a later import elsewhere gets the complete ones.
    """
    if "tensorflow" in sys.modules or "tensorflow_probability" in sys.modules:
        return importlib.import_module(MODULE)
    sys.modules["tensorflow"] = None  # type: ignore[assignment]  # an import takes it as not installed
    try:
        return importlib.import_module(MODULE)
    finally:
        del sys.modules["tensorflow"]
        for name in list(sys.modules):
            if name.split(".")[0] == "tensorflow_probability":
                del sys.modules[name]
