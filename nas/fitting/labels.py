"""What the values of y are: classes or numbers. Decided once, for all parts of the data together.

The kind of y is that of its values, never of a container: a list or an object array of whole
numbers is whole numbers. Values of different kinds, missing ones, and numbers that could be classes
as well as amounts are refused, with what to set.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nas.core.trial import ConfigError
from nas.data.images import class_counts

CLASSIFICATION, REGRESSION = "classification", "regression"
TASKS = ("auto", CLASSIFICATION, REGRESSION)
MOST_CLEAR = 20  # different whole numbers: with more, they may be amounts
MAX_CLASS_SHARE = 0.2  # classes per example: with more, texts may be names of examples
LARGEST = 1e30  # of numbers to predict: a network has float32
# What Python and its libraries write for a missing value, and so what one became as a text.
GAPS = ("", "nan", "NaN", "None", "<NA>", "NaT")
_KINDS = {"b": "truth values", "i": "whole numbers", "u": "whole numbers", "f": "numbers"}
_KINDS |= {"U": "texts", "S": "bytes"}


@dataclasses.dataclass(frozen=True, eq=False)
class Target:
    """What a network predicts.

    labels: [classes], the name in y of class i; empty for a regression.
    """

    labels: np.ndarray

    @property
    def is_regression(self) -> bool:
        return not len(self.labels)

    def encoded(self, y: np.ndarray) -> np.ndarray:
        """[n] class numbers int32, -1 for a label that no class has; or numbers float64."""
        if self.is_regression:
            return y.astype(np.float64)
        y = as_classes(y)
        at = np.clip(np.searchsorted(self.labels, y), 0, len(self.labels) - 1)
        return np.where(self.labels[at] == y, at, -1).astype(np.int32)

    def described(self, y: np.ndarray) -> str:
        """The task and what is predicted, in words. y: of all examples that train or validate."""
        if self.is_regression:
            return f"regression of y from {y.min():g} to {y.max():g}"
        labels, classes = self.labels.tolist(), self.encoded(y)
        kind = "" if isinstance(labels[0], str) else f" of {_KINDS[self.labels.dtype.kind]}"
        return f"{class_counts([_short(label) for label in labels], classes)}{kind}"


def column(y: Any, count: int, name: str = "y") -> np.ndarray:
    """y as [count] of one kind: truth values, whole numbers, floats, texts or bytes.

    Raises ConfigError for another shape or kind, several kinds, and missing values.
    """
    if np.ma.is_masked(y):
        raise ConfigError(f"{name} must have no missing values, got a masked array with some")
    # numpy would make texts of everything in a list that has one text.
    y = np.array(y, dtype=object) if isinstance(y, list | tuple) else np.asarray(y)
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.shape != (count,):
        hint = "; one-hot labels become that by y.argmax(axis=1)" if y.ndim == 2 else ""
        raise ConfigError(
            f"{name} must be [{count}], one value per example, got {list(y.shape)}{hint}"
        )
    if y.dtype.kind == "U":  # an object that is a text was none that is missing
        _refuse_gaps(y, GAPS, name)
    if y.dtype.kind in "OT":  # objects, or numpy's strings of any length
        y = _narrowed(y, name)
    if y.dtype.kind not in _KINDS:
        raise ConfigError(f"{name} must be whole numbers, texts or numbers, got {y.dtype}")
    if y.dtype.kind == "f":
        if lost := np.count_nonzero(~np.isfinite(y)):
            raise ConfigError(
                f"{name} must be finite numbers, got {lost} that are missing or infinite"
            )
        if y.dtype.itemsize > 8:
            y = y.astype(np.float64)
    if y.dtype.kind == "U":
        _refuse_gaps(y, GAPS[:1], name)
    if y.dtype.kind == "S":
        _check_text(y, name)
    return y


def _refuse_gaps(y: np.ndarray, texts: Sequence[str], name: str) -> None:
    """Raises ConfigError for texts that stand for missing values. y: [n] texts."""
    gaps = np.isin(np.char.strip(y), texts)
    if gaps.any():
        found = ", ".join(map(repr, np.unique(y[gaps]).tolist()))
        raise ConfigError(
            f"{name} must have no missing values, got {np.count_nonzero(gaps)} of {found}; leave "
            f"these examples out, or say with {name}.astype(object) that the texts are classes"
        )


def _narrowed(y: np.ndarray, name: str) -> np.ndarray:
    """An array of objects as one of what they are."""
    kinds: dict[str, Any] = {}
    for value in y:
        if value is None or type(value).__name__ in ("NAType", "NaTType") or value is np.ma.masked:
            kind = "missing"
        elif isinstance(value, bool | np.bool_):
            kind = "truth values"
        elif isinstance(value, int | np.integer):
            kind = "whole numbers"
        elif isinstance(value, float | np.floating):
            kind = "numbers" if np.isfinite(value) else "missing"
        elif isinstance(value, str):
            kind = "texts"
        elif isinstance(value, bytes):
            kind = "bytes"
        else:
            raise ConfigError(
                f"{name} must be whole numbers, texts or numbers, got {type(value).__name__}"
            )
        kinds.setdefault(kind, value)
    if "missing" in kinds:
        raise ConfigError(
            f"{name} must have no missing values, got some, such as {kinds['missing']}; leave "
            "these examples out"
        )
    if set(kinds) == {"whole numbers", "numbers"}:
        kinds = {"numbers": kinds["numbers"]}
    if len(kinds) > 1:
        said = " and ".join(f"{kind} ({value!r})" for kind, value in kinds.items())
        raise ConfigError(f"{name} must be of one kind, got {said}")
    dtype = {"truth values": bool, "numbers": np.float64, "texts": str, "bytes": bytes}
    try:
        narrow = np.array(y.tolist(), dtype=dtype.get(next(iter(kinds), "numbers")))
    except OverflowError:
        raise ConfigError(f"{name} must be numbers that fit into 64 bits") from None
    if narrow.dtype.kind not in _KINDS:  # whole numbers beyond 64 bits stay objects
        raise ConfigError(f"{name} must be numbers that fit into 64 bits")
    return narrow


def _check_text(y: np.ndarray, name: str) -> None:
    """Raises ConfigError for bytes that are no text: the labels are written as JSON."""
    for value in np.unique(y).tolist():
        try:
            value.decode()
        except UnicodeDecodeError:
            raise ConfigError(f"{name} must be text in UTF-8, got the bytes {value!r}") from None


def check_same_kind(first: np.ndarray, other: np.ndarray, name: str) -> None:
    """Raises ConfigError if one is of texts and the other of numbers, say.

    first: y. other: of another part, called `name`.
    """
    number = "biuf"
    kinds = first.dtype.kind, other.dtype.kind
    if kinds[0] != kinds[1] and not (kinds[0] in number and kinds[1] in number):
        raise ConfigError(
            f"{name} must be {_KINDS[kinds[0]]} as y is, got {_KINDS[kinds[1]]} "
            f"({_short(other.tolist()[0])!r})"
        )


def target(parts: Mapping[str, np.ndarray], task: str, *, are_images: bool) -> Target:
    """Decides what is predicted.

    parts: y, and y of the validation part if that was given, by their names in messages.
    are_images: class numbers of images count from 0 without a gap, however many they are.

    Raises ConfigError if it must be said with `task`.
    """
    y = np.concatenate(list(parts.values()))
    if y.dtype.kind == "f" and all(part.dtype.kind in "iu" for part in parts.values()):
        raise ConfigError("y must be whole numbers that fit into 64 bits, in all parts together")
    if task == REGRESSION or (task == "auto" and has_fractions(y)):
        return _numbers(parts)
    if has_fractions(y):
        raise ConfigError(
            f"y must be classes, whole numbers or texts, for task={task}, got "
            f"{y[y != np.rint(y)][0]}"
        )
    labels = np.unique(as_classes(y))
    if len(labels) < 2:
        raise ConfigError(f"y must have at least 2 classes, got {labels.tolist()}")
    if task == "auto":
        _refuse_unclear(labels, len(y), are_images)
    return Target(labels)


def has_fractions(y: np.ndarray) -> bool:
    return y.dtype.kind == "f" and not np.array_equal(y, np.rint(y))


def as_classes(y: np.ndarray) -> np.ndarray:
    """Floats that are whole numbers as whole numbers, all else unchanged."""
    if y.dtype.kind == "f" and np.abs(y).max(initial=0) < 2**53:
        return y.astype(np.int64)
    return y


def _numbers(parts: Mapping[str, np.ndarray]) -> Target:
    for name, y in parts.items():
        if y.dtype.kind not in "biuf":
            raise ConfigError(f"{name} must be numbers for task={REGRESSION}, got {y.dtype}")
        check_varied(y, name)
    return Target(np.empty(0))


def check_varied(y: np.ndarray, name: str) -> None:
    """Raises ConfigError unless R^2 is defined for y and its numbers fit into float32."""
    numbers = y.astype(np.float64)
    if not len(y) or np.ptp(numbers) == 0:
        raise ConfigError(
            f"{name} must have different numbers, got {numbers[0] if len(y) else 'none'} alone"
        )
    if np.abs(numbers).max() > LARGEST:
        raise ConfigError(
            f"{name} must be numbers within {LARGEST:g}, got {numbers[np.abs(numbers).argmax()]:g}"
        )


def _refuse_unclear(labels: np.ndarray, count: int, are_images: bool) -> None:
    """Raises ConfigError for labels that may be amounts or names of examples."""
    numbered = are_images and np.array_equal(labels, np.arange(len(labels)))
    kind = labels.dtype.kind
    few = len(labels) <= MOST_CLEAR and (len(labels) <= 10 or 2 * len(labels) <= count)
    if kind in "iuf" and not few and not numbered:
        raise ConfigError(
            f"task must be given, {CLASSIFICATION} or {REGRESSION}: y has {len(labels)} different "
            f"whole numbers in {count} examples"
        )
    if kind in "US" and len(labels) > max(MOST_CLEAR, MAX_CLASS_SHARE * count):
        raise ConfigError(
            f"task={CLASSIFICATION} must be given if y is classes: it has {len(labels)} different "
            f"texts in {count} examples, such as {_short(labels.tolist()[0])!r}; numbers that "
            "are written as texts become numbers by y.astype(float)"
        )


def _short(label: Any) -> str:
    text = label.decode() if isinstance(label, bytes) else str(label)
    return text if len(text) <= 20 else text[:17] + "..."
