"""What only some spaces, controllers and evaluators can do: protocols, asked with isinstance.

A part offers a capability by having the methods; nothing is registered and no base class is needed.
Every place that needs one names it: `if isinstance(controller, Recommending): ...`.
"""

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from nas.core.skeleton import ImageSkeleton
from nas.core.space import Chain, Space
from nas.core.trial import Arch, ConfigError

# Spaces


@runtime_checkable
class ChainSpace(Protocol):
    """Its networks are layers in a row with skips: an edit distance can compare them."""

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
        """The network with shared weights. Raises ConfigError if `skeleton` does not allow one."""
        ...

    def gate_counts(self) -> tuple[int, ...]:
        """How many choices each gate of the supernet weighs (DARTS, GDAS)."""
        ...

    def architecture_from_gates(self, weights: np.ndarray) -> Arch:
        """The architecture of learnt gates. weights: [gates, choices], before the softmax."""
        ...


@runtime_checkable
class StartingSpace(Protocol):
    """Names the network that a search which grows networks begins with."""

    def start(self) -> Arch: ...


@runtime_checkable
class GrowableSpace(StartingSpace, Protocol):
    """Networks in slots, which wider and deeper layers fill (controller=eas)."""

    pool_after: Sequence[int]  # slots behind which the image is halved


@runtime_checkable
class TreeSpace(StartingSpace, Protocol):
    """Cells are trees that path-level transforms grow (controller=path_level)."""

    def tree(self, arch: Arch) -> Any: ...

    def trees(self, arch: Arch) -> Any: ...


@runtime_checkable
class LimitedSpace(Protocol):
    """Not every architecture may be proposed, though every one can be encoded (CGP-CNN)."""

    def within_limits(self, arch: Arch) -> bool: ...


@runtime_checkable
class GeneSpace(Protocol):
    """Some decisions of an architecture do not reach its network (CGP-CNN's inactive genes)."""

    def active_genes(self, arch: Arch) -> set[int]: ...


@runtime_checkable
class LearningRateSpace(Protocol):
    """The learning rate is a decision of the architecture (large-scale evolution)."""

    def learning_rate(self, arch: Arch) -> float | None: ...


@runtime_checkable
class ModuleSpace(Protocol):
    """Architectures are graphs of NAS-Bench-101, whose `key` is the hash that its table has."""

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
    """Takes the state of another run's controller, in place of being told that run's trials."""

    def take_over(self, state: dict[str, Any]) -> None: ...


@runtime_checkable
class Recommending(Protocol):
    """Ends with an architecture of its own choice, which need not be the best trial."""

    def recommend(self) -> Arch | None: ...


@runtime_checkable
class EntropyReporting(Protocol):
    """Says how undecided its policy is about architectures: [0, 1], 1 is uniform."""

    def policy_entropy(self, archs: Sequence[Arch]) -> float: ...


# Evaluators


@runtime_checkable
class DataChecking(Protocol):
    """Refuses data that it cannot train on, before the search begins."""

    def check_data(self, data: Any) -> None:
        """Raises ConfigError, saying which setting to change."""
        ...


@runtime_checkable
class TableEvaluator(Protocol):
    """Looks up instead of training, and knows the answers that a search must not see."""

    budget: float | None  # seconds of a search that the table's paper grants

    def best_possible(self) -> dict[str, float]:
        """The largest value of each column that `final` gives."""
        ...

    def final(self, arch: Arch) -> dict[str, float]:
        """What training `arch` fully gave, by column."""
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
    """The space, if it has a supernet. Raises ConfigError otherwise."""
    if not isinstance(space, SupernetSpace):
        raise ConfigError(
            f"space must be one with a supernet, got {type(space).__name__}; set space=nasbench201"
        )
    return space


def chain_space(space: Space) -> ChainSpace:
    """The space, if its networks are layers in a row. Raises ConfigError otherwise."""
    if not isinstance(space, ChainSpace):
        raise ConfigError(
            "space must be one whose networks are layers in a row with skips, got "
            f"{type(space).__name__}; set space=morphism"
        )
    return space
