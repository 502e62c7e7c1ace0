"""EAS: efficient architecture search by network transformation (Cai et al. 2018, arXiv:1707.04873).

A start network, plain or a DenseNet, is trained. In each episode some networks are grown from it by
wider and deeper layers, take its weights (`evaluator=inherit`) and are trained; then the policy
learns once. Numbers are those of the authors' code (han-cai/EAS) where conf/controller/eas.yaml and
eas_densenet.yaml say so.

Departures: where no slot behind a layer is empty, none can be added there. Not known and chosen
here: weights start uniform, the deeper actor's LSTM is as wide as both directions of the encoder.
The later stage, which starts from the best networks found, is not here.
"""

import numpy as np

from nas.controllers.growing.controller import CODE, Growing, check
from nas.controllers.growing.dense_growth import DenseGrowth
from nas.controllers.growing.slot_growth import Growth
from nas.core.space import Space


class EAS(Growing):
    """Grows networks from `space.start()`, whose trial is the parent of all others.

    Args:
      episode: networks per update.
      wider_steps, deeper_steps: changes of each network, the wider ones first.
      embedding: of a word, and of an answer of the deeper actor.
      units: of the encoder, in each direction.
      init_scale: weights start uniform in [-init_scale, init_scale].
      learning_rate: Adam's.
      entropy_weight: of the policy's entropy in the objective.
      baseline: code: it moves before it is subtracted, 0.95 of the way to the new episode's mean;
        paper: it moves afterwards, 0.05 of the way.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        episode: int = 10,
        wider_steps: int = 4,
        deeper_steps: int = 5,
        embedding: int = 16,
        units: int = 50,
        init_scale: float = 0.1,
        learning_rate: float = 0.002,
        entropy_weight: float = 0.00001,
        baseline: str = CODE,
    ):
        check(
            baseline,
            episode=(episode, 1),
            wider_steps=(wider_steps, 0),
            deeper_steps=(deeper_steps, 0),
        )
        is_dense = space.decisions[0].name.endswith("/growth")
        growth = DenseGrowth(space) if is_dense else Growth(space)
        from nas.controllers.growing.eas_policy import EASPolicy

        rng = np.random.default_rng(seed)
        policy = EASPolicy(
            growth,
            embedding=embedding,
            units=units,
            wider_steps=wider_steps,
            deeper_steps=deeper_steps,
            init_scale=init_scale,
            learning_rate=learning_rate,
            entropy_weight=entropy_weight,
            rng=rng,
        )
        super().__init__(growth.start, policy, rng, episode=episode, baseline=baseline)
