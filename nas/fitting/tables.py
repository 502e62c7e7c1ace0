"""Tables in .csv files: what each column is, decided from all of its values, and said in one line.

* A column is numbers if all of its values are, texts if none is. If some are, or if they look like
  numbers in another notation ("1,234"), the table is refused, and the message says what to set.
* A column of texts becomes a feature of 0 and 1 for each of its texts, COLUMN=TEXT.
* A missing number is replaced by the median of its column; `COLUMN is missing` says where.
* Columns that tell rows apart and nothing else, or that have one value, are left out.
"""

import csv
import dataclasses
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from nas.core.trial import ConfigError
from nas.data.memory import check_fits

MAX_TEXTS = 30  # of a column: the most frequent become features, others are zero in all of them
MISSING = ("?", "na", "n/a", "nan", "null", "none")  # in lower case; an empty cell always is
SHOWN = 12  # names of columns in a message
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"[+-]?\d{1,15}", re.ASCII)
# Numbers as people write them: 1,234.5  1.234,5  1'234  $5  5 %
_LIKE_A_NUMBER = re.compile(r"[+-]?[$€£]?\s?\d[\d.,'\s]*\s?[%$€£]?", re.ASCII)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TableSettings:
    """How a table is to be read, where its values do not say it or say something else.

    target: the column to predict; None: the last. texts: columns of texts, whatever their values.
    leave_out: columns that are not read. missing: texts that stand for a gap, in lower case.
    delimiter, decimal: one character each. header: whether the first line has names: yes or no;
    auto: yes, but refused if it has numbers.
    """

    target: str | None = None
    texts: Sequence[str] = ()
    leave_out: Sequence[str] = ()
    missing: Sequence[str] = MISSING
    delimiter: str = ","
    decimal: str = "."
    header: str = "auto"

    def __post_init__(self):
        for name, value in (("delimiter", self.delimiter), ("decimal", self.decimal)):
            if len(value) != 1 or value.isalnum() or value in '\r\n"':
                raise ConfigError(f"--{name} must be one character, got {value!r}")
        if self.decimal == self.delimiter:
            raise ConfigError(f"--decimal and --delimiter must differ, got {self.decimal!r} twice")


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """x and y as nas.fit takes them, the names of x's columns, and what was read as what."""

    x: np.ndarray
    y: np.ndarray
    features: tuple[str, ...]
    read_as: str


def read_table(path: Path, settings: TableSettings) -> Table:
    """Reads the file. Raises ConfigError if it is no table, or could be read in several ways."""
    head, rows, lines = _rows(path, settings)
    columns = {
        name: _Column(name, [text.strip() for text in texts], lines, settings)
        for name, texts in zip(head, zip(*rows, strict=True), strict=True)
    }
    said: dict[str, list[str]] = {"numbers": [], "texts": [], "left out": []}
    if "" in columns:
        columns.pop("").check_is_index()
        said["left out"].append("the first, without a name (it counts the rows)")
    _check_names(columns, settings)
    for name in settings.leave_out:
        said["left out"].append(f"{name} (--leave-out)")
        del columns[name]
    target = settings.target or list(columns)[-1]
    if target not in columns:
        raise ConfigError(f"--target must be one of {', '.join(columns)}, got {target}")
    y = columns.pop(target).target()
    features: list[tuple[str, np.ndarray]] = []
    for name, column in columns.items():
        made, kind, note = column.features()
        features += made
        said[kind].append(f"{name}{note}")
    if not features:
        raise ConfigError(
            f"{path} must have a column to predict {target} from; "
            f"left out: {_some(said['left out'])}"
        )
    parts = [f"{path.name}: {len(rows):,} rows, target {target}"]
    parts += [f"{kind}: {_some(names)}" for kind, names in said.items() if names]
    gaps = sum(column.gaps for column in columns.values())
    if gaps:
        parts.append(f"{gaps:,} missing values")
    x = np.stack([values for _, values in features], 1)
    return Table(x, y, tuple(name for name, _ in features), "; ".join(parts))


def _rows(path: Path, settings: TableSettings) -> tuple[list[str], list[list[str]], list[int]]:
    """The names of the columns, the rows, and the line of each in the file."""
    check_fits(10 * path.stat().st_size, f"the table {path}", "write fewer rows or columns")
    rows, lines = [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, delimiter=settings.delimiter, strict=True)
            for row in reader:
                if row:
                    rows.append(row)
                    lines.append(reader.line_num)
    except UnicodeDecodeError:
        raise ConfigError(f"DATA must be a table in UTF-8, got other bytes in {path}") from None
    except csv.Error as error:
        raise ConfigError(
            f"DATA must be a table, {path} cannot be read after line {reader.line_num}: {error}"
        ) from None
    head = [name.strip() for name in rows[0]] if rows else []
    if len(head) == 1 and (other := [c for c in ";\t|" if c in head[0]]):
        raise ConfigError(
            f"DATA must be a table of several columns, {path} has one, {head[0]!r}; set "
            f"--delimiter {other[0]!r}"
        )
    numbers = [name for name in head if _NUMBER.fullmatch(name)]
    if settings.header == "no":
        head = [f"column{i + 1}" for i in range(len(head))]
    else:
        if numbers and settings.header == "auto":
            raise ConfigError(
                f"DATA must have a line of column names, the first line of {path} has the number "
                f"{numbers[0]}; set --header no or --header yes"
            )
        rows, lines = rows[1:], lines[1:]
    if len(set(head)) != len(head) or len(head) < 2 or not rows:
        raise ConfigError(
            "DATA must be a table with a line of names, at least 2 different column names, and "
            f"rows; {path} has {head} and {len(rows)} rows"
        )
    for line, row in zip(lines, rows, strict=True):
        if len(row) != len(head):
            raise ConfigError(
                f"every row must have {len(head)} columns, line {line} of {path} has {len(row)}"
            )
    return head, rows, lines


