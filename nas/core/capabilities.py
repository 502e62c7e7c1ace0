"""Optional capabilities of spaces, controllers and evaluators, as protocols.

A part has a capability if it has the protocol's methods; it needs no base class and no
registration. Code that needs one asks for it: `if isinstance(controller, Recommending): ...`.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from nas.core.reference import RankingReference
from nas.core.skeleton import ImageSkeleton
from nas.core.space import Chain, Decision, Space
from nas.core.trial import Arch, ConfigError, Trial

# Spaces


@runtime_checkable
class ChainSpace(Protocol):
    """Its networks are layers in a row with skips, which an edit distance can compare."""

    def as_chain(self, arch: Arch) -> Chain: ...


@runtime_checkable
class BuildableSpace(Protocol):
    """Its architectures are image classifiers (search_spaces/image_space.py has the methods)."""

    def build(self, arch: Arch, skeleton: ImageSkeleton) -> Any:
        """A Keras model."""
        ...

    def build_for_search(
        self, arch: Arch, skeleton: ImageSkeleton, *, seed: int, dtype: str = "float32"
    ) -> Any:
        """The same network, built and traced in a fraction of the time."""
        ...


@runtime_checkable
class SupernetSpace(Protocol):
    """One network holds the weights of all its architectures (one-shot search)."""

    def supernet(self, skeleton: Any) -> Any:
        """The network with shared weights. Raises ConfigError if `skeleton` allows none."""
        ...

    def gate_counts(self) -> tuple[int, ...]:
        """The number of choices that each gate of the supernet weighs (DARTS, GDAS)."""
        ...

    def architecture_from_gates(self, weights: np.ndarray) -> Arch:
        """The architecture of trained gates. weights: [gates, choices], before the softmax."""
        ...


@runtime_checkable
class FlatSupernetSpace(SupernetSpace, Protocol):
    """The weights of its supernet can also lie in two vectors (evaluator=one_graph)."""

    def flat_supernet(self, skeleton: Any) -> Any:
        """A network with shared weights of its own, which lie in two vectors."""
        ...


@runtime_checkable
class StartingSpace(Protocol):
    """Names the architecture with which a search by growing begins."""

    def start(self) -> Arch: ...


@runtime_checkable
class SeveralStartsSpace(StartingSpace, Protocol):
    """Names several such architectures; the first is that of `start` (Auto-Keras)."""

    def starts(self) -> Sequence[Arch]: ...


@runtime_checkable
class GrowableSpace(StartingSpace, Protocol):
    """Networks of slots, which growing fills with layers or widens (controller=eas)."""

    pool_after: Sequence[int]  # slots after which the image is halved


@runtime_checkable
class DenseGrowableSpace(GrowableSpace, Protocol):
    """Decision i is the growth rate of slot i; 0 is an empty slot (DenseNet; controller=eas)."""

    growth_rates: Sequence[int]  # of the choices from 1 on, rising


@runtime_checkable
class TreeSpace(StartingSpace, Protocol):
    """Cells are trees that path-level transforms grow (controller=path_level)."""

    decisions: tuple[Decision, ...]  # called PLACE/merge, PLACE/edge and PLACE/expand
    depth: int  # edges in a row, at most
    edges: tuple[str, ...]  # operations of an edge
    merges: tuple[tuple[str, int], ...]  # how a node merges its branches, and their number
    most: int  # branches of a node, at most

    def name(self, place: tuple[int, ...]) -> str:
        """PLACE in the names of decisions, from the branches that lead there."""
        ...

    def decode(self, arch: Arch) -> dict[str, Any]: ...

    def tree(self, arch: Arch) -> Any: ...

    def trees(self, arch: Arch) -> Any: ...


@runtime_checkable
class LimitedSpace(Protocol):
    """Some architectures that can be encoded may not be proposed (CGP-CNN)."""

    def within_limits(self, arch: Arch) -> bool: ...


@runtime_checkable
class GeneSpace(Protocol):
    """Some decisions have no effect on the network (CGP-CNN's inactive genes)."""

    def active_genes(self, arch: Arch) -> set[int]: ...


@runtime_checkable
class LearningRateSpace(Protocol):
    """The learning rate is a decision of the architecture (large-scale evolution)."""

    def learning_rate(self, arch: Arch) -> float | None: ...


@runtime_checkable
class ResettingSpace(Protocol):
    """One of its mutations trains the same network from scratch (large-scale evolution)."""

    def mutate_or_reset(self, arch: Arch, rng: np.random.Generator) -> tuple[Arch, bool]:
        """A child, and whether its weights start anew although its parent has some."""
        ...


@runtime_checkable
class PublishedSpace(Protocol):
    """Its `parse` takes the names of published architectures (nas retrain genotype=darts_v2)."""

    @property
    def published(self) -> Collection[str]: ...


@runtime_checkable
class ModuleSpace(Protocol):
    """Architectures are graphs of NAS-Bench-101; `key` is the hash that its table uses."""

    def module(self, arch: Arch) -> Any: ...

    def key(self, arch: Arch) -> Any: ...


# Networks


@runtime_checkable
class HasTrainingForm(Protocol):
    """A model that is trained in another form: with dropped paths and an auxiliary head."""

    in_training: Any  # nas.ops.training.InTraining


# Controllers


@runtime_checkable
class WarmStartable(Protocol):
    """Takes the state of another run's controller instead of being told that run's trials."""

    def take_over(self, state: dict[str, Any]) -> None: ...


@runtime_checkable
class Recommending(Protocol):
    """Recommends an architecture at the end, which need not be that of the best trial."""

    def recommend(self) -> Arch | None: ...


@runtime_checkable
class EntropyReporting(Protocol):
    """Measures the entropy of its policy in [0, 1]; 1 is a uniform policy."""

    def policy_entropy(self, archs: Sequence[Arch]) -> float: ...


# Probes


@runtime_checkable
class TrainingProbe(Protocol):
    """Trains the networks that shared weights are compared with, once these are trained."""

    def measure(
        self, shared: Any, top: Trial | None, run_dir: Path, loggers: Any
    ) -> RankingReference | None:
        """What each network reaches alone; None if there is no network to train.

        Args:
          shared: the shared weights, whose data, skeleton and recipe the trainings use.
          top: the best trial of the derivation.
          run_dir: where the trainings are kept, so that a run that was stopped continues.

        Raises ConfigError if a training fails.
        """
        ...


# Evaluators


@runtime_checkable
class DataChecking(Protocol):
    """Refuses data on which it cannot train, before the search begins."""

    def check_data(self, data: Any) -> None:
        """Raises ConfigError, which names the setting to change."""
        ...


@runtime_checkable
class TableEvaluator(Protocol):
    """Looks up trainings in a table, and knows final results, which a search must not see."""

    budget: float | None  # seconds that the table's paper allows a search

    def best_possible(self) -> dict[str, float]:
        """The largest value in the table of each column of `final`."""
        ...

    def final(self, arch: Arch) -> dict[str, float]:
        """The results of the full training of `arch`, by column."""
        ...


def buildable_space(space: Space) -> BuildableSpace:
    """The space, if its architectures are image classifiers. Raises ConfigError otherwise."""
    if not isinstance(space, BuildableSpace):
        raise ConfigError(
            "space must be one of image classifiers, got "
            f"{type(space).__name__}; set space=nasbench201"
        )
    return space


def supernet_space(space: Space) -> SupernetSpace:
    """Returns the space if it has a supernet, else raises ConfigError."""
    if not isinstance(space, SupernetSpace):
        raise ConfigError(
            f"space must be one with a supernet, got {type(space).__name__}; set space=nasbench201"
        )
    return space


def flat_supernet_space(space: Space) -> FlatSupernetSpace:
    """The space, if its supernet can have its weights in vectors. Raises ConfigError otherwise."""
    if not isinstance(space, FlatSupernetSpace):
        raise ConfigError(
            "space must be one with a supernet of images, got "
            f"{type(space).__name__}; set space=nasbench201"
        )
    return space


def chain_space(space: Space) -> ChainSpace:
    """Returns the space if its networks are layers in a row, else raises ConfigError."""
    if not isinstance(space, ChainSpace):
        raise ConfigError(
            "space must be one whose networks are layers in a row with skips, got "
            f"{type(space).__name__}; set space=morphism"
        )
    return space
