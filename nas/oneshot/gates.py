"""One-shot search by gradients: a weight for each choice, learnt on the validation images.

kind=softmax is DARTS (Liu et al. 2019, arXiv:1806.09055, section 2.3; code, cnn/architect.py): all
branches run, weighted by a softmax. order=1 has the network's weights stand still for a step of the
choices' weights (xi = 0 there); order=2 looks one step of theirs ahead, on the training batch that
they learn from next (oneshot_unrolled.py). kind=gumbel is GDAS (Dong & Yang 2019,
arXiv:1910.04465, section 3.2): one branch drawn by Gumbel-softmax counts, with the gradient of
the soft weights. Each step moves the choices' weights on a validation batch, then the network's on
a training batch.

Departures: validation images are not augmented, which both codes do. GDAS' code lets the gradient
of a branch that was not drawn be the sum of the node's gradient; here it is that of the branch's
own output, which is computed for it. What is derived from the weights is the space's to say
(`derived`).
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nas.core.trial import Arch, ConfigError, Proposal, Trial
from nas.oneshot.paths import idle_shares
from nas.oneshot.second_order import unrolled_gradient
from nas.training.optimizer import Optimizer
from nas.training.recipe import Recipe

SOFTMAX, GUMBEL = "softmax", "gumbel"
_NOISE = 1 << 21  # sets the seeds of Gumbel noise apart from those of augmentation


class Gates:
    """Learns the gates of a supernet.

    Args:
      kind: softmax or gumbel.
      order: 1 or 2, of the gradient of the choices' weights; gumbel has 1 alone.
      learning_rate, beta_1, beta_2, weight_decay: Adam's, of the choices' weights; the decay is
        added to the gradient.
      init_scale: the weights start as normal draws of this deviation.
      first_temperature, last_temperature: of gumbel, in the first and the last epoch, linear.
    """

    def __init__(
        self,
        *,
        space,
        seed: int,
        kind: str = SOFTMAX,
        order: int = 1,
        learning_rate: float = 0.0003,
        beta_1: float = 0.5,
        beta_2: float = 0.999,
        weight_decay: float = 0.001,
        init_scale: float = 0.001,
        first_temperature: float = 10.0,
        last_temperature: float = 0.1,
    ):
        if kind not in (SOFTMAX, GUMBEL):
            raise ConfigError(f"method.kind must be {SOFTMAX} or {GUMBEL}, got {kind}")
        if order not in (1, 2) or (order, kind) == (2, GUMBEL):
            orders = "1 or 2" if kind == SOFTMAX else f"1 with method.kind={kind}"
            raise ConfigError(f"method.order must be {orders}, got {order}; set method.order=1")
        for name, value in (("first", first_temperature), ("last", last_temperature)):
            if not value > 0:
                raise ConfigError(f"method.{name}_temperature must be above 0, got {value}")
        if not weight_decay >= 0:
            raise ConfigError(f"method.weight_decay must not be negative, got {weight_decay}")
        if space.is_conditional:
            raise ConfigError(
                "method must draw paths where choices depend on earlier ones, as those of "
                f"{type(space).__name__} do, got gates; set method=uniform"
            )
        self.space, self.seed, self.kind, self.order = space, seed, kind, order
        self.learning_rate, self.weight_decay = learning_rate, weight_decay
        self.temperatures = first_temperature, last_temperature
        self.adam = Recipe(  # PyTorch's epsilon
            optimizer="adam", learning_rate=learning_rate, beta_1=beta_1, beta_2=beta_2,
            epsilon=1e-8,
        )  # fmt: skip
        counts = np.array(space.gate_counts())
        self.closed = np.arange(counts.max()) >= counts[:, None]  # [questions, width]
        start = init_scale * np.random.default_rng(seed).standard_normal(self.closed.shape)
        self.weights = tf.Variable(start.astype(np.float32))
        self.optimizer = Optimizer(self.adam, [self.weights])
        self.tensors = [self.weights, *self.optimizer.slots[0]]

    def start(self, shared) -> None:
        """shared: the shared weights that the epochs train.

        Raises ConfigError where the order is 2 and nothing can look a step of theirs ahead.
        """
        if self.order == 2:
            shared.check_ahead()
        self.shared = shared
        self.epoch_graph = tf.function(self._epoch, autograph=False, jit_compile=shared.jit_compile)

    def epoch(self, epoch: int, order: np.ndarray, rates: np.ndarray) -> dict[str, float]:
        """One epoch of steps of both kinds. Returns what came out, by name.

        order: [steps, ...] int, what each step reads (shared.order); rates: [steps] float32.
        """
        found = self.epoch_graph(
            tf.constant(order, tf.int32),
            tf.constant(self.shared.valid_order(epoch, self.seed + 1, order), tf.int32),
            tf.constant(rates),
            tf.constant(self.temperature(epoch), tf.float32),
            tf.constant(self.shared.first(epoch)),
        )
        train, valid = found[: self.shared.measures], found[self.shared.measures :]
        values = self.shared.named(train) | self.shared.named(valid, "valid_")
        values["gate_entropy"] = self.entropy()
        return values | idle_shares(
            self.space, [self.space.architecture_from_gates(self.weights.numpy())]
        )

    def temperature(self, epoch: int) -> float:
        """Of Gumbel-softmax in an epoch, counted from 0."""
        first, last = self.temperatures
        return first + (last - first) * epoch / max(1, self.shared.recipe.epochs - 1)

    def gates(self, weights: tf.Tensor, temperature: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        """weights [questions, width] -> gates of the same shape; each row sums to 1.

        seed: [2] int32, of the noise.
        """
        logits = tf.where(self.closed, -1e9, weights)
        if self.kind == SOFTMAX:
            return tf.nn.softmax(logits)
        uniform = tf.random.stateless_uniform(tf.shape(logits), seed, minval=1e-20)
        noisy = tf.nn.log_softmax(logits) - tf.math.log(-tf.math.log(uniform))
        soft = tf.nn.softmax(noisy / temperature)
        hard = tf.one_hot(tf.argmax(soft, -1), soft.shape[-1])
        return hard + (soft - tf.stop_gradient(soft))  # exact zeros where nothing was drawn

    def entropy(self) -> float:
        """Of the softmax of the weights, over that of equal ones; the mean of the questions."""
        logits = np.where(self.closed, -np.inf, self.weights.numpy())
        p = np.exp(logits - logits.max(1, keepdims=True))
        p /= p.sum(1, keepdims=True)
        each = -(p * np.log(np.where(p > 0, p, 1.0))).sum(1)
        counts = (~self.closed).sum(1)
        return float(np.mean(each[counts > 1] / np.log(counts[counts > 1])))

    def state(self) -> dict[str, Any]:
        return {}  # all of it are tensors of the checkpoint

    def load_state(self, state: dict[str, Any]) -> None:
        pass

    def deriver(self) -> "Fixed":
        """Proposes what the space makes of the weights."""
        return Fixed(self.space.architecture_from_gates(self.weights.numpy()))

    def _epoch(self, order, valid_order, rates, temperature, first):
        shared, steps = self.shared, tf.shape(order)[0]

        def body(i, carry, *sums):
            number = first + i
            seed = tf.random.fold_in(tf.stack([self.seed, number]), _NOISE)
            seeds = tf.unstack(tf.random.split(seed, 2))

            def loss(part, at, number=number, seed=seeds[0], carry=carry):
                gates = self.gates(self.weights, temperature, seed)
                return shared.loss(part, at, gates, number, carry)

            gradient, (valid, carry) = self._gradient(
                functools.partial(loss, "train", order[i]),
                functools.partial(loss, "valid", valid_order[i]),
                rates[i],
            )
            gradient += self.weight_decay * self.weights
            gradient = tf.where(self.closed, 0.0, gradient)
            self.optimizer.apply([gradient], tf.constant(self.learning_rate), number)
            gates = self.gates(self.weights, temperature, seeds[1])
            train, carry = shared.step(order[i], gates, rates[i], number, carry)
            return i + 1, carry, *(a + b for a, b in zip(sums, (*train, *valid), strict=True))

        start = (0, shared.carry(), *[0.0] * (2 * shared.measures))
        _, _, *sums = tf.while_loop(lambda i, *_: i < steps, body, start)
        return [total / tf.cast(steps, tf.float32) for total in sums]

    def _gradient(self, train_loss, valid_loss, rate) -> tuple[tf.Tensor, tuple]:
        """Of the choices' weights; and what the validation loss gave, measures and carry."""
        if self.order == 1:
            with tf.GradientTape() as tape:
                found = valid_loss()
                loss = found[0][0]
            return tape.gradient(loss, self.weights), found

        def behind_a_step():
            found = valid_loss()
            return found[0][0], found

        optimizer = self.shared.optimizer
        gradient, (_, found) = unrolled_gradient(
            self.weights,
            [v for group in optimizer.variables for v in group],
            lambda: train_loss()[0][0],
            behind_a_step,
            lambda gradients: optimizer.ahead(gradients, rate),
            rate,
        )
        return gradient, found


class Fixed:
    """A controller that proposes one architecture, once."""

    def __init__(self, arch: Arch):
        self.arch, self.asked = arch, False

    def ask(self, n: int) -> list[Proposal]:
        if self.asked or n < 1:
            return []
        self.asked = True
        return [Proposal(self.arch)]

    def tell(self, trials: Sequence[Trial]) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {"arch": list(self.arch), "asked": self.asked}

    def load_state(self, state: dict[str, Any]) -> None:
        self.arch, self.asked = tuple(state["arch"]), state["asked"]
