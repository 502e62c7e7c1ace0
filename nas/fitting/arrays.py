"""Checks the arrays that a user brings to `nas.fit` and makes them data of the image loop.

Vectors become images of one pixel whose channels are the features: a 1x1 convolution is then a
dense layer, and channels are standardised as features should be.
"""

import dataclasses
from typing import Any

import numpy as np

from nas.core.trial import ConfigError
from nas.data.images import ImageData
from nas.data.split import balanced_split
from nas.fitting.labels import (
    TASKS,
    Target,
    check_same_kind,
    check_varied,
    column,
    target,
)

MAX_VALIDATION = 5000  # examples: more cost time and add little
# A network and its input layer have float32, whose squares must not overflow, and divide by at
# least 1e-7 when they standardise.
LARGEST, SMALLEST_DEVIATION = 1e18, 1e-6
CLOSE = 1e-5  # deviation / mean of a column in which float32 may make different values equal
SAME = 1e-7  # deviation / mean below which float32 knows one value alone
Part = tuple[np.ndarray, np.ndarray]  # x and y


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class ArrayData(ImageData):
    """ImageData whose images may be float32, without a test part.

    For regression, train_labels and valid_labels are float32, (y - centre) / scale, and there is
    one class, the number that a network predicts.
    """

    target: Target
    is_vectors: bool
    centre: float = 0.0
    scale: float = 1.0
    test: Part | None = None  # in the form and units of the user

    @property
    def is_regression(self) -> bool:
        return self.target.is_regression

    @property
    def labels(self) -> np.ndarray:
        """The name in y of class i, [classes]; empty for a regression."""
        return self.target.labels

    def __post_init__(self):
        """Overrides the checks of ImageData: `prepare` has checked everything."""

    def validation(self) -> Part:
        """x and y of the validation part, in the form and units of the user."""
        x = self.valid_images[:, 0, 0] if self.is_vectors else self.valid_images
        if self.is_regression:
            return x, self.valid_labels * self.scale + self.centre
        return x, self.labels[self.valid_labels]


def prepare(
    x, y, *, valid_share: float, task: str = "auto", validation=None, test=None
) -> ArrayData:
    """Checks all parts, standardises x and splits it into training and validation.

    Args:
      x: [n, height, width], [n, height, width, channels] or [n, features].
      y: [n] or [n, 1], classes (whole numbers or texts) or numbers.
      valid_share: the share of the examples that validate (nas/data/split.py).
      task: one of TASKS; auto: regression if y has fractions.
      validation: (x, y) of the same shapes that validate; then nothing is split.
      test: (x, y) of the same shapes, which are checked alone.

    Raises ConfigError for anything else.
    """
    if task not in TASKS:
        raise ConfigError(f"task must be one of {', '.join(TASKS)}, got {task}")
    if not isinstance(valid_share, float | np.floating) or not 0 < valid_share < 1:
        raise ConfigError(f"valid_share must be in (0, 1), got {valid_share}")
    x, is_vectors = _numbers(x, "x")
    given = {"x": x}
    y = {"y": column(y, len(x))}
    for name, part in (("validation", validation), ("test", test)):
        if part is not None:
            given[name], y[name] = _part(part, x, y["y"], name)
    aim = target({k: v for k, v in y.items() if k != "test"}, task, are_images=not is_vectors)
    notes = _check_test(aim, y) + (_collapsed(x) if is_vectors else [])
    images = {name: _images(part, is_vectors) for name, part in given.items() if name != "test"}
    encoded = {name: aim.encoded(part) for name, part in y.items()}
    if validation is None:
        rows = _split(images["x"], encoded["y"], aim, float(valid_share))
        train, valid = ((images["x"][i], encoded["y"][i]) for i in rows)
    else:
        train = images["x"], encoded["y"]
        valid = images["validation"], encoded["validation"]
        notes += _untrained(aim, *(part[1] for part in (train, valid)))
    mean, std = _moments(train[0])
    centre, scale = 0.0, 1.0
    if aim.is_regression:
        centre, scale = _centre_and_scale(train[1], valid[1])
        train, valid = (
            (part[0], ((part[1] - centre) / scale).astype(np.float32)) for part in (train, valid)
        )
    seen = np.concatenate([part for name, part in y.items() if name != "test"])
    return ArrayData(
        name="arrays",
        train_images=train[0],
        train_labels=train[1],
        valid_images=valid[0],
        valid_labels=valid[1],
        test_images=train[0][:0],
        test_labels=train[1][:0],
        class_names=("y",) if aim.is_regression else tuple(map(str, aim.labels.tolist())),
        mean=mean,
        std=std,
        split="",
        read_as=_described(x, aim.described(seen), train, valid, y, notes),
        target=aim,
        is_vectors=is_vectors,
        centre=centre,
        scale=scale,
        test=None if test is None else (given["test"], y["test"]),
    )


