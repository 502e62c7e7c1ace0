"""Makes the table that nasbench101.py reads from the official file, for `nas data convert`.

The file is nasbench_full.tfrecord or nasbench_only108.tfrecord. It is read without TensorFlow: each
entry of a TFRecord is a length, its checksum, a record and its checksum (the checksums are not
verified). A record is a JSON list of the module's hash, the epochs, the matrix, the operations and,
in base64, a protocol buffer ModelMetrics (google-research/nasbench, lib/model_metrics.proto).
Nothing in the file can run code.
"""

import array
import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nas.benchmarks.tables.npz import write
from nas.core.trial import ConfigError

EVALUATIONS = 1  # the number of this field of ModelMetrics
FINAL = 2  # the index of the last evaluation
PARAMETERS = 2
VALUES = {"seconds": 2, "train": 3, "valid": 4, "test": 5}  # fields of EvaluationData
LONGEST = 2**20  # bytes; a record has less than a thousand
VARINT, DOUBLE, BYTES = 0, 1, 2  # wire types


def convert(source: str, out: Path) -> str:
    """Writes the table and returns a description of it. Raises ConfigError for another source.

    source: the path of the official file.
    """
    try:
        with open(source, "rb") as file:
            arrays = gathered(records(file))
    except OSError as error:
        raise ConfigError(
            "nas data convert nasbench101 must be given the path of nasbench_full.tfrecord or "
            f"nasbench_only108.tfrecord, got {source}: {error.strerror}"
        ) from None
    except (ValueError, LookupError, TypeError, struct.error) as error:
        raise ConfigError(f"{source} is damaged, or not NAS-Bench-101's file: {error}") from None
    write(out, arrays)
    modules, budgets, repeats = arrays["valid"].shape
    epochs = ", ".join(map(str, arrays["epochs"].tolist()))
    return f"{modules} modules, {repeats} repeats of {epochs} epochs"


def records(file: BinaryIO) -> Iterator[bytes]:
    """The records of a TFRecord. Raises ValueError if the file ends within a record."""
    while header := file.read(12):
        (length,) = struct.unpack("<Q", header[:8])
        if length > LONGEST:
            raise ValueError(f"a record of {length} bytes")
        record = file.read(length)
        if len(record) < length or len(file.read(4)) < 4:
            raise ValueError("it ends within a record")
        yield record


def gathered(records: Iterator[bytes]) -> dict[str, np.ndarray]:
    """The arrays of the table.

    keys: [modules] uint64, the first 64 bits of the hashes, sorted. epochs: [budgets]. parameters:
    [modules]. seconds, train, valid, test: [modules, budgets, repeats].

    Raises ValueError if the records are incomplete.
    """
    rows: dict[str, int] = {}  # a module's hash -> its number
    parameters: list[int] = []
    row, epochs, values = array.array("q"), array.array("q"), array.array("d")
    for record in records:
        name, budget, _, _, metrics = json.loads(record)
        count, final = model_metrics(base64.b64decode(metrics))
        if name not in rows:
            rows[name] = len(rows)
            parameters.append(count)
        row.append(rows[name])
        epochs.append(budget)
        values.extend(final)
    if not rows:
        raise ValueError("it is empty")
    keys = np.array([int(name[:16], 16) for name in rows], np.uint64)
    if len(np.unique(keys)) < len(keys):
        raise ValueError("two hashes begin alike")
    budgets, at = np.unique(np.array(epochs), return_inverse=True)
    repeats, rest = divmod(len(row), len(keys) * len(budgets))
    place = np.array(row) * len(budgets) + at
    if rest or (np.bincount(place, minlength=len(keys) * len(budgets)) != repeats).any():
        raise ValueError("its modules were not all trained alike")
    order = np.argsort(place, kind="stable")  # repeats keep the order of the file
    shape = len(keys), len(budgets), repeats, len(VALUES)
    ordered = np.array(values).reshape(-1, len(VALUES))[order].reshape(shape).astype(np.float32)
    by_key = np.argsort(keys)
    return {
        "keys": keys[by_key],
        "epochs": budgets,
        "parameters": np.array(parameters, np.int64)[by_key],
        **{name: ordered[by_key, :, :, i] for i, name in enumerate(VALUES)},
    }


def model_metrics(message: bytes) -> tuple[int, list[float]]:
    """Trainable parameters, and the VALUES of the evaluation at the end of the training."""
    metrics = list(fields(message))
    evaluations = [dict(fields(value)) for field, value in metrics if field == EVALUATIONS]
    return dict(metrics)[PARAMETERS], [
        float(evaluations[FINAL].get(field, 0.0)) for field in VALUES.values()
    ]


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """(number, value) of each field of a protocol buffer: an int, a float or bytes."""
    at = 0
    while at < len(message):
        tag, at = varint(message, at)
        wire = tag & 7
        if wire == VARINT:
            value, at = varint(message, at)
            yield tag >> 3, value
        elif wire == DOUBLE:
            yield tag >> 3, struct.unpack_from("<d", message, at)[0]
            at += 8
        elif wire == BYTES:
            length, at = varint(message, at)
            yield tag >> 3, message[at : at + length]
            at += length
        else:
            raise ValueError(f"a protocol buffer has no field of type {wire} here")


def varint(message: bytes, at: int) -> tuple[int, int]:
    """The number that starts at index `at`, seven bits in each byte, and the index behind it."""
    value = shift = 0
    while True:
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
