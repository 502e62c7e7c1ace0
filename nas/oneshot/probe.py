"""A reference for the ranking of shared weights: a few architectures, trained from scratch.

It serves spaces without a table of trained networks; the ordinary evaluator trains them.
"""

from pathlib import Path
from typing import Any

import numpy as np

from nas.core.reference import RankingReference
from nas.core.space import Space
from nas.core.trial import Arch, ConfigError, Trial

FOLDER = "probe"  # in the run folder: a store of the trainings, for runs that continue
_PROBE = (1 << 20) + 1  # separates the architectures' random stream from others


class TrainedProbe:
    """Draws uniform architectures, adds the one that the search derived, and trains each.

    Args:
      seed: of the architectures and their trainings.
      size: architectures to draw, at least 2; 0: no probe.
      epochs: of each training, which has the recipe of the shared weights; None: as many as theirs.
      derived: whether to train the derived architecture as well.
    """

    def __init__(
        self,
        *,
        space: Space,
        seed: int,
        size: int = 0,
        epochs: int | None = None,
        derived: bool = True,
    ):
        if size < 0 or size == 1:
            raise ConfigError(f"probe.size must be 0 or at least 2, got {size}; set probe.size=5")
        if epochs is not None and epochs < 1:
            raise ConfigError(f"probe.epochs must be at least 1 or null, got {epochs}")
        self.space, self.seed, self.size = space, seed, size
        self.epochs, self.derived = epochs, derived

    def archs(self, top: Trial | None) -> list[Arch]:
        """Different networks; the best trial's, which is the derived one, comes last."""
        rng, by_key = np.random.default_rng([self.seed, _PROBE]), dict[Any, Arch]()
        for _ in range(100 * self.size):  # the space may have fewer than `size`
            if len(by_key) < self.size:
                arch = self.space.sample(rng)
                by_key.setdefault(self.space.key(arch), arch)
        if top is not None and self.derived:
            by_key.setdefault(self.space.key(top.arch), top.arch)
        return list(by_key.values())

    def measure(
        self, shared: Any, top: Trial | None, run_dir: Path, loggers: Any
    ) -> RankingReference | None:
        """The probe's architectures with their accuracies; None if size is 0.

        Args:
          shared: the shared weights, whose data, skeleton and recipe the trainings use.
          top: the best trial of the derivation.
          run_dir: the trainings are kept in its folder `probe`.

        Raises ConfigError if a training fails.
        """
        from nas.engine.executors import SerialExecutor
        from nas.engine.proposers import Listed
        from nas.engine.search import TooManyFailures, search
        from nas.engine.store import Store
        from nas.evaluators.scratch import TrainFromScratch

        if not self.size:
            return None
        archs = self.archs(top)
        recipe = shared.recipe.replace(epochs=self.epochs) if self.epochs else shared.recipe
        loggers.message(f"probe: {len(archs)} architectures alone, {recipe.epochs} epochs each")
        evaluate = TrainFromScratch(
            space=self.space,
            dataset=lambda: shared.data,
            skeleton=lambda **_: shared.supernet.skeleton,
            recipe=recipe,
            seed=self.seed,
        )
        (run_dir / FOLDER).mkdir(exist_ok=True)
        with Store(run_dir / FOLDER) as store:
            try:
                trials = search(
                    Listed(archs), evaluate, _accuracy, store, SerialExecutor(),
                    max_trials=len(archs), max_failures=1,
                )  # fmt: skip
            except TooManyFailures as error:
                raise ConfigError(f"probe must be of networks that train: {error}") from error
        accuracies = np.array([t.reward for t in trials])
        return RankingReference(
            [t.arch for t in trials], accuracies, f"trained alone, {recipe.epochs} epochs"
        )


def _accuracy(metrics: dict[str, Any]) -> float:
    return metrics["valid_accuracy"]
