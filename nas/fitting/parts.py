"""The space, the recipe and the controller of a fit: the files of conf/, sized by the data."""

from collections.abc import Mapping
from importlib import resources
from typing import Any

import numpy as np
from omegaconf import OmegaConf

from nas.core.controller import Controller
from nas.core.space import Space
from nas.fitting.arrays import ArrayData
from nas.fitting.plan import MAX_EPOCHS
from nas.run.config import make


def make_space(data: ArrayData) -> Space:
    """The growing space of a size that fits the examples."""
    if data.is_vectors:
        return _part(
            "space",
            "morphism",
            {
                "slots": 8,
                "kernels": [1],
                "filters": [0, 64, 128, 256],
                "pool_after": [],
                "growth": {"only_grow": True, "start_filters": [[64]]},
            },
        )
    height, width, _ = data.image_shape
    poolings = int(np.clip(np.log2(max(min(height, width), 1) / 4), 0, 5))
    pool_after = [4 * (i + 1) for i in range(poolings)]
    slots = 4 * (poolings + 1)
    growing = {"slots": slots, "pool_after": pool_after, "growth": {"only_grow": True}}
    return _part("space", "morphism", growing)


def make_recipe(data: ArrayData):
    """How every network is trained; images that bear it are augmented."""
    height, width, channels = data.image_shape
    large = min(height, width) >= 16
    changes: dict[str, Any] = {
        "epochs": MAX_EPOCHS,
        "learning_rate": 0.05,
        "batch_size": 64 if len(data.train_labels) >= 1000 else 32,
        # A digit is not its mirror image; what has colours usually is.
        "flip": large and channels == 3,
        "pad_crop": min(height, width) // 8 if large else int(min(height, width) >= 8),
    }
    if data.is_vectors:
        changes |= {"optimizer": "adam", "learning_rate": 0.005}
    return _part("recipe", "search", changes)


def make_climb(space: Space, seed: int) -> Controller:
    """Hill climbing in the space."""
    return _part("controller", "climb", space=space, seed=seed)


def _part(group: str, name: str, changes: Mapping[str, Any] | None = None, **available: Any) -> Any:
    """What conf/GROUP/NAME.yaml names, with changes."""
    text = (resources.files("nas.conf") / group / f"{name}.yaml").read_text()
    node = OmegaConf.merge(OmegaConf.create(text), dict(changes or {}))
    return make(node, group, **available)  # type: ignore[arg-type]
