"""Augments a batch of images inside the graph: random crops, flips and cutout.

The border that a crop may show is the mean colour, as in the code of ENAS and CGP-CNN. The codes of
NAS-Bench-201 and DARTS add it before they normalise: there it is black.
"""

import tensorflow as tf

from nas.training.recipe import Recipe


def augment(x: tf.Tensor, recipe: Recipe, seed: tf.Tensor) -> tf.Tensor:
    """A batch of the same shape, augmented as the recipe says.

    Args:
      x: [batch, height, width, channels] float32, normalised.
      seed: [2] int32, another one for each step; equal seeds augment alike.
    """
    # Split seeds: seeds made by addition would repeat those of a later step.
    row, column, flip, hole_row, hole_column = tf.unstack(tf.random.split(seed, 5))
    batch, height, width, channels = x.shape
    batch = tf.shape(x)[0] if batch is None else batch
    if recipe.upsample_crop:
        x = tf.image.resize(x, (recipe.upsample_crop, recipe.upsample_crop))
    if recipe.pad_crop:
        p = recipe.pad_crop
        x = tf.pad(x, [[0, 0], [p, p], [p, p], [0, 0]])
    if recipe.upsample_crop or recipe.pad_crop:
        x = _crop(x, height, width, batch, row, column)
    if recipe.flip:
        flipped = tf.random.stateless_uniform([batch, 1, 1, 1], flip) < 0.5
        x = tf.where(flipped, x[:, :, ::-1], x)
    if recipe.cutout:
        x = _cutout(x, height, width, batch, recipe.cutout, hole_row, hole_column)
    return x


def _crop(x, height: int, width: int, batch, row_seed, column_seed):
    """A window [height, width] of each image, at a random place."""
    rows = tf.random.stateless_uniform(
        [batch], row_seed, 0, x.shape[1] - height + 1, dtype=tf.int32
    )
    columns = tf.random.stateless_uniform(
        [batch], column_seed, 0, x.shape[2] - width + 1, dtype=tf.int32
    )
    x = tf.gather(x, rows[:, None] + tf.range(height), axis=1, batch_dims=1)
    x = tf.transpose(x, [0, 2, 1, 3])
    x = tf.gather(x, columns[:, None] + tf.range(width), axis=1, batch_dims=1)
    return tf.transpose(x, [0, 2, 1, 3])


def _cutout(x, height: int, width: int, batch, size: int, row_seed, column_seed):
    """Sets a square of `size` pixels to 0, the mean. Its centre is random; borders clip it."""
    row = tf.random.stateless_uniform([batch, 1], row_seed, 0, height, dtype=tf.int32)
    column = tf.random.stateless_uniform([batch, 1], column_seed, 0, width, dtype=tf.int32)
    rows, columns = tf.range(height)[None], tf.range(width)[None]
    in_rows = (rows >= row - size // 2) & (rows < row - size // 2 + size)
    in_columns = (columns >= column - size // 2) & (columns < column - size // 2 + size)
    hole = in_rows[:, :, None, None] & in_columns[:, None, :, None]
    return tf.where(hole, tf.zeros_like(x), x)
