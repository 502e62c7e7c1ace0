"""What a search space is: an ordered tuple of named decisions. An architecture answers all of them.

Only numbers live here. How an architecture becomes a network is the business of the spaces of
images (search_spaces/image_space.py) and of recurrent cells (search_spaces/recurrent/space.py).
"""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nas.core.trial import Arch, ConfigError


@dataclasses.dataclass(frozen=True)
class Decision:
    """One question the controller answers with the index of a choice.

    `node` numbers the part of the network (a layer, a node of a cell) that the decision belongs to;
    `anchors[i]` is the node that choice i points at, or None. A decision with anchors can be
    answered by attention over the states of those nodes (Zoph & Le 2017, section 3.3).
    """

    name: str
    choices: tuple[Any, ...]
    node: int | None = None
    anchors: tuple[int | None, ...] | None = None

    def __post_init__(self):
        if not self.choices:
            raise ValueError(f"decision {self.name} must have at least one choice")
        if self.anchors is not None and len(self.anchors) != len(self.choices):
            raise ValueError(
                f"decision {self.name} must have one anchor per choice, got "
                f"{len(self.anchors)} anchors for {len(self.choices)} choices"
            )


@dataclasses.dataclass(frozen=True)
class Cost:
    """What a network costs, known before a variable is made.

    parameters: trainable weights. flops: multiply-adds of one image, forward. activations: values
    kept for the backward pass of one image.
    """

    parameters: int
    flops: int
    activations: int


@dataclasses.dataclass(frozen=True)
class Graph:
    """A drawing: nodes as (name, label, kind), edges as (from, to) names, inputs first."""

    nodes: tuple[tuple[str, str, str], ...]
    edges: tuple[tuple[str, str], ...]


ChainLayer = tuple[str, tuple[int, ...]]  # its kind and its numbers
ChainSkip = tuple[int, int, str]  # from, to, kind; 0 is the image, i the output of the i-th layer


@dataclasses.dataclass(frozen=True)
class Chain:
    """A network as layers in a row and the skips between them: what networks are compared by."""

    layers: tuple[ChainLayer, ...]
    skips: tuple[ChainSkip, ...]


