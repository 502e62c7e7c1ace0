"""A tree cell of Zoph & Le 2017, which search_spaces/papers/zoph2017_rnn/space.py describes."""

from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from nas.core.language_skeleton import LanguageSkeleton
from nas.search_spaces.papers.zoph2017_rnn.tree import inputs_of
from nas.search_spaces.recurrent.cell import Noise, RecurrentCell, States
from nas.search_spaces.recurrent.published_cells import ACTIVATIONS

COMBINED = {"add": tf.add, "elem_mult": tf.multiply}


class TreeCell(RecurrentCell):
    """The cell of one architecture.

    chosen: the chosen values of a ZophRNN space, by the names of its decisions. base: leaves.
    """

    states = 2  # output h, memory c

    def __init__(
        self,
        inputs: int,
        units: int,
        skeleton: LanguageSkeleton,
        *,
        chosen: Mapping[str, Any],
        base: int,
    ):
        super().__init__(inputs, units, skeleton)
        self.chosen, self.base = dict(chosen), base
        self.kernel = self.weights_of("kernel", inputs, base * units)
        self.recurrent_kernel = self.weights_of("recurrent_kernel", units, base * units)

    def project(self, inputs: tf.Tensor, noise: Noise = None) -> tf.Tensor:
        return tf.tensordot(inputs, self.kernel, 1)

    def step(self, projected: tf.Tensor, states: States, noise: Noise = None):
        h, c = states
        x = tf.split(projected, self.base, axis=-1)
        y = tf.split(tf.matmul(h, self.recurrent_kernel), self.base, axis=-1)
        outputs: list[tf.Tensor] = []
        memory = c
        for k in range(2 * self.base - 1):
            if k < self.base:
                pair = (x[k], y[k])
            else:
                pair = tuple(outputs[i] for i in inputs_of(self.base, k))
            combined = self._combined(f"node{k}", *pair)
            if k == self.chosen["index/new_memory"]:
                memory = combined
            output = self._activated(f"node{k}", combined)
            if k == self.chosen["index/old_memory"]:
                output = self._activated("inject", self._combined("inject", output, c))
            outputs.append(output)
        return outputs[-1], (outputs[-1], memory)

    def _combined(self, name: str, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
        return COMBINED[self.chosen[f"{name}/combination"]](left, right)

    def _activated(self, name: str, value: tf.Tensor) -> tf.Tensor:
        return ACTIVATIONS[self.chosen[f"{name}/activation"]](value)
