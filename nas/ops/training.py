"""TrainingOps builds a Keras model as it is trained: with dropped paths and an auxiliary head.

A model that is trained and then used is two networks over the same layers: `model`, which has stock
layers alone and is saved and served, and `model.in_training.model`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras

from nas.core.ops import Shape
from nas.ops.keras import KerasOps

if TYPE_CHECKING:
    from nas.core.skeleton import ImageSkeleton


class InTraining:
    """A model's layers as they run in training. The loop that uses it:

        extras = model.in_training
        extras.progress.assign(step / steps)
        logits, *auxiliary = extras(images)
        loss = cross_entropy(labels, logits)
        for other in auxiliary:
            loss += extras.auxiliary_weight * cross_entropy(labels, other)

    trainable_variables: those of the model, and those of the auxiliary head if it is trained.
    progress: a scalar variable in [0, 1], the share of the training that is done. The rates of
    dropped paths rise with it, from 0 (ScheduledDropPath; Zoph et al. 2018, appendix A.5).
    """

    def __init__(self, ops: "TrainingOps", logits: Any, skeleton: "ImageSkeleton"):
        self.model = keras.Model(ops.input, [logits, *ops.auxiliary_logits])
        self.progress = ops.dropped.progress
        self.auxiliary_weight = skeleton.auxiliary_weight
        head_variables = {id(v) for layer in ops.made.values() for v in layer.variables}
        self.trainable_variables = [
            v
            for v in self.model.trainable_variables
            if skeleton.auxiliary_trained or id(v) not in head_variables
        ]

    def __call__(self, images: Any) -> list[Any]:
        """Logits [batch, classes] of each head. images: [batch, height, width, channels]."""
        outputs = self.model(images, training=True)
        return list(outputs) if isinstance(outputs, list | tuple) else [outputs]


class TrainingOps(KerasOps):
    """Writes a network a second time, over the layers `made` by the first."""

    def __init__(self, image_shape: Shape, made: dict[str, keras.layers.Layer]):
        super().__init__(image_shape, made)
        self.auxiliary_logits: list[Any] = []
        self.dropped = DropPath()

    def drop_path(self, x, rate: float):
        return self.dropped(x, rate=rate) if rate else x

    def auxiliary(self, head: Callable[[], Any]) -> None:
        self.auxiliary_logits.append(head())


class DropPath(keras.layers.Layer):
    """Sets a share of the images to zero and enlarges the others, so that the mean stays.

    One layer serves all paths of a network; each call draws again.
    """

    def __init__(self):
        super().__init__(name="drop_path")
        self.seeds = keras.random.SeedGenerator()
        self.progress = self.add_weight(
            shape=(), initializer="zeros", trainable=False, autocast=False, name="progress"
        )

    def call(self, x, rate: float, training: bool = False):
        """x: [batch, height, width, channels]. rate: in [0, 1), at the end of the training."""
        if not training:
            return x
        keep = 1.0 - rate * keras.ops.convert_to_tensor(self.progress)
        draws = keras.random.uniform(
            (keras.ops.shape(x)[0], 1, 1, 1), dtype="float32", seed=self.seeds
        )
        return x * keras.ops.cast(keras.ops.floor(keep + draws) / keep, x.dtype)

    def compute_output_spec(self, x, rate: float, training: bool = False):
        return keras.KerasTensor(x.shape, x.dtype)
