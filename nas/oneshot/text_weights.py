"""What one-shot methods do to the shared weights of recurrent cells, each a call of one graph.

The same interface as of nas/oneshot/image_weights.py's images: a row of an epoch's order says which tokens
a step reads, and the recurrent state is carried from one to the next, zero where an epoch begins.
Pham et al. 2018 (arXiv:1802.03268, section 2.1; the authors' second code, enas_lm).

Departures: enas_lm pays an architecture for the batch of validation tokens that is next, this for
one whose sequences are drawn, both from the zero state. Weight decay is plain L2 of what a step has
used; enas_lm's is of squared weights, by an l2_loss of squares.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nas.core.capabilities import supernet_space
from nas.core.trial import Arch, ConfigError
from nas.data.text import TextData
from nas.language.graph import descend, objective_of
from nas.language.loop import perplexity
from nas.language.recipe import LanguageRecipe, sequences
from nas.oneshot.image_weights import make_epoch
from nas.training import devices

_ORDER = 0  # the random stream of an epoch's lengths
_VALID = 1 << 20  # sets the seeds of dropouts on validation tokens apart from those on training's


class SharedLanguageWeights:
    """A recurrent supernet and the text it learns from.

    Args:
      seed: of the first weights, of dropouts and of random lengths.

    Raises ConfigError where the space has no supernet, the text is too short, or the recipe is not
    one of gradient descent.
    """

    metric = "valid_perplexity"
    measures = 1  # of a step: the loss

    def __init__(self, space, skeleton, data: TextData, recipe: LanguageRecipe, *, seed: int):
        if recipe.optimizer != "sgd":
            raise ConfigError(
                "recipe.optimizer must be sgd for shared weights of a text, got "
                f"{recipe.optimizer}; set recipe.optimizer=sgd"
            )
        devices.prepare()
        keras.config.set_dtype_policy("float32")
        keras.utils.set_random_seed(seed)
        self.space, self.data, self.recipe, self.seed = space, data, recipe, seed
        self.supernet = supernet_space(space).supernet(skeleton)
        self.variables = [v.value for v in self.supernet.variables]
        self.jit_compile = recipe.xla is True
        self._streams = {
            part: tf.constant(_streams(getattr(data, part), recipe, part))
            for part in ("train", "valid")
        }
        self._valid = tf.constant(data.valid)
        self._firsts = [0]  # of each epoch, the number of its first step
        self.epoch_graph = make_epoch(self)
        self.scores_graph = tf.function(
            self._scores,
            autograph=False,
            jit_compile=self.jit_compile,
            input_signature=[
                tf.TensorSpec([None, len(space.decisions)], tf.int32),
                tf.TensorSpec([None, None, None], tf.int32),
            ],
        )

    @property
    def tensors(self) -> list[tf.Variable]:
        """What a checkpoint holds."""
        return self.variables

    def named(self, measures: Sequence[Any], prefix: str = "") -> dict[str, float]:
        loss = float(measures[0])
        return {f"{prefix}loss": loss, f"{prefix}perplexity": perplexity(loss)}

    def order(self, epoch: int) -> np.ndarray:
        """Where each sequence of an epoch starts in its stream, and its steps: [steps, 2] int."""
        rng = np.random.default_rng([self.seed, epoch, _ORDER])
        return np.stack(sequences(self.recipe, self._streams["train"].shape[1], rng), 1)

    def rates(self, epoch: int) -> np.ndarray:
        """[steps] float32."""
        steps, recipe = self.order(epoch)[:, 1], self.recipe
        share = steps / recipe.bptt if recipe.random_bptt else np.ones(len(steps))
        return (recipe.rate(epoch) * share).astype(np.float32)

    def first(self, epoch: int) -> int:
        """The number of the epoch's first step since the start of the training."""
        while len(self._firsts) <= epoch:
            self._firsts.append(self._firsts[-1] + len(self.order(len(self._firsts) - 1)))
        return self._firsts[epoch]

    def valid_order(self, epoch: int, seed: int, order: np.ndarray) -> np.ndarray:
        """Validation sequences beside those of `order`, in the text's order, again and again."""
        length, steps = self._streams["valid"].shape[1], self.recipe.bptt
        starts = order[:, 0] % (length - steps)
        return np.stack([starts, np.full(len(order), steps)], 1)

    def carry(self) -> dict[str, Any]:
        """The recurrent states of training and of validation where an epoch begins."""
        zeros = self.supernet.zero_states(self.recipe.batch_size)
        return {"train": zeros, "valid": zeros}

    def train(
        self, order: np.ndarray, rates: np.ndarray, archs: Sequence[Arch], epoch: int
    ) -> tuple[float]:
        """A step for each row of `order`, of the cell of its architecture. Returns the mean loss.

        Args:
          rates: [steps] float32, learning rates.
          archs: [steps], one each.
        """
        (loss,) = self.epoch_graph(
            tf.constant(order, tf.int32),
            tf.constant(rates),
            tf.constant(np.array(archs), tf.int32),
            tf.constant(self.first(epoch)),
        )
        return (float(loss),)

    def scores(
        self, archs: Sequence[Arch] | np.ndarray, batches: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Perplexity and loss of each cell on validation tokens: [archs] float64 each.

        batches: [archs, batches, sequences] int, where sequences of `recipe.bptt` steps start. The
        state of each is carried to the next batch, and is zero at the first.
        """
        loss = self.scores_graph(
            tf.constant(np.array(archs), tf.int32), tf.constant(batches, tf.int32)
        )
        loss = loss.numpy().astype(np.float64)
        return np.array([perplexity(one) for one in loss]), loss

    def draw(self, rng: np.random.Generator, archs: int, size: int) -> np.ndarray:
        """A batch of `size` validation sequences for each of so many architectures."""
        return rng.integers(0, len(self.data.valid) - self.recipe.bptt, (archs, 1, size))

    def valid_batches(self, size: int | None, setting: str) -> np.ndarray:
        """The first `size` validation tokens, in streams that are read side by side.

        Left out are the last tokens of each stream, fewer than recipe.bptt + 1.
        """
        tokens, recipe = len(self.data.valid), self.recipe
        streams = recipe.eval_batch_size
        least = streams * (recipe.bptt + 1)
        size = tokens if size is None else size
        if not least <= size <= tokens:
            raise ConfigError(
                f"{setting} must be in [{least}, {tokens}], from one sequence for each of "
                f"recipe.eval_batch_size={streams} to all the validation tokens there are, got "
                f"{size}"
            )
        length = size // streams
        starts = np.arange((length - 1) // recipe.bptt, dtype=np.int32) * recipe.bptt
        return starts[:, None] + length * np.arange(streams, dtype=np.int32)

    def check_ahead(self) -> None:
        """Raises ConfigError: no method can look a step ahead."""
        raise ConfigError("method.order must be 1 where a text is learnt, got 2; set method=darts")

    def step(
        self, row: tf.Tensor, choice: tf.Tensor, rate: tf.Tensor, number: tf.Tensor, carry
    ) -> tuple[tuple[tf.Tensor], dict[str, Any]]:
        """One step of the weights inside a graph: its loss, nats a token, and what it leaves.

        Args:
          row: [2] int32, of `order`.
          choice: an architecture or gates.
          number: [] int32, the step since the start of the training.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.variables)
            summed, outputs, dropped, carry = self._run("train", row, choice, number, carry)
            objective = objective_of(self.recipe, summed, outputs, dropped)
        descend(
            self.variables, tape.gradient(objective, self.variables), rate, self.recipe.clip_norm,
            self.recipe.weight_decay, self.supernet.tables,
        )  # fmt: skip
        return (self._mean(summed, outputs),), carry

    def loss(
        self, part: str, row: tf.Tensor, choice: tf.Tensor, number: tf.Tensor, carry
    ) -> tuple[tuple[tf.Tensor], dict[str, Any]]:
        """In training, with its dropouts, of "train" or "valid"."""
        summed, outputs, _, carry = self._run(part, row, choice, number, carry)
        return (self._mean(summed, outputs),), carry

    def _run(self, part, row, choice, number, carry):
        seed = tf.stack([self.seed + (_VALID if part == "valid" else 0), number])
        time = row[1] if self.recipe.random_bptt else self.recipe.bptt
        read = self._streams[part][:, row[0] : row[0] + time + 1]
        targets = tf.reshape(tf.transpose(read[:, 1:]), [-1])
        outputs, dropped, states = self.supernet.outputs_of(read[:, :-1], carry[part], choice, seed)
        summed = tf.reduce_sum(self.supernet.losses(dropped, targets))
        return summed, outputs, dropped, carry | {part: states}

    def _mean(self, summed: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        tokens = self.recipe.batch_size * tf.shape(outputs)[0]
        return summed / tf.cast(tokens, tf.float32)

    def _scores(self, archs, batches):
        count, streams = tf.shape(batches)[1], tf.shape(batches)[2]
        within = tf.range(self.recipe.bptt + 1)
        zeros = self.supernet.zero_states(streams)

        def one_batch(i, k, states, loss):
            read = tf.gather(self._valid, batches[i, k][:, None] + within)
            _, outputs, states = self.supernet.outputs_of(read[:, :-1], states, archs[i])
            losses = self.supernet.losses(outputs, tf.reshape(tf.transpose(read[:, 1:]), [-1]))
            return i, k + 1, states, loss + tf.reduce_mean(losses)

        def one_arch(i):
            *_, loss = tf.while_loop(lambda i, k, *_: k < count, one_batch, (i, 0, zeros, 0.0))
            return loss / tf.cast(count, tf.float32)

        return tf.map_fn(
            one_arch,
            tf.range(tf.shape(archs)[0]),
            fn_output_signature=tf.float32,
            parallel_iterations=1,
        )


def _streams(tokens: np.ndarray, recipe: LanguageRecipe, part: str) -> np.ndarray:
    """[batch_size, length] int32; up to batch_size - 1 tokens at the end are left."""
    length = len(tokens) // recipe.batch_size
    if length < recipe.bptt + 2:
        raise ConfigError(
            f"recipe.batch_size streams must be longer than recipe.bptt + 1 = {recipe.bptt + 1}, "
            f"got {recipe.batch_size} streams of a {part} part of {len(tokens)} tokens; set "
            f"recipe.batch_size={max(1, len(tokens) // (recipe.bptt + 2))}"
        )
    return tokens[: recipe.batch_size * length].reshape(-1, length)