def _check_names(columns: Mapping[str, object], settings: TableSettings) -> None:
    for option, names in (("texts", settings.texts), ("leave-out", settings.leave_out)):
        unknown = [name for name in names if name not in columns]
        if unknown:
            raise ConfigError(
                f"--{option} must name columns, {', '.join(columns)}, got {', '.join(unknown)}"
            )
    if settings.target in settings.leave_out:
        raise ConfigError(f"--target must not be left out, got {settings.target} in --leave-out")
    if len(columns) - len(set(settings.leave_out)) < 2:
        raise ConfigError("--leave-out must leave a target and another column")


class _Column:
    """One column: its stripped texts, and what they are.

    gaps: how many are missing.
    """

    def __init__(self, name: str, texts: list[str], lines: list[int], settings: TableSettings):
        self.name, self.texts, self.lines, self.settings = name, texts, lines, settings
        gaps = {"", *settings.missing}
        self.known = np.array([text.lower() not in gaps for text in texts])
        self.gaps = int(np.count_nonzero(~self.known))

    def check_is_index(self) -> None:
        """Raises ConfigError unless the column, which has no name, counts the rows."""
        first = int(self.texts[0]) if _WHOLE.fullmatch(self.texts[0]) else None
        if first is None or self.texts != [str(first + i) for i in range(len(self.texts))]:
            raise ConfigError("every column must have a name, got one without that has values")

    def target(self) -> np.ndarray:
        """The values to predict: whole numbers, floats or texts. [rows]"""
        if self.gaps:
            line = self.lines[int(np.argmin(self.known))]
            raise ConfigError(
                f"--target must be a column without gaps, {self.name} lacks {self.gaps} values, "
                f"the first in line {line}; --missing says which texts are gaps"
            )
        if not self._is_numbers():
            return np.array(self.texts, dtype=object)
        if all(_WHOLE.fullmatch(text) for text in self.texts):
            return np.array([int(text) for text in self.texts])
        return self._numbers()

    def features(self) -> tuple[list[tuple[str, np.ndarray]], str, str]:
        """(name, [rows] float32) of each feature; numbers, texts or left out; and a note on it."""
        if not self.known.any():
            return [], "left out", " (empty)"
        if not self._is_numbers():
            return self._features_of_texts()
        values = self._numbers()
        if np.ptp(values[self.known]) == 0 and not self.gaps:
            return [], "left out", " (one value)"
        values[~self.known] = np.median(values[self.known])
        features = [(self.name, values.astype(np.float32))]
        return features + self._feature_of_gaps(), "numbers", ""

    def _features_of_texts(self) -> tuple[list[tuple[str, np.ndarray]], str, str]:
        texts = np.array(self.texts)
        distinct, counts = np.unique(texts[self.known], return_counts=True)
        if counts.max() == 1:
            return [], "left out", " (each text once)"
        if len(distinct) == 1 and not self.gaps:
            return [], "left out", " (one value)"
        frequent = sorted(distinct[np.argsort(-counts, kind="stable")][:MAX_TEXTS])
        features = [
            (f"{self.name}={text}", ((texts == text) & self.known).astype(np.float32))
            for text in frequent
        ]
        note = f" ({len(distinct):,} texts"
        note += f", the {MAX_TEXTS} most frequent are kept)" if len(distinct) > MAX_TEXTS else ")"
        return features + self._feature_of_gaps(), "texts", note

    def _feature_of_gaps(self) -> list[tuple[str, np.ndarray]]:
        if not self.gaps:
            return []
        return [(f"{self.name} is missing", (~self.known).astype(np.float32))]

    def _is_numbers(self) -> bool:
        """Raises ConfigError if some values are numbers and others are not."""
        if self.name in self.settings.texts:
            return False
        values = [
            (text, line)
            for text, line, known in zip(self.texts, self.lines, self.known, strict=True)
            if known
        ]
        others = [(text, line) for text, line in values if not _NUMBER.fullmatch(self._plain(text))]
        if not others:
            return True
        text, line = others[0]
        if len(others) < len(values):
            raise ConfigError(
                f"column {self.name} must be numbers or texts, got {len(values) - len(others):,} "
                f"numbers and {len(others):,} others, the first {text!r} in line {line}; mend it, "
                f"or set --texts {self.name}, --missing {text!r} or --decimal"
            )
        if 2 * sum(bool(_LIKE_A_NUMBER.fullmatch(text)) for text, _ in others) > len(values):
            raise ConfigError(
                f"column {self.name} must be numbers such as 1234.5, or texts, got {text!r} in "
                f"line {line}; set --decimal ',' or --texts {self.name}, or write 1234.5"
            )
        return False

    def _plain(self, text: str) -> str:
        """The text of a number with a decimal point."""
        if self.settings.decimal == ".":
            return text
        return text.replace(".", " ").replace(self.settings.decimal, ".")

    def _numbers(self) -> np.ndarray:
        """[rows] float64, 0 for those missing. Raises ConfigError beyond the range of float32."""
        values = np.array(
            [
                float(self._plain(text)) if known else 0.0
                for text, known in zip(self.texts, self.known, strict=True)
            ]
        )
        large = np.abs(values) > np.finfo(np.float32).max
        if large.any():
            at = int(np.argmax(large))
            raise ConfigError(
                f"column {self.name} must be numbers that fit into float32, got {self.texts[at]} "
                f"in line {self.lines[at]}"
            )
        return values


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:SHOWN])
    return shown + (f" and {len(names) - SHOWN:,} more" if len(names) > SHOWN else "")
