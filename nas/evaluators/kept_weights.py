"""The weights of a run's trials: one .npz each under the run folder, of which the newest are kept.

The files hold numbers alone and are read without pickle. Which are kept depends on the trials' ids
and not on which was finished first, so that equal runs inherit equal weights.
"""

import os
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from nas.core.trial import Arch, ConfigError

FOLDER = "weights"
ARCH = "arch"  # beside the weights, whose names have a slash
# Trials that other workers may have started before: they still read what is no longer handed out.
IN_FLIGHT = 100


class KeptWeights:
    """Weights by trial id.

    Args:
      run_dir: the run folder.
      keep: a trial is a parent for so many trials after it.
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
        """Writes one trial's, in one step, and deletes what has become too old."""
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
        """The parent's architecture and weights. Raises LookupError where they are gone, why."""
        if parent < child - self.keep:
            raise LookupError(f"older than evaluator.keep={self.keep} trials")
        try:
            # Opened here: numpy leaves a damaged file open.
            with (
                self._path(parent).open("rb") as opened,
                np.load(opened, allow_pickle=False) as file,
            ):
                weights = dict(file)
                return tuple(weights.pop(ARCH).tolist()), weights
        except FileNotFoundError:
            raise LookupError("not there") from None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise LookupError(f"damaged: {' '.join(str(error).split())[:100]}") from error

    def _path(self, trial_id: int) -> Path:
        return self.folder / f"{trial_id}.npz"
