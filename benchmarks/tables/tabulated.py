"""Evaluators that look architectures up in a table of `nas tabulate` (nas/tables/table_file.py)."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np

from nas.benchmarks.tables.npz import located
from nas.core.reference import RankingReference
from nas.core.space import Space
from nas.core.trial import INVALID, Arch, ConfigError, EvaluationError, Proposal
from nas.tables.enumeration import architectures
from nas.tables.table_file import NOT_HELD, PARTS, read_table

VARIABLE = "NAS_TABLE_NPZ"
DIGITS201 = Path(__file__).parents[1] / "digits201.npz"
# A search may take the mean seconds of this many trainings, for which NAS-Bench-201's 12,000 s pay.
TRAININGS = 110


def digits201(
    space: Space, *, epochs: int | None = None, seed: int | None = None
) -> "TabulatedTable":
    """The table that comes with this package: NAS-Bench-201's cells on 8x8 digits."""
    return TabulatedTable(space, path=str(DIGITS201), epochs=epochs, seed=seed)


def digits201_reference(*, space: Space, seed: int, sample: int | None = None) -> RankingReference:
    """The mean test accuracies of that table, as a reference for the ranking of shared weights.

    sample: how many different networks to draw from the seed; None: all there are.
    """
    table = digits201(space)
    archs = list({row: arch for arch, row in table.rows().items()}.values())
    if sample is not None:
        if not 2 <= sample <= len(archs):
            raise ConfigError(f"probe.sample must be in [2, {len(archs)}] or null, got {sample}")
        chosen = np.random.default_rng(seed).choice(len(archs), sample, replace=False)
        archs = [archs[i] for i in np.sort(chosen)]
    accuracies = np.array([table.final(arch)["test"] for arch in archs])

    def looked_up(arch: Arch) -> dict[str, float]:
        return {f"digits {part}": value for part, value in table.final(arch).items()}

    return RankingReference(archs, accuracies, "digits-201 test", looked_up=looked_up)


class TabulatedTable:
    """An evaluator that looks architectures up. A trial's seconds are those of its training.

    A search sees only validation accuracy and the costs. `final` gives the means over all seeds
    after the last epoch. `budget` is the number of seconds of a search, for `nas compare`.

    Args:
      space: the space that was tabulated.
      path: of the .npz; None: the variable NAS_TABLE_NPZ.
      epochs: the search sees the accuracies after this many epochs, and pays for this many; None:
        all epochs. The epochs of a proposal take precedence.
      seed: the search sees the training from this seed; None: the mean over all seeds, with the
        mean of their seconds.
    """

    def __init__(
        self,
        space: Space,
        *,
        path: str | None = None,
        epochs: int | None = None,
        seed: int | None = None,
    ):
        self.arguments = {"space": space, "path": path, "epochs": epochs, "seed": seed}
        hint = "`nas tabulate` makes one"
        self.path = located(path, "evaluator.path", VARIABLE, hint=hint)
        arrays, self.about = read_table(self.path)
        self._rows = _rows(space, self.path, arrays)
        sizes = self.about["dataset"]
        shown = {part: arrays[f"{part}_hits"] / sizes[part] for part in PARTS}
        self._last = {part: values[:, :, -1].mean(1) for part, values in shown.items()}
        self.epochs = shown["valid"].shape[2]
        seeds = self.about["config"]["seeds"]
        if seed is not None and seed not in seeds:
            raise ConfigError(
                f"evaluator.seed must be one of {', '.join(map(str, seeds))}, which "
                f"{self.path.name} has, or null, got {seed}"
            )
        if epochs is not None and epochs not in range(1, self.epochs + 1):
            raise ConfigError(f"evaluator.epochs must be {self._held()}, or null, got {epochs}")
        self.shown_epochs = epochs or self.epochs
        which = list(range(len(seeds))) if seed is None else [seeds.index(seed)]
        # Lists, because reading a Python float from one is ten times faster than from an array.
        self._valid = shown["valid"][:, which].mean(1).tolist()  # [held][epochs]
        self._seconds = arrays["seconds"][:, which].astype(float).mean(1).tolist()
        share = self.shown_epochs / self.epochs
        budget = TRAININGS * share * sum(self._seconds) / len(self._seconds)
        self.budget: float | None = round(budget, 1)
        self._costs = {name: arrays[name].tolist() for name in ("parameters", "flops")}

    def __reduce__(self):
        return _again, (self.arguments,)  # a worker reads the file itself

    def __call__(self, trial_id: int, proposal: Proposal) -> dict[str, Any]:
        """valid_accuracy (a fraction), seconds, parameters, flops.

        Raises EvaluationError, INVALID, for an architecture or epochs outside the table.
        """
        epochs = proposal.epochs or self.shown_epochs
        if not 1 <= epochs <= self.epochs:
            raise EvaluationError(INVALID, f"epochs must be {self._held()}, got {epochs}")
        row = self._row(proposal.arch)
        return {
            "valid_accuracy": self._valid[row][epochs - 1],
            "seconds": self._seconds[row] * epochs / self.epochs,
            **{name: values[row] for name, values in self._costs.items()},
        }

    def final(self, arch: Arch) -> dict[str, float]:
        """Accuracies after the last epoch, valid and test: means over seeds."""
        row = self._row(arch)
        return {part: float(values[row]) for part, values in self._last.items()}

    def rows(self) -> dict[Arch, int]:
        """The row of every architecture that the table holds."""
        return {arch: row for arch, row in self._rows.items() if row != NOT_HELD}

    def best_possible(self) -> dict[str, float]:
        """The largest value of each."""
        return {part: float(values.max()) for part, values in self._last.items()}

    def _row(self, arch: Arch) -> int:
        row = self._rows.get(tuple(arch), NOT_HELD)
        if row == NOT_HELD:
            held = sum(row != NOT_HELD for row in self._rows.values())
            raise EvaluationError(
                INVALID,
                f"{self.path.name} holds {held:,} of the {len(self._rows):,} architectures of "
                f"{self.about['config']['space']['_target_']}, and not {tuple(arch)}",
            )
        return row

    def _held(self) -> str:
        return f"from 1 to {self.epochs}, which {self.path.name} has"


def _again(arguments: dict[str, Any]) -> TabulatedTable:
    return TabulatedTable(**arguments)


def _rows(space: Space, path: Path, arrays: dict[str, np.ndarray]) -> dict[Arch, int]:
    """Architecture -> row. Raises ConfigError if the table is one of another space."""
    row_of = arrays["row_of"].tolist()
    with contextlib.suppress(ConfigError):  # the space is larger than that of the table
        rows = dict(zip(architectures(space, len(row_of)), row_of, strict=False))
        archs = [tuple(arch) for arch in arrays["archs"].tolist()]
        if len(rows) == len(row_of) and [rows.get(arch) for arch in archs] == list(
            range(len(archs))
        ):
            return rows
    raise ConfigError(
        f"evaluator.path must be a table of the space, {type(space).__name__}; {path} is one of "
        f"{len(row_of):,} other architectures"
    )
