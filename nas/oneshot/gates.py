"""One-shot search by gradients: a weight for each choice, learnt on validation data.

kind=softmax is DARTS (Liu et al. 2019, arXiv:1806.09055, section 2.3; code, cnn/architect.py): all
branches run and are added up, weighted by a softmax of the choices' weights. order=1 takes the
gradient of the validation loss with the network's weights held fixed (xi = 0 there). order=2 takes
it after one step of the network's weights, computed on the training batch that they are trained on
next (nas/training/second_order.py).

kind=drawn is GDAS (Dong & Yang 2019, arXiv:1910.04465, section 3.2) as its code is: Gumbel-softmax
draws one branch, which alone runs, and the choices' weights have the gradient of the soft weights
(nas/ops/drawn_gates.py). With kind=gumbel all branches run, and the gradient of a branch that was
not drawn is that of its own output.

kind=template is SETN (Dong & Yang 2019, "One-shot neural architecture search via self-evaluated
template network"; AutoDL-Projects, SETN.py): the network's weights are trained on uniform paths and
the choices' weights through softmax gates. The derivation scores the architectures that are the
likeliest by the softmax.

A step updates the choices' weights on a validation batch, then the network's weights on a training
batch; with weights_first the network's weights come first.

Departures: validation images are not augmented; the papers' codes augment them. The space decides
which architecture follows from the weights (`architecture_from_gates`).
"""

import functools
from collections.abc import Callable
from typing import Any, TypedDict

import numpy as np
import tensorflow as tf

from nas.core.capabilities import supernet_space
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError
from nas.engine.proposers import Listed, likeliest
from nas.oneshot.choice_shares import idle_shares
from nas.oneshot.interface import LookingAhead, RunningDrawn, SharedWeights
from nas.ops.drawn_gates import DrawnGates
from nas.training.optimizer import Optimizer
from nas.training.recipe import Recipe
from nas.training.second_order import unrolled_gradient

SOFTMAX, GUMBEL, DRAWN, TEMPLATE = "softmax", "gumbel", "drawn", "template"
KINDS = (SOFTMAX, GUMBEL, DRAWN, TEMPLATE)
_NOISE = 1 << 21  # separates the seeds of Gumbel noise from those of augmentation
_PATHS = 1  # the random stream of an epoch's uniform paths


class Temperature(TypedDict):
    """Temperatures in the first and in the last epoch, both above 0."""

    first: float
    last: float


class Adam(TypedDict):
    """Of the choices' weights; weight decay is added to the gradient."""

    learning_rate: float
    beta_1: float
    beta_2: float
    weight_decay: float


class Derivation(TypedDict):
    """The architectures to score, and the images of the own batch on which each is scored.

    architectures: the likeliest by the softmax; 1: what the space derives from the weights.
    batch_size: None: all are scored on the run's valid_images.
    """

    architectures: int
    batch_size: int | None


TEMPERATURE: Temperature = {"first": 10.0, "last": 0.1}  # GDAS, section 4.2, and its code
ADAM: Adam = {"learning_rate": 0.0003, "beta_1": 0.5, "beta_2": 0.999, "weight_decay": 0.001}
DERIVATION: Derivation = {"architectures": 1, "batch_size": None}


