"""The trained weights of a run's trials: one .npz file each under the run folder, the newest kept.

The files hold numbers alone and are read without pickle. Which are kept depends on the trials' ids
and not on which finished first, so that equal runs inherit equal weights.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nas.core.files import read_arrays
from nas.core.trial import Arch, ConfigError

FOLDER = "weights"
ARCH = "arch"  # cannot be the name of a weight: those have a slash
# A trial may have begun that long before the one that has just ended, and still read its parent.
IN_FLIGHT = 100  # trials


class KeptWeights:
    """Weights by trial id.

    Args:
      run_dir: the run folder.
      keep: for how many later trials a trial can be the parent.

    Raises ConfigError unless `keep` is a whole number of at least 1.
    """

    def __init__(self, run_dir: Path | str, *, keep: int):
        if not isinstance(keep, int) or keep < 1:
            raise ConfigError(
                f"evaluator.keep must be a whole number of at least 1, got {keep}; "
                "set evaluator.keep=200"
            )
        self.folder = Path(run_dir).absolute() / FOLDER
        self.keep = keep

    def save(self, trial_id: int, arch: Arch, weights: Mapping[str, np.ndarray]) -> None:
        """Writes one trial's weights in one step and deletes those that have become too old."""
        self.folder.mkdir(parents=True, exist_ok=True)
        part = self.folder / f".{trial_id}.{os.getpid()}.part"
        try:
            with part.open("wb") as file:
                np.savez(file, **{ARCH: np.array(arch, np.int64)}, **weights)  # type: ignore[arg-type]
            part.replace(self._path(trial_id))
        finally:
            part.unlink(missing_ok=True)
        for path in self.folder.glob("*.npz"):
            if path.stem.isdigit() and int(path.stem) < trial_id - self.keep - IN_FLIGHT:
                path.unlink(missing_ok=True)

    def load(self, parent: int, child: int) -> tuple[Arch, dict[str, np.ndarray]]:
        """The parent's architecture and weights. Raises LookupError, with why, if they are gone."""
        if parent < child - self.keep:
            raise LookupError(f"older than evaluator.keep={self.keep} trials")
        try:
            # The file is opened here, because numpy leaves a damaged one open.
            with self._path(parent).open("rb") as opened:
                weights = read_arrays(opened)
            return tuple(weights.pop(ARCH).tolist()), weights
        except FileNotFoundError:
            raise LookupError("not there") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LookupError(f"damaged: {' '.join(str(error).split())[:100]}") from error

    def _path(self, trial_id: int) -> Path:
        return self.folder / f"{trial_id}.npz"
