"""Path-level search (Cai et al. 2018, arXiv:1806.02639): tree-structured cells, grown by a policy.

A start network, whose cells are single convolutions, is trained. Each proposal is a whole cell that
was grown from it by path-level transforms and takes its weights (`evaluator=inherit`). Numbers are
those of the authors' code (PathLevel-EAS, arch_search_tree_cell.py).

Departures: if the policy draws a cell again, the code learns from its earlier reward; here the cell
is trained again. If a transform inserted a pooling, the code's networks first learn the logits of
the old network; here training begins at once.
"""

import numpy as np

from nas.controllers.growing.controller import CODE, GrowthController, check
from nas.controllers.policies.settings import AdamSettings, EncoderSettings
from nas.core.capabilities import TreeSpace
from nas.core.space import Space
from nas.core.trial import ConfigError

ENCODER = EncoderSettings(embedding=10, units=100)
ADAM = AdamSettings(learning_rate=0.006)


class PathLevel(GrowthController):
    """Grows cells from `space.start()`, whose trial is the parent of all others.

    Args:
      episode: networks per update.
      encoder: of edges and of kinds of nodes.
      hidden: units of each actor's hidden layer, as a multiple of the encoder's outputs.
      adam: of the updates.
      entropy_weight: of the policy's entropy in the objective.
      clip_norm: the largest norm of all gradients together.
      baseline: "code": it moves before it is subtracted, 0.95 of the way to the episode's mean;
        "paper": it moves afterwards, 0.05 of the way.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        episode: int = 10,
        encoder: EncoderSettings = ENCODER,
        hidden: float = 2.5,
        adam: AdamSettings = ADAM,
        entropy_weight: float = 0.01,
        clip_norm: float = 40.0,
        baseline: str = CODE,
    ):
        check(baseline, episode=(episode, 1))
        if not isinstance(space, TreeSpace):
            raise ConfigError(
                "controller=path_level must have a space of tree-structured cells, got "
                f"{type(space).__name__}; set space=path_level"
            )
        from nas.controllers.growing.path_level_policy import PathLevelPolicy

        rng = np.random.default_rng(seed)
        policy = PathLevelPolicy(
            space,
            encoder,
            adam,
            hidden=hidden,
            entropy_weight=entropy_weight,
            clip_norm=clip_norm,
            rng=rng,
        )
        super().__init__(space.start(), policy, rng, episode=episode, baseline=baseline)