def _centre_and_scale(train_y: np.ndarray, valid_y: np.ndarray) -> tuple[float, float]:
    """Mean and deviation of the training examples' y.

    Raises ConfigError if a part has one value alone, or float32 does not tell the values apart.
    """
    centre, scale = float(train_y.mean()), float(train_y.std())
    check_varied(train_y, "y of the training examples")
    check_varied(valid_y, "y of the validation examples")
    if scale < SAME * 10 * abs(centre):
        raise ConfigError(
            f"y must have numbers that float32 tells apart, got a mean of {centre:g} and a "
            f"deviation of {scale:g}; subtract the mean"
        )
    return centre, scale


def _numbers(x: Any, name: str) -> tuple[np.ndarray, bool]:
    """x as an array of finite numbers, and whether it is of vectors."""
    if np.ma.is_masked(x):
        raise ConfigError(f"{name} must have no missing values, got a masked array with some")
    try:
        x = np.asarray(x)
    except ValueError as error:  # a list of lists of different lengths
        raise ConfigError(f"{name} must be examples of one shape, got others: {error}") from None
    if x.ndim not in (2, 3, 4) or 0 in x.shape:
        raise ConfigError(
            f"{name} must be [n, features], [n, height, width] or [n, height, width, channels], "
            f"got {list(x.shape)}"
        )
    if x.ndim == 4 and x.shape[1] in (1, 3) and min(x.shape[2:]) > 4:
        raise ConfigError(
            f"{name} must be [n, height, width, channels], got {list(x.shape)}, which looks like "
            f"[n, channels, height, width]; that becomes it by {name}.transpose(0, 2, 3, 1)"
        )
    if x.dtype.kind not in "biuf":
        raise ConfigError(f"{name} must be numbers, got {x.dtype}")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise ConfigError(f"{name} must be finite numbers, got some that are missing or infinite")
    if x.dtype != np.uint8 and max(abs(float(x.min())), abs(float(x.max()))) > LARGEST:
        raise ConfigError(f"{name} must be numbers within {LARGEST:g}, got larger ones; scale them")
    return x, x.ndim == 2


def _images(x: np.ndarray, is_vectors: bool) -> np.ndarray:
    """x as images [n, height, width, channels], uint8 or float32."""
    x = x[:, None, None] if is_vectors else x[..., None] if x.ndim == 3 else x
    return x if x.dtype == np.uint8 else x.astype(np.float32)


def _part(part: Any, x: np.ndarray, y: np.ndarray, name: str) -> Part:
    """x and y of the validation or test part. Raises ConfigError unless they are like x and y."""
    try:
        part_x, part_y = part
    except (TypeError, ValueError):
        raise ConfigError(f"{name} must be (x, y), got {type(part).__name__}") from None
    shape = list(np.shape(part_x))
    if shape[1:] != list(x.shape[1:]) or 0 in shape:
        raise ConfigError(
            f"{name}'s x must be examples such as x has, {list(x.shape)}, got {shape}"
        )
    part_x, is_vectors = _numbers(part_x, f"{name}'s x")
    part_y = column(part_y, len(part_x), f"{name}'s y")
    check_same_kind(y, part_y, f"{name}'s y")
    if not is_vectors:
        _check_same_scale(x, part_x, name)
    return part_x, part_y


