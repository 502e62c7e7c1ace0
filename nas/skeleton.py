"""The fixed part round what is searched. Search uses a small one, retraining a large one."""

import dataclasses

from nas.trial import ConfigError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ImageSkeleton:
    """Of an image classifier. The data set gives image_shape and classes, the user the rest."""

    image_shape: tuple[int, int, int]  # height, width, channels
    classes: int
    cells: int = 1  # normal cells per stage; cell spaces
    channels: int = 16  # of the first stage; cell spaces
    width: float = 1.0  # multiplies searched filter counts; macro spaces
    dropout: float = 0.0  # rate before the classifier, in [0, 1)

    def __post_init__(self):
        for name in ("cells", "channels"):
            value = getattr(self, name)
            if value < 1 or value != int(value):
                raise ConfigError(_wrong(name, "be a whole number, at least 1", value, 1))
        if not self.width > 0:
            raise ConfigError(_wrong("width", "be above 0", self.width, 1.0))
        if not 0 <= self.dropout < 1:
            raise ConfigError(_wrong("dropout", "be in [0, 1)", self.dropout, 0.0))

    def filters(self, searched: int) -> int:
        """A searched filter count times `width`, rounded, at least 1."""
        return max(1, round(searched * self.width))


def _wrong(name: str, rule: str, value: float, example: float) -> str:
    return f"skeleton.{name} must {rule}, got {value}; set skeleton.{name}={example}"
