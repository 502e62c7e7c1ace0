"""How a child takes its parent's weights: the methods, the noise of each, and refused settings."""

import numpy as np
import pytest

from nas.core.skeleton import ImageSkeleton
from nas.core.trial import ConfigError
from nas.morphism.inheritance import inherit_weights
from nas.morphism.noise import with_noise, with_uniform_noise
from nas.morphism.settings import AUTO_KERAS, EXACT, SAME_SHAPE, MorphismSettings
from nas.morphism.transforms import deeper, replication, wider
from nas.ops.inference import outputs
from nas.ops.recorder import describe
from nas.search_spaces.papers.growing.plain import Plain
from nas.search_spaces.papers.growing.settings import GrowthSettings
from tests.helpers.morphism_networks import random_weights

RNG = np.random.default_rng
SKELETON = ImageSkeleton(image_shape=(6, 5, 2), classes=3)
GROWTH = GrowthSettings(start_units=(5,))
SPACE = Plain(
    slots=2, kernels=(3,), filters=(4, 6), pool_after=(), hidden=1, units=(5, 7), growth=GROWTH
)
SMALL = SPACE.decode(SPACE.start()) | {
    "slot0/kernel": 3, "slot0/filters": 4, "slot1/kernel": 0, "hidden0/units": 5,
}  # fmt: skip
WIDER = SMALL | {"slot0/filters": 6}
DEEPER = SMALL | {"slot1/kernel": 3, "slot1/filters": 4}


def grown(child, settings, seed=1):
    """The parent's network, its weights, the child's network, what it takes, whether the same."""
    parent, child = (describe(SPACE, SPACE.encode(c), SKELETON) for c in (SMALL, child))
    weights = random_weights(parent, RNG(0))
    taken, same = inherit_weights(parent, weights, child, RNG(seed), settings=settings)
    return parent, weights, child, taken, same


def test_noise_is_in_standard_deviations_of_what_is_copied():
    values = RNG(0).normal(3, 2, (3, 3, 8, 40)).astype(np.float32)
    change = with_noise(values, 0.01, RNG(1)) - values
    # 2,880 draws: within 8 % by 6 standard errors.
    assert change.std() == pytest.approx(0.01 * values.std(), rel=0.08)
    np.testing.assert_array_equal(with_noise(values, 0.0, RNG(1)), values)


def test_uniform_noise_is_within_half_of_its_share_of_the_range():
    kernel = np.array([-1.0, 3.0], np.float32)  # a range of 4
    noise = with_uniform_noise(np.zeros(10_000, np.float32), 0.1, RNG(0), like=kernel)
    assert 0.199 < noise.max() <= 0.2 and -0.2 <= noise.min() < -0.199


def test_auto_keras_reads_added_channels_with_zeros_behind_a_new_normalization():
    settings = MorphismSettings(AUTO_KERAS, wider_noise=0.0, deeper_noise=0.0)
    parent, weights, child, taken, same = grown(WIDER, settings)
    assert same
    copied = replication(4, 6, RNG(1))
    np.testing.assert_array_equal(
        taken["slot0_conv/kernel"], weights["slot0_conv/kernel"][..., copied]
    )
    for name, value in (("gamma", 1), ("beta", 0), ("moving_mean", 0), ("moving_variance", 1)):
        np.testing.assert_array_equal(taken[f"slot0_bn/{name}"][:4], weights[f"slot0_bn/{name}"])
        assert taken[f"slot0_bn/{name}"][4:].tolist() == [value, value]
    np.testing.assert_array_equal(
        taken["hidden0_dense/kernel"][:4], weights["hidden0_dense/kernel"]
    )
    assert not taken["hidden0_dense/kernel"][4:].any()
    x = RNG(2).normal(size=(3, 6, 5, 2)).astype(np.float32)
    np.testing.assert_allclose(
        outputs(child, taken, x), outputs(parent, weights, x), rtol=1e-5, atol=1e-5
    )


def test_auto_keras_noise_is_small_and_everywhere_on_what_is_added():
    noisy = MorphismSettings(AUTO_KERAS, wider_noise=1e-4, deeper_noise=1e-4)
    *_, exact, _ = grown(WIDER, MorphismSettings(AUTO_KERAS, wider_noise=0, deeper_noise=0))
    _, weights, _, taken, _ = grown(WIDER, noisy)
    for name, at in (
        ("slot0_conv/kernel", np.s_[..., 4:]), ("hidden0_dense/kernel", np.s_[4:]),
        ("slot0_bn/gamma", np.s_[4:]),
    ):  # fmt: skip
        change = np.abs(taken[name] - exact[name])
        like = np.array([0, 1]) if name.endswith("gamma") else weights[name]
        assert (change[at] > 0).all()
        assert change.max() <= 0.5e-4 * np.ptp(like) * 1.01
        change[at] = 0
        assert not change.any()


def test_inserted_identities_have_the_noise_of_deeper_layers():
    for settings, most in (
        (MorphismSettings(wider_noise=1.0, deeper_noise=0.0), 0),
        (MorphismSettings(AUTO_KERAS, wider_noise=1.0, deeper_noise=1e-4), 0.5e-4),
    ):
        *_, taken, same = grown(DEEPER, settings)
        exact = grown(DEEPER, EXACT)[3]
        change = np.abs(taken["slot1_conv/kernel"] - exact["slot1_conv/kernel"]).max()
        assert same and change <= most * 1.01 and (change > 0) == (most > 0)


def test_what_has_another_shape_is_not_taken_where_nothing_is_transformed():
    _, weights, child, taken, same = grown(WIDER, MorphismSettings(SAME_SHAPE))
    assert not same and taken is weights
    assert grown(SMALL, MorphismSettings(SAME_SHAPE))[4]
    assert "slot1_conv/kernel" not in grown(DEEPER, MorphismSettings(SAME_SHAPE))[3]


def test_transforms_without_noise_are_exact_by_default():
    network = describe(SPACE, SPACE.encode(SMALL), SKELETON)
    weights = random_weights(network, RNG(0))
    _, wide = wider(network, weights, "slot0_conv", 6, RNG(1), zeros_outward=True)
    np.testing.assert_array_equal(
        wide["slot0_conv/kernel"], weights["slot0_conv/kernel"][..., replication(4, 6, RNG(1))]
    )
    after = network["hidden0_dense"].inputs[0]
    _, deep = deeper(network, weights, after, "new", RNG(1), uniform=True)
    assert set(np.unique(deep["new_conv/kernel"])) == {0.0, 1.0}


@pytest.mark.parametrize(
    "wrong, told",
    [
        ({"method": "copy"}, "morphism.method must be one of net2net, auto_keras, same_shape, got"),
        ({"wider_noise": -1}, "evaluator.morphism.wider_noise must not be negative, got -1"),
        ({"deeper_noise": -1}, "evaluator.morphism.deeper_noise must not be negative, got -1"),
    ],
)
def test_wrong_settings_are_told(wrong, told):
    with pytest.raises(ConfigError, match=told):
        MorphismSettings(**wrong)
