"""A recurrent language model: embedding, layers of one kind of cell, softmax.

Zaremba et al. 2014 (arXiv:1409.2329). The dropouts are those of Gal & Ghahramani 2016 and Merity et
al. 2018 (arXiv:1708.02182, section 4); the tied weights are those of Inan et al. 2017.

Departure: Zaremba et al.'s own code has two bias vectors in each layer, which are only ever added;
here, as in the TensorFlow tutorial, a layer has one.
"""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from nas.core.language_skeleton import LanguageSkeleton
from nas.search_spaces.recurrent.cell import RecurrentCell, States, dropout, over_time

CellMaker = Callable[[int, int, LanguageSkeleton], RecurrentCell]


class LanguageModel(keras.Model):
    """Predicts the next token of each stream from its tokens and the state of earlier tokens.

    cell: a function (inputs, units, skeleton) -> cell, called once for each layer.
    """

    def __init__(self, cell: CellMaker, skeleton: LanguageSkeleton):
        super().__init__()
        self.skeleton = skeleton
        words, size = skeleton.vocabulary, skeleton.embedding
        self.embedding = self._uniform("embedding", skeleton.init_embedding, words, size)
        inputs = (size, *skeleton.sizes[:-1])
        self.cells = [
            cell(i, units, skeleton) for i, units in zip(inputs, skeleton.sizes, strict=True)
        ]
        last = skeleton.sizes[-1]
        limit = skeleton.init or last**-0.5
        self.softmax = (
            self.embedding if skeleton.tied else self._uniform("softmax", limit, words, last)
        )
        # Initially zeros with tied weights, as in AWD-LSTM and DARTS; otherwise uniform, as all
        # weights of Zaremba et al. are.
        self.bias = tf.zeros([words])
        if skeleton.softmax_bias and skeleton.tied:
            self.bias = self.add_weight(name="softmax_bias", shape=(words,), initializer="zeros")
        elif skeleton.softmax_bias:
            self.bias = self._uniform("softmax_bias", limit, words)
        self.built = True

    def zero_states(self, batch: int) -> tuple[States, ...]:
        """The states of each layer before the first token: [batch, size] each."""
        return tuple(
            tuple(tf.zeros([batch, size]) for size in cell.state_size) for cell in self.cells
        )

    def outputs_of(
        self,
        tokens: tf.Tensor,
        states: tuple[States, ...],
        seed: tf.Tensor | None = None,
        cells: Sequence[Any] | None = None,
    ) -> tuple[tf.Tensor, tf.Tensor, tuple[States, ...]]:
        """The outputs of the last layer [time, batch, units], without and with dropout; the states.

        Args:
          tokens: [batch, time] int32.
          seed: [2] int32, for the dropouts in training; None: nothing is dropped.
          cells: replace the model's own cells in this call.
        """
        x = self._embedded(tokens, seed)
        last_states = []
        for i, cell in enumerate(cells or self.cells):
            noise = None if seed is None else cell.noise(tokens.shape[0], _fold(seed, 10 + i))
            x, layer_states = over_time(cell, x, states[i], noise)
            last_states.append(layer_states)
            if i < len(self.cells) - 1:
                x = self._dropped(x, self.skeleton.dropout_hidden, seed, 100 + i)
        return x, self._dropped(x, self.skeleton.dropout_output, seed, 2), tuple(last_states)

    def losses(self, outputs: tf.Tensor, targets: tf.Tensor) -> tf.Tensor:
        """outputs [time, batch, units], targets [time * batch] int32 -> nats, [time * batch]."""
        flat = tf.reshape(outputs, [-1, outputs.shape[-1]])
        kernel, bias = tf.convert_to_tensor(self.softmax), tf.convert_to_tensor(self.bias)
        return softmax_losses(flat, kernel, bias, targets)

    def logits(self, outputs: tf.Tensor) -> tf.Tensor:
        """outputs [time, batch, units] -> [time * batch, vocabulary], in one product."""
        flat = tf.reshape(outputs, [-1, outputs.shape[-1]])
        return tf.nn.bias_add(tf.matmul(flat, self.softmax, transpose_b=True), self.bias)

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        """tokens [batch, time] int32 -> logits [batch, time, vocabulary], from the zero state."""
        outputs, _, _ = self.outputs_of(tokens, self.zero_states(tokens.shape[0]))
        time, batch = tokens.shape[1], tokens.shape[0]
        return tf.transpose(tf.reshape(self.logits(outputs), [time, batch, -1]), [1, 0, 2])

    def _embedded(self, tokens: tf.Tensor, seed: tf.Tensor | None) -> tf.Tensor:
        """tokens [batch, time] -> [time, batch, embedding]."""
        tokens = tf.transpose(tokens)
        x = tf.gather(self.embedding.value, tokens)
        rate = self.skeleton.dropout_word
        if seed is not None and rate:
            kept = dropout(tf.ones([self.skeleton.vocabulary, 1]), rate, _fold(seed, 0))
            x *= tf.gather(kept, tokens)
        return self._dropped(x, self.skeleton.dropout_input, seed, 1)

    def _dropped(self, x: tf.Tensor, rate: float, seed: tf.Tensor | None, which: int) -> tf.Tensor:
        """x [time, batch, units] with dropout; variational dropout has one mask for all steps."""
        if seed is None or not rate:
            return x
        shape = (1, *x.shape[1:]) if self.skeleton.variational else None
        return dropout(x, rate, _fold(seed, which), shape)

    def _uniform(self, name: str, limit: float, *shape: int) -> keras.Variable:
        initializer = keras.initializers.RandomUniform(-limit, limit)
        return self.add_weight(name=name, shape=shape, initializer=initializer)


@tf.custom_gradient
def softmax_losses(
    outputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, targets: tf.Tensor
) -> Any:
    """Cross entropies of softmax(outputs kernel^T + bias): [n] float32, nats.

    outputs: [n, units]; kernel: [vocabulary, units]; bias: [vocabulary]; targets: [n] int32.

    The gradient reuses the exponentials and scales the small factors of its products, so that no
    second tensor [n, vocabulary] is needed. That saves a fifth of the time of the softmax of 10,000
    words.
    """
    scores = tf.nn.bias_add(tf.matmul(outputs, kernel, transpose_b=True), bias)
    top = tf.stop_gradient(tf.reduce_max(scores, -1, keepdims=True))
    powers = tf.exp(scores - top)
    sums = tf.reduce_sum(powers, -1, keepdims=True)
    at_targets = tf.gather(scores, targets, batch_dims=1)
    losses = tf.math.log(sums[:, 0]) + top[:, 0] - at_targets

    def gradient(upstream):
        weights = upstream[:, None]
        # [n, 1]; powers * shares is the gradient except for the terms of the targets.
        shares = weights / sums
        rows, places = weights * outputs, targets[:, None]
        d_outputs = shares * tf.matmul(powers, kernel) - weights * tf.gather(kernel, targets)
        d_kernel = tf.matmul(powers, shares * outputs, transpose_a=True)
        d_kernel = tf.tensor_scatter_nd_sub(d_kernel, places, rows)
        d_bias = tf.matmul(powers, shares, transpose_a=True)[:, 0]
        d_bias = tf.tensor_scatter_nd_sub(d_bias, places, upstream)
        return d_outputs, d_kernel, d_bias, None

    return losses, gradient


def _fold(seed: tf.Tensor, which: int) -> tf.Tensor:
    return tf.random.experimental.stateless_fold_in(seed, which)
