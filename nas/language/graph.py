"""What the language loop runs inside a graph: an epoch of training, an evaluation.

A model has `zero_states(batch)`, `outputs_of(tokens, states, seed)`, `losses(outputs, targets)`, as
search_spaces/recurrent/language_model.py has them.
"""

import functools
from collections.abc import Callable, Sequence

import keras
import numpy as np
import tensorflow as tf

from nas.core.trial import ConfigError
from nas.language.recipe import LanguageRecipe, sequences
from nas.training.optimizer import Optimizer
from nas.training.recipe import Recipe

EVALUATED_STEPS = 8  # of one turn of the evaluation's loop: more take longer to trace, same result


class Training:
    """The weights, their average where there is one, and the graph of an epoch.

    tokens: [tokens] int32, cut into batch_size streams of equal length; up to batch_size - 1 tokens
    at the end are left.
    """

    def __init__(self, model: keras.Model, tokens: np.ndarray, recipe: LanguageRecipe, seed: int):
        self.model, self.recipe, self.seed = model, recipe, seed
        self.variables = [v.value for v in model.trainable_variables]
        self.averages = [tf.Variable(v) for v in self.variables] if recipe.nonmonotone else []
        self.averaged = tf.Variable(-1, dtype=tf.int64)  # steps in the average; -1: there is none
        self.slots: list[tf.Variable] = []  # of Adam, behind the number of its steps
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
        whole = tf.TensorSpec([None], tf.int32)  # of any number of sequences: one trace for all
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
                whole,
                whole,
                tf.TensorSpec([None], tf.float32),
                tf.TensorSpec([], tf.int32),
                tf.TensorSpec([2], tf.int32),
            ],
        )

    def epoch(self, number: int, attempt: int = 0) -> float:
        """Trains once through the text and returns the mean loss, nats a token.

        attempt: other dropouts and random lengths for an epoch that is tried again.
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
            states, more = self._traced(
                states,
                tf.constant(starts[part], tf.int32),
                tf.constant(steps[part], tf.int32),
                tf.constant(rates[part], tf.float32),
                tf.constant(at, tf.int32),
                noise,
            )
            loss += float(more)
        return loss / (recipe.batch_size * int(steps.sum()))

    @functools.cached_property
    def _traced(self):
        # Called as it is: through tf.function TensorFlow warns of many models that train briefly.
        return self.graph.get_concrete_function()

    def start_averaging(self) -> None:
        self.averaged.assign(0)

    def _run(self, states, starts, steps, rates, first, noise):
        """states after, and summed loss of, len(starts) sequences; the first is number `first`."""
        count = tf.shape(starts)[0]

        def body(i, states, loss):
            seed = tf.random.experimental.stateless_fold_in(noise, first + i)
            states, more = self._step(states, starts[i], steps[i], rates[i], seed)
            return i + 1, states, loss + tf.cast(more, tf.float64)

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
            descend(self.variables, gradients, rate, recipe.clip_norm, recipe.weight_decay)
        else:
            self._adam_step(self.adam, gradients, rate)
        if self.averages:
            tf.cond(self.averaged >= 0, self._average, lambda: tf.constant(False))
        return states, summed

    def _adam_step(self, adam, gradients, rate):
        recipe = self.recipe
        # Of all rows of an embedding: the moments of words that were not read decay as well.
        dense = [tf.convert_to_tensor(g) for g in gradients]
        if recipe.clip_norm is not None:
            dense, _ = tf.clip_by_global_norm(dense, recipe.clip_norm)
        if recipe.weight_decay:
            decay = recipe.weight_decay
            dense = [g + decay * v for g, v in zip(dense, self.variables, strict=True)]
        steps = self.slots[0]
        adam.apply(dense, rate, steps.read_value())
        steps.assign_add(1)

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
    """What a step makes smaller.

    summed: nats of all tokens; outputs, dropped: [time, batch, units], of the last layer.
    """
    objective = summed / recipe.batch_size
    if not recipe.sum_over_time:
        objective /= tf.cast(tf.shape(outputs)[0], tf.float32)
    if recipe.activation_regularization:
        squares = tf.reduce_mean(tf.square(dropped))
        objective += recipe.activation_regularization * squares
    if recipe.slowness:
        changes = tf.reduce_mean(tf.square(outputs[1:] - outputs[:-1]))
        objective += recipe.slowness * changes
    return objective


def descend(
    variables: Sequence[tf.Variable],
    gradients: Sequence,
    rate: tf.Tensor,
    clip_norm: float | None,
    weight_decay: float,
    tables: Sequence[bool] | None = None,
) -> None:
    """One step of gradient descent: the gradients clipped together, then weight_decay * weights.

    A gradient of some rows (tf.IndexedSlices, of a gathered embedding) touches those rows alone;
    rows that were gathered twice are added first, so that the norm is the true one.

    tables: of which variables other rows do not decay either.
    """
    summed = [
        _rows_added(g, v) if isinstance(g, tf.IndexedSlices) else g
        for g, v in zip(gradients, variables, strict=True)
    ]
    scale = rate
    if clip_norm is not None:
        norm = tf.linalg.global_norm([getattr(g, "values", g) for g in summed])
        scale = rate * clip_norm / tf.maximum(norm, clip_norm)
    for variable, gradient, is_table in zip(
        variables, summed, tables or [False] * len(summed), strict=True
    ):
        if weight_decay and is_table and isinstance(gradient, tf.IndexedSlices):
            old = tf.gather(variable, gradient.indices)
            variable.scatter_sub(tf.IndexedSlices(rate * weight_decay * old, gradient.indices))
        elif weight_decay:
            variable.assign(variable * (1 - rate * weight_decay))
        if isinstance(gradient, tf.IndexedSlices):
            variable.scatter_sub(tf.IndexedSlices(scale * gradient.values, gradient.indices))
        else:
            variable.assign_sub(scale * gradient)


def _rows_added(gradient: tf.IndexedSlices, variable: tf.Variable) -> tf.IndexedSlices:
    indices, place = tf.unique(tf.reshape(gradient.indices, [-1]))
    rows = tf.reshape(gradient.values, [-1, *variable.shape[1:]])
    return tf.IndexedSlices(
        tf.math.unsorted_segment_sum(rows, place, tf.shape(indices)[0]), indices
    )


def make_evaluate(
    model: keras.Model, tokens: np.ndarray, streams: int, recipe: LanguageRecipe
) -> Callable[[], float]:
    """Returns evaluate() -> mean loss, nats a token, over every token but the first, each once.

    streams: the text is cut into so many parts, read side by side, each from the zero state and
    from the last token of the part before; 1 gives every token its whole past.
    """
    inputs, targets, weights = cut(tokens, streams)
    steps = min(EVALUATED_STEPS, inputs.shape[1])
    spare = -inputs.shape[1] % steps
    padded = [np.pad(a, ((0, 0), (0, spare))) for a in (inputs, targets, weights)]
    turns = padded[0].shape[1] // steps

    def body(i, states, loss):
        x, y, w = (tf.slice(tf.constant(a), [0, i * steps], [streams, steps]) for a in padded)
        _, outputs, states = model.outputs_of(x, states)
        losses = model.losses(outputs, tf.reshape(tf.transpose(y), [-1]))
        losses *= tf.reshape(tf.transpose(w), [-1])
        return i + 1, states, loss + tf.cast(tf.reduce_sum(losses), tf.float64)

    @tf.function(autograph=False, jit_compile=_xla(recipe))
    def run(states):
        start = (tf.constant(0), states, tf.constant(0.0, tf.float64))
        return tf.while_loop(lambda i, *_: i < turns, body, start)[-1]

    zeros = model.zero_states(streams)
    traced = run.get_concrete_function(zeros)

    def call() -> float:
        return float(traced(zeros)) / (len(tokens) - 1)

    call.graph = run  # type: ignore[attr-defined]  # for the test that it is traced once
    return call


def cut(tokens: np.ndarray, streams: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Inputs, targets (int32) and weights (float32) of an evaluation, each [streams, length].

    Every token but the first is a target of weight 1 once; what fills up the last rows weighs 0.
    """
    count = len(tokens) - 1
    length = -(-count // streams)

    def rows(values: np.ndarray) -> np.ndarray:
        return np.pad(values, (0, streams * length - count)).reshape(streams, length)

    return rows(tokens[:-1]), rows(tokens[1:]), rows(np.ones(count, np.float32))


def _xla(recipe: LanguageRecipe) -> bool:
    if recipe.xla == "auto":  # it needs lengths that are known beforehand
        return bool(tf.config.list_physical_devices("GPU")) and not recipe.random_bptt
    return bool(recipe.xla)
