"""The graphs of the language loop: an epoch of training, and an evaluation.

A model has `zero_states(batch)`, `outputs_of(tokens, states, seed)` and `losses(outputs, targets)`,
as in search_spaces/recurrent/language_model.py.
"""

import functools
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from nas.core.trial import ConfigError
from nas.language.recipe import CUBES, L2, LanguageRecipe, sequences
from nas.training.optimizer import Optimizer
from nas.training.recipe import Recipe

EVALUATED_STEPS = 8  # in one turn of the evaluation's loop: more take longer to trace


class Training:
    """The weights, their average if the recipe has one, and the graph of an epoch.

    tokens: [tokens] int32, cut into batch_size streams of equal length; up to batch_size - 1 tokens
    at the end are left out.

    Raises ConfigError if the streams are too short for the recipe's sequences, or the recipe is one
    of shared weights.
    """

    def __init__(self, model: keras.Model, tokens: np.ndarray, recipe: LanguageRecipe, seed: int):
        if recipe.decay_rule == CUBES:
            raise ConfigError(
                f"recipe.decay_rule must be {L2} where one cell is trained, got {CUBES}; "
                f"set recipe.decay_rule={L2}"
            )
        self.model, self.recipe, self.seed = model, recipe, seed
        self.variables = [v.value for v in model.trainable_variables]
        self.averages = [tf.Variable(v) for v in self.variables] if recipe.nonmonotone else []
        self.averaged = tf.Variable(-1, dtype=tf.int64)  # steps in the average; -1: not begun
        self.slots: list[tf.Variable] = []  # the number of Adam's steps, then its moments
        self.adam: Optimizer | None = None
        if recipe.optimizer == "adam":
            self.adam = Optimizer(Recipe(optimizer="adam"), self.variables)
            moments = [slot for slots in self.adam.slots for slot in slots]
            self.slots = [tf.Variable(0, dtype=tf.int32), *moments]
        length = len(tokens) // recipe.batch_size
        if length < (3 if recipe.random_bptt else recipe.bptt + 1):
            raise ConfigError(
                f"recipe.batch_size streams must be longer than recipe.bptt={recipe.bptt}, got "
                f"{recipe.batch_size} streams of a text of {len(tokens)} tokens"
            )
        self.streams = tf.constant(tokens[: recipe.batch_size * length].reshape(-1, length))
        self.length = length
        sequences_spec = tf.TensorSpec([None], tf.int32)  # any number: one trace for all
        states = tf.nest.map_structure(
            lambda state: tf.TensorSpec(state.shape, state.dtype),
            model.zero_states(recipe.batch_size),
        )
        self.graph = tf.function(
            self._run,
            autograph=False,  # it would read this file again at the first call, hours later
            jit_compile=_xla(recipe),
            input_signature=[
                states,
                sequences_spec,
                sequences_spec,
                tf.TensorSpec([None], tf.float32),
                tf.TensorSpec([], tf.int32),
                tf.TensorSpec([2], tf.int32),
            ],
        )

    def epoch(self, number: int, attempt: int = 0) -> float:
        """Trains once through the text and returns the mean loss, nats per token.

        attempt: draws other dropouts and random lengths for an epoch that is repeated.
        """
        recipe = self.recipe
        rng = np.random.default_rng([self.seed, number, attempt])
        noise = tf.constant(rng.integers(2**31, size=2), tf.int32)
        starts, steps = sequences(recipe, self.length, rng)
        rates = np.full(len(steps), recipe.rate(number))
        if recipe.random_bptt:
            rates *= steps / recipe.bptt
        states = self.model.zero_states(recipe.batch_size)
        loss, size = 0.0, recipe.steps_per_call or len(starts)
        for at in range(0, len(starts), size):
            part = slice(at, at + size)
            states, part_loss = self._traced(
                states,
                tf.constant(starts[part], tf.int32),
                tf.constant(steps[part], tf.int32),
                tf.constant(rates[part], tf.float32),
                tf.constant(at, tf.int32),
                noise,
            )
            loss += float(part_loss)
        return loss / (recipe.batch_size * int(steps.sum()))

    @functools.cached_property
    def _traced(self):
        # Called as a concrete function: tf.function warns when many models train briefly.
        return self.graph.get_concrete_function()

    def start_averaging(self) -> None:
        self.averaged.assign(0)

    def _run(self, states, starts, steps, rates, first, noise):
        """Trains on len(starts) sequences, the first of which is number `first` of the epoch.

        Returns the states behind the last of them and their summed loss.
        """
        count = tf.shape(starts)[0]

        def body(i, states, loss):
            seed = tf.random.experimental.stateless_fold_in(noise, first + i)
            states, step_loss = self._step(states, starts[i], steps[i], rates[i], seed)
            return i + 1, states, loss + tf.cast(step_loss, tf.float64)

        start = (tf.constant(0), states, tf.constant(0.0, tf.float64))
        _, states, loss = tf.while_loop(lambda i, *_: i < count, body, start)
        return states, loss

    def _step(self, states, start, steps, rate, seed):
        recipe = self.recipe
        time = steps if recipe.random_bptt else recipe.bptt
        inputs = self._read(start, time)
        targets = tf.reshape(tf.transpose(self._read(start + 1, time)), [-1])  # [time * batch]
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(self.variables)
            outputs, dropped, states = self.model.outputs_of(inputs, states, seed)
            summed = tf.reduce_sum(self.model.losses(dropped, targets))
            objective = objective_of(recipe, summed, outputs, dropped)
        gradients = tape.gradient(objective, self.variables)
        if self.adam is None:
            descend(self.variables, gradients, rate, recipe)
        else:
            self._adam_step(self.adam, gradients, rate)
        if self.averages:
            tf.cond(self.averaged >= 0, self._average, lambda: tf.constant(False))
        return states, summed

    def _adam_step(self, adam, gradients, rate):
        recipe = self.recipe
        # Gradients of all rows of an embedding: the moments of words that were not read decay too.
        dense = [tf.convert_to_tensor(g) for g in gradients]
        if recipe.weight_decay and recipe.clip_decay:
            dense = self._decayed(dense)
        if recipe.clip_norm is not None:
            dense, _ = tf.clip_by_global_norm(dense, recipe.clip_norm)
        if recipe.weight_decay and not recipe.clip_decay:
            dense = self._decayed(dense)
        steps = self.slots[0]
        adam.apply(dense, rate, steps.read_value())
        steps.assign_add(1)

    def _decayed(self, dense):
        decay = self.recipe.weight_decay
        return [g + decay * v for g, v in zip(dense, self.variables, strict=True)]

    def _read(self, start, time):
        """The tokens of `time` steps from `start`: [batch, time] int32."""
        if self.recipe.random_bptt:
            return self.streams[:, start : start + time]
        return tf.slice(self.streams, [0, start], [self.recipe.batch_size, time])

    def _average(self):
        self.averaged.assign_add(1)
        share = 1 / tf.cast(self.averaged, tf.float32)
        for average, variable in zip(self.averages, self.variables, strict=True):
            average.assign_add(share * (variable - average))
        return tf.constant(True)


