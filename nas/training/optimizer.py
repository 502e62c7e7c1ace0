"""SGD, Adam and RMSProp by TensorFlow's fused kernels: one operation per variable.

The formulas are those of `keras.optimizers`; the tests compute them by hand. At a constant rate
they are PyTorch's and TensorFlow 1's too (tests/references). Where the rate changes, those multiply
the momentum of earlier gradients by the rate of the step, and here it keeps the rates that the
gradients came with. TensorFlow 1 starts RMSProp's mean of squares at 1, and here it starts at 0.

A Keras optimiser creates five to fifteen operations per variable, and these take a third of the
time it takes to trace a network that trains for a few seconds. A tf.IndexedSlices gradient moves
only its rows of the variable and of the slots.
"""

from collections.abc import Sequence

import keras
import tensorflow as tf

from nas.training.recipe import Recipe

_SLOTS = {"sgd": 1, "adam": 2, "rmsprop": 2}


class Optimizer:
    """Updates `variables` by the recipe's rule.

    slots: [variables][slots of each], momenta and second moments, which start at zero.
    """

    def __init__(self, recipe: Recipe, variables: Sequence[keras.Variable | tf.Variable]):
        self.recipe = recipe
        self.variables = [v.value if isinstance(v, keras.Variable) else v for v in variables]
        self.slots = [
            [
                tf.Variable(tf.zeros_like(v), trainable=False)
                for _ in range(_SLOTS[recipe.optimizer])
            ]
            for v in self.variables
        ]

    def descend(
        self,
        gradients: Sequence[tf.Tensor],
        rate: tf.Tensor,
        step: tf.Tensor,
        *,
        values: Sequence[keras.Variable | tf.Tensor],
        decays: Sequence[bool],
    ) -> None:
        """One step with the recipe's weight decay and its clipping.

        Args:
          rate: [] float32, the learning rate.
          step: [] int32, counted from 0.
          values: the variables' values, which weight decay adds to the gradients.
          decays: which variables decay.
        """
        recipe = self.recipe
        if recipe.clip_norm is not None and not recipe.clip_decay:
            gradients, _ = tf.clip_by_global_norm(gradients, recipe.clip_norm)
        if recipe.weight_decay:
            gradients = [
                gradient + recipe.weight_decay * value if has_decay else gradient
                for gradient, value, has_decay in zip(gradients, values, decays, strict=True)
            ]
        if recipe.clip_norm is not None and recipe.clip_decay:
            gradients, _ = tf.clip_by_global_norm(gradients, recipe.clip_norm)
        self.apply(gradients, rate, step)

    def apply(
        self, gradients: Sequence[tf.Tensor | tf.IndexedSlices], rate: tf.Tensor, step: tf.Tensor
    ) -> None:
        """One step with these gradients as they are; rate and step as in `descend`."""
        for gradient, variable, slots in zip(gradients, self.variables, self.slots, strict=True):
            in_rows = isinstance(gradient, tf.IndexedSlices)
            update = getattr(self, f"_{self.recipe.optimizer}{'_rows' if in_rows else ''}")
            update(gradient, variable.handle, [slot.handle for slot in slots], rate, step)

    def _sgd(self, gradient, variable, slots, rate, step) -> None:
        momentum = self.recipe.momentum
        tf.raw_ops.ResourceApplyKerasMomentum(
            var=variable,
            accum=slots[0],
            lr=rate,
            grad=gradient,
            momentum=momentum,
            use_nesterov=self.recipe.nesterov and momentum > 0,
        )

    def _sgd_rows(self, gradient, variable, slots, rate, step) -> None:
        momentum = self.recipe.momentum
        tf.raw_ops.ResourceSparseApplyKerasMomentum(
            var=variable,
            accum=slots[0],
            lr=rate,
            grad=gradient.values,
            indices=gradient.indices,
            momentum=momentum,
            use_nesterov=self.recipe.nesterov and momentum > 0,
        )

    def _adam(self, gradient, variable, slots, rate, step) -> None:
        recipe, count = self.recipe, tf.cast(step + 1, tf.float32)
        tf.raw_ops.ResourceApplyAdam(
            var=variable,
            m=slots[0],
            v=slots[1],
            beta1_power=tf.pow(recipe.beta_1, count),
            beta2_power=tf.pow(recipe.beta_2, count),
            lr=rate,
            beta1=recipe.beta_1,
            beta2=recipe.beta_2,
            epsilon=recipe.epsilon,
            grad=gradient,
        )

    def _adam_rows(self, gradient, variable, slots, rate, step) -> None:
        recipe, count = self.recipe, tf.cast(step + 1, tf.float32)
        g, rows = gradient.values, {"indices": gradient.indices, "dtype": tf.float32}

        def moved(slot, beta, towards):
            before = tf.raw_ops.ResourceGather(resource=slot, **rows)
            value = beta * before + (1 - beta) * towards
            tf.raw_ops.ResourceScatterUpdate(resource=slot, indices=gradient.indices, updates=value)
            return value

        m, v = moved(slots[0], recipe.beta_1, g), moved(slots[1], recipe.beta_2, g * g)
        rate *= tf.sqrt(1 - tf.pow(recipe.beta_2, count)) / (1 - tf.pow(recipe.beta_1, count))
        tf.raw_ops.ResourceScatterSub(
            resource=variable,
            indices=gradient.indices,
            updates=rate * m / (tf.sqrt(v) + recipe.epsilon),
        )

    def _rmsprop(self, gradient, variable, slots, rate, step) -> None:
        recipe = self.recipe
        tf.raw_ops.ResourceApplyRMSProp(
            var=variable,
            ms=slots[0],
            mom=slots[1],
            lr=rate,
            rho=recipe.rho,
            momentum=recipe.momentum,
            epsilon=recipe.epsilon,
            grad=gradient,
        )

    def _rmsprop_rows(self, gradient, variable, slots, rate, step) -> None:
        recipe = self.recipe
        tf.raw_ops.ResourceSparseApplyRMSProp(
            var=variable,
            ms=slots[0],
            mom=slots[1],
            lr=rate,
            rho=recipe.rho,
            momentum=recipe.momentum,
            epsilon=recipe.epsilon,
            grad=gradient.values,
            indices=gradient.indices,
        )
