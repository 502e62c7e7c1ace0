"""EAS: efficient architecture search by network transformation (Cai et al. 2018, arXiv:1707.04873).

A start network, plain or a DenseNet, is trained. In each episode some networks are grown from it by
wider and deeper layers, take its weights (`evaluator=inherit`) and are trained; then the policy
learns once. Numbers are those of the authors' code (han-cai/EAS) where conf/controller/eas.yaml and
eas_densenet.yaml say so.

Departures: where no slot behind a layer is empty, no layer can be added there. Not known and chosen
here: weights start uniform, and the deeper actor's LSTM is as wide as both directions of the
encoder. The later stage, which starts from the best networks so far, is not implemented.
"""

import numpy as np

from nas.controllers.growing.controller import CODE, GrowthController, check
from nas.controllers.growing.dense_growth import DenseGrowth
from nas.controllers.growing.slot_growth import SlotGrowth
from nas.controllers.policies.settings import AdamSettings, EncoderSettings
from nas.core.capabilities import DenseGrowableSpace
from nas.core.space import Space

ENCODER = EncoderSettings(embedding=16, units=50)
ADAM = AdamSettings(learning_rate=0.002)


class EAS(GrowthController):
    """Grows networks from `space.start()`, whose trial is the parent of all others.

    Args:
      episode: networks per update.
      wider_steps, deeper_steps: the number of changes of each network, the wider ones first.
      encoder: of words, and of the answers of the deeper actor.
      init_scale: weights start uniform in [-init_scale, init_scale].
      adam: of the updates.
      entropy_weight: of the policy's entropy in the objective.
      baseline: "code": it moves before it is subtracted, 0.95 of the way to the episode's mean;
        "paper": it moves afterwards, 0.05 of the way.
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        episode: int = 10,
        wider_steps: int = 4,
        deeper_steps: int = 5,
        encoder: EncoderSettings = ENCODER,
        init_scale: float = 0.1,
        adam: AdamSettings = ADAM,
        entropy_weight: float = 0.00001,
        baseline: str = CODE,
    ):
        check(
            baseline,
            episode=(episode, 1),
            wider_steps=(wider_steps, 0),
            deeper_steps=(deeper_steps, 0),
        )
        growth = DenseGrowth(space) if isinstance(space, DenseGrowableSpace) else SlotGrowth(space)
        from nas.controllers.growing.eas_policy import EASPolicy

        rng = np.random.default_rng(seed)
        policy = EASPolicy(
            growth,
            encoder,
            adam,
            wider_steps=wider_steps,
            deeper_steps=deeper_steps,
            init_scale=init_scale,
            entropy_weight=entropy_weight,
            rng=rng,
        )
        super().__init__(growth.start, policy, rng, episode=episode, baseline=baseline)
