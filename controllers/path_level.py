"""Path-level search (Cai et al. 2018, arXiv:1806.02639): tree-structured cells, grown by a policy.

A start network, whose cells are single convolutions, is trained. Each proposal is a whole cell that
grew from it by path-level transforms and takes its weights (`evaluator=inherit`). Numbers are those
of the authors' code (PathLevel-EAS, arch_search_tree_cell.py).

Departures: the code learns from a cell that it has met before with the reward that it had; here it
is trained again. Where a pooling came in, its networks first learn the old one's logits; here
training begins at once.
"""

import numpy as np

from nas.controllers.growing.controller import CODE, Growing, check
from nas.core.capabilities import TreeSpace
from nas.core.space import Space
from nas.core.trial import ConfigError


class PathLevel(Growing):
    """Grows cells from `space.start()`, whose trial is the parent of all others.

    Args:
      episode: networks per update.
      embedding: of an edge, and of a kind of node.
      units: of the encoder, in each direction.
      hidden: units of each actor's hidden layer, in units of what it reads.
      learning_rate: Adam's.
      entropy_weight: of the policy's entropy in the objective.
      clip_norm: of the gradient.
      baseline: code: it moves before it is subtracted, 0.95 of the way to the new episode's mean;
        paper: it moves afterwards, 0.05 of the way.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        episode: int = 10,
        embedding: int = 10,
        units: int = 100,
        hidden: float = 2.5,
        learning_rate: float = 0.006,
        entropy_weight: float = 0.01,
        clip_norm: float = 40.0,
        baseline: str = CODE,
    ):
        check(baseline, episode=(episode, 1), embedding=(embedding, 1), units=(units, 1))
        if not isinstance(space, TreeSpace):
            raise ConfigError(
                "controller=path_level must have a space of tree-structured cells, got "
                f"{type(space).__name__}; set space=path_level"
            )
        from nas.controllers.growing.path_level_policy import PathLevelPolicy

        rng = np.random.default_rng(seed)
        policy = PathLevelPolicy(
            space,
            embedding=embedding,
            units=units,
            hidden=hidden,
            learning_rate=learning_rate,
            entropy_weight=entropy_weight,
            clip_norm=clip_norm,
            rng=rng,
        )
        super().__init__(space.start(), policy, rng, episode=episode, baseline=baseline)