class Gates:
    """A one-shot method that learns the gates of a supernet (see interface.Method).

    Args:
      kind: softmax (DARTS), drawn or gumbel (GDAS) or template (SETN).
      order: of the gradient of the choices' weights: 1, or 2 with kind=softmax.
      weights_first: whether a step trains the network's weights before the choices' weights.
      adam: of the choices' weights.
      init_scale: standard deviation of the choices' initial weights, which are normal draws.
      temperature: of Gumbel-softmax in the first and the last epoch, with linear steps in between.
      derivation: what is scored when the weights are trained.

    weights: [questions, width], before the softmax; `closed` marks the entries beyond a question's
    own number of choices.
    """

    def __init__(
        self,
        *,
        space: Space,
        seed: int,
        kind: str = SOFTMAX,
        order: int = 1,
        weights_first: bool = False,
        adam: Adam = ADAM,
        init_scale: float = 0.001,
        temperature: Temperature = TEMPERATURE,
        derivation: Derivation = DERIVATION,
    ):
        _check(kind, order, weights_first, adam, temperature)
        if space.is_conditional:
            raise ConfigError(
                "method must draw paths where choices depend on earlier ones, as in "
                f"{type(space).__name__}, got gates; set method=uniform"
            )
        self.space, self.seed, self.kind, self.order = space, seed, kind, order
        self.weights_first, self.weight_decay = weights_first, adam["weight_decay"]
        self.learning_rate = adam["learning_rate"]
        self.temperatures = temperature["first"], temperature["last"]
        counts = np.array(supernet_space(space).gate_counts())
        self.architectures = derivation["architectures"]
        self.derive_batch_size = derivation["batch_size"]
        _check_derivation(space, counts, derivation)
        self.closed = np.arange(counts.max()) >= counts[:, None]  # [questions, width]
        start = init_scale * np.random.default_rng(seed).standard_normal(self.closed.shape)
        self.weights = tf.Variable(start.astype(np.float32))
        rule = Recipe(  # PyTorch's epsilon
            optimizer="adam", learning_rate=self.learning_rate, beta_1=adam["beta_1"],
            beta_2=adam["beta_2"], epsilon=1e-8,
        )  # fmt: skip
        self.optimizer = Optimizer(rule, [self.weights])
        self.tensors = [self.weights, *self.optimizer.slots[0]]

    def start(self, shared: SharedWeights) -> None:
        """shared: the weights that the epochs train.

        Raises ConfigError if the order is 2 and a step of these weights cannot be computed ahead,
        or if these weights cannot run drawn branches alone.
        """
        if self.kind == DRAWN and not isinstance(shared, RunningDrawn):
            raise ConfigError(
                "method.kind must be gumbel where a text is learnt, got drawn; "
                "set method.kind=gumbel"
            )
        if self.order == 2:
            self._looking_ahead(shared).check_ahead()
        self.shared = shared
        self.epoch_graph = tf.function(self._epoch, autograph=False, jit_compile=shared.jit_compile)

    def epoch(self, epoch: int, order: np.ndarray, rates: np.ndarray) -> dict[str, float]:
        """One epoch, whose steps train gates and network in turn. Returns mean values by name.

        order: [steps, ...] int, from shared.batch_order; rates: [steps] float32, learning rates.
        """
        means = self.epoch_graph(
            tf.constant(order, tf.int32),
            tf.constant(self.shared.valid_order(epoch, self.seed + 1, order), tf.int32),
            tf.constant(rates),
            tf.constant(self._paths(epoch, len(order)), tf.int32),
            tf.constant(self.temperature(epoch), tf.float32),
            tf.constant(self.shared.first_step(epoch)),
        )
        train, valid = means[: self.shared.measures], means[self.shared.measures :]
        values = self.shared.measures_by_name(train)
        values |= self.shared.measures_by_name(valid, "valid_")
        values["gate_entropy"] = self.entropy()
        return values | idle_shares(self.space, [self.derived()])

    def temperature(self, epoch: int) -> float:
        """The temperature of Gumbel-softmax in an epoch, counted from 0."""
        first, last = self.temperatures
        return first + (last - first) * epoch / max(1, self.shared.recipe.epochs - 1)

    def gates(self, weights: tf.Tensor, temperature: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """weights [questions, width] -> gates of the same shape, whose rows sum to 1.

        seed: [2] int32, of the Gumbel noise.
        """
        logits = tf.where(self.closed, -1e9, weights)
        if self.kind in (SOFTMAX, TEMPLATE):
            return tf.nn.softmax(logits)
        uniform = tf.random.stateless_uniform(tf.shape(logits), seed, minval=1e-20)
        noisy = tf.nn.log_softmax(logits) - tf.math.log(-tf.math.log(uniform))
        soft = tf.nn.softmax(noisy / temperature)
        hard = tf.one_hot(tf.argmax(soft, -1), soft.shape[-1])
        return hard + (soft - tf.stop_gradient(soft))  # exact zeros for branches not drawn

    def entropy(self) -> float:
        """Mean over the questions of the softmax's entropy, divided by that of a uniform choice.

        It is in [0, 1]; questions with one choice do not count.
        """
        p = np.exp(self._log_probabilities())
        each = -(p * np.log(np.where(p > 0, p, 1.0))).sum(1)
        counts = (~self.closed).sum(1)
        return float(np.mean(each[counts > 1] / np.log(counts[counts > 1])))

    def state(self) -> dict[str, Any]:
        """Empty: the checkpoint's tensors are the whole state."""
        return {}

    def load_state(self, state: dict[str, Any]) -> None:
        """Does nothing: see `state`."""

    def derived(self) -> Arch:
        """The architecture that the space derives from the weights."""
        return supernet_space(self.space).architecture_from_gates(self.weights.numpy())

    def deriver(self) -> Listed:
        """Proposes each architecture of the derivation, once."""
        if self.architectures == 1:
            return Listed([self.derived()])
        log_p = self._log_probabilities()
        rows = [row[~closed] for row, closed in zip(log_p, self.closed, strict=True)]
        return Listed(likeliest(rows, self.architectures))

    def _log_probabilities(self) -> np.ndarray:
        """Of each choice, by the softmax: [questions, width] float64, -inf where closed."""
        logits = np.where(self.closed, -np.inf, self.weights.numpy().astype(np.float64))
        logits -= logits.max(1, keepdims=True)
        return logits - np.log(np.exp(logits).sum(1, keepdims=True))

    def _paths(self, epoch: int, steps: int) -> list[Arch]:
        """The path of each training step: [steps][decisions]; read with kind=template alone."""
        if self.kind != TEMPLATE:
            return [()] * steps
        rng = np.random.default_rng([self.seed, epoch, _PATHS])
        return [self.space.sample(rng) for _ in range(steps)]

    def _epoch(self, order, valid_order, rates, paths, temperature, first):
        shared, steps = self.shared, tf.shape(order)[0]

        def body(i, state, *sums):
            number = first + i
            seed = tf.random.fold_in(tf.stack([self.seed, number]), _NOISE)
            seeds = tf.unstack(tf.random.split(seed, 2))

            def gates(seed):
                gates = self.gates(self.weights, temperature, seed)
                return DrawnGates(gates) if self.kind == DRAWN else gates

            def train(state):
                choice = paths[i] if self.kind == TEMPLATE else gates(seeds[1])
                return shared.step(order[i], choice, rates[i], number, state)

            def learn(state):
                def loss(part, row):
                    return shared.loss(part, row, gates(seeds[0]), number, state)

                gradient, result = self._gradient(
                    functools.partial(loss, "train", order[i]),
                    functools.partial(loss, "valid", valid_order[i]),
                    rates[i],
                )
                gradient = tf.where(self.closed, 0.0, gradient + self.weight_decay * self.weights)
                self.optimizer.apply([gradient], tf.constant(self.learning_rate), number)
                return result

            if self.weights_first:
                trained, state = train(state)
                valid, state = learn(state)
            else:
                valid, state = learn(state)
                trained, state = train(state)
            return i + 1, state, *(a + b for a, b in zip(sums, (*trained, *valid), strict=True))

        start = (0, shared.initial_state(), *[0.0] * (2 * shared.measures))
        _, _, *sums = tf.while_loop(lambda i, *_: i < steps, body, start)
        return [total / tf.cast(steps, tf.float32) for total in sums]

    def _gradient(
        self, train_loss: Callable[[], tuple], valid_loss: Callable[[], tuple], rate: tf.Tensor
    ) -> tuple[tf.Tensor, tuple]:
        """The gradient of the choices' weights, and what `valid_loss` returned.

        train_loss, valid_loss: () -> (measures, state), the loss first among the measures.
        """
        if self.order == 1:
            with tf.GradientTape() as tape:
                result = valid_loss()
                loss = result[0][0]
            return tape.gradient(loss, self.weights), result

        def valid_loss_first():
            result = valid_loss()
            return result[0][0], result

        shared = self._looking_ahead(self.shared)
        gradient, (_, result) = unrolled_gradient(
            self.weights,
            shared.trained,
            lambda: train_loss()[0][0],
            valid_loss_first,
            lambda gradients: shared.ahead(gradients, rate),
            rate,
            shared.clip_ahead,
        )
        return gradient, result

    def _looking_ahead(self, shared: SharedWeights) -> LookingAhead:
        if not isinstance(shared, LookingAhead):
            raise ConfigError(
                f"method.order must be 1 with {type(shared).__name__}, got 2; set method=darts"
            )
        return shared


def _check(
    kind: str, order: int, weights_first: bool, adam: Adam, temperature: Temperature
) -> None:
    if kind not in KINDS:
        raise ConfigError(f"method.kind must be one of {', '.join(KINDS)}, got {kind}")
    if order not in (1, 2) or (order == 2 and kind != SOFTMAX):
        orders = "1 or 2" if kind == SOFTMAX else f"1 with method.kind={kind}"
        raise ConfigError(f"method.order must be {orders}, got {order}; set method.order=1")
    if order == 2 and weights_first:
        raise ConfigError(
            "method.weights_first must be false where method.order=2 looks at the step that comes "
            "next, got true; set method.weights_first=false"
        )
    for name in ("first", "last"):
        if not temperature[name] > 0:
            raise ConfigError(f"method.temperature.{name} must be above 0, got {temperature[name]}")
    if not adam["weight_decay"] >= 0:
        raise ConfigError(
            f"method.adam.weight_decay must not be negative, got {adam['weight_decay']}"
        )


def _check_derivation(space: Space, counts: np.ndarray, derivation: Derivation) -> None:
    architectures = derivation["architectures"]
    if architectures < 1:
        raise ConfigError(
            f"method.derivation.architectures must be at least 1, got {architectures}"
        )
    own = [len(decision.choices) for decision in space.decisions]
    if architectures > 1 and counts.tolist() != own:
        raise ConfigError(
            "method.derivation.architectures must be 1 where gates are not the decisions, as in "
            f"{type(space).__name__}, got {architectures}; set method.derivation.architectures=1"
        )
