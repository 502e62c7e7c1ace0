"""Search spaces: ordered tuples of named decisions. An architecture is one choice for each.

This file knows numbers only. The spaces of images (search_spaces/image_space.py) and of recurrent
cells (search_spaces/recurrent/space.py) turn architectures into networks.
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
    """One question, which a controller answers with the index of a choice.

    `node` is the number of the network's part (a layer, a node of a cell) to which the decision
    belongs; `anchors[i]` is the node that choice i points at, or None. A controller can answer a
    decision with anchors by attention over the states of those nodes (Zoph & Le 2017, section 3.3).

    >>> Decision("kernel", (1, 3, 5)).choices[2]
    5
    """

    name: str
    choices: tuple[Any, ...]
    node: int | None = None
    anchors: tuple[int | None, ...] | None = None

    def __post_init__(self) -> None:
        if not self.choices:
            raise ValueError(f"decision {self.name} must have at least one choice")
        if self.anchors is not None and len(self.anchors) != len(self.choices):
            raise ValueError(
                f"decision {self.name} must have one anchor per choice, got "
                f"{len(self.anchors)} anchors for {len(self.choices)} choices"
            )


@dataclasses.dataclass(frozen=True)
class Cost:
    """The costs of a network, which are known before any variable is made.

    parameters: number of trainable weights. flops: multiply-adds of the forward pass of one image.
    activations: values kept for the backward pass of one image.
    """

    parameters: int
    flops: int
    activations: int


@dataclasses.dataclass(frozen=True)
class Graph:
    """A drawing: nodes as (name, label, kind), edges as (from, to) names, inputs first."""

    nodes: tuple[tuple[str, str, str], ...]
    edges: tuple[tuple[str, str], ...]


ChainLayer = tuple[str, tuple[int, ...]]  # a layer's kind and its sizes
ChainSkip = tuple[int, int, str]  # from, to, kind; 0 is the image, i the output of the i-th layer


@dataclasses.dataclass(frozen=True)
class Chain:
    """A network as layers in a row and the skips between them, for distances between networks."""

    layers: tuple[ChainLayer, ...]
    skips: tuple[ChainSkip, ...]


class Space:
    """An ordered tuple of decisions. Subclasses set `decisions`.

    An architecture is a tuple of ints, the index of one choice per decision. Spaces whose choices
    depend on earlier ones override `allowed`, from which everything else here follows.

    >>> class Small(Space):
    ...     decisions = (Decision("op", ("conv", "pool")), Decision("kernel", (1, 3, 5)))
    >>> Small().decode((0, 2))
    {'op': 'conv', 'kernel': 5}
    >>> Small().encode({"op": "pool", "kernel": 1}), Small().size
    ((1, 0), 6)
    """

    decisions: tuple[Decision, ...]
    domain = "images"  # or "language": which data, recipes and evaluators go with the space

    def allowed(self, prefix: Arch) -> tuple[int, ...]:
        """The open choices of decision number len(prefix), given the choices in `prefix`."""
        return tuple(range(self._counts[len(prefix)]))

    def state(self, prefix: Arch) -> tuple[int, ...] | None:
        """The part of `prefix` on which later decisions depend: the key of a table of values.

        None if only one choice is open. Spaces with a smaller Markov state override it.
        """
        return prefix if len(self.allowed(prefix)) > 1 else None

    @functools.cached_property
    def is_conditional(self) -> bool:
        """Whether open choices depend on earlier ones, so that no mask can be made in advance."""
        return type(self).allowed is not Space.allowed

    @property
    def size(self) -> int:
        """The exact number of architectures."""
        if self.is_conditional:
            raise NotImplementedError(f"{type(self).__name__} must count its own architectures")
        return math.prod(self._counts)

    def check(self, arch: Arch) -> None:
        """Raises ValueError if `arch` is not in this space; the message names the decision."""
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
        """The chosen value of each decision, by the decision's name."""
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
        """The architecture that a user wrote as numbers with commas. Raises ConfigError."""
        words = [word.strip() for word in text.strip("()[] ").split(",")]
        try:
            if not all(word.isdecimal() and len(word) < 10 for word in words):
                raise ValueError("a choice is a whole number of at least 0")
            arch = tuple(map(int, words))
            self.check(arch)
        except ValueError as error:
            raise ConfigError(
                f"genotype must be {len(self.decisions)} choices separated by commas, got {text}: "
                f"{error}; set genotype={','.join('0' for _ in self.decisions)}"
            ) from None
        return arch

    def sample(self, rng: np.random.Generator) -> Arch:
        """A random architecture: each decision takes any open choice with equal probability.

        All architectures are equally likely if the open choices do not depend on earlier ones.
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
        """A neighbour of `arch`: one decision, drawn uniformly, takes another open choice.

        Later decisions whose choice is no longer open are drawn again.
        """
        if not self.is_conditional:
            return self._mutate_static(arch, rng)
        closed: set[int] = set()
        while len(closed) < len(arch):  # until a decision with several open choices is drawn
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
        """Equal for architectures that are one network; by default the architecture itself."""
        return arch

    def features(self, archs: Sequence[Arch]) -> np.ndarray:
        """The input of a surrogate, [archs, features] float64: one-hot choices of all decisions.

        Spaces with better features override it.
        """
        chosen = np.array(archs, dtype=int).reshape(len(archs), -1)
        return np.concatenate(
            [np.eye(count)[chosen[:, i]] for i, count in enumerate(self._counts)], axis=1
        )

    def gate_counts(self) -> tuple[int, ...]:
        """The number of choices of each question that the gates of a supernet answer."""
        return self._counts

    def architecture_from_gates(self, weights: np.ndarray) -> Arch:
        """The architecture of trained gates. weights: [questions, choices], before the softmax."""
        return tuple(int(row[:n].argmax()) for row, n in zip(weights, self._counts, strict=True))

    def graph(self, arch: Arch) -> Graph:
        """A drawing of the architecture for the report."""
        raise NotImplementedError

    @functools.cached_property
    def _counts(self) -> tuple[int, ...]:
        return tuple(len(decision.choices) for decision in self.decisions)

    @functools.cached_property
    def _open(self) -> tuple[int, ...]:
        """The decisions with several choices, in a space that is not conditional."""
        return tuple(i for i, count in enumerate(self._counts) if count > 1)

    def _mutate_static(self, arch: Arch, rng: np.random.Generator) -> Arch:
        # Fast, because comparisons on tables mutate a million times: one random number decides; its
        # whole part is the decision, its fraction the choice.
        if not self._open:
            raise ValueError(f"{type(self).__name__} has a single architecture: nothing to mutate")
        where = rng.random() * len(self._open)
        at = self._open[int(where)]
        other = int((where - int(where)) * (self._counts[at] - 1))
        child = list(arch)
        child[at] = other + (other >= arch[at])
        return tuple(child)
