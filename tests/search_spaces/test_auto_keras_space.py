"""Auto-Keras' space: what a slot is, the two starts, and growth that preserves the function."""

import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.morphism.inheritance import inherit_weights
from nas.ops.inference import moments, outputs
from nas.ops.recorder import describe
from nas.search_spaces.papers.growing.auto_keras import AutoKerasSpace
from tests.helpers.morphism_networks import random_weights

SPACE = AutoKerasSpace()
SKELETON = ImageSkeleton(image_shape=(9, 16, 3), classes=5, width=0.06)


def test_the_first_network_is_relu_then_normalization_convolution_and_relu():
    kinds = [layer.kind for layer in describe(SPACE, SPACE.start(), SKELETON).layers]
    assert kinds == [
        "image", "relu", *["batch_norm", "conv", "relu", "max_pool"] * 3,
        "avg_pool", "dropout", "dense", "relu", "dense",
    ]  # fmt: skip


def test_the_second_start_is_residual_and_has_no_hidden_layer():
    first, second = SPACE.starts()
    assert first == SPACE.start() and not SPACE.hidden(second)
    skips = {i: slot.skip for i in range(24) if (slot := SPACE.slot(second, i)) and slot.skip}
    assert skips == {
        2: ("add", 0), 4: ("add", 2), 7: ("add", 4), 9: ("add", 7),
        13: ("add", 9), 15: ("add", 13), 19: ("add", 15), 21: ("add", 19),
    }  # fmt: skip
    assert len(AutoKerasSpace(residual_blocks=0).starts()) == 1


def test_growth_preserves_what_a_network_computes():
    """Deeper, wider and both skips, from both starts, with measured moments and without."""
    rng, seen = np.random.default_rng(0), set()
    images = rng.standard_normal((4, 9, 16, 3)).astype(np.float32)

    def measured(network, weights, name):
        return moments(network, weights, images, name)

    for trial in range(16):
        arch = SPACE.starts()[trial % 2]
        for _ in range(trial // 4):
            arch = SPACE.mutate(arch, rng)
        child = SPACE.mutate(arch, rng)
        seen |= {
            d.name.split("/")[1]
            for d, a, b in zip(SPACE.decisions, arch, child, strict=True)
            if a != b
        }
        before, after = describe(SPACE, arch, SKELETON), describe(SPACE, child, SKELETON)
        weights = random_weights(before, rng)
        new, same = inherit_weights(
            before, weights, after, rng, moments=measured if trial % 3 else None
        )
        assert same
        old_outputs = outputs(before, weights, images)
        scale = np.abs(old_outputs).max()
        np.testing.assert_allclose(outputs(after, new, images), old_outputs, atol=1e-4 * scale)
    assert seen >= {"kernel", "filters", "skip"}


@pytest.mark.parametrize(
    "settings", [{"residual_blocks": 3}, {"residual_blocks": -1}, {"kernels": (1, 5)}]
)
def test_a_residual_start_that_does_not_fit_is_told(settings):
    with pytest.raises(ConfigError, match="space.residual_blocks needs two slots a block"):
        AutoKerasSpace(**settings)
