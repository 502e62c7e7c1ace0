"""EAS' meta-controller (Cai et al. 2018, arXiv:1707.04873, section 3): an encoder and two actors.

A bidirectional LSTM reads the network as words. The wider actor is one sigmoid on the state of each
layer. The deeper actor is an LSTM that begins with the encoder's last state of both directions and
answers in turn: which block, behind which of its layers, and, for a convolution, which kernel.
"""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from nas.controllers.growing.controller import Actions
from nas.controllers.growing.dense_growth import DenseGrowth
from nas.controllers.growing.policy import GrowingPolicy
from nas.controllers.growing.slot_growth import SlotGrowth
from nas.controllers.policies.lstm_step import State, lstm_step
from nas.controllers.policies.settings import AdamSettings, EncoderSettings
from nas.core.trial import Arch

# Probabilities and which choices are open, both [rows, choices], and the number of the step
# -> the choice of each row.
Choose = Callable[[tf.Tensor, np.ndarray, int], list[int]]


class EASPolicy(GrowingPolicy):
    """Grows a start network by wider and deeper steps.

    Args:
      growth: the changes that the space allows.
      encoder: of words, and of the answers of the deeper actor.
      wider_steps, deeper_steps: the number of changes of each network, the wider ones first.
      init_scale: weights start uniform in [-init_scale, init_scale]; None: as in the code.
      adam: of the updates.
      entropy_weight: of the policy's entropy in the objective.
      mean_entropy: over steps, and over the questions of a step; false: their sum.
      rng: draws the initial weights.
    """

    def __init__(
        self,
        growth: SlotGrowth | DenseGrowth,
        encoder: EncoderSettings,
        adam: AdamSettings,
        *,
        wider_steps: int,
        deeper_steps: int,
        init_scale: float | None,
        entropy_weight: float,
        mean_entropy: bool,
        rng: np.random.Generator,
    ):
        super().__init__(adam, entropy_weight=entropy_weight)
        embedding, units = encoder.embedding, encoder.units
        self.growth, self.units = growth, units
        self.wider_steps, self.deeper_steps = wider_steps, deeper_steps
        self.mean_entropy = mean_entropy

        def uniform(largest: float, *shape: int) -> tf.Variable:
            return self.weight(rng.uniform(-largest, largest, shape))

        def table(rows: int) -> tf.Variable:
            return uniform(init_scale or 3**0.5, rows, embedding)

        def layer(inputs: int, outputs: int, bias: np.ndarray) -> tuple[tf.Variable, tf.Variable]:
            glorot = (6 / (inputs + outputs)) ** 0.5
            kernel = uniform(init_scale or glorot, inputs, outputs)
            return kernel, uniform(init_scale, outputs) if init_scale else self.weight(bias)

        def lstm(width: int) -> tuple[tf.Variable, tf.Variable]:
            forget = np.repeat([0.0, 1.0, 0.0, 0.0], width)
            return layer(embedding + width, 4 * width, forget)

        both = 2 * units
        self.words = table(growth.vocabulary)
        self.forward, self.backward = lstm(units), lstm(units)
        self.widen = layer(both, 1, np.zeros(1))
        self.decoder = lstm(both)
        self.first = table(1)
        self.answers = [table(count) for count in growth.answers[:-1]]
        self.outputs = [layer(both, count, np.zeros(count)) for count in growth.answers]
        self.begin()

    def sample(self, rng: np.random.Generator) -> tuple[Arch, Actions]:
        """A grown network and the actions that led to it."""
        actions: Actions = []

        def draw(probabilities: tf.Tensor, allowed: np.ndarray, step: int) -> list[int]:
            cumulative = np.cumsum(np.asarray(probabilities, np.float64) * allowed, 1)
            uniform = rng.random((len(cumulative), 1)) * cumulative[:, -1:]
            actions.append((cumulative <= uniform).sum(1).tolist())
            return actions[-1]

        return self._grow(draw), actions

    def score(self, actions: Actions) -> tuple[tf.Tensor, tf.Tensor]:
        """Log-probability of all actions, and entropy; masked choices add 0 to both."""
        remaining, terms = iter(actions), [tf.constant(0.0)]
        entropies: dict[int, list[tf.Tensor]] = {}  # of each step, those of its questions

        def replay(probabilities: tf.Tensor, allowed: np.ndarray, step: int) -> list[int]:
            chosen = next(remaining)
            p = probabilities * tf.constant(allowed, tf.float32)
            p = p / tf.reduce_sum(p, 1, keepdims=True)
            log_p = tf.math.log(tf.maximum(p, 1e-30))
            terms.append(tf.reduce_sum(tf.gather(log_p, chosen, batch_dims=1)))
            entropy = -tf.reduce_sum(p * log_p, 1)
            if step < self.wider_steps:  # a layer of the largest size has no question
                entropy = tf.boolean_mask(entropy, allowed.all(1))
            entropies.setdefault(step, []).append(entropy)
            return chosen

        self._grow(replay)
        steps = [tf.concat(questions, 0) for questions in entropies.values()]
        if not self.mean_entropy:
            return tf.add_n(terms), tf.reduce_sum(tf.concat([[0.0], *steps], 0))
        means = [tf.math.divide_no_nan(tf.reduce_sum(s), float(s.shape[0])) for s in steps]
        return tf.add_n(terms), tf.reduce_mean(means) if means else tf.constant(0.0)

    def _grow(self, choose: Choose) -> Arch:
        growth, arch = self.growth, self.growth.start
        for step in range(self.wider_steps):
            states, _ = self._encoded(arch)
            words = [i for i, word in enumerate(growth.tokens(arch)) if word]
            yes = tf.sigmoid(tf.gather(states, words) @ self.widen[0] + self.widen[1])
            is_open = np.array([[True, can] for can in growth.can_widen(arch)])
            arch = growth.wider(arch, choose(tf.concat([1 - yes, yes], 1), is_open, step))
        for step in range(self.wider_steps, self.wider_steps + self.deeper_steps):
            places = growth.places(arch)
            free = np.zeros((len(places), growth.longest), bool)
            for block, row in enumerate(places):
                free[block, : len(row)] = [slot is not None for slot in row]
            if not free.any():
                break  # every slot is taken
            arch = growth.deeper(arch, *self._place(arch, free, choose, step))
        return arch

    def _place(self, arch: Arch, free: np.ndarray, choose: Choose, step: int) -> list[int]:
        """The answers of a deeper step: block, layer and, for a convolution, kernel.

        free: [blocks, layers], whether a layer can be added behind each.
        """
        _, state = self._encoded(arch)
        x = tf.convert_to_tensor(self.first)
        chosen: list[int] = []
        for i, (kernel, bias) in enumerate(self.outputs):
            if chosen and i == self.growth.questions(chosen[0]):
                break
            state = lstm_step(x, state, *self.decoder)
            p = tf.nn.softmax(state[0] @ kernel + bias)
            open_to = free.any(1), free[chosen[0] if chosen else 0], np.ones(p.shape[1], bool)
            chosen += choose(p, np.array(open_to[i])[None], step)
            if i < len(self.answers):
                x = tf.gather(tf.convert_to_tensor(self.answers[i]), chosen[-1:])
        return chosen

    def _encoded(self, arch: Arch) -> tuple[tf.Tensor, State]:
        """The state of each word, [words, 2 units], and the last (h, c), [1, 2 units] each."""
        words = tf.gather(tf.convert_to_tensor(self.words), self.growth.tokens(arch))
        rows = tf.unstack(words[:, None])
        ahead, end = self._read(rows, self.forward)
        back, begin = self._read(rows[::-1], self.backward)
        states = tf.concat([tf.concat(ahead, 0), tf.concat(back[::-1], 0)], 1)
        last = tuple(tf.concat(pair, 1) for pair in zip(end, begin, strict=True))
        return states, last

    def _read(
        self, rows: Sequence[tf.Tensor], weights: tuple[tf.Variable, tf.Variable]
    ) -> tuple[list[tf.Tensor], State]:
        """The output after each row, [1, units], and the last state of one direction."""
        zero = tf.zeros([1, self.units])
        state, outputs = (zero, zero), []
        for x in rows:
            state = lstm_step(x, state, *weights)
            outputs.append(state[0])
        return outputs, state
