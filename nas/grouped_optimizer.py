"""An optimiser that moves only what a step has used: for weights that many networks share."""

from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from nas.optimizer import Optimizer
from nas.recipe import Recipe


class GroupedOptimizer:
    """The recipe's optimiser, moving only the groups of variables that a step has used.

    The others keep their momenta as well, and no weight decay reaches them. Clipping sees the
    gradients that are used alone. Adam's bias correction counts all steps.
    """

    def __init__(self, recipe: Recipe, groups: Sequence[Sequence[keras.Variable]]):
        self.recipe = recipe
        self._each = [Optimizer(recipe, group) for group in groups]
        self._kernels = [[len(v.shape) > 1 for v in group] for group in groups]

    @property
    def variables(self) -> list[list[tf.Variable]]:
        return [optimizer.variables for optimizer in self._each]

    @property
    def slots(self) -> list[tf.Variable]:
        return [slot for each in self._each for slots in each.slots for slot in slots]

    def apply(
        self,
        gradients: Sequence[Sequence[tf.Tensor]],
        active: Sequence[tf.Tensor | bool],
        rate: tf.Tensor,
        step: tf.Tensor,
    ) -> None:
        """gradients: [groups][variables]; active: [groups], what the step has used."""
        scale = self._scale(gradients, active)
        for i, is_active in enumerate(active):

            def move(i=i):
                moved = self._decayed(i, gradients[i])
                if scale is not None:
                    moved = [g * scale for g in moved]
                self._each[i].apply(moved, rate, step)

            _where(is_active, move)

    def ahead(self, gradients: Sequence[tf.Tensor], rate: tf.Tensor) -> list[tf.Tensor]:
        """Where a step of SGD would bring all variables, of all groups one after another, without
        clipping; nothing moves. The recipe's optimiser must be sgd."""
        moved, left = [], iter(gradients)
        momentum = self.recipe.momentum
        for i, each in enumerate(self._each):
            own = self._decayed(i, [next(left) for _ in each.variables])
            for g, v, (slot,) in zip(own, each.variables, each.slots, strict=True):
                step = momentum * slot - rate * g
                moved.append(v + (momentum * step - rate * g if self.recipe.nesterov else step))
        return moved

    def _decayed(self, i: int, gradients: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        decay, variables = self.recipe.weight_decay, self._each[i].variables
        return [
            g + decay * v if decay and kernel else g
            for g, v, kernel in zip(gradients, variables, self._kernels[i], strict=True)
        ]

    def _scale(self, gradients, active) -> tf.Tensor | None:
        """What clipping multiplies the gradients by; None where nothing is clipped."""
        if self.recipe.clip_norm is None:
            return None
        squares = []
        for i, is_active in enumerate(active):

            def square(i=i):
                return 2 * tf.add_n([tf.nn.l2_loss(g) for g in self._decayed(i, gradients[i])])

            squares.append(
                square() if is_active is True else tf.cond(is_active, square, lambda: 0.0)
            )
        norm = tf.sqrt(tf.add_n(squares))
        return self.recipe.clip_norm / tf.maximum(norm, self.recipe.clip_norm)


def _where(condition: tf.Tensor | bool, act: Callable[[], None]) -> None:
    if condition is True:
        act()
        return

    def acted():
        act()
        return tf.no_op()

    tf.cond(condition, acted, tf.no_op)
