"""Tensors of a supernet that many may read and a path lets few: what is not chosen costs nothing.

TensorFlow's own gradient of a conditional gives zeros, as large as the image, for everything that
the branch taken did not read, and adds them all up. Here a tensor that several read is spread
first: each reader gets a copy, reads it as if it were chosen and sends a gradient back, and the
gradient of `spread` adds up those of the readers that are chosen and looks at no other.

    copies = spread(x, [True, bits[3], bits[7]])  # the first reader reads in any case
    y = add_chosen(z, [copies[1]], [bits[3]])
    z = only_if(bits[7], lambda: reduction(copies[2]), [copies[2]])
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

_AT_ONCE = 3  # tensors added by one operation, of the 2^3 that are ready for each choice of them


def spread(x: tf.Tensor, chosen: Sequence[tf.Tensor | bool]) -> list[tf.Tensor]:
    """x once for each reader. chosen: [] bool each, whether it reads; True where it always does."""
    if len(chosen) == 1 and chosen[0] is True:
        return [x]

    @tf.custom_gradient
    def copies(x):
        def gradient(*gradients):
            always = [g for g, c in zip(gradients, chosen, strict=True) if c is True]
            rest = [(g, c) for g, c in zip(gradients, chosen, strict=True) if c is not True]
            return _sum(always, [g for g, _ in rest], [c for _, c in rest], x)

        return [tf.identity(x) for _ in chosen], gradient

    return copies(x)


def add_chosen(x: tf.Tensor, others: Sequence[tf.Tensor], chosen: Sequence[tf.Tensor]) -> tf.Tensor:
    """x and the others that are chosen, added up. The others must come from `spread`."""
    if not others:
        return x

    @tf.custom_gradient
    def added(x, *others):
        return _sum([x], others, chosen, x), lambda dy: [dy] * (1 + len(others))

    return added(x, *others)


def select(index: tf.Tensor, among: Sequence[tf.Tensor]) -> tf.Tensor:
    """One of tensors of one shape, which must come from `spread`. index: [] int32."""

    @tf.custom_gradient
    def selected(*among):
        ways = [lambda x=x: tf.identity(x) for x in among]
        return tf.switch_case(index, ways), lambda dy: [dy] * len(among)

    return selected(*among)


def only_if(chosen: tf.Tensor, branch: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tf.Tensor:
    """branch(x) where it is chosen, or else nothing, which nobody may read. x is from `spread`."""

    shapes = []

    def something():
        y = branch(x)
        shapes.append(y.shape)
        return y

    y = tf.cond(chosen, something, lambda: _unread(x))
    if shapes:  # or it has run at once and was not chosen
        y.set_shape([None, *shapes[0][1:]])
    return y


@tf.custom_gradient
def _unread(x: tf.Tensor) -> Any:
    """No image of x's; its gradient is as empty. Neither shows its shape to who adds them up."""
    return _shapeless(x[:0]), _shapeless


def _shapeless(x: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.PlaceholderWithDefault(input=x, shape=None)


def _sum(
    always: list[tf.Tensor], others: Sequence[tf.Tensor], chosen: Sequence[tf.Tensor], like: Any
) -> tf.Tensor:
    """The sum of `always` and of the others that are chosen; zeros of like's shape for none."""
    if not others:
        return _add(always, like)
    total = list(always)
    for first in range(0, len(others), _AT_ONCE):
        some, bits = others[first : first + _AT_ONCE], chosen[first : first + _AT_ONCE]
        which = tf.add_n([tf.cast(bit, tf.int32) * 2**k for k, bit in enumerate(bits)])
        ways = []
        for number in range(2 ** len(some)):
            terms = [*total, *(x for k, x in enumerate(some) if number >> k & 1)]
            ways.append(lambda terms=terms: _add(terms, like))
        total = [tf.switch_case(which, ways)]
    return total[0]


def _add(terms: list[tf.Tensor], like: Any) -> tf.Tensor:
    if not terms:
        return tf.zeros_like(like)
    return tf.add_n(terms) if len(terms) > 1 else tf.identity(terms[0])
