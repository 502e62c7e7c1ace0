"""The devices that a training runs on, and how TensorFlow prepares its graphs for them."""

import functools

import tensorflow as tf

from nas.core.trial import ConfigError
from nas.training.recipe import Recipe


def strategy(recipe: Recipe) -> tf.distribute.Strategy:
    """One device, or all of them if recipe.several_devices is true.

    All devices are all GPUs, or all logical CPUs if there is no GPU.

    Raises ConfigError if all devices are only one, or cannot share a batch equally.
    """
    if not recipe.several_devices:
        return tf.distribute.get_strategy()
    mirrored = _mirrored()
    count = mirrored.num_replicas_in_sync
    if count < 2:
        raise ConfigError(
            "recipe.several_devices needs at least 2 GPUs, got "
            f"{len(tf.config.list_logical_devices('GPU'))}; set recipe.several_devices=false"
        )
    if recipe.batch_size % count:
        raise ConfigError(
            f"recipe.batch_size must be a multiple of the {count} devices, got {recipe.batch_size}"
        )
    return mirrored


@functools.cache
def _mirrored() -> tf.distribute.Strategy:
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    names = [device.name for device in tf.config.list_logical_devices(kind)]
    return tf.distribute.MirroredStrategy(names)


def prepare() -> None:
    """Turns TensorFlow's graph rewriting off on a CPU. Call it before a graph is traced.

    The rewriting takes half of the time of a first epoch and gains nothing measurable here: a
    step's convolutions are already chosen by oneDNN. A GPU needs it for layouts and fusions.
    """
    has_gpu = bool(tf.config.list_physical_devices("GPU"))
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": not has_gpu})
