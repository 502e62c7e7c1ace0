"""What one-shot search is made of: shared weights, and methods that train and search them."""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np
import tensorflow as tf

from nas.core.controller import Controller
from nas.core.trial import Arch, ConfigError


class SharedWeights(Protocol):
    """The weights that all architectures of a space share, and the data they are trained on.

    Training, and the scores of architectures (nas/oneshot/paths.py has the full loop):

        for epoch in range(shared.recipe.epochs):
            order, rates = shared.batch_order(epoch), shared.learning_rates(epoch)
            archs = [space.sample(rng) for _ in order]  # one path a step
            print(shared.measures_by_name(shared.train(order, rates, archs, epoch)))
        batches = shared.valid_batches(None, "valid_images")
        scores, losses = shared.scores([arch], batches[None])

    A method with an epoch graph of its own calls `step` in it (nas/oneshot/gates.py):

        state = shared.initial_state()
        for i in range(steps):
            measures, state = shared.step(order[i], choice, rates[i], first_step + i, state)

    A choice is an architecture [decisions] int32, which runs one path, or gates [questions,
    choices] float32, which run all branches and add them up, or DrawnGates.
    """

    metric: str  # of `scores`: valid_accuracy or valid_perplexity
    measures: int  # how many numbers a step gives, the loss first
    space: Any  # an ImageSpace or a RecurrentSpace, with a supernet
    recipe: Any  # Recipe or LanguageRecipe
    data: Any  # ImageData or TextData
    supernet: Any
    jit_compile: bool

    @property
    def tensors(self) -> list[tf.Variable]:
        """What a checkpoint has to hold."""
        ...

    def measures_by_name(self, measures: Sequence[Any], prefix: str = "") -> dict[str, float]:
        """Names the measures of `train`, `step` or `loss`: loss, and accuracy or perplexity."""
        ...

    def batch_order(self, epoch: int) -> np.ndarray:
        """What each step of an epoch reads: [steps, ...] int, one row a step."""
        ...

    def learning_rates(self, epoch: int) -> np.ndarray:
        """[steps] float32."""
        ...

    def first_step(self, epoch: int) -> int:
        """The number of an epoch's first step, counted from the start of the training."""
        ...

    def valid_order(self, epoch: int, seed: int, order: np.ndarray) -> np.ndarray:
        """The validation data to read beside each row of `order`: [steps, ...] int."""
        ...

    def initial_state(self) -> Any:
        """What the first step of an epoch gets as its state: a nest of tensors, or ()."""
        ...

    def train(
        self, order: np.ndarray, rates: np.ndarray, archs: Sequence[Arch], epoch: int
    ) -> tuple[float, ...]:
        """Trains one epoch, each step on its own architecture's path. Returns mean measures.

        Args:
          order: [steps, ...] int, from `batch_order`.
          rates: [steps] float32, learning rates.
          archs: one architecture for each step.
        """
        ...

    def scores(
        self, archs: Sequence[Arch] | np.ndarray, batches: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Each architecture's `metric` and loss on validation data: [archs] float each.

        batches: [archs, batches, batch] int, from `valid_batches` or `sample_batches`.
        """
        ...

    def sample_batches(self, rng: np.random.Generator, archs: int, size: int) -> np.ndarray:
        """One random validation batch for each architecture: [archs, 1, size] int."""
        ...

    def valid_batches(self, size: int | None, setting: str) -> np.ndarray:
        """The first `size` validation images or tokens in batches, all for None: [batches, batch].

        setting: what `size` is called in the configuration. Raises ConfigError for a wrong size.
        """
        ...

    def step(
        self, row: tf.Tensor, choice: tf.Tensor, rate: tf.Tensor, number: tf.Tensor, state: Any
    ) -> tuple[tuple[tf.Tensor, ...], Any]:
        """One training step inside a graph. Returns its measures and the next step's state.

        Args:
          row: one row of `batch_order`, int32.
          rate: [] float32, the learning rate.
          number: [] int32, the step since the start of the training.
        """
        ...

    def loss(
        self, part: str, row: tf.Tensor, choice: tf.Tensor, number: tf.Tensor, state: Any
    ) -> tuple[tuple[tf.Tensor, ...], Any]:
        """As `step` without the update. part: "train" or "valid"."""
        ...


@runtime_checkable
class LookingAhead(Protocol):
    """Shared weights of which a training step can be computed without taking it.

    clip_ahead: limit on the norm of that step's gradients; None: they are not clipped.
    """

    @property
    def clip_ahead(self) -> float | None: ...

    @property
    def trained(self) -> list[tf.Variable]:
        """The variables that a step trains."""
        ...

    def ahead(self, gradients: Sequence[tf.Tensor], rate: tf.Tensor) -> list[tf.Tensor]:
        """The values of `trained` after a step with these gradients; no variable changes."""
        ...

    def check_ahead(self) -> None:
        """Raises ConfigError if the recipe does not allow it."""
        ...


@runtime_checkable
class EstimatingStatistics(Protocol):
    """Shared weights whose normalizations can estimate an architecture's own moments."""

    def estimate_statistics(self, batches: int) -> None:
        """From now on a score clears the moving averages of all normalizations, and estimates them
        on `batches` training batches that run through the architecture's path."""
        ...


def estimating_statistics(shared: SharedWeights) -> EstimatingStatistics:
    """The weights, if their normalizations have moving averages. Raises ConfigError otherwise."""
    if not isinstance(shared, EstimatingStatistics):
        raise ConfigError(
            "method.statistics_batches must be 0 where a text is learnt; "
            "set method.statistics_batches=0"
        )
    return shared


@runtime_checkable
class RunningDrawn(Protocol):
    """Shared weights whose supernet takes DrawnGates, of which only the drawn branches run."""

    runs_drawn: bool


class Method(Protocol):
    """Trains shared weights and searches them. The loop (nas/oneshot/loop.py has the full one):

        method.start(shared)
        for epoch in range(shared.recipe.epochs):
            order, rates = shared.batch_order(epoch), shared.learning_rates(epoch)
            values = method.epoch(epoch, order, rates)
        trials = search(method.deriver(), score, reward, store, executor, max_trials=100)

    tensors: what a checkpoint has to hold besides the shared weights'; `state` is the rest.
    derive_batch_size: of the own validation batch on which the derivation scores each
      architecture; None: all are scored on the same validation data.
    """

    tensors: list[tf.Variable]
    derive_batch_size: int | None

    def start(self, shared: SharedWeights) -> None:
        """Called once, before the first epoch. Raises ConfigError if it cannot train `shared`."""
        ...

    def epoch(self, epoch: int, order: np.ndarray, rates: np.ndarray) -> dict[str, float]:
        """Trains one epoch. Returns its loss and other values by name.

        order: [steps, ...] int, what each step reads; rates: [steps] float32, learning rates.
        """
        ...

    def state(self) -> dict[str, Any]:
        """As a controller's."""
        ...

    def load_state(self, state: dict[str, Any]) -> None: ...

    def deriver(self) -> Controller:
        """The controller that searches the trained weights."""
        ...


def epoch_graph(shared: SharedWeights) -> Any:
    """The graph of an epoch: (order, rates, archs, first step's number) -> mean measures."""

    def epoch(order, rates, archs, first):
        steps = tf.shape(order)[0]

        def body(i, state, *sums):
            measures, state = shared.step(order[i], archs[i], rates[i], first + i, state)
            return i + 1, state, *(a + b for a, b in zip(sums, measures, strict=True))

        start = (0, shared.initial_state(), *[0.0] * shared.measures)
        _, _, *sums = tf.while_loop(lambda i, *_: i < steps, body, start)
        return [total / tf.cast(steps, tf.float32) for total in sums]

    return tf.function(epoch, autograph=False, jit_compile=shared.jit_compile)