def objective_of(
    recipe: LanguageRecipe, summed: tf.Tensor, outputs: tf.Tensor, dropped: tf.Tensor
) -> tf.Tensor:
    """What a step minimises: the loss, and the recipe's regularisation of activations.

    summed: nats of all tokens. outputs, dropped: outputs of the last layer, before and after its
    dropout, [time, batch, units].
    """
    objective = summed / recipe.batch_size
    if not recipe.sum_over_time:
        objective /= tf.cast(tf.shape(outputs)[0], tf.float32)
    if recipe.activation_regularization:
        squares = tf.reduce_mean(tf.square(dropped if recipe.dropped_activations else outputs))
        objective += recipe.activation_regularization * squares
    if recipe.slowness:
        changes = tf.reduce_mean(tf.square(outputs[1:] - outputs[:-1]))
        objective += recipe.slowness * changes
    return objective


def descend(
    variables: Sequence[tf.Variable],
    gradients: Sequence,
    rate: tf.Tensor,
    recipe: LanguageRecipe,
    tables: Sequence[bool] | None = None,
    cubed: Sequence[bool] | None = None,
) -> None:
    """One step of gradient descent: the gradients clipped together, then weight_decay * weights.

    With recipe.clip_decay the gradients that are clipped include weight decay.

    A gradient of some rows (tf.IndexedSlices, of a gathered embedding) changes those rows alone.
    Rows that were gathered twice are added first, so that the norm is the true one.

    Args:
      tables: for each variable, whether weight decay too is limited to the rows of its gradient.
      cubed: which variables decay if recipe.decay_rule is cubes.
    """
    tables = tables or [False] * len(variables)
    summed = [
        _rows_added(g, v) if isinstance(g, tf.IndexedSlices) else g
        for g, v in zip(gradients, variables, strict=True)
    ]
    clip_norm, weight_decay = recipe.clip_norm, recipe.weight_decay
    if weight_decay and recipe.clip_decay:
        decays = cubed if recipe.decay_rule == CUBES else [True] * len(variables)
        summed = [
            _with_decay(recipe, *pair) if has_decay else pair[1]
            for has_decay, *pair in zip(decays or (), variables, summed, tables, strict=True)
        ]
        weight_decay = 0.0
    scale = rate
    if clip_norm is not None:
        norm = tf.linalg.global_norm([getattr(g, "values", g) for g in summed])
        scale = rate * clip_norm / tf.maximum(norm, clip_norm)
    for variable, gradient, is_table in zip(variables, summed, tables, strict=True):
        if weight_decay and is_table and isinstance(gradient, tf.IndexedSlices):
            old = tf.gather(variable, gradient.indices)
            variable.scatter_sub(tf.IndexedSlices(rate * weight_decay * old, gradient.indices))
        elif weight_decay:
            variable.assign(variable * (1 - rate * weight_decay))
        if isinstance(gradient, tf.IndexedSlices):
            variable.scatter_sub(tf.IndexedSlices(scale * gradient.values, gradient.indices))
        else:
            variable.assign_sub(scale * gradient)


