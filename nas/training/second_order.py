"""The gradient of second-order DARTS: of the validation loss after one step of the weights.

Liu et al. 2019 (arXiv:1806.09055, section 2.3; code, cnn/architect.py and rnn/architect.py).
"""

from collections.abc import Callable, Sequence

import tensorflow as tf

RADIUS = 0.01  # of the difference quotient, over the norm of its direction (section 2.3)


def unrolled_gradient(
    choice: tf.Variable,
    weights: Sequence[tf.Variable],
    train_loss: Callable[[], tf.Tensor],
    valid_loss: Callable[[], Sequence[tf.Tensor]],
    ahead: Callable[[list[tf.Tensor]], list[tf.Tensor]],
    rate: tf.Tensor,
    clip_norm: float | None = None,
) -> tuple[tf.Tensor, Sequence[tf.Tensor]]:
    """d valid_loss(w', choice) / d choice, where w' = ahead(d train_loss(w, choice) / d w).

    The second derivatives are approximated by a difference quotient of two gradients (equation 8).
    The weights are changed on the way and restored at the end.

    Args:
      train_loss: a function of `choice` and `weights` that returns the loss, [] float32.
      valid_loss: the same, but it may return more after the loss.
      ahead: the weights' gradients -> the weights after a step with the learning rate `rate`.
      clip_norm: clips the gradients of both losses, as rnn/architect.py does. As there, the
        implicit part is multiplied by clip_norm / norm of the training gradients even if that is
        above 1, where nothing is clipped.

    Returns: the gradient, in the shape of `choice`, and what valid_loss returned after the step.
    """
    before = [tf.identity(w) for w in weights]
    gradients, stretch = _clipped(_gradient(train_loss, weights), clip_norm)
    for w, moved in zip(weights, ahead(gradients), strict=True):
        w.assign(moved)
    with tf.GradientTape() as tape:
        result = valid_loss()
    of_choice, *direction = tape.gradient(
        result[0], [choice, *weights], unconnected_gradients="zero"
    )
    direction, _ = _clipped([tf.convert_to_tensor(v) for v in direction], clip_norm)
    radius = RADIUS / tf.maximum(tf.linalg.global_norm(direction), 1e-12)
    ends = []
    for sign in (1.0, -1.0):
        for w, start, v in zip(weights, before, direction, strict=True):
            w.assign(start + sign * radius * v)
        ends.append(_gradient(train_loss, [choice])[0])
    for w, start in zip(weights, before, strict=True):
        w.assign(start)
    return of_choice - rate * stretch * (ends[0] - ends[1]) / (2 * radius), result


def _clipped(
    gradients: list[tf.Tensor], clip_norm: float | None
) -> tuple[list[tf.Tensor], tf.Tensor | float]:
    """The gradients clipped together, and clip_norm / their norm; 1 without clipping."""
    if clip_norm is None:
        return gradients, 1.0
    stretch = clip_norm / (tf.linalg.global_norm(gradients) + 1e-6)
    return [tf.minimum(stretch, 1.0) * g for g in gradients], stretch


def _gradient(loss: Callable[[], tf.Tensor], of: Sequence[tf.Variable]) -> list[tf.Tensor]:
    with tf.GradientTape() as tape:
        value = loss()
    gradients = tape.gradient(value, of, unconnected_gradients="zero")
    return [tf.convert_to_tensor(g) for g in gradients]
