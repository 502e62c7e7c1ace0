"""The state of a language model's training after an epoch, in memory and in a checkpoint file.

The file is a .npz of plain arrays: nothing in it can run code.
"""

import dataclasses
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nas.core.files import printable, read_arrays
from nas.core.json_values import dumped, parsed
from nas.core.trial import ConfigError

SHAPE = {"history": {str: [(float, None)]}, "rolled_back": int, "averaged": [int]}
KINDS = ("weights", "averages", "slots")  # of arrays


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """A copy of all variables of a training.

    averages: averaged weights, none without averaging. averaged: steps in them, -1: not begun.
    slots: Adam's, none without Adam.
    """

    weights: tuple[np.ndarray, ...]
    averages: tuple[np.ndarray, ...]
    averaged: int
    slots: tuple[np.ndarray, ...] = ()

    @classmethod
    def of(cls, training: Any) -> "Snapshot":
        """training: a nas.language.graph.Training."""
        return cls(
            tuple(v.numpy() for v in training.variables),
            tuple(v.numpy() for v in training.averages),
            int(training.averaged.numpy()),
            tuple(v.numpy() for v in training.slots),
        )

    def restore(self, training: Any) -> None:
        """Assigns everything to the training's variables."""
        for variables, values in (
            (training.variables, self.weights),
            (training.averages, self.averages),
            (training.slots, self.slots),
        ):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        training.averaged.assign(self.averaged)

    def restore_tested(self, training: Any) -> None:
        """Assigns the weights that are evaluated to the model: the averages if there are some."""
        evaluated = self.averages if self.averaged > 0 else self.weights
        for variable, value in zip(training.variables, evaluated, strict=True):
            variable.assign(value)


@dataclasses.dataclass
class Progress:
    """How far a training is, and its best epoch by validation if that is kept."""

    now: Snapshot
    best: Snapshot | None = None
    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    rolled_back: int = 0  # how often

    @property
    def epochs(self) -> int:
        """How many epochs are done."""
        return len(self.history.get("valid_perplexity", ()))

    def add(self, now: Snapshot, values: dict[str, float], *, keep_best: bool) -> None:
        """Adds a finished epoch: the state behind it, and its values by name."""
        self.now = now
        earlier = self.history.get("valid_perplexity", [])
        if keep_best and all(values["valid_perplexity"] < value for value in earlier):
            self.best = now
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)

    def save(self, path: Path) -> None:
        """Writes the file in one step: a crash leaves the old one or the new one."""
        described = {
            "history": self.history,
            "rolled_back": self.rolled_back,
            "averaged": [s.averaged if s else -1 for s in (self.now, self.best)],
        }
        arrays: dict[str, np.ndarray] = {"said": np.array(dumped(described))}
        for name, snapshot in (("now", self.now), ("best", self.best)):
            if snapshot is not None:
                for kind in KINDS:
                    for i, value in enumerate(getattr(snapshot, kind)):
                        arrays[f"{name}_{kind}_{i}"] = value
        part = path.with_name(f".{path.stem}.part.npz")  # savez adds .npz to any other name
        np.savez(part, **arrays)  # type: ignore[arg-type]
        part.replace(path)

    @classmethod
    def load(cls, path: Path, like: Snapshot) -> "Progress":
        """Reads the file. Raises ConfigError if its model is not that of the snapshot `like`."""
        try:
            with path.open("rb") as opened:
                arrays = read_arrays(opened)
            described = parsed(str(arrays["said"]), SHAPE)
            averaged = described["averaged"]
            now = _snapshot(arrays, "now", averaged[0])
            best = _snapshot(arrays, "best", averaged[1]) if "best_weights_0" in arrays else None
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise ConfigError(
                f"{path} is damaged ({printable(error)}); delete it to train this seed from its "
                "beginning"
            ) from error
        shapes = [[[v.shape for v in getattr(s, kind)] for kind in KINDS] for s in (now, like)]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f"{path} must be the checkpoint of this model, got weights of shapes {shapes[0]}, "
                f"not {shapes[1]}; name a new folder"
            )
        history = {
            name: [math.nan if value is None else value for value in values]
            for name, values in described["history"].items()
        }
        return cls(now, best, history, described["rolled_back"])


def _snapshot(arrays: Mapping[str, np.ndarray], name: str, averaged: int) -> Snapshot:
    """The arrays of one state. Raises KeyError if some are missing."""

    def read(kind: str) -> tuple[np.ndarray, ...]:
        count = sum(key.startswith(f"{name}_{kind}_") for key in arrays)
        return tuple(arrays[f"{name}_{kind}_{i}"] for i in range(count))

    return Snapshot(read("weights"), read("averages"), averaged, read("slots"))
