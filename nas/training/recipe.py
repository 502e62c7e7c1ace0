"""How a network is trained: the settings of one training, and the learning rate of each step."""

import dataclasses
import math
from typing import Any

import numpy as np

from nas.core.trial import ConfigError

OPTIMIZERS = ("sgd", "adam", "rmsprop")
SCHEDULES = ("constant", "cosine", "cosine_restarts", "cosine_waves", "linear", "step")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recipe:
    """Optimiser, schedule, regularisation and augmentation of one training.

    Raises ConfigError for a setting that is out of range.
    """

    epochs: int = 8
    batch_size: int = 64  # images
    eval_batch_size: int = 512  # images
    optimizer: str = "sgd"  # one of OPTIMIZERS
    learning_rate: float = 0.1  # the schedule's largest
    momentum: float = 0.9  # of sgd and rmsprop
    nesterov: bool = True  # of sgd
    beta_1: float = 0.9  # of adam
    beta_2: float = 0.999  # of adam
    rho: float = 0.9  # of rmsprop
    epsilon: float = 1e-7  # of adam and rmsprop
    schedule: str = "cosine"  # one of SCHEDULES
    min_learning_rate: float = 0.0  # where cosines and lines end
    rate_by_epoch: bool = False  # the rate is constant within an epoch
    warmup_epochs: float = 0.0  # linear from 0
    restart_first: int = 10  # epochs to the first restart, or from the top of a wave to its bottom
    restart_factor: float = 2.0  # each period is this many times as long as the last
    step_at: tuple[float, ...] = (0.5, 0.75)  # shares of the epochs
    step_factor: Any = 0.1  # multiplies the rate at each of them: one number, or one for each
    weight_decay: float = 0.0  # L2 of kernels, added to their gradients
    clip_norm: float | None = None  # limit on the norm of all gradients together
    clip_decay: bool = True  # clips the gradient with weight decay; False: without, as PyTorch
    label_smoothing: float = 0.0  # in [0, 1)
    pad_crop: int = 0  # pixels of zeros added on each side, then a random crop
    upsample_crop: int | None = None  # pixels: enlarge to this side, then a random crop
    flip: bool = False  # left to right, with probability a half
    cutout: int = 0  # pixels: side of a square set to the mean
    mixed_precision: bool = False  # bfloat16 arithmetic, float32 weights
    xla: bool | str = "auto"  # auto: on a GPU
    several_devices: bool = False  # all GPUs share each batch
    # Shared weights that a step has not used decay and go on with their momentum, as in PyTorch
    # before version 2.0, whose zero_grad leaves gradients of zero
    move_unused: bool = False

    def __post_init__(self):
        object.__setattr__(self, "step_at", tuple(self.step_at))
        if not isinstance(self.step_factor, int | float):
            object.__setattr__(self, "step_factor", tuple(self.step_factor))
            if len(self.step_factor) != len(self.step_at):
                raise ConfigError(
                    "recipe.step_factor must be a number, or one for each of "
                    f"recipe.step_at={list(self.step_at)}, got {list(self.step_factor)}"
                )
        for name, choices in (("optimizer", OPTIMIZERS), ("schedule", SCHEDULES)):
            if getattr(self, name) not in choices:
                raise ConfigError(
                    f"recipe.{name} must be one of {', '.join(choices)}, got {getattr(self, name)}"
                )
        for name in ("epochs", "batch_size", "eval_batch_size", "restart_first"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ConfigError(f"recipe.{name} must be at least 1, got {getattr(self, name)}")
        for name in ("weight_decay", "pad_crop", "cutout", "warmup_epochs", "min_learning_rate"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"recipe.{name} must not be negative, got {getattr(self, name)}")
        for name in ("learning_rate", "epsilon", "clip_norm", "upsample_crop"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"recipe.{name} must be positive, got {value}")
        for name in ("momentum", "beta_1", "beta_2", "rho"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(f"recipe.{name} must be in [0, 1), got {getattr(self, name)}")
        if self.restart_factor < 1:  # shrinking periods would end before the training
            raise ConfigError(
                f"recipe.restart_factor must be at least 1, got {self.restart_factor}"
            )
        if not 0 <= self.label_smoothing < 1:
            raise ConfigError(
                f"recipe.label_smoothing must be in [0, 1), got {self.label_smoothing}"
            )
        if self.xla not in ("auto", True, False):
            raise ConfigError(f"recipe.xla must be auto, true or false, got {self.xla}")

    def replace(self, **changes: Any) -> "Recipe":
        return dataclasses.replace(self, **changes)


def learning_rates(recipe: Recipe, steps_per_epoch: int) -> np.ndarray:
    """The learning rate of every step: [epochs * steps_per_epoch] float32.

    Cosines change at each step. At the first step of an epoch they have the value that the papers
    give for that epoch, and rate_by_epoch keeps it for the whole epoch. A restart begins a period
    at the largest rate; a wave rises to it as it fell, which is PyTorch's CosineAnnealingLR beyond
    its T_max.

        >>> learning_rates(Recipe(epochs=2, learning_rate=1.0, schedule="cosine"), 1).tolist()
        [1.0, 0.5]
    """
    exact = np.arange(recipe.epochs * steps_per_epoch) / steps_per_epoch
    epochs = np.floor(exact + 1e-9) if recipe.rate_by_epoch else exact
    rates: np.ndarray
    top, low = recipe.learning_rate, recipe.min_learning_rate
    if recipe.schedule == "constant":
        rates = np.full(len(epochs), top)
    elif recipe.schedule == "linear":
        rates = low + (top - low) * (1 - epochs / recipe.epochs)
    elif recipe.schedule == "step":
        factor, scale = recipe.step_factor, np.ones(len(epochs))
        factors = factor if isinstance(factor, tuple) else (factor,) * len(recipe.step_at)
        for at, factor in zip(recipe.step_at, factors, strict=True):
            scale = np.where(epochs >= at * recipe.epochs, scale * factor, scale)
        rates = top * scale
    elif recipe.schedule == "cosine":
        rates = low + 0.5 * (top - low) * (1 + np.cos(math.pi * epochs / recipe.epochs))
    elif recipe.schedule == "cosine_waves":
        turns = epochs / recipe.restart_first
        rates = low + 0.5 * (top - low) * (1 + np.cos(math.pi * turns))
    else:
        start, period = np.zeros(len(epochs)), np.full(len(epochs), float(recipe.restart_first))
        while (epochs >= start + period).any():
            over = epochs >= start + period
            start = np.where(over, start + period, start)
            period = np.where(over, period * recipe.restart_factor, period)
        rates = low + 0.5 * (top - low) * (1 + np.cos(math.pi * (epochs - start) / period))
    if recipe.warmup_epochs:
        rates = rates * np.minimum(1.0, (exact + 1 / steps_per_epoch) / recipe.warmup_epochs)
    return rates.astype(np.float32)
