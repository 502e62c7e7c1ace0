"""What the training of a language model has come to, in memory and in a file.

The file is a .npz of plain arrays: nothing in it can run code.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np

from nas.core.trial import ConfigError

KINDS = ("weights", "averages", "slots")  # of arrays


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """Weights, averages (empty without averaging), steps averaged (-1: not begun), Adam's slots."""

    weights: tuple[np.ndarray, ...]
    averages: tuple[np.ndarray, ...]
    averaged: int
    slots: tuple[np.ndarray, ...] = ()

    @classmethod
    def of(cls, training: Any) -> "Snapshot":
        return cls(
            tuple(v.numpy() for v in training.variables),
            tuple(v.numpy() for v in training.averages),
            int(training.averaged.numpy()),
            tuple(v.numpy() for v in training.slots),
        )

    def restore(self, training: Any) -> None:
        for variables, values in (
            (training.variables, self.weights),
            (training.averages, self.averages),
            (training.slots, self.slots),
        ):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        training.averaged.assign(self.averaged)

    def restore_tested(self, training: Any) -> None:
        """Gives the model the weights that are evaluated: the averages where there are some."""
        tested = self.averages if self.averaged > 0 else self.weights
        for variable, value in zip(training.variables, tested, strict=True):
            variable.assign(value)


@dataclasses.dataclass
class Progress:
    """Where a training is, and its best epoch by validation where that is kept."""

    now: Snapshot
    best: Snapshot | None = None
    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    rolled_back: int = 0  # times

    @property
    def epochs(self) -> int:
        """How many are done."""
        return len(self.history.get("valid_perplexity", ()))

    def add(self, now: Snapshot, values: dict[str, float], *, keep_best: bool) -> None:
        """An epoch done."""
        self.now = now
        earlier = self.history.get("valid_perplexity", [])
        if keep_best and all(values["valid_perplexity"] < value for value in earlier):
            self.best = now
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)

    def save(self, path: Path) -> None:
        """Replaces the file in one step: a crash leaves the old one or the new one."""
        said = {
            "history": self.history,
            "rolled_back": self.rolled_back,
            "averaged": [s.averaged if s else -1 for s in (self.now, self.best)],
        }
        arrays: dict[str, np.ndarray] = {"said": np.array(json.dumps(said))}
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
        """Raises ConfigError where the file is of another model than `like`'s."""
        with np.load(path, allow_pickle=False) as file:
            said = json.loads(str(file["said"]))

            def snapshot(name: str, averaged: int) -> Snapshot:
                def read(kind: str) -> tuple[np.ndarray, ...]:
                    count = sum(key.startswith(f"{name}_{kind}_") for key in file.files)
                    return tuple(file[f"{name}_{kind}_{i}"] for i in range(count))

                return Snapshot(read("weights"), read("averages"), averaged, read("slots"))

            now = snapshot("now", said["averaged"][0])
            best = snapshot("best", said["averaged"][1]) if "best_weights_0" in file.files else None
        shapes = [[[v.shape for v in getattr(s, kind)] for kind in KINDS] for s in (now, like)]
        if shapes[0] != shapes[1]:
            raise ConfigError(
                f"{path} must be the checkpoint of this model, got weights of shapes {shapes[0]}, "
                f"not {shapes[1]}; name a new folder"
            )
        return cls(now, best, said["history"], said["rolled_back"])
