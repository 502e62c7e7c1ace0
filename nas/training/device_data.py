"""The images of a data set on the device, where a graph gathers and normalises its batches."""

from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from nas.data.images import ImageData, normalize
from nas.training.objective import objective


class DeviceData:
    """Parts of a data set, held on the device as the data set has them (uint8).

        data = DeviceData(image_data, ("train", "valid"))
        images, labels = data.batch("train", index)  # in a graph or outside

    Args:
      parts: names that `ImageData.part` knows, "train+valid" included.

    counts: images of each part. objectives: the objective of each part's labels.
    """

    def __init__(self, data: ImageData, parts: Sequence[str]):
        arrays = {part: data.part(part) for part in parts}
        self.counts = {part: len(labels) for part, (_, labels) in arrays.items()}
        self.objectives = {part: objective(labels) for part, (_, labels) in arrays.items()}
        self._tensors = {
            part: (tf.constant(images), tf.constant(labels))
            for part, (images, labels) in arrays.items()
        }
        self._mean, self._std = tf.constant(data.mean), tf.constant(data.std)

    def batch(self, part: str, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Normalised images [batch, height, width, channels] float32 and labels [batch].

        index: [batch] integers, positions in the part.
        """
        all_images, all_labels = self._tensors[part]
        with tf.device(all_images.device):  # the gather runs where the images lie
            images, labels = tf.gather(all_images, index), tf.gather(all_labels, index)
        return normalize(tf.cast(images, tf.float32), self._mean, self._std), labels

    def evaluation(
        self, part: str, batch_size: int, logits_of: Callable[[tf.Tensor], tf.Tensor]
    ) -> tuple[int, Callable]:
        """How many batches a part has, and the body of the loop in a graph that sums their scores.

            batches, body = data.evaluation("valid", 512, network)
            _, loss, score = tf.while_loop(lambda i, *_: i < batches, body, (0, 0.0, 0.0))
            mean_loss = loss / data.counts["valid"]

        Each image counts once, whatever the batch size. The score is the objective's.

        logits_of: normalised images -> logits [batch, classes].
        """
        index, weight = padded_batches(self.counts[part], batch_size)
        aim = self.objectives[part]

        def body(i, loss, score):
            batch, w = tf.constant(index)[i], tf.constant(weight)[i]
            images, labels = self.batch(part, batch)
            logits = logits_of(images)
            loss += tf.reduce_sum(w * aim.loss(labels, logits, 0.0))
            return i + 1, loss, score + tf.reduce_sum(w * aim.score(labels, logits))

        return len(index), body


def padded_batches(count: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Positions 0 .. count-1 in batches of one size, the last one padded with positions from 0 on.

    Returns: positions [batches, batch] int64, and weights [batches, batch] float32, which are 0 for
      the padding and 1 elsewhere. A batch is `size`, or `count` if that is smaller.
    """
    size = min(size, count)
    batches = -(-count // size)
    index = np.resize(np.arange(count), batches * size).reshape(batches, size)
    weight = (np.arange(batches * size) < count).astype(np.float32).reshape(batches, size)
    return index, weight
