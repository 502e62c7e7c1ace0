"""A network that is quick to make and to trace: a few vectors of weights and no layers.

It serves trainings of seconds, most of which Keras' layers and their graphs would take. The network
is written into each graph that runs it (nas/ops/tensors.py). It computes what the model of
`ImageSpace.build` does, and its weights can be exported to that model and imported from it by name.
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
      write: writes the network with the ops it is given and returns the logits.
      seed: of the first weights.
      dtype: of the arithmetic; weights and logits are float32.

    trainable_variables: a vector of all kernels and one of all other weights; `decays` says which
    of them weight decay reaches. The moving averages of batch normalization are two more.
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
        """Logits in training, and those of the auxiliary head where there is one.

        Args:
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
        """What belongs to each trainable weight, by name; vectors: as trainable_variables."""
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
        """Sets what has the same name and shape. Returns how many trainable values that were."""
        count = 0
        for kind, layout in self._layouts.items():
            own = layout.divide(self._vectors[kind].numpy())
            given = {
                name: values[name]
                for name, old in own.items()
                if name in values and np.shape(values[name]) == old.shape
            }
            self._vectors[kind].assign(layout.join(own | given))
            if kind in self._trained:
                count += sum(np.size(value) for value in given.values())
        return count

    def _tensors(self, *kinds: str) -> dict[str, tf.Tensor]:
        """Weights by name."""
        tensors: dict[str, tf.Tensor] = {}
        for kind in kinds:
            if kind in self._layouts:
                tensors |= _divided(self._layouts[kind], self._vectors[kind])
        return tensors

    def _paths(self, batch: Any, seed: tf.Tensor, progress: Any) -> list[tf.Tensor]:
        """Of each path zeros for a share of the images, the others enlarged: the mean stays."""
        if not len(self._rates):
            return []
        keep = (1.0 - self._rates * progress)[:, None]
        own = tf.random.fold_in(seed, DRAWS - 1)
        drawn = tf.random.stateless_uniform([len(self._rates), batch], own)
        return tf.unstack((tf.floor(keep + drawn) / keep)[:, :, None, None, None])

    def _average(self, moments: Mapping[str, BatchMoments], batch: Any) -> None:
        """Moves the averages towards the moments of a batch."""
        # The kernel's variance is the sample's, over count - 1; Keras averages the one over count.
        pixels = {
            f"{name}/{VARIANCE}": np.repeat(float(found.pixels), int(found.mean.shape[0]))
            for name, found in moments.items()
        }
        count = self._layouts[VARIANCE].join(pixels) * batch
        share = {MEAN: 1.0, VARIANCE: tf.maximum(count - 1.0, 1.0) / count}
        for i, kind in enumerate((MEAN, VARIANCE)):
            named = {f"{name}/{kind}": found[i] for name, found in moments.items()}
            new = tf.concat([named[name] for name in self._layouts[kind].names], 0) * share[kind]
            average = self._vectors[kind]
            average.assign(average * BN_MOMENTUM + new * (1 - BN_MOMENTUM))


def _divided(layout: FlatLayout, vector: tf.Tensor) -> dict[str, tf.Tensor]:
    """The vector's tensors by name: an operation or two for all of one shape."""
    parts = raw.SplitV(value=vector, size_splits=layout.sizes, axis=0, num_split=len(layout.sizes))
    tensors: dict[str, tf.Tensor] = {}
    for (names, shape), part in zip(layout.groups, parts, strict=True):
        stack = raw.Reshape(tensor=part, shape=[len(names), *shape])
        tensors |= zip(names, raw.Unpack(value=stack, num=len(names)), strict=True)
    return tensors
