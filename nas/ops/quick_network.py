"""The network that searches train: quick to build and to trace, without Keras layers.

It has a few vectors of weights and serves trainings of seconds, of which Keras' layers and their
graphs would take most. The network is written into each graph that runs it (nas/ops/tensors.py). It
computes what the model of `ImageSpace.build` does, and its weights can be exported to that model
and imported from it by name.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from nas.core.ops import BN_MOMENTUM, Ops
from nas.core.skeleton import ImageSkeleton
from nas.ops.tensors import DRAWS, BatchMoments, TensorOps, raw
from nas.ops.weights import FIXED, KERNEL, MEAN, OTHER, VARIANCE, FlatLayout, WeightOps, draw


class QuickNetwork:
    """The network of an architecture. The loop that trains it:

        logits, *auxiliary = network.heads(images, seed=seed, progress=step / steps)
        loss = cross_entropy(labels, logits)
        for other in auxiliary:
            loss += network.auxiliary_weight * cross_entropy(labels, other)
        gradients = tape.gradient(loss, network.trainable_variables)

    Args:
      write: writes the network with an ops and returns the logits.
      seed: of the first weights.
      dtype: of the arithmetic; weights and logits are float32.

    trainable_variables: a vector of all kernels and one of all other weights. decays: which of the
    two weight decay applies to. The moving averages of batch normalization are two more vectors.
    """

    def __init__(
        self,
        write: Callable[[Ops], Any],
        skeleton: ImageSkeleton,
        *,
        seed: int,
        dtype: str = "float32",
    ):
        listed = WeightOps(skeleton.image_shape, auxiliary_trained=skeleton.auxiliary_trained)
        write(listed)
        self.write, self.dtype = write, dtype
        self.auxiliary_weight = skeleton.auxiliary_weight
        self._rates = np.array(listed.drop_path_rates, np.float32)
        first = draw(listed.weights, seed)
        self._layouts, self._vectors = {}, {}
        for kind in (KERNEL, OTHER, FIXED, MEAN, VARIANCE):
            shapes = {name: w.shape for name, w in listed.weights.items() if w.kind == kind}
            if shapes:
                self._layouts[kind] = FlatLayout(shapes)
                self._vectors[kind] = tf.Variable(
                    self._layouts[kind].join(first),
                    trainable=kind in (KERNEL, OTHER),
                    aggregation=tf.VariableAggregation.MEAN,  # of what several devices have seen
                )
        self._trained = [kind for kind in (KERNEL, OTHER) if kind in self._vectors]
        self.trainable_variables = [self._vectors[kind] for kind in self._trained]
        self.decays = [kind == KERNEL for kind in self._trained]

    def __call__(self, images: tf.Tensor) -> tf.Tensor:
        """Normalised images [batch, height, width, channels] -> logits [batch, classes] float32."""
        ops = TensorOps(tf.cast(images, self.dtype), self._tensors(KERNEL, OTHER, MEAN, VARIANCE))
        return self.write(ops)

    def heads(
        self, images: tf.Tensor, *, seed: tf.Tensor, progress: tf.Tensor | float
    ) -> list[tf.Tensor]:
        """Logits [batch, classes] in training, and those of the auxiliary head if there is one.

        Args:
          images: normalised, [batch, height, width, channels].
          seed: [2] int32, of the step; dropout and dropped paths draw from streams of their own.
          progress: the share of the training that is done. The rates of dropped paths rise with it,
            from 0 (ScheduledDropPath; Zoph et al. 2018, appendix A.5).
        """
        batch = tf.shape(images)[0] if images.shape[0] is None else images.shape[0]
        ops = TensorOps(
            tf.cast(images, self.dtype),
            self._tensors(KERNEL, OTHER, FIXED),
            training=True,
            seed=seed,
            paths=self._paths(batch, seed, progress),
        )
        logits = self.write(ops)
        if ops.moments:
            self._average(ops.moments, batch)
        return [logits, *ops.auxiliary_logits]

    def named(self, vectors: Sequence[tf.Tensor]) -> dict[str, np.ndarray]:
        """Divides vectors such as trainable_variables (gradients, say) into arrays by weight."""
        return {
            name: value
            for kind, vector in zip(self._trained, vectors, strict=True)
            for name, value in self._layouts[kind].divide(np.asarray(vector)).items()
        }

    def values(self) -> dict[str, np.ndarray]:
        """Every weight by its name."""
        return {
            name: value
            for kind, layout in self._layouts.items()
            for name, value in layout.divide(self._vectors[kind].numpy()).items()
        }

    def assign(self, values: Mapping[str, np.ndarray]) -> int:
        """Sets the weights of equal name and shape. Returns how many trainable values were set."""
        count = 0
        for kind, layout in self._layouts.items():
            current = layout.divide(self._vectors[kind].numpy())
            fitting = {
                name: values[name]
                for name, value in current.items()
                if name in values and np.shape(values[name]) == value.shape
            }
            self._vectors[kind].assign(layout.join(current | fitting))
            if kind in self._trained:
                count += sum(np.size(value) for value in fitting.values())
        return count

    def _tensors(self, *kinds: str) -> dict[str, tf.Tensor]:
        """Weights by name."""
        tensors: dict[str, tf.Tensor] = {}
        for kind in kinds:
            if kind in self._layouts:
                tensors |= _divided(self._layouts[kind], self._vectors[kind])
        return tensors

    def _paths(self, batch: Any, seed: tf.Tensor, progress: Any) -> list[tf.Tensor]:
        """A factor of each image for each path: 0 for a share of them, else 1 / (1 - share)."""
        if not len(self._rates):
            return []
        keep = (1.0 - self._rates * progress)[:, None]
        path_seed = tf.random.fold_in(seed, DRAWS - 1)
        drawn = tf.random.stateless_uniform([len(self._rates), batch], path_seed)
        return tf.unstack((tf.floor(keep + drawn) / keep)[:, :, None, None, None])

    def _average(self, moments: Mapping[str, BatchMoments], batch: Any) -> None:
        """Moves the averages towards the moments of a batch."""
        # The kernel's variance is divided by count - 1, the one that Keras averages by count.
        pixels = {
            f"{name}/{VARIANCE}": np.repeat(float(batch_moments.pixels), batch_moments.channels)
            for name, batch_moments in moments.items()
        }
        count = self._layouts[VARIANCE].join(pixels) * batch
        share = {MEAN: 1.0, VARIANCE: tf.maximum(count - 1.0, 1.0) / count}
        for i, kind in enumerate((MEAN, VARIANCE)):
            by_name = {f"{name}/{kind}": each[i] for name, each in moments.items()}
            ordered = [by_name[name] for name in self._layouts[kind].names]
            batch_values = tf.concat(ordered, 0) * share[kind]
            average = self._vectors[kind]
            average.assign(average * BN_MOMENTUM + batch_values * (1 - BN_MOMENTUM))


def _divided(layout: FlatLayout, vector: tf.Tensor) -> dict[str, tf.Tensor]:
    """The tensors of a vector by name, by two operations for all weights of one shape."""
    parts = raw.SplitV(value=vector, size_splits=layout.sizes, axis=0, num_split=len(layout.sizes))
    tensors: dict[str, tf.Tensor] = {}
    for (names, shape), part in zip(layout.groups, parts, strict=True):
        stack = raw.Reshape(tensor=part, shape=[len(names), *shape])
        tensors |= zip(names, raw.Unpack(value=stack, num=len(names)), strict=True)
    return tensors
