"""Reads an offline W&B run back: the records of its .wandb file, with W&B's own messages.

The file is a LevelDB log: blocks of 32 KiB; a record is cut into pieces, each with a checksum of 4
bytes, a length of 2 and a kind of 1 (1 whole, 2 first, 3 middle, 4 last). A header of 7 bytes.
"""

import json
import struct
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wandb.proto import wandb_internal_pb2

BLOCK, HEADER = 32768, 7


def records(path: Path) -> Iterator[Any]:
    data, at, whole = path.read_bytes(), HEADER, b""
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        at += HEADER
        whole += data[at : at + length]
        at += length
        if kind in (1, 4):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(whole)
            whole = b""
            yield record


def read(folder: Path) -> list[dict[str, Any]]:
    """Every offline run below `folder`, oldest first: run, config, history, summary, artifacts.

    W&B's own process writes the last records shortly after a run has finished.
    """
    paths, until = sorted(folder.glob("wandb/offline-run-*/*.wandb")), time.monotonic() + 20
    while True:
        found = [_read(path) for path in paths]
        if all("exit_code" in run for run in found) or time.monotonic() > until:
            return found
        time.sleep(0.05)


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = {"config": {}, "history": [], "summary": {}, "artifacts": {}}
    for record in records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            found["run"] = record.run
            found["config"] |= _items(record.run.config.update)
        elif kind == "history":
            found["history"].append(_items(record.history.item))
        elif kind == "summary":
            found["summary"] |= _items(record.summary.update)
        elif kind == "artifact":
            found["artifacts"][record.artifact.type] = record.artifact
        elif kind == "exit":
            found["exit_code"] = record.exit.exit_code
    return found


def _items(items) -> dict[str, Any]:
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}
