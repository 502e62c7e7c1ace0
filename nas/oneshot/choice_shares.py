"""What a set of architectures chooses: shares of operations that do nothing, and diversity."""

from collections.abc import Sequence

import numpy as np

from nas.core.space import Space
from nas.core.trial import Arch

# Name of a share -> what search spaces call the operations that it counts.
_IDLE = {"skip_share": ("skip_connect", "identity"), "none_share": ("none",)}


def idle_shares(space: Space, archs: Sequence[Arch]) -> dict[str, float]:
    """skip_share and none_share: how often architectures choose skips, and how often `none`.

    Each is a mean over the decisions that offer such an operation, in [0, 1]. It is left out if
    none does.
    """
    chosen, shares_by_name = np.array(archs), {}
    for name, words in _IDLE.items():
        is_idle = [
            np.isin(chosen[:, i], [d.choices.index(word) for word in words if word in d.choices])
            for i, d in enumerate(space.decisions)
            if set(words) & {choice for choice in d.choices if isinstance(choice, str)}
        ]
        if is_idle:
            shares_by_name[name] = float(np.mean(is_idle))
    return shares_by_name


def shares(space: Space, archs: Sequence[Arch]) -> dict[str, float]:
    """`idle_shares`, and choice_entropy: how different the architectures are, in [0, 1].

    choice_entropy is the mean, over the decisions with at least two choices, of the entropy of the
    choices divided by that of a uniform choice. 1: all choices are equally frequent; 0: all
    architectures are the same.
    """
    chosen, entropies = np.array(archs), []
    for i, decision in enumerate(space.decisions):
        if len(decision.choices) > 1:
            p = np.bincount(chosen[:, i], minlength=len(decision.choices)) / len(chosen)
            p = p[p > 0]
            entropies.append(-(p * np.log(p)).sum() / np.log(len(decision.choices)))
    return idle_shares(space, archs) | {"choice_entropy": float(np.mean(entropies))}
