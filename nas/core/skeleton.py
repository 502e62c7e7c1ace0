"""The fixed part of an image classifier around the searched architecture.

A search uses a small skeleton, retraining a large one.
"""

import dataclasses
from typing import Any

from nas.core.trial import ConfigError

STEMS = ("cifar", "imagenet")
FORMS = ("final", "released", "search")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSkeleton:
    """Sizes and regularisation of an image classifier.

    The data set gives image_shape and classes, the configuration the rest.
    """

    image_shape: tuple[int, int, int]  # height, width, channels
    classes: int
    cells: int = 1  # normal cells per stage; cell spaces
    channels: int = 16  # in the first stage; cell spaces
    width: float = 1.0  # multiplies searched filter counts; macro spaces
    dropout: float = 0.0  # rate before the classifier, in [0, 1)
    stem: str = "cifar"  # or imagenet, whose stem divides the image size by eight; cell spaces
    stem_channels: int | None = None  # of the stem's convolution; None: 3 x channels; cell spaces
    # True: the cell after a reduction reads its older input from one cell further back; cell spaces
    skip_reduction_input: bool = False
    drop_path: float = 0.0  # share of paths dropped at the end of training, in [0, 1); cell spaces
    auxiliary_weight: float = 0.0  # of an auxiliary head's loss; 0: no head; cell spaces
    auxiliary_trained: bool = True  # False: the head keeps its initial weights (ENAS' code)
    # or released, search; ENAS' spaces (search_spaces/papers/enas_macro/space.py), NAS-Bench-201's
    form: str = "final"

    def __post_init__(self) -> None:
        for name in ("cells", "channels"):
            value = getattr(self, name)
            if value < 1 or value != int(value):
                raise ConfigError(_wrong(name, "be a whole number, at least 1", value, 1))
        if not self.width > 0:
            raise ConfigError(_wrong("width", "be above 0", self.width, 1.0))
        for name in ("dropout", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise ConfigError(_wrong(name, "be in [0, 1)", getattr(self, name), 0.0))
        if self.stem not in STEMS:
            raise ConfigError(_wrong("stem", f"be one of {', '.join(STEMS)}", self.stem, "cifar"))
        if self.form not in FORMS:
            raise ConfigError(_wrong("form", f"be one of {', '.join(FORMS)}", self.form, "final"))
        if self.stem_channels is not None and self.stem_channels < 1:
            raise ConfigError(_wrong("stem_channels", "be at least 1", self.stem_channels, "null"))
        if self.auxiliary_weight < 0:
            rule = "not be negative"
            raise ConfigError(_wrong("auxiliary_weight", rule, self.auxiliary_weight, 0.4))

    def replace(self, **changes: Any) -> "ImageSkeleton":
        return dataclasses.replace(self, **changes)

    def filters(self, searched: int) -> int:
        """The searched filter count times `width`, rounded to a whole number of at least 1."""
        return max(1, round(searched * self.width))


def _wrong(name: str, rule: str, value: float | str, example: float | str) -> str:
    return f"skeleton.{name} must {rule}, got {value}; set skeleton.{name}={example}"
