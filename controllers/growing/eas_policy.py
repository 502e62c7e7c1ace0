"""EAS' meta-controller (Cai et al. 2018, arXiv:1707.04873, section 3): encoder and two actors.

A bidirectional LSTM reads the network as words. The wider actor is one sigmoid on the state of each
layer. The deeper actor is an LSTM that begins with the encoder's last state of both directions and
answers in turn: which block, behind which of its layers, and, of a convolution, what kernel.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from nas.controllers.growing.dense_growth import DenseGrowth
from nas.controllers.growing.policy import Actions, GrowingPolicy, lstm_step
from nas.controllers.growing.slot_growth import Growth
from nas.core.trial import Arch

# Probabilities [rows, choices] and which are open -> what is chosen of each row.
Choose = Callable[[tf.Tensor, np.ndarray], list[int]]


class EASPolicy(GrowingPolicy):
    """Grows a start network; the probability of its actions, and gradient steps."""

    def __init__(
        self,
        growth: Growth | DenseGrowth,
        *,
        embedding: int,
        units: int,
        wider_steps: int,
        deeper_steps: int,
        init_scale: float,
        learning_rate: float,
        entropy_weight: float,
        rng: np.random.Generator,
    ):
        super().__init__(learning_rate=learning_rate, entropy_weight=entropy_weight)
        self.growth, self.units = growth, units
        self.wider_steps, self.deeper_steps = wider_steps, deeper_steps

        def weight(*shape: int) -> tf.Variable:
            return self.weight(rng.uniform(-init_scale, init_scale, shape))

        both = 2 * units
        self.words = weight(growth.vocabulary, embedding)
        self.forward = weight(embedding + units, 4 * units), weight(4 * units)
        self.backward = weight(embedding + units, 4 * units), weight(4 * units)
        self.widen = weight(both, 1), weight(1)
        counts = growth.answers
        self.decoder = weight(embedding + both, 4 * both), weight(4 * both)
        self.first = weight(1, embedding)
        self.answers = [weight(count, embedding) for count in counts[:-1]]
        self.outputs = [(weight(both, count), weight(count)) for count in counts]
        self.begin()

    def sample(self, rng: np.random.Generator) -> tuple[Arch, Actions]:
        """A grown network and the actions that led to it."""
        actions: Actions = []

        def draw(probabilities: tf.Tensor, allowed: np.ndarray) -> list[int]:
            p = np.cumsum(np.asarray(probabilities, np.float64) * allowed, 1)
            uniform = rng.random((len(p), 1)) * p[:, -1:]
            actions.append((p <= uniform).sum(1).tolist())
            return actions[-1]

        return self._grow(draw), actions

    def score(self, actions: Actions) -> tuple[tf.Tensor, tf.Tensor]:
        """Log-probability and entropy of all actions together. What is masked adds 0 to both."""
        left, terms, entropies = iter(actions), [tf.constant(0.0)], [tf.constant(0.0)]

        def again(probabilities: tf.Tensor, allowed: np.ndarray) -> list[int]:
            chosen = next(left)
            p = probabilities * tf.constant(allowed, tf.float32)
            p = p / tf.reduce_sum(p, 1, keepdims=True)
            log_p = tf.math.log(tf.maximum(p, 1e-30))
            terms.append(tf.reduce_sum(tf.gather(log_p, chosen, batch_dims=1)))
            entropies.append(-tf.reduce_sum(p * log_p))
            return chosen

        self._grow(again)
        return tf.add_n(terms), tf.add_n(entropies)

    def _grow(self, choose: Choose) -> Arch:
        growth, arch = self.growth, self.growth.start
        for _ in range(self.wider_steps):
            states, _ = self._encoded(arch)
            words = [i for i, word in enumerate(growth.tokens(arch)) if word]
            yes = tf.sigmoid(tf.gather(states, words) @ self.widen[0] + self.widen[1])
            can = np.array([[True, can] for can in growth.can_widen(arch)])
            arch = growth.wider(arch, choose(tf.concat([1 - yes, yes], 1), can))
        for _ in range(self.deeper_steps):
            places = growth.places(arch)
            free = np.zeros((len(places), growth.longest), bool)
            for block, row in enumerate(places):
                free[block, : len(row)] = [slot is not None for slot in row]
            if not free.any():
                break  # every slot is taken
            arch = growth.deeper(arch, *self._place(arch, free, choose))
        return arch

    def _place(self, arch: Arch, free: np.ndarray, choose: Choose) -> list[int]:
        """Block, layer and what more is asked. free: [blocks, layers], where one can be added."""
        _, state = self._encoded(arch)
        x = tf.convert_to_tensor(self.first)
        chosen: list[int] = []
        for i, (kernel, bias) in enumerate(self.outputs):
            if chosen and i == self.growth.questions(chosen[0]):
                break
            state = lstm_step(x, state, *self.decoder)
            p = tf.nn.softmax(state[0] @ kernel + bias)
            open_to = free.any(1), free[chosen[0] if chosen else 0], np.ones(p.shape[1], bool)
            chosen += choose(p, np.array(open_to[i])[None])
            if i < len(self.answers):
                x = tf.gather(tf.convert_to_tensor(self.answers[i]), chosen[-1:])
        return chosen

    def _encoded(self, arch: Arch) -> tuple[tf.Tensor, tuple[tf.Tensor, tf.Tensor]]:
        """Of each word its state, [words, 2 units], and the last (h, c), [1, 2 units] each."""
        words = tf.gather(tf.convert_to_tensor(self.words), self.growth.tokens(arch))
        rows = tf.unstack(words[:, None])
        ahead, end = self._read(rows, self.forward)
        back, begin = self._read(rows[::-1], self.backward)
        states = tf.concat([tf.concat(ahead, 0), tf.concat(back[::-1], 0)], 1)
        last = tuple(tf.concat(pair, 1) for pair in zip(end, begin, strict=True))
        return states, last

    def _read(self, rows, weights):
        zero = tf.zeros([1, self.units])
        state, outputs = (zero, zero), []
        for x in rows:
            state = lstm_step(x, state, *weights)
            outputs.append(state[0])
        return outputs, state