def _with_decay(
    recipe: LanguageRecipe, variable: tf.Variable, gradient: Any, is_table: bool
) -> Any:
    """The gradient with weight decay, of the rows that were read if the variable is a table."""

    def decay(weights: tf.Tensor) -> tf.Tensor:
        form = 2 * weights**3 if recipe.decay_rule == CUBES else weights
        return recipe.weight_decay * form

    if not isinstance(gradient, tf.IndexedSlices):
        return gradient + decay(variable)
    if is_table:
        values = gradient.values + decay(tf.gather(variable, gradient.indices))
        return tf.IndexedSlices(values, gradient.indices)
    rows = gradient.indices[:, None]
    return tf.tensor_scatter_nd_add(decay(variable), rows, gradient.values)


def _rows_added(gradient: tf.IndexedSlices, variable: tf.Variable) -> tf.IndexedSlices:
    indices, place = tf.unique(tf.reshape(gradient.indices, [-1]))
    rows = tf.reshape(gradient.values, [-1, *variable.shape[1:]])
    return tf.IndexedSlices(
        tf.math.unsorted_segment_sum(rows, place, tf.shape(indices)[0]), indices
    )


class EvaluationLoop:
    """Evaluates a model on a text, all in one graph.

        loss = EvaluationLoop(model, tokens, streams, recipe).run()  # nats per token

    Args:
      tokens: [tokens] int32.
      streams: the text is cut into so many parts, read side by side, each from the zero state and
        from the last token of the part before; 1 gives every token its whole past.
    """

    def __init__(
        self, model: keras.Model, tokens: np.ndarray, streams: int, recipe: LanguageRecipe
    ):
        self.model, self.streams, self.predicted = model, streams, len(tokens) - 1
        inputs, targets, weights = cut(tokens, streams)
        self.steps = min(EVALUATED_STEPS, inputs.shape[1])
        missing = -inputs.shape[1] % self.steps
        self.padded = [np.pad(a, ((0, 0), (0, missing))) for a in (inputs, targets, weights)]
        self.graph = tf.function(self._summed_loss, autograph=False, jit_compile=_xla(recipe))
        self._zeros = model.zero_states(streams)
        self._traced = self.graph.get_concrete_function(self._zeros)

    def run(self) -> float:
        """The mean loss, nats per token, over every token but the first, each counted once."""
        return float(self._traced(self._zeros)) / self.predicted

    def _summed_loss(self, states):
        turns = self.padded[0].shape[1] // self.steps

        def body(i, states, loss):
            x, y, w = (
                tf.slice(tf.constant(a), [0, i * self.steps], [self.streams, self.steps])
                for a in self.padded
            )
            _, outputs, states = self.model.outputs_of(x, states)
            losses = self.model.losses(outputs, tf.reshape(tf.transpose(y), [-1]))
            losses *= tf.reshape(tf.transpose(w), [-1])
            return i + 1, states, loss + tf.cast(tf.reduce_sum(losses), tf.float64)

        start = (tf.constant(0), states, tf.constant(0.0, tf.float64))
        return tf.while_loop(lambda i, *_: i < turns, body, start)[-1]


def cut(tokens: np.ndarray, streams: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, targets (int32) and weights (float32) of an evaluation, each [streams, length].

    Every token but the first is a target of weight 1 once; the padding of the last rows has weight
    0.
    """
    count = len(tokens) - 1
    length = -(-count // streams)

    def rows(values: np.ndarray) -> np.ndarray:
        return np.pad(values, (0, streams * length - count)).reshape(streams, length)

    return rows(tokens[:-1]), rows(tokens[1:]), rows(np.ones(count, np.float32))


def _xla(recipe: LanguageRecipe) -> bool:
    if recipe.xla == "auto":  # XLA needs lengths that are known when it compiles
        return bool(tf.config.list_physical_devices("GPU")) and not recipe.random_bptt
    return bool(recipe.xla)
