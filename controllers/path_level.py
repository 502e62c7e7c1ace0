"""Path-level search (Cai et al. 2018, arXiv:1806.02639): tree-structured cells, grown by a policy.

A start network, whose cells are single convolutions, is trained. Each proposal is a whole cell that
was grown from it by path-level transforms and takes its weights (`evaluator=inherit`). Numbers are
those of the authors' code (PathLevel-EAS, arch_search_tree_cell.py).

Departures: if a transform inserted a pooling, the code's networks first learn the logits of the old
network; here training begins at once.
"""

import numpy as np

from nas.controllers.growing.controller import GrowthController
from nas.controllers.growing.settings import START, UpdateSettings
from nas.controllers.policies.settings import AdamSettings, EncoderSettings
from nas.core.capabilities import TreeSpace
from nas.core.space import Space
from nas.core.trial import ConfigError

ENCODER = EncoderSettings(embedding=10, units=100)
ADAM = AdamSettings(learning_rate=0.006)
UPDATES = UpdateSettings(first_baseline=START, entropy_weight=0.01, mean_entropy=False)


class PathLevel(GrowthController):
    """Grows cells from `space.start()`, whose trial is the parent of all others.

    Args:
      encoder: of edges and of kinds of nodes.
      hidden: units of each actor's hidden layer, as a multiple of the encoder's outputs.
      adam: of the updates.
      clip_norm: the largest norm of all gradients together.
      updates: of the policy.
      train_again: whether a cell that the policy draws again is trained again (not in the code).
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        encoder: EncoderSettings = ENCODER,
        hidden: float = 2.5,
        adam: AdamSettings = ADAM,
        clip_norm: float = 40.0,
        updates: UpdateSettings = UPDATES,
        train_again: bool = False,
    ):
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
            entropy_weight=updates.entropy_weight,
            clip_norm=clip_norm,
            rng=rng,
        )
        super().__init__(
            space.start(), space.key, policy, rng, updates=updates, train_again=train_again
        )
