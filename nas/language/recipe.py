"""The recipe of a language model's training: settings, learning rates, lengths of sequences.

Zaremba et al. 2014 (arXiv:1409.2329), Merity et al. 2018 (arXiv:1708.02182, section 3 to 5).
"""

import dataclasses
from typing import Any

import numpy as np

from nas.core.trial import ConfigError

OPTIMIZERS = ("sgd", "adam")
L2, CUBES = "l2", "cubes"  # rules of weight decay
# The share of random sequences that are drawn round half the length (Merity et al., section 4.1).
SHORT_SHARE = 0.05
SHORTEST = 5  # steps (their code, main.py)


@dataclasses.dataclass(frozen=True, kw_only=True)
class LanguageRecipe:
    """SGD or Adam with a clipped gradient, its schedule, truncation, regularisation, averaging."""

    epochs: int = 13
    batch_size: int = 20  # streams of text that are read side by side
    bptt: int = 20  # steps of truncated back-propagation; with random_bptt their usual mean
    # Lengths of sequences are random, learning rates proportional to them (Merity et al., 4.1).
    random_bptt: bool = False
    bptt_deviation: float = 5.0  # steps; of random lengths (Merity et al.'s code, main.py)
    max_bptt: int | None = None  # steps of the longest random sequence; None: no limit
    eval_batch_size: int = 10  # streams of the validation part
    test_batch_size: int = 1  # streams of the test part: 1 gives every token its whole past
    optimizer: str = "sgd"  # or adam, with the betas and epsilon of Keras
    learning_rate: float = 1.0
    decay_after: int = 4  # epochs at the full rate
    decay: float = 0.5  # multiplies the rate at the start of each later epoch
    clip_norm: float | None = 5.0  # the largest norm of all gradients together
    weight_decay: float = 0.0  # times the weights, added to the gradient
    # l2; or cubes: times twice the cubes of the cell's matrices but the first node's, as in ENAS'
    # search (enas_lm), with shared weights alone
    decay_rule: str = L2
    clip_decay: bool = False  # clips the gradient with weight decay; False: without, as PyTorch
    sum_over_time: bool = True  # loss: sum over steps, mean over streams; false: mean over both
    activation_regularization: float = 0.0  # alpha: times the mean square of the output
    dropped_activations: bool = True  # alpha is of the dropped output; False: of the whole one
    slowness: float = 0.0  # beta: times the mean square change of the output from step to step
    nonmonotone: int | None = None  # evaluations without progress that start averaging; None: never
    keep_best: bool = False  # tests the weights of the best validation, not the last ones
    # How often a loss that is not finite brings the weights of the best epoch back, or with
    # keep_best=False those of the last one; None: always.
    rollbacks: int | None = 0
    steps_per_call: int | None = None  # steps of one call of the graph; None: an epoch
    xla: bool | str = "auto"  # auto: on a GPU, if sequences have a fixed length

    def __post_init__(self):
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(
                f"recipe.optimizer must be one of {', '.join(OPTIMIZERS)}, got {self.optimizer}"
            )
        for name in ("epochs", "batch_size", "bptt", "eval_batch_size", "test_batch_size"):
            self._check_whole(name, 1)
        for name in ("max_bptt", "nonmonotone", "steps_per_call"):
            if getattr(self, name) is not None:
                self._check_whole(name, 1)
        self._check_whole("decay_after", 0)
        if self.rollbacks is not None:
            self._check_whole("rollbacks", 0)
        if self.decay_rule not in (L2, CUBES):
            raise ConfigError(f"recipe.decay_rule must be {L2} or {CUBES}, got {self.decay_rule}")
        if self.decay_rule == CUBES and not self.clip_decay:
            raise ConfigError(
                "recipe.clip_decay must be true with recipe.decay_rule=cubes, got false; "
                "set recipe.clip_decay=true"
            )
        for name in ("learning_rate", "decay", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ConfigError(f"recipe.{name} must be above 0, got {value}")
        for name in ("weight_decay", "activation_regularization", "slowness", "bptt_deviation"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"recipe.{name} must not be negative, got {getattr(self, name)}")
        if self.max_bptt is not None and self.max_bptt < self.bptt:
            raise ConfigError(
                f"recipe.max_bptt must be null or at least recipe.bptt={self.bptt}, "
                f"got {self.max_bptt}"
            )
        if self.random_bptt and self.bptt < SHORTEST:
            raise ConfigError(
                f"recipe.bptt must be at least {SHORTEST} with recipe.random_bptt, got {self.bptt}"
            )
        if self.slowness and self.bptt < 2:
            raise ConfigError(
                f"recipe.bptt must be at least 2 with recipe.slowness, got {self.bptt}"
            )
        if self.xla not in ("auto", True, False):
            raise ConfigError(f"recipe.xla must be auto, true or false, got {self.xla}")
        if self.xla is True and self.random_bptt:
            raise ConfigError("recipe.xla must be auto or false with recipe.random_bptt, got True")

    def replace(self, **changes: Any) -> "LanguageRecipe":
        return dataclasses.replace(self, **changes)

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0."""
        return self.learning_rate * self.decay ** max(epoch + 1 - self.decay_after, 0)

    def _check_whole(self, name: str, least: int) -> None:
        value = getattr(self, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise ConfigError(
                f"recipe.{name} must be a whole number, at least {least}, got {value}"
            )


def sequences(
    recipe: LanguageRecipe, length: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Where each training sequence of a stream of `length` tokens starts, and its steps.

    Sequences of fixed length: whole ones only, so up to bptt tokens at the end are left out
    (TensorFlow tutorial, reader.py). Of random length: they cover all tokens that have a next one,
    except a single last step.

    Returns: starts and steps, each [sequences].
    """
    if not recipe.random_bptt:
        count = (length - 1) // recipe.bptt
        return np.arange(count) * recipe.bptt, np.full(count, recipe.bptt)
    starts, steps, at = [], [], 0
    while at < length - 2:
        mean = recipe.bptt / 2 if rng.random() < SHORT_SHARE else recipe.bptt
        drawn = max(SHORTEST, int(rng.normal(mean, recipe.bptt_deviation)))
        drawn = min(drawn, recipe.max_bptt or drawn, length - 1 - at)
        starts.append(at)
        steps.append(drawn)
        at += drawn
    return np.array(starts), np.array(steps)


def starts_averaging(earlier: list[float], loss: float, window: int) -> bool:
    """Whether NT-ASGD begins: `loss` is above the best of all but the last `window` evaluations.

    earlier: the validation losses before `loss` (Merity et al. 2018, Algorithm 1; their code).
    """
    return len(earlier) > window and loss > min(earlier[:-window])
