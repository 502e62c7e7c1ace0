"""The epochs that a W&B run has logged, kept in its run folder.

A run that continues offline writes a second file, and sending that file replaces what the first one
had sent. The continued run therefore logs these epochs again before it goes on. Its trials need no
such record: the run's own database has them.
"""

import json
import math
from pathlib import Path

FILE = "wandb_epochs.jsonl"  # one line an epoch

Epoch = tuple[int, int, dict[str, float]]  # seed, epoch from 0, values by name


class LoggedEpochs:
    """The epochs of the run in `folder`, in the order in which they were logged."""

    def __init__(self, folder: Path):
        self.path = folder / FILE
        self.epochs: list[Epoch] = []
        lines = self.path.read_text(encoding="utf-8").split("\n") if self.path.is_file() else [""]
        complete = lines[:-1]  # a kill may have cut the last line, which then has no line end
        for line in complete:
            seed, epoch, values = json.loads(line)
            self.epochs.append((seed, epoch, {k: float(v) for k, v in values.items()}))
        if lines[-1]:
            text = "".join(f"{line}\n" for line in complete)
            self.path.write_text(text, encoding="utf-8")
        self._keys = {(seed, epoch) for seed, epoch, _ in self.epochs}

    def add(self, seed: int, epoch: int, values: dict[str, float]) -> bool:
        """Keeps an epoch. False: it is there already, as a continued run repeats its last ones."""
        if (seed, epoch) in self._keys:
            return False
        self._keys.add((seed, epoch))
        self.epochs.append((seed, epoch, dict(values)))
        # JSON has no nan and no infinity: they are written as texts, which `float` reads.
        written = {k: float(v) if math.isfinite(v) else str(v) for k, v in values.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps([seed, epoch, written], allow_nan=False) + "\n")
        return True
