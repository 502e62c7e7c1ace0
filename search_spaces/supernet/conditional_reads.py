"""Tensors of a supernet that a path reads only in part: what is not chosen costs nothing.

TensorFlow's own gradient of a conditional returns zeros, as large as the image, for every tensor
that the taken branch did not read, and adds them all up. Here a tensor with several readers is
copied first, once for each reader. Each reader uses its copy as if it were chosen and returns a
gradient; the gradient of `copies_for_readers` adds up those of the chosen readers and ignores the
others.

    copies = copies_for_readers(x, [True, bits[3], bits[7]])  # the first reader always reads
    y = add_chosen(z, [copies[1]], [bits[3]])
    z = run_if_chosen(bits[7], lambda x: reduction(x), copies[2])
"""

from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

_AT_ONCE = 3  # tensors that one operation adds; it holds a branch for each of their 2^3 subsets


def copies_for_readers(x: tf.Tensor, chosen: Sequence[tf.Tensor | bool]) -> list[tf.Tensor]:
    """One copy of x for each reader.

    chosen: for each reader, whether it reads: a tensor [] bool, or True if it always does.
    """
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
    """The sum of x and of the chosen others, which must come from `copies_for_readers`."""
    if not others:
        return x

    @tf.custom_gradient
    def added(x, *others):
        return _sum([x], others, chosen, x), lambda dy: [dy] * (1 + len(others))

    return added(x, *others)


def select(index: tf.Tensor, among: Sequence[tf.Tensor]) -> tf.Tensor:
    """among[index], of tensors of one shape.

    index: [] int32. among: tensors from `copies_for_readers`.
    """

    @tf.custom_gradient
    def selected(*among):
        branches = [lambda x=x: tf.identity(x) for x in among]
        return tf.switch_case(index, branches), lambda dy: [dy] * len(among)

    return selected(*among)


def run_if_chosen(
    chosen: tf.Tensor, branch: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor
) -> tf.Tensor:
    """branch(x) if `chosen`; otherwise an empty tensor, which nobody may read.

    x must come from `copies_for_readers`.
    """

    shapes = []

    def run():
        y = branch(x)
        shapes.append(y.shape)
        return y

    y = tf.cond(chosen, run, lambda: _unread(x))
    if shapes:  # empty if TensorFlow runs eagerly and the branch was not chosen
        y.set_shape([None, *shapes[0][1:]])
    return y


@tf.custom_gradient
def _unread(x: tf.Tensor) -> Any:
    """No image of x, and a gradient without images. Their shape is hidden from what adds them."""
    return _shapeless(x[:0]), _shapeless


def _shapeless(x: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.PlaceholderWithDefault(input=x, shape=None)


def _sum(
    always: list[tf.Tensor], others: Sequence[tf.Tensor], chosen: Sequence[tf.Tensor], like: Any
) -> tf.Tensor:
    """The sum of `always` and of the chosen others; zeros of the shape of `like` if it is empty."""
    if not others:
        return _add(always, like)
    total = list(always)
    for first in range(0, len(others), _AT_ONCE):
        some, bits = others[first : first + _AT_ONCE], chosen[first : first + _AT_ONCE]
        subset = tf.add_n([tf.cast(bit, tf.int32) * 2**k for k, bit in enumerate(bits)])
        branches = []
        for number in range(2 ** len(some)):
            terms = [*total, *(x for k, x in enumerate(some) if number >> k & 1)]
            branches.append(lambda terms=terms: _add(terms, like))
        total = [tf.switch_case(subset, branches)]
    return total[0]


def _add(terms: list[tf.Tensor], like: Any) -> tf.Tensor:
    if not terms:
        return tf.zeros_like(like)
    return tf.add_n(terms) if len(terms) > 1 else tf.identity(terms[0])