class Space:
    """An ordered tuple of decisions. Subclasses set `decisions` and write `network`.

    An architecture is a tuple of ints, one per decision. Spaces whose choices depend on earlier
    ones override `allowed`; everything else here follows from it. Spaces whose network is not
    made of `nas/ops/layers.py` write `build` and `cost` themselves.
    """

    decisions: tuple[Decision, ...]
    domain = "images"  # or "language": which data, recipes and evaluators go with the space

    def allowed(self, prefix: Arch) -> tuple[int, ...]:
        """The choices open for decision len(prefix), after `prefix`. A pinned one has just one."""
        return tuple(range(self._counts[len(prefix)]))

    def state(self, prefix: Arch) -> tuple[int, ...] | None:
        """All of `prefix` that matters for what follows: what a table of values is keyed by.

        None where there is nothing to choose. Spaces with a Markov state of their own override it.
        """
        return prefix if len(self.allowed(prefix)) > 1 else None

    @functools.cached_property
    def is_conditional(self) -> bool:
        """Whether the open choices depend on the prefix: then masks cannot be made beforehand."""
        return type(self).allowed is not Space.allowed

    @property
    def size(self) -> int:
        """How many architectures there are, counted exactly."""
        if self.is_conditional:
            raise NotImplementedError(f"{type(self).__name__} must count its own architectures")
        return math.prod(self._counts)

    def check(self, arch: Arch) -> None:
        """Raises ValueError where `arch` is not one of this space's, naming the decision."""
        if len(arch) != len(self.decisions):
            raise ValueError(
                f"an architecture of {type(self).__name__} has {len(self.decisions)} decisions, "
                f"got {len(arch)}"
            )
        static = not self.is_conditional
        for i, choice in enumerate(arch):
            if static and 0 <= choice < self._counts[i]:
                continue
            allowed = self.allowed(tuple(arch[:i]))
            if choice not in allowed:
                raise ValueError(
                    f"decision {i} ({self.decisions[i].name}) must be one of {list(allowed)} "
                    f"after {tuple(arch[:i])}, got {choice}"
                )

    def decode(self, arch: Arch) -> dict[str, Any]:
        """The chosen values by decision name."""
        self.check(arch)
        return {d.name: d.choices[choice] for d, choice in zip(self.decisions, arch, strict=True)}

    def encode(self, chosen: dict[str, Any]) -> Arch:
        """The inverse of `decode`."""
        missing = [d.name for d in self.decisions if d.name not in chosen]
        unknown = [name for name in chosen if name not in {d.name for d in self.decisions}]
        if missing or unknown:
            raise ValueError(
                f"{type(self).__name__} needs one value per decision; "
                f"missing {missing}, unknown {unknown}"
            )
        arch = []
        for decision in self.decisions:
            if chosen[decision.name] not in decision.choices:
                raise ValueError(
                    f"{decision.name} must be one of {list(decision.choices)}, "
                    f"got {chosen[decision.name]!r}"
                )
            arch.append(decision.choices.index(chosen[decision.name]))
        self.check(tuple(arch))
        return tuple(arch)

    def parse(self, text: str) -> Arch:
        """The architecture a user wrote: its numbers, separated by commas. Raises ConfigError."""
        try:
            arch = tuple(int(choice) for choice in text.strip("()[] ").split(","))
            self.check(arch)
        except ValueError as error:
            raise ConfigError(
                f"genotype must be {len(self.decisions)} choices separated by commas, got {text}: "
                f"{error}; set genotype={','.join('0' for _ in self.decisions)}"
            ) from None
        return arch

    def sample(self, rng: np.random.Generator) -> Arch:
        """Each open choice with equal probability, decision by decision.

        So every architecture is as likely where the open choices do not depend on earlier ones.
        """
        draws = rng.random(len(self.decisions)).tolist()
        if not self.is_conditional:
            return tuple([int(u * n) for u, n in zip(draws, self._counts, strict=True)])
        arch: Arch = ()
        for u in draws:
            allowed = self.allowed(arch)
            arch += (allowed[int(u * len(allowed))],)
        return arch

    def mutate(self, arch: Arch, rng: np.random.Generator) -> Arch:
        """Another architecture: one decision, drawn uniformly, takes another open value.

        Later decisions that the change has closed are drawn again among what is open.
        """
        if not self.is_conditional:
            return self._mutate_static(arch, rng)
        closed: set[int] = set()
        while len(closed) < len(arch):  # a pinned decision is drawn in vain, and again
            at = int(rng.random() * len(arch))
            allowed = self.allowed(arch[:at])
            if len(allowed) > 1:
                break
            closed.add(at)
        else:
            raise ValueError(f"{type(self).__name__} has a single architecture: nothing to mutate")
        others = [choice for choice in allowed if choice != arch[at]]
        child = (*arch[:at], others[int(rng.random() * len(others))])
        for choice in arch[at + 1 :]:
            allowed = self.allowed(child)
            if choice not in allowed:
                choice = allowed[int(rng.random() * len(allowed))]
            child += (choice,)
        return child

    def key(self, arch: Arch) -> Arch | str:
        """Equal for architectures that are the same network; by default the architecture itself."""
        return arch

    def features(self, archs: Sequence[Arch]) -> np.ndarray:
        """What a predictor compares architectures by: [archs, features] float64.

        One column for each choice of each decision; spaces that know better say so.
        """
        chosen = np.array(archs, dtype=int).reshape(len(archs), -1)
        return np.concatenate(
            [np.eye(count)[chosen[:, i]] for i, count in enumerate(self._counts)], axis=1
        )

    def gate_counts(self) -> tuple[int, ...]:
        """How many choices each question has that the gates of a supernet answer."""
        return self._counts

    def architecture_from_gates(self, weights: np.ndarray) -> Arch:
        """The architecture of learnt gates. weights: [questions, choices] before the softmax."""
        return tuple(int(row[:n].argmax()) for row, n in zip(weights, self._counts, strict=True))

    def graph(self, arch: Arch) -> Graph:
        """A drawing of the architecture for the report."""
        raise NotImplementedError

    @functools.cached_property
    def _counts(self) -> tuple[int, ...]:
        return tuple(len(decision.choices) for decision in self.decisions)

    @functools.cached_property
    def _open(self) -> tuple[int, ...]:
        """The decisions with a choice at all; of a space without conditions."""
        return tuple(i for i, count in enumerate(self._counts) if count > 1)

    def _mutate_static(self, arch: Arch, rng: np.random.Generator) -> Arch:
        # Tables are searched a million times: no prefix is cut, nothing is scanned, and one number
        # is drawn, whose whole part says where and whose rest says what.
        if not self._open:
            raise ValueError(f"{type(self).__name__} has a single architecture: nothing to mutate")
        where = rng.random() * len(self._open)
        at = self._open[int(where)]
        other = int((where - int(where)) * (self._counts[at] - 1))
        child = list(arch)
        child[at] = other + (other >= arch[at])
        return tuple(child)
