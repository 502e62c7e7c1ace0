"""An optimiser for shared weights: it updates only the variables that a step has used."""

from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from nas.training.optimizer import Optimizer
from nas.training.recipe import Recipe

Gradient = Any  # tf.Tensor, or tf.IndexedSlices of some rows of the variable


class GroupedOptimizer:
    """The recipe's optimiser, applied only to the groups of variables that a step has used.

    The other groups keep their momenta and do not decay. Clipping takes the norm of the used
    gradients only; recipe.clip_decay says whether with weight decay. Adam's bias correction counts
    all steps.

    Args:
      groups: [groups][variables].
      kernels: [groups][variables], which of them decay; None: those with more than one axis.
    """

    def __init__(
        self,
        recipe: Recipe,
        groups: Sequence[Sequence[keras.Variable]],
        kernels: Sequence[Sequence[bool]] | None = None,
    ):
        self.recipe = recipe
        self._each = [Optimizer(recipe, group) for group in groups]
        self._kernels = kernels or [[len(v.shape) > 1 for v in group] for group in groups]

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
        rows: Sequence[tf.Tensor | None] | None = None,
    ) -> None:
        """One step of all groups that were used.

        Args:
          gradients: [groups][variables].
          active: [groups], [] bool: whether the step used the group.
          rate: [] float32, the learning rate.
          step: [] int32, counted from 0.
          rows: [groups], the only row of a group's variables that was used, or None for all rows.
        """
        rows = rows or [None] * len(gradients)
        scale = self._scale(gradients, active, rows)
        for i, is_active in enumerate(active):

            def move(i=i):
                moved = self._read(gradients[i], rows[i])
                if scale is not None and not self.recipe.clip_decay:
                    moved = _scaled(moved, scale)
                moved = self._decayed(i, moved)
                if scale is not None and self.recipe.clip_decay:
                    moved = _scaled(moved, scale)
                self._each[i].apply(moved, rate, step)

            _run_if(is_active, move)

    def ahead(self, gradients: Sequence[tf.Tensor], rate: tf.Tensor) -> list[tf.Tensor]:
        """The values of all variables after a step of SGD without clipping; no variable changes.

        gradients: of the variables of all groups, one after another, as the result is. The
        recipe's optimiser must be sgd.
        """
        moved, remaining = [], iter(gradients)
        momentum = self.recipe.momentum
        for i, each in enumerate(self._each):
            decayed = self._decayed(i, [next(remaining) for _ in each.variables])
            for g, v, (slot,) in zip(decayed, each.variables, each.slots, strict=True):
                step = momentum * slot - rate * g
                moved.append(v + (momentum * step - rate * g if self.recipe.nesterov else step))
        return moved

    def _read(self, gradients, row: tf.Tensor | None) -> list[Gradient]:
        """A group's gradients, reduced to `row` if it is not None."""
        if row is None:
            return list(gradients)
        return [tf.IndexedSlices(tf.gather(g, row[None]), row[None]) for g in gradients]

    def _decayed(self, i: int, gradients: Sequence[Gradient]) -> list[Gradient]:
        """Gradients of group i with weight decay."""
        decay, variables = self.recipe.weight_decay, self._each[i].variables
        return [
            _with_values(g, _values(g) + decay * _values_at(g, v)) if decay and kernel else g
            for g, v, kernel in zip(gradients, variables, self._kernels[i], strict=True)
        ]

    def _scale(self, gradients, active, rows) -> tf.Tensor | None:
        """The factor by which clipping multiplies the gradients; None if the recipe has none."""
        if self.recipe.clip_norm is None:
            return None
        squares = []
        for i, is_active in enumerate(active):

            def square(i=i):
                clipped = self._read(gradients[i], rows[i])
                if self.recipe.clip_decay:
                    clipped = self._decayed(i, clipped)
                return 2 * tf.add_n([tf.nn.l2_loss(_values(g)) for g in clipped])

            squares.append(
                square() if is_active is True else tf.cond(is_active, square, lambda: 0.0)
            )
        norm = tf.sqrt(tf.add_n(squares))
        return self.recipe.clip_norm / tf.maximum(norm, self.recipe.clip_norm)


def _run_if(condition: tf.Tensor | bool, act: Callable[[], None]) -> None:
    if condition is True:
        act()
        return

    def acted():
        act()
        return tf.no_op()

    tf.cond(condition, acted, tf.no_op)


def _scaled(gradients: Sequence[Gradient], scale: tf.Tensor) -> list[Gradient]:
    return [_with_values(g, _values(g) * scale) for g in gradients]


def _values(gradient: Gradient) -> tf.Tensor:
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient


def _with_values(gradient: Gradient, values: tf.Tensor) -> Gradient:
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(values, gradient.indices)
    return values


def _values_at(gradient: Gradient, variable: tf.Variable) -> tf.Tensor:
    """The values that the gradient belongs to: the variable's, or those of some rows of it."""
    if isinstance(gradient, tf.IndexedSlices):
        return tf.gather(variable, gradient.indices)
    return variable
