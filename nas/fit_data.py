"""Arrays as they are brought to `nas.fit`, as data of the image loop.

Vectors are images of one pixel whose channels are the features: a 1x1 convolution is then a dense
layer, and the standardisation of channels that of features.
"""

import dataclasses

import numpy as np

from nas.data import ImageData, split_by_hash
from nas.trial import ConfigError

MOST_VALID = 5000  # examples: more cost time and tell little


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ArrayData(ImageData):
    """As ImageData, but images may be float32, and there is no test part."""

    labels: np.ndarray  # what class i was called in y
    is_vectors: bool

    def __post_init__(self):
        """`prepare` has checked everything."""


def prepare(x, y, *, valid_share: float) -> ArrayData:
    """Checks, standardises and splits by hash into training and validation.

    x: [n, height, width], [n, height, width, channels] or [n, features]. y: [n] or [n, 1] classes,
    whole numbers or texts. Raises ConfigError for anything else.
    """
    if not 0 < valid_share < 1:
        raise ConfigError(f"valid_share must be in (0, 1), got {valid_share}")
    images, is_vectors = _images(np.asarray(x))
    labels, classes = _classes(np.asarray(y), len(images))
    valid_size = min(MOST_VALID, round(valid_share * len(images)))
    if valid_size < 1 or valid_size >= len(images):
        raise ConfigError(f"x must have enough examples to split, got {len(images)}")
    train, valid = split_by_hash(images, classes, valid_size)
    mean, std = _moments(images[train])
    none = images[:0], classes[:0]
    return ArrayData(
        name="arrays",
        train_images=images[train],
        train_labels=classes[train],
        valid_images=images[valid],
        valid_labels=classes[valid],
        test_images=none[0],
        test_labels=none[1],
        class_names=tuple(map(str, labels.tolist())),
        mean=mean,
        std=std,
        split="",
        labels=labels,
        is_vectors=is_vectors,
    )


def _images(x: np.ndarray) -> tuple[np.ndarray, bool]:
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise ConfigError(
            "x must be [n, features], [n, height, width] or [n, height, width, channels], "
            f"got {list(x.shape)}"
        )
    if x.dtype.kind not in "biuf":
        raise ConfigError(f"x must be numbers, got {x.dtype}")
    is_vectors = x.ndim == 2
    x = x[:, None, None] if is_vectors else x[..., None] if x.ndim == 3 else x
    if x.dtype != np.uint8:
        x = x.astype(np.float32)
        if not np.isfinite(x).all():
            raise ConfigError("x must be finite numbers, got some that are missing or infinite")
    return x, is_vectors


def _classes(y: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The different labels, and the number of each example's."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (count,):
        raise ConfigError(f"y must be [{count}], one class per example, got {list(y.shape)}")
    if y.dtype.kind == "f":
        if not np.array_equal(y, np.rint(y)):
            raise ConfigError(
                "y must be classes, whole numbers or texts (regression is not offered), got "
                f"{y[y != np.rint(y)][0]}"
            )
        y = y.astype(np.int64)
    if y.dtype.kind == "O":
        y = y.astype(str)
    labels, classes = np.unique(y, return_inverse=True)
    if len(labels) < 2:
        raise ConfigError(f"y must have at least 2 classes, got {labels.tolist()}")
    return labels, classes.astype(np.int32)


def _moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each channel, of images / 255 as the loop has them."""
    mean = images.mean((0, 1, 2), dtype=np.float64) / 255
    std = images.std((0, 1, 2), dtype=np.float64) / 255
    return mean.astype(np.float32), np.where(std > 1e-12, std, 1).astype(np.float32)