def _check_same_scale(x: np.ndarray, other: np.ndarray, name: str) -> None:
    """Raises ConfigError if one is of bytes and the other in [0, 1], as its values look."""
    ends = float(x.max()), float(other.max())
    if x.dtype != other.dtype and np.uint8 in (x.dtype, other.dtype):
        raise ConfigError(f"{name}'s x must be {x.dtype} as x is, got {other.dtype}")
    if min(ends) <= 1 and max(ends) > 10:
        raise ConfigError(
            f"{name}'s x must have the scale of x, which is up to {ends[0]:g}, got up to "
            f"{ends[1]:g}"
        )


def _check_test(aim: Target, y: dict[str, np.ndarray]) -> list[str]:
    """Raises ConfigError for a test part without a score; notes labels that nothing else has."""
    if "test" not in y:
        return []
    test = y["test"]
    if aim.is_regression:
        check_varied(test, "test's y")
        return []
    unknown = aim.encoded(test) < 0
    if unknown.all():
        raise ConfigError(
            f"test's y must have labels of y, {aim.labels.tolist()[:5]}, got "
            f"{np.unique(test).tolist()[:5]}"
        )
    count = np.count_nonzero(unknown)
    return [f"{count:,} test labels are of no class of y and count as wrong"] if count else []


def _untrained(aim: Target, train: np.ndarray, valid: np.ndarray) -> list[str]:
    """Notes classes that validate alone."""
    if aim.is_regression:
        return []
    alone = aim.labels[np.setdiff1d(valid, train)].tolist()
    if len(alone) == len(set(valid.tolist())):
        raise ConfigError(f"validation's y must have labels of y, got {alone[:5]}")
    return [f"no training example is of {', '.join(map(str, alone[:5]))}"] if alone else []


def _split(
    images: np.ndarray, encoded: np.ndarray, aim: Target, valid_share: float
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of the training and of the validation examples."""
    size = min(MAX_VALIDATION, round(valid_share * len(images)))
    if 1 <= size < len(images):
        rows = balanced_split(images, encoded, size)
        if len(rows[1]):
            return rows
    raise ConfigError(
        f"x must have enough examples to split, got {len(images)}"
        + ("" if aim.is_regression else f" of {len(aim.labels)} classes")
    )


def _collapsed(x: np.ndarray) -> list[str]:
    """Notes columns whose different values become equal in float32. x: [n, features]."""
    if x.dtype.itemsize <= 4 and x.dtype.kind == "f" or x.dtype.itemsize <= 2:
        return []
    notes = []
    mean, std = np.abs(x.mean(0, dtype=np.float64)), x.std(0, dtype=np.float64)
    for i in np.flatnonzero((std > 0) & (std < CLOSE * mean)):
        before, after = len(np.unique(x[:, i])), len(np.unique(x[:, i].astype(np.float32)))
        if after < before:
            notes.append(
                f"x[:, {i}] has {before:,} different values, of which float32 keeps {after:,}: "
                "subtract its mean"
            )
    return notes


def _moments(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and deviation of each channel of images / 255, [channels], as the loop expects them."""
    mean = images.mean((0, 1, 2), dtype=np.float64)
    std = images.std((0, 1, 2), dtype=np.float64)
    is_constant = (std <= SAME * np.abs(mean)) | (std < 1e-12)
    tiny = np.flatnonzero(~is_constant & (std < SMALLEST_DEVIATION))
    if len(tiny):
        raise ConfigError(
            f"x must have numbers that differ by more than {SMALLEST_DEVIATION:g}, got a deviation "
            f"of {std[tiny[0]]:g} in channel or column {tiny[0]}; multiply it"
        )
    std = np.where(is_constant, 255.0, std)
    return (mean / 255).astype(np.float32), (std / 255).astype(np.float32)


def _described(
    x: np.ndarray, aim: str, train: Part, valid: Part, y: dict[str, np.ndarray], notes: list[str]
) -> str:
    """One line on what was read and as what."""
    size = "x".join(map(str, x.shape[1:]))
    form = f"vectors of {size} numbers" if x.ndim == 2 else f"images of {size}"
    counts = f"{len(train[1]):,} train, {len(valid[1]):,} validate"
    if "test" in y:
        counts += f", {len(y['test']):,} test"
    total = len(train[1]) + len(valid[1])
    return "; ".join([f"{total:,} {form} ({x.dtype}), {aim}: {counts}", *notes])
