"""Shared weights of recurrent cells: trains paths of a recurrent supernet and scores cells.

A row of an epoch's order says which tokens a step reads. The recurrent state is passed from each
step to the next and is zero at the start of an epoch. Pham et al. 2018 (arXiv:1802.03268,
section 2.1; the authors' second code, enas_lm).

Departures: enas_lm rewards an architecture on the next batch of validation tokens in order; here
the batch's sequences are drawn at random. Both start from the zero state. With
recipe.decay_rule=cubes weight decay is that of enas_lm (the l2_loss of squared weights of the
cell's matrices, but of the first node's); with l2 it is that of the weights that a step used.
"""

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nas.core.capabilities import supernet_space
from nas.core.language_skeleton import LanguageSkeleton
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError
from nas.data.text import TextData
from nas.language.graph import descend, objective_of
from nas.language.loop import perplexity
from nas.language.recipe import LanguageRecipe, sequences
from nas.oneshot.interface import epoch_graph
from nas.training import devices

_ORDER = 0  # the random stream of an epoch's sequence lengths
_VALID = 1 << 20  # separates the dropout seeds of validation tokens from those of training tokens


class TextWeights:
    """A recurrent supernet and the text it is trained on: a SharedWeights of language models.

    Args:
      seed: of the initial weights, dropouts and random sequence lengths.

    Raises ConfigError if the space has no supernet, the text is too short, or the recipe's
    optimiser is not sgd.
    """

    metric = "valid_perplexity"
    measures = 1  # of a step: the loss

    def __init__(
        self,
        space: Space,
        skeleton: LanguageSkeleton,
        data: TextData,
        recipe: LanguageRecipe,
        *,
        seed: int,
    ):
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
        self._first_steps = [0]  # of each epoch
        self.epoch_graph = epoch_graph(self)
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
        """What a checkpoint holds: all weights."""
        return self.variables

    def measures_by_name(self, measures: Sequence[Any], prefix: str = "") -> dict[str, float]:
        loss = float(measures[0])
        return {f"{prefix}loss": loss, f"{prefix}perplexity": perplexity(loss)}

    def batch_order(self, epoch: int) -> np.ndarray:
        """Where each step's sequences start in their streams, and their length: [steps, 2] int."""
        rng = np.random.default_rng([self.seed, epoch, _ORDER])
        return np.stack(sequences(self.recipe, self._streams["train"].shape[1], rng), 1)

    def learning_rates(self, epoch: int) -> np.ndarray:
        """[steps] float32; with random lengths, proportional to a step's length."""
        lengths, recipe = self.batch_order(epoch)[:, 1], self.recipe
        share = lengths / recipe.bptt if recipe.random_bptt else np.ones(len(lengths))
        return (recipe.rate(epoch) * share).astype(np.float32)

    def first_step(self, epoch: int) -> int:
        while len(self._first_steps) <= epoch:
            last = len(self._first_steps) - 1
            self._first_steps.append(self._first_steps[last] + len(self.batch_order(last)))
        return self._first_steps[epoch]

    def valid_order(self, epoch: int, seed: int, order: np.ndarray) -> np.ndarray:
        """Validation sequences of recipe.bptt steps for the rows of `order`: [steps, 2] int.

        They follow the text's order and start again at its beginning when it ends.
        """
        length, steps = self._streams["valid"].shape[1], self.recipe.bptt
        starts = order[:, 0] % (length - steps)
        return np.stack([starts, np.full(len(order), steps)], 1)

    def initial_state(self) -> dict[str, Any]:
        """Zero recurrent states, of training and of validation."""
        zeros = self.supernet.zero_states(self.recipe.batch_size)
        return {"train": zeros, "valid": zeros}

    def train(
        self, order: np.ndarray, rates: np.ndarray, archs: Sequence[Arch], epoch: int
    ) -> tuple[float]:
        """Trains one epoch, each step on its own architecture's path.

        Args:
          order: [steps, 2] int, starts and lengths of sequences.
          rates: [steps] float32, learning rates.
          archs: one architecture for each step.

        Returns: (mean loss,), nats per token.
        """
        (loss,) = self.epoch_graph(
            tf.constant(order, tf.int32),
            tf.constant(rates),
            tf.constant(np.array(archs), tf.int32),
            tf.constant(self.first_step(epoch)),
        )
        return (float(loss),)

    def scores(
        self, archs: Sequence[Arch] | np.ndarray, batches: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Perplexity and loss of each cell on validation tokens: [archs] float64 each.

        batches: [archs, batches, sequences] int, where sequences of `recipe.bptt` steps start. The
        recurrent state is zero for the first batch and passed on to the next ones.
        """
        loss = self.scores_graph(
            tf.constant(np.array(archs), tf.int32), tf.constant(batches, tf.int32)
        )
        loss = loss.numpy().astype(np.float64)
        return np.array([perplexity(one) for one in loss]), loss

    def sample_batches(self, rng: np.random.Generator, archs: int, size: int) -> np.ndarray:
        """One batch of `size` random validation sequences per architecture: [archs, 1, size]."""
        return rng.integers(0, len(self.data.valid) - self.recipe.bptt, (archs, 1, size))

    def valid_batches(self, size: int | None, setting: str) -> np.ndarray:
        """The first `size` validation tokens, cut into streams that are read side by side.

        The last tokens of a stream, at most recipe.bptt, are left out.
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

    def step(
        self, row: tf.Tensor, choice: tf.Tensor, rate: tf.Tensor, number: tf.Tensor, state: Any
    ) -> tuple[tuple[tf.Tensor], dict[str, Any]]:
        """One training step inside a graph: its loss, nats per token, and the recurrent states.

        Args:
          row: [2] int32, of `batch_order`.
          choice: an architecture or gates.
          number: [] int32, the step since the start of the training.
        """
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.variables)
            summed, outputs, dropped, state = self._run("train", row, choice, number, state)
            objective = objective_of(self.recipe, summed, outputs, dropped)
        descend(
            self.variables, tape.gradient(objective, self.variables), rate, self.recipe,
            self.supernet.tables, self.supernet.cubed,
        )  # fmt: skip
        return (self._mean(summed, outputs),), state

    def loss(
        self, part: str, row: tf.Tensor, choice: tf.Tensor, number: tf.Tensor, state: Any
    ) -> tuple[tuple[tf.Tensor], dict[str, Any]]:
        """(loss,) in training mode, dropouts included, and the recurrent states."""
        summed, outputs, _, state = self._run(part, row, choice, number, state)
        return (self._mean(summed, outputs),), state

    @property
    def clip_ahead(self) -> float | None:
        """The step ahead is clipped as a step is (DARTS' code, rnn/architect.py)."""
        return self.recipe.clip_norm

    @property
    def trained(self) -> list[tf.Variable]:
        return self.variables

    def ahead(self, gradients: Sequence[tf.Tensor], rate: tf.Tensor) -> list[tf.Tensor]:
        """All weights move. In DARTS' code the embedding does not: load_state_dict writes the old
        weights of the decoder, which are the same variable, over the new ones of the encoder."""
        decay = self.recipe.weight_decay
        return [v - rate * (g + decay * v) for g, v in zip(gradients, self.variables, strict=True)]

    def check_ahead(self) -> None:
        """Raises ConfigError unless weight decay is added to the clipped gradient."""
        if self.recipe.clip_decay:
            raise ConfigError(
                "recipe.clip_decay must be false where method.order=2 looks a step ahead, got "
                "true; set recipe.clip_decay=false"
            )

    def _run(self, part, row, choice, number, state):
        """The sum of the losses, outputs before and after dropout, and the recurrent states."""
        seed = tf.stack([self.seed + (_VALID if part == "valid" else 0), number])
        time = row[1] if self.recipe.random_bptt else self.recipe.bptt
        read = self._streams[part][:, row[0] : row[0] + time + 1]
        targets = tf.reshape(tf.transpose(read[:, 1:]), [-1])
        outputs, dropped, states = self.supernet.outputs_of(read[:, :-1], state[part], choice, seed)
        summed = tf.reduce_sum(self.supernet.losses(dropped, targets))
        return summed, outputs, dropped, state | {part: states}

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
    """[batch_size, length] int32; up to batch_size - 1 tokens at the end are left out."""
    length = len(tokens) // recipe.batch_size
    if length < recipe.bptt + 2:
        raise ConfigError(
            f"recipe.batch_size streams must be longer than recipe.bptt + 1 = {recipe.bptt + 1}, "
            f"got {recipe.batch_size} streams of a {part} part of {len(tokens)} tokens; set "
            f"recipe.batch_size={max(1, len(tokens) // (recipe.bptt + 2))}"
        )
    return tokens[: recipe.batch_size * length].reshape(-1, length)
