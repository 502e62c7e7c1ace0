"""EAS: efficient architecture search by network transformation (Cai et al. 2018, arXiv:1707.04873).

A start network, plain or a DenseNet, is trained. In each episode some networks are grown from it by
wider and deeper layers, take its weights (`evaluator=inherit`) and are trained; then the policy
learns once. Numbers are those of the authors' code (han-cai/EAS) where conf/controller/eas.yaml and
eas_densenet.yaml say so.

Departures: where no slot behind a layer is empty, no layer can be added there, and entropies are of
the answers that are open; the code inserts without a limit. Of an inserted dense layer no kernel is
asked, where the code draws one, ignores it and counts its entropy. The later stage, which starts
from the best networks so far, is not implemented; the code has none either.
"""

import numpy as np

from nas.controllers.growing.controller import GrowthController
from nas.controllers.growing.dense_growth import DenseGrowth
from nas.controllers.growing.settings import UpdateSettings
from nas.controllers.growing.slot_growth import SlotGrowth
from nas.controllers.policies.settings import AdamSettings, EncoderSettings
from nas.core.capabilities import DenseGrowableSpace
from nas.core.space import Space
from nas.core.trial import ConfigError

ENCODER = EncoderSettings(embedding=16, units=50)
ADAM = AdamSettings(learning_rate=0.002)
UPDATES = UpdateSettings()


class EAS(GrowthController):
    """Grows networks from `space.start()`, whose trial is the parent of all others.

    Args:
      wider_steps, deeper_steps: the number of changes of each network, the wider ones first.
      encoder: of words, and of the answers of the deeper actor.
      init_scale: all weights start uniform in [-init_scale, init_scale]; None: as the code's,
        embeddings uniform with variance 1, kernels as Glorot & Bengio 2010, biases 0 and those of
        forget gates 1.
      adam: of the updates.
      updates: of the policy.
      train_again: whether a network that the policy draws again is trained again (not in the code).
    """

    def __init__(
        self,
        space: Space,
        *,
        seed: int,
        wider_steps: int = 4,
        deeper_steps: int = 5,
        encoder: EncoderSettings = ENCODER,
        init_scale: float | None = None,
        adam: AdamSettings = ADAM,
        updates: UpdateSettings = UPDATES,
        train_again: bool = False,
    ):
        for name, steps in (("wider_steps", wider_steps), ("deeper_steps", deeper_steps)):
            if steps < 0:
                raise ConfigError(
                    f"controller.{name} must be at least 0, got {steps}; set controller.{name}=4"
                )
        if init_scale is not None and not init_scale > 0:
            raise ConfigError(
                f"controller.init_scale must be positive or null, got {init_scale}; "
                "set controller.init_scale=null"
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
            entropy_weight=updates.entropy_weight,
            mean_entropy=updates.mean_entropy,
            rng=rng,
        )
        super().__init__(
            growth.start, space.key, policy, rng, updates=updates, train_again=train_again
        )
