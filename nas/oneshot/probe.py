"""A probe set where no table is: a few architectures, each trained alone by the usual evaluator."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas.core.reference import RankingReference
from nas.core.trial import Arch, ConfigError, Proposal, Trial

FOLDER = "probe"  # in the run folder: a store of the trainings, so that a cut run goes on
_PROBE = (1 << 20) + 1  # sets the seed of the architectures apart from others


class TrainedProbe:
    """Draws uniform architectures from the seed, adds the derived one, and trains each.

    Args:
      size: architectures drawn, at least 2; 0: no probe.
      epochs: of each training, with the recipe of the shared weights; None: as many as theirs.
      derived: whether the derived architecture is trained as well.
    """

    def __init__(
        self, *, space, seed: int, size: int = 0, epochs: int | None = None, derived: bool = True
    ):
        if size < 0 or size == 1:
            raise ConfigError(f"probe.size must be 0 or at least 2, got {size}; set probe.size=5")
        if epochs is not None and epochs < 1:
            raise ConfigError(f"probe.epochs must be at least 1 or null, got {epochs}")
        self.space, self.seed, self.size = space, seed, size
        self.epochs, self.derived = epochs, derived

    def archs(self, top: Trial | None) -> list[Arch]:
        """Different ones, the derived one last."""
        rng, found = np.random.default_rng([self.seed, _PROBE]), dict[Any, Arch]()
        for _ in range(100 * self.size):  # a space may have fewer
            if len(found) < self.size:
                arch = self.space.sample(rng)
                found.setdefault(self.space.key(arch), arch)
        if top is not None and self.derived:
            found.setdefault(self.space.key(top.arch), top.arch)
        return list(found.values())

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


class Listed:
    """A controller that proposes the architectures of a list, once each."""

    def __init__(self, archs: Sequence[Arch]):
        self.archs, self.asked = list(archs), 0

    def ask(self, n: int) -> list[Proposal]:
        some = self.archs[self.asked : self.asked + n]
        self.asked += len(some)
        return [Proposal(arch) for arch in some]

    def tell(self, trials: Sequence[Trial]) -> None:
        pass

    def state(self) -> dict[str, Any]:
        return {"asked": self.asked}

    def load_state(self, state: dict[str, Any]) -> None:
        self.asked = state["asked"]


def _accuracy(metrics: dict[str, Any]) -> float:
    return metrics["valid_accuracy"]
