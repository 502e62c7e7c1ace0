"""The fixed part round what is searched."""

import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError


def skeleton(**settings):
    return ImageSkeleton(image_shape=(8, 8, 1), classes=10, **settings)


def test_filters_are_multiplied_rounded_and_at_least_one():
    half = skeleton(width=0.5)
    assert [half.filters(n) for n in (24, 36, 1)] == [12, 18, 1]
    assert skeleton(width=0.1).filters(36) == 4
    assert type(half.filters(24)) is int


@pytest.mark.parametrize(
    "name, value, message",
    [
        ("cells", 0, "cells must be a whole number, at least 1, got 0; set skeleton.cells=1"),
        ("channels", 2.5, "channels must be a whole number, at least 1, got 2.5"),
        ("width", 0.0, "width must be above 0, got 0.0"),
        ("dropout", 1.0, r"dropout must be in \[0, 1\), got 1.0"),
        ("drop_path", -0.1, r"drop_path must be in \[0, 1\), got -0.1"),
        ("stem", "big", "stem must be one of cifar, imagenet, got big; set skeleton.stem=cifar"),
        ("stem_channels", 0, "stem_channels must be at least 1, got 0; .*stem_channels=null"),
        ("form", "best", "form must be one of final, released, search, got best; set"),
        ("auxiliary_weight", -1.0, "auxiliary_weight must not be negative, got -1.0"),
    ],
)
def test_wrong_settings_are_refused(name, value, message):
    with pytest.raises(ConfigError, match="skeleton." + message):
        skeleton(**{name: value})
