"""Checks the arrays that a user brings to `nas.fit` and makes them data of the image loop.

Vectors become images of one pixel whose channels are the features: a 1x1 convolution is then a
dense layer, and channels are standardised as features should be.
"""

import dataclasses

import numpy as np

from nas.core.trial import ConfigError
from nas.data.images import ImageData, split_by_hash

CLASSIFICATION, REGRESSION = "classification", "regression"
TASKS = ("auto", CLASSIFICATION, REGRESSION)
MAX_CLASS_SHARE = 0.2  # classes per example: with more, whole numbers may not be classes
MAX_VALIDATION = 5000  # examples: more cost time and add little


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ArrayData(ImageData):
    """ImageData whose images may be float32, without a test part.

    For regression, train_labels and valid_labels are float32, (y - centre) / scale, and there is
    one class, the number that a network predicts.
    """

    labels: np.ndarray  # the name in y of class i; empty for regression
    is_vectors: bool
    centre: float = 0.0
    scale: float = 1.0

    @property
    def is_regression(self) -> bool:
        return not len(self.labels)

    def __post_init__(self):
        """Overrides the checks of ImageData: `prepare` has checked everything."""

    def validation(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y of the validation part, in the form and units of the user."""
        x = self.valid_images[:, 0, 0] if self.is_vectors else self.valid_images
        if self.is_regression:
            return x, self.valid_labels * self.scale + self.centre
        return x, self.labels[self.valid_labels]


def prepare(x, y, *, valid_share: float, task: str = "auto", validation=None) -> ArrayData:
    """Checks x and y, standardises them and splits them by hash into training and validation.

    Args:
      x: [n, height, width], [n, height, width, channels] or [n, features].
      y: [n] or [n, 1], classes (whole numbers or texts) or numbers.
      valid_share: the share of the examples that validate.
      task: one of TASKS; auto: regression if y has fractions.
      validation: (x, y) of the same shapes that validate; then nothing is split.

    Raises ConfigError for anything else.
    """
    if task not in TASKS:
        raise ConfigError(f"task must be one of {', '.join(TASKS)}, got {task}")
    if not 0 < valid_share < 1:
        raise ConfigError(f"valid_share must be in (0, 1), got {valid_share}")
    x, y = np.asarray(x), np.asarray(y)
    count = len(x) if x.ndim else 0
    if validation is not None:
        x, y = _joined(x, y, validation)
    images, is_vectors = _images(x)
    y = _column(y, len(images))
    regression = task == REGRESSION or (task == "auto" and _has_fractions(y))
    labels, classes = _numbers(y) if regression else _classes(y, task)
    if validation is None:
        valid_size = min(MAX_VALIDATION, round(valid_share * count))
        if valid_size < 1 or valid_size >= count:
            raise ConfigError(f"x must have enough examples to split, got {count}")
        train, valid = split_by_hash(images, classes, valid_size)
    else:
        train, valid = np.arange(count), np.arange(count, len(images))
    mean, std = _moments(images[train])
    centre, scale = 0.0, 1.0
    if regression:
        centre, scale = float(classes[train].mean()), float(classes[train].std())
        if not scale > 0:
            raise ConfigError(f"y must have different numbers, got {y[0]} alone")
        classes = ((classes - centre) / scale).astype(np.float32)
    none = images[:0], classes[:0]
    return ArrayData(
        name="arrays",
        train_images=images[train],
        train_labels=classes[train],
        valid_images=images[valid],
        valid_labels=classes[valid],
        test_images=none[0],
        test_labels=none[1],
        class_names=("y",) if regression else tuple(map(str, labels.tolist())),
        mean=mean,
        std=std,
        split="",
        labels=labels,
        is_vectors=is_vectors,
        centre=centre,
        scale=scale,
    )


def _joined(x: np.ndarray, y: np.ndarray, validation) -> tuple[np.ndarray, np.ndarray]:
    """x and y with those of validation behind them, [n, ...] and [n]."""
    try:
        valid_x, valid_y = (np.asarray(part) for part in validation)
    except (TypeError, ValueError):
        raise ConfigError(f"validation must be (x, y), got {type(validation).__name__}") from None
    if x.ndim < 2 or valid_x.shape[1:] != x.shape[1:] or not valid_x.size:
        raise ConfigError(
            f"validation's x must be examples such as x has, {list(x.shape)}, got "
            f"{list(valid_x.shape)}"
        )
    y, valid_y = _column(y, len(x)), _column(valid_y, len(valid_x), "validation's y")
    return np.concatenate([x, valid_x]), np.concatenate([y, valid_y])


def _images(x: np.ndarray) -> tuple[np.ndarray, bool]:
    """x as images [n, height, width, channels], and whether they are vectors."""
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


def _column(y: np.ndarray, count: int, name: str = "y") -> np.ndarray:
    """y as [count]. name: for errors."""
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (count,):
        raise ConfigError(f"{name} must be [{count}], one value per example, got {list(y.shape)}")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ConfigError(f"{name} must be finite numbers, got some that are missing or infinite")
    return y


def _has_fractions(y: np.ndarray) -> bool:
    return y.dtype.kind == "f" and not np.array_equal(y, np.rint(y))


def _classes(y: np.ndarray, task: str) -> tuple[np.ndarray, np.ndarray]:
    """The distinct labels, [classes], and the index of each example's label, [n] int32."""
    if _has_fractions(y):
        raise ConfigError(
            f"y must be classes, whole numbers or texts, for task={task}, got "
            f"{y[y != np.rint(y)][0]}"
        )
    if y.dtype.kind == "f":
        y = y.astype(np.int64)
    if y.dtype.kind == "O":
        y = y.astype(str)
    labels, classes = np.unique(y, return_inverse=True)
    if len(labels) < 2:
        raise ConfigError(f"y must have at least 2 classes, got {labels.tolist()}")
    if task == "auto" and y.dtype.kind in "iu" and len(labels) > max(10, MAX_CLASS_SHARE * len(y)):
        raise ConfigError(
            f"task must be given, {CLASSIFICATION} or {REGRESSION}: y has {len(labels)} different "
            f"whole numbers in {len(y)} examples"
        )
    return labels, classes.astype(np.int32)


def _numbers(y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """No labels, and y as float64."""
    if y.dtype.kind not in "biuf":
        raise ConfigError(f"y must be numbers for task={REGRESSION}, got {y.dtype}")
    return np.empty(0), y.astype(np.float64)


def _moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each channel of images / 255, [channels], as the loop expects them."""
    mean = images.mean((0, 1, 2), dtype=np.float64) / 255
    std = images.std((0, 1, 2), dtype=np.float64) / 255
    return mean.astype(np.float32), np.where(std > 1e-12, std, 1).astype(np.float32)
